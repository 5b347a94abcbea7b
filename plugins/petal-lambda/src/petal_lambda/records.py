"""Remember what was done: a task that comes a second time gets the reply that it got, and is not done again (FAULTS F55).

Lambda may deliver one request twice, and Petal sends a task again whose reply it never saw, with the same idempotency key.
Each attempt of a task has a record of its own, which only one delivery can begin.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import msgspec
from msgspec import Struct

from petal.data.sealed import keyring
from petal.data.signing import seal, unseal
from petal.errors import PetalError, RemoteError, SignatureError, TaskLost, UsageError, WireError

if TYPE_CHECKING:
    from petal.data.signing import Keyring
    from petal.interfaces.records import Asked

#: Names the store of the records, such as `s3://bucket/prefix`; without it they are kept in the sandbox's memory.
VARIABLE = "PETAL_RECORDS"
#: What of a request is not the task itself, but this one attempt to have it done.
_TASK = ("operator_id", "type", "reference", "params", "inputs", "columns", "pipeline")
#: Seconds for which records are of use, those that a task may take where nobody says, and those that clocks may differ.
_GOOD, _LONGEST, _SKEW = 86_400.0, 900.0, 10.0
#: Earlier attempts that are looked at: Petal makes no more (`execution.retrying`).
_ATTEMPTS = 64
#: Bytes, and records, that are kept in memory.
_BYTES, _COUNT = 32 << 20, 256
_log = logging.getLogger("petal.lambda")


class Record(Struct, frozen=True):
    """What is known of one attempt of a task.

    Attributes:
        state: ``begun``; ``done``, with a reply; or ``refused``: it was not done, since another attempt was at work.
        task: The SHA-256 of what the task is.
        ends: When the sandbox that began it is stopped, in seconds since 1970.
        succeeded: Whether the reply is no error.
        reply: The packed reply.
    """

    state: Literal["begun", "done", "refused"]
    task: str
    ends: float
    succeeded: bool = False
    reply: bytes = b""


class Keeps(Protocol):
    """What records are kept in: the part of a store that is used here."""

    def get(self, key: str) -> Any:
        """Return a value, or None."""
        ...

    def add(self, key: str, data: bytes, *, ttl: float | None = None) -> bool:
        """Keep a value where there is none; False where there is one."""
        ...

    def put(self, key: str, source: bytes, *, ttl: float | None = None) -> bool:
        """Keep a value."""
        ...


class Records:
    """The records of tasks: in the store that ``$PETAL_RECORDS`` names, and in memory where it names none.

    In a store they are signed where there is a keyring: a reply that somebody else has put there is not handed on.
    """

    def __init__(self) -> None:
        self._store: Keeps = _Memory()
        self._ring: Keyring | None = None
        self._is_open = False

    def begin(self, message: Asked, seconds: float | None) -> bytes | None:
        """Note that a task begins.

        Args:
            message: Its request.
            seconds: What is left to this sandbox.

        Returns:
            The reply, where the task was done before; None where it is to be done now.

        Raises:
            PetalError: The store cannot be opened.
            WireError: There was another task with its key.
            RemoteError: It is being done, or the store does not answer; nothing was run.
            TaskLost: It was begun, and what became of it is not known.
        """
        key, attempt = _key(message), int(message.header.get("attempt", 1))
        if not key:
            return None
        self._open()
        mine = Record("begun", _digest(message), time.time() + (seconds or _LONGEST))
        try:
            if not self._add(f"{key}-{attempt}", mine):
                return self._known(self._get(f"{key}-{attempt}"), mine, is_same=True)
            for earlier in range(attempt - 1, max(0, attempt - _ATTEMPTS), -1):
                reply = self._look(f"{key}-{earlier}", f"{key}-{attempt}", mine)
                if reply is not None:
                    return reply
        except OSError as error:
            raise RemoteError(
                f"the record of tasks cannot be kept: {error}",
                kind="infrastructure",
                code="no-record",
                hint=f"see what ${VARIABLE} of the function names, and that its role may read and write there",
            ) from error
        return None

    def end(self, message: Asked, reply: bytes) -> None:
        """Keep the reply to a task. Where that fails a second delivery is not known again, and the log says so."""
        key = _key(message)
        if not key:
            return
        name = f"{key}-{int(message.header.get('attempt', 1))}"
        done = Record("done", _digest(message), 0.0, _succeeded(reply), reply)
        try:
            self._put(name, done)
        except OSError as error:
            _log.warning("the reply to a task cannot be kept, so that it may be done again: %s", error)

    # -- inside -----------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Open the store, the first time.

        Raises:
            PetalError: It cannot be opened.
        """
        if self._is_open:
            return
        if url := os.environ.get(VARIABLE):
            from petal import open_store

            found = open_store(url)
            if not hasattr(found, "add"):
                raise UsageError(
                    f"the store `{url}` cannot keep records: it does not say whether there was a value before"
                )
            self._store, self._ring = cast("Keeps", found), keyring()
        self._is_open = True

    def _look(self, earlier: str, name: str, mine: Record) -> bytes | None:
        """Return what an earlier attempt has replied, if it succeeded; None where this one may go on."""
        try:
            found = self._get(earlier)
        except PermissionError:  # how S3 says that there is none, to who may not list
            return None
        if found is None or found.state == "refused":
            return None
        try:
            reply = self._known(found, mine, is_same=False)
        except PetalError:
            self._put(name, msgspec.structs.replace(mine, state="refused"))
            raise
        if reply is not None:
            self._put(name, msgspec.structs.replace(found))
        return reply

    def _known(self, found: Record | None, mine: Record, *, is_same: bool) -> bytes | None:
        """Say what a record means for a task that comes again.

        Args:
            found: What is recorded.
            mine: What would be.
            is_same: Whether it is of the very same attempt, else of an earlier one.
        """
        if found is None:  # there was one a moment ago, which the store has lost
            raise TaskLost("the task came before, and what became of it is not known")
        if found.task != mine.task:
            raise WireError(
                "a task with the same idempotency key came before, but was another one: it is not done",
                hint="a run whose code or data have changed is a new run: start it without `--resume`",
                code="other-task",
            )
        if found.state == "done":
            return found.reply if found.succeeded or is_same else None
        if found.state == "refused" or found.ends + _SKEW > time.time():
            raise RemoteError(
                "the task is being done by another call of the function: it is not done a second time",
                kind="throttle",
                code="in-progress",
            )
        if is_same:
            raise TaskLost(
                "the task came before, and the sandbox that began it was stopped: what it has done is not known"
            )
        return None  # who sent it knows that, and may send it again

    def _add(self, key: str, record: Record) -> bool:
        return self._store.add(key, self._sealed(key, record), ttl=_GOOD)

    def _put(self, key: str, record: Record) -> None:
        if not self._store.put(key, self._sealed(key, record), ttl=_GOOD):
            raise OSError("the store says that it is too large")

    def _get(self, key: str) -> Record | None:
        found = self._store.get(key)
        if found is None:
            return None
        if not isinstance(found, bytes):
            with found:
                found = found.read()
        return self._opened(key, found)

    def _sealed(self, key: str, record: Record) -> bytes:
        data = msgspec.msgpack.encode(record)
        if self._ring is None:
            return hashlib.sha256(data).digest() + data
        return seal(data, self._ring, purpose="record", run="", node="", key=key, attempt=0, ttl=_GOOD)

    def _opened(self, key: str, data: bytes) -> Record:
        """Read a record.

        Raises:
            TaskLost: It is damaged, or not signed as it must be: what it said is not known.
        """
        try:
            if self._ring is not None:
                return msgspec.msgpack.decode(
                    unseal(data, self._ring, purpose="record", key=key), type=Record
                )
            if hashlib.sha256(memoryview(data)[32:]).digest() == data[:32]:
                return msgspec.msgpack.decode(memoryview(data)[32:], type=Record)
            reason = "it is damaged"
        except (SignatureError, msgspec.MsgspecError) as error:
            reason = str(error)
        raise TaskLost(
            f"the task may have come before, and its record cannot be believed: {reason}",
            hint=f"see who may write to what ${VARIABLE} of the function names",
            code="bad-record",
        )


