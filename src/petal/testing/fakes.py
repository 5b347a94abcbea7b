"""A backend that is a fake: it calls the worker's code in this process, through bytes, and fails when it is told to."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from msgspec import Struct

from petal.data.claims import Claims
from petal.errors import PetalError, RemoteError, TaskLost, TimedOut
from petal.interfaces.backend import Backend, Capabilities, Plain, Reply, Task
from petal.plugin.markers import hookimpl
from petal.worker.execute import execute

#: Tasks that the fake runs at a time.
_AT_ONCE = 8
#: Characters of a failed program's standard error that are shown.
_TAIL = 4000


class FakeSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The ``execution`` block of the fake.

    Attributes:
        label: Anything; it is kept with what was sent.
        claims: Where messages above the limit lie, as a URL of a store; the fake's worker knows the same place.
        command: A program and its arguments. It is started for each task: plain JSON comes on its standard input, and its
            standard output is the reply (``protocol: json``).
    """

    label: str = ""
    claims: str | None = None
    command: tuple[str, ...] = ()


class Sent(Struct, frozen=True):
    """What one task sent.

    Attributes:
        node: The node's id.
        attempt: The attempt, from 1.
        key: The idempotency key.
        timeout: Seconds that the task may take, or None.
        settings: The node's ``execution`` block.
        message: The message, as one piece.
        plain: What a program got, None for a message to a worker of Petal.
    """

    node: str
    attempt: int
    key: str
    timeout: float | None
    settings: Mapping[str, Any]
    message: bytes
    plain: Plain | None = None


class FakeBackend:
    """A fake of a backend, for tests of what drives backends: everything is encoded, nothing goes anywhere.

    It cannot stop a task and says so (``kills=False``). Register it: ``session.register(FakeBackend())``.

    A node with ``protocol: json`` starts the program that its ``execution`` block names as ``command``, a real process; one
    without a ``command`` calls ``function``, as a service would that runs functions.

    Args:
        name: What an ``execution`` block calls it.
        fails: Errors in place of replies, by the node's id; such a task does not run.
        loses: Ids of nodes whose tasks run but whose replies are lost.
        delay: Seconds that each task waits before it runs.
        limit: Bytes that one message may have, or None.
        refuses: The error with which it cannot be opened: what it needs is not there.
        function: Takes the JSON of ``{"inputs", "operator_id", "type", "params"}``, and returns the reply's JSON.

    Attributes:
        sent: What was sent so far, in order.
    """

    settings = FakeSettings

    def __init__(
        self,
        name: str = "fake",
        *,
        fails: Mapping[str, PetalError] | None = None,
        loses: Collection[str] = (),
        delay: float = 0.0,
        limit: int | None = None,
        refuses: PetalError | None = None,
        function: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self.name = name
        self.capabilities = Capabilities(has_code=True, limit=limit, protocols=("petal", "json"))
        self.sent: list[Sent] = []
        self._fails = dict(fails or {})
        self._loses = frozenset(loses)
        self._delay = delay
        self._refuses = refuses
        self._function = function
        #: Where messages lie that are too large, by URL: as the sender and as the worker see it.
        self._claims: dict[str, Claims] = {}
        self._theirs: dict[str, Claims] = {}

    def open(self, settings: FakeSettings, folder: str | None) -> FakeSession:  # noqa: ARG002
        """Open the fake for one run.

        Raises:
            PetalError: It was told not to be.
        """
        if self._refuses is not None:
            raise self._refuses
        return FakeSession(self, settings.claims)

    @hookimpl
    def petal_backends(self) -> Iterable[Backend]:
        """Bring itself."""
        return [self]

    def take(self, task: Task) -> bytes:
        """Note what a task sends, and return it.

        Raises:
            RemoteError: The message is larger than the fake takes.
        """
        message = bytes(task.payload.packed(self.capabilities.limit, self._claims.get(_place(task))))
        settings, plain = dict(task.settings), task.payload.plain
        self.sent.append(Sent(task.node, task.attempt, task.key, task.timeout, settings, message, plain))
        return message

    def answer(self, task: Task, message: bytes) -> Reply:
        """Run a task and return its reply, unless the fake was told otherwise.

        Raises:
            PetalError: It was.
        """
        time.sleep(self._delay)
        node = task.node
        error = self._fails.get(node)
        if error is not None:
            raise error
        output, plain = "", task.payload.plain
        if plain is None:
            reply = self._executed(task, message)
        elif task.settings.get("command"):
            reply, output = _ran(task.settings["command"], plain, task.timeout)
        elif self._function is not None:
            reply = self._function(message)
        else:
            raise RemoteError(
                f"`{self.name}` (a fake) has nothing to call for `{node}`",
                hint="name a `command` on its `execution` block, or give FakeBackend(function=...)",
            )
        if node in self._loses:
            raise TaskLost(f"the reply of `{node}` was lost on purpose, by the fake `{self.name}`")
        return task.payload.answered(reply, output, self._claims.get(_place(task)))

    def keeps(self, url: str) -> None:
        """Keep large messages in a place from now on."""
        self._claims[url], self._theirs[url] = Claims(url), Claims(url)

    def forgets(self, url: str) -> None:
        """Delete what is left there."""
        for claims in (self._claims.pop(url, None), self._theirs.pop(url, None)):
            if claims is not None:
                claims.close()

    def _executed(self, task: Task, message: bytes) -> bytes:
        limit = self.capabilities.limit
        if limit is None:
            return execute(message)
        return execute(message, limit=limit, claims=self._theirs.get(_place(task)))


def _place(task: Task) -> str:
    return str(task.settings.get("claims") or "")


def _ran(command: Sequence[str], plain: Plain, timeout: float | None) -> tuple[bytes, str]:
    """Start a program for one task, and return what it wrote to its standard output, and to its standard error.

    Raises:
        RemoteError: It cannot be started, or fails.
        TimedOut: Its time is over; it was killed.
    """
    environment = {**os.environ, **plain.environment}
    try:
        done = subprocess.run(
            list(command),
            input=plain.stdin,
            env=environment,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except OSError as error:
        raise RemoteError(f"{command[0]} cannot be started: {error.strerror}") from error
    except subprocess.TimeoutExpired:
        raise TimedOut(f"{command[0]} took longer than {timeout:g}s, and was killed") from None
    printed = done.stderr.decode("utf-8", "replace")
    if done.returncode:
        raise RemoteError(
            f"{command[0]} ended with exit code {done.returncode}", traceback=printed[-_TAIL:].rstrip()
        )
    return done.stdout, printed


class FakeSession:
    """The fake, open for one run: its tasks run on threads of this process."""

    def __init__(self, backend: FakeBackend, claims: str | None = None) -> None:
        self.capabilities = backend.capabilities
        self._backend, self._place = backend, claims
        if claims is not None:
            backend.keeps(claims)
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="petal-fake")

    def submit(self, task: Task) -> Future[Reply]:
        """Start a task; its message is taken as bytes at once, since its attachments may not outlive this call."""
        try:
            message = self._backend.take(task)
        except PetalError as error:
            failed: Future[Reply] = Future()
            failed.set_exception(error)
            return failed
        return self._threads.submit(self._backend.answer, task, message)

    def cancel(self, future: Future[Reply]) -> None:
        """Keep a task from starting; one that runs goes on to its end."""
        future.cancel()

    def close(self, grace: float) -> None:  # noqa: ARG002
        """Wait for the tasks that run: a thread cannot be stopped."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        if self._place is not None:
            self._backend.forgets(self._place)