class _Memory:
    """Records in memory, of which the oldest are forgotten."""

    def __init__(self) -> None:
        self._values: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        return self._values.get(key)

    def add(self, key: str, data: bytes, *, ttl: float | None = None) -> bool:  # noqa: ARG002
        with self._lock:
            if key in self._values:
                return False
            self._set(key, data)
            return True

    def put(self, key: str, source: bytes, *, ttl: float | None = None) -> bool:  # noqa: ARG002
        with self._lock:
            self._set(key, source)
            return True

    def _set(self, key: str, data: bytes) -> None:
        self._size += len(data) - len(self._values.pop(key, b""))
        self._values[key] = data
        while len(self._values) > _COUNT or (self._size > _BYTES and len(self._values) > 1):
            self._size -= len(self._values.popitem(last=False)[1])


def _key(message: Asked) -> str:
    """Return what a task's records begin with, which any store takes as a key; empty where the task has none."""
    key = str(message.header.get("key") or "")
    return "task-" + hashlib.sha256(key.encode("utf-8", "backslashreplace")).hexdigest() if key else ""


def _digest(message: Asked) -> str:
    """Return the digest of what a task is, whichever attempt it comes in."""
    header = message.header
    said = [header.get(name) for name in _TASK] + [(header.get("code") or {}).get("digest")]
    total = hashlib.sha256(msgspec.json.encode(said, order="deterministic"))
    for part in message.parts:
        total.update(len(part).to_bytes(8, "big"))
        total.update(part)
    return total.hexdigest()


class _Said(Struct):
    status: str = ""


def _succeeded(reply: bytes) -> bool:
    end = 8 + int.from_bytes(reply[4:8], "big")
    return msgspec.json.decode(memoryview(reply)[8:end], type=_Said).status == "ok"
