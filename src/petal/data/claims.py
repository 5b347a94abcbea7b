"""Claim check: a message too large for its transport lies in a store, and a small one says where (DESIGN.md §5).

Requests lie in ``in`` and replies in ``out`` beneath one place, which both sides are configured with: neither reads
anywhere else, whatever a message says (FAULTS F79). A claim is deleted when the reply to its task was read, or at the
end of the run; what a run that was killed has left is for the store's own rules, such as a bucket's lifecycle.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import queue
import re
import threading
import time
from contextlib import suppress
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct

from petal.data.limits import CLAIMED
from petal.data.stores import opener_of
from petal.errors import ClaimExpired, ClaimLost, PayloadCorrupt, PetalError, RemoteError, WireError
from petal.interfaces.claims import Way
from petal.interfaces.store import Store

#: Names the place where a worker takes large requests from, and puts large replies.
VARIABLE = "PETAL_CLAIMS"
#: Seconds after which a claim may be dropped: no request is good for longer.
LIFE = 86_400.0
_WAYS: tuple[Way, Way] = ("in", "out")
_KEY = re.compile(r"([0-9A-Za-z-]{1,100})-([0-9a-f]{64})")
_UNFIT = re.compile(r"[^0-9A-Za-z-]+")
_WHAT = {"in": "request", "out": "reply"}


class Claim(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a message lies, and what it is.

    Attributes:
        uri: The store.
        key: The key: the run, and the digest.
        size: Its bytes.
        sha256: Their digest.
        made: When it was put there, in seconds since 1970.
    """

    uri: str
    key: str
    size: int
    sha256: str
    made: float

    @property
    def run(self) -> str:
        """The run that it is of."""
        return self.key[:-65]


class _Header(Struct, frozen=True, forbid_unknown_fields=True):
    petal: int
    claim: Claim


class Claims:
    """Messages that are too large for their transport, in a store that both sides reach. Threads may share it.

    It is made when a backend is opened for a run, from the place that the ``execution`` block names, and closed with it.
    Nothing is contacted before the first large message.

    Args:
        url: The place: ``s3://bucket/prefix``, ``file:///shared/folder``.

    Raises:
        UsageError: It is no URL of a store.
        EnvironmentNotReady: No plugin brings stores of this kind.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._open = opener_of(url)
        self._stores: dict[Way, Store] = {}
        self._lock = threading.Lock()
        self._mine: set[tuple[Way, str]] = set()
        self._sweeper: _Sweeper | None = None

    def put(self, data: bytes, way: Way, run: str) -> bytes:
        """Keep a message, and return the header of the small one that goes instead.

        Raises:
            RemoteError: It cannot be kept; nothing was sent.
        """
        digest = hashlib.sha256(data).hexdigest()
        claim = Claim(self._uri(way), f"{run_mark(run)}-{digest}", len(data), digest, time.time())
        try:
            if len(data) > (CLAIMED.bytes or 0):
                raise OSError(f"it has more than {CLAIMED.bytes:,} bytes")
            if way == "in":
                with self._lock:
                    self._mine.add((way, claim.key))
                self._swept()
            if not self._store(way).put(claim.key, data, ttl=LIFE):
                raise OSError("it is larger than the store takes")
        except (OSError, PetalError) as error:
            raise RemoteError(
                f"a {_WHAT[way]} of {len(data):,} bytes cannot be put into {self._uri(way)}: {_reason(error)}",
                kind="infrastructure",
                hint=getattr(error, "hint", None) or "see that this process may write there",
                code="claim-store",
            ) from error
        return msgspec.json.encode(_Header(1, claim))

    def get(self, header: bytes, way: Way, run: str | None = None) -> Any:
        """Return the message that a header names, its size and digest verified; asked for once more where they are wrong.

        Args:
            header: The header of a small message.
            way: What the message must be.
            run: The run that it must be of; None where the receiver cannot know.

        Raises:
            WireError: It names something that is not to be read here.
            PayloadCorrupt: What lies there is not what was put there.
            ClaimExpired: It is gone.
            ClaimLost: The store cannot be read.
        """
        claim = claim_of(header)
        self._check(claim, way, run)
        for _ in range(2):
            try:
                found = self._store(way).get(claim.key)
                data = None if found is None else _whole(found, claim)
            except (OSError, PetalError) as error:
                raise ClaimLost(
                    f"a {_WHAT[way]} that lies in {claim.uri} cannot be read: {_reason(error)}",
                    hint=getattr(error, "hint", None) or "see that this process may read there",
                ) from error
            if found is None:
                raise _expired(claim, way)
            if data is not None:
                return data
        raise PayloadCorrupt(
            f"a {_WHAT[way]} in {claim.uri} is not what was put there: `{claim.key}` should have "
            f"{claim.size:,} bytes of the digest that its key says",
            hint="the store, or the way to it, changes bytes; the node can be run again",
        )

    def settle(self, *headers: bytes) -> None:
        """Forget messages that nobody needs any more, in the background; empty headers name none."""
        for header in filter(None, headers):
            claim = claim_of(header)
            way: Way = "in" if claim.uri == self._uri("in") else "out"
            with self._lock:
                self._mine.discard((way, claim.key))
            self._swept().put(way, claim.key)

    def close(self, within: float = 10.0) -> None:
        """Delete what is left of the run, as far as that succeeds, and close the stores; twice is once.

        Args:
            within: Seconds that this may take.
        """
        with self._lock:
            left, self._mine = self._mine, set()
            sweeper, self._sweeper = self._sweeper, None
        if sweeper is not None:
            for way, key in left:
                sweeper.put(way, key)
            if not sweeper.end(within):
                return  # it still uses the stores
        with self._lock:
            stores, self._stores = list(self._stores.values()), {}
        for store in stores:
            with suppress(OSError, PetalError):
                store.close()

    # -- inside -----------------------------------------------------------------------------------------------

    def _uri(self, way: Way) -> str:
        return f"{self.url}/{way}"

    def _store(self, way: Way) -> Store:
        with self._lock:
            found = self._stores.get(way)
            if found is None:
                found = self._stores[way] = self._open(self._uri(way))
            return found

    def _check(self, claim: Claim, way: Way, run: str | None) -> None:
        """See that a claim is one of those that are read here (FAULTS F79).

        Raises:
            WireError: It is not.
        """
        if claim.uri != self._uri(way):
            raise WireError(
                f"a {_WHAT[way]} is said to lie in {claim.uri[:200]!r}, but only {self._uri(way)} is read here",
                hint=f"name the same place on both sides: `claims` of the `execution` block, and ${VARIABLE} of the worker",
                code="claim-elsewhere",
            )
        found = _KEY.fullmatch(claim.key)
        is_fit = found is not None and found[2] == claim.sha256 and (run is None or found[1] == run_mark(run))
        if not is_fit:
            raise WireError(
                f"a {_WHAT[way]} is said to lie in {claim.uri} as what it cannot be there",
                hint="its key is made of its run and its digest",
                code="claim-elsewhere",
            )
        if not 0 <= claim.size <= (CLAIMED.bytes or 0):
            raise WireError(f"a {_WHAT[way]} is said to have {claim.size:,} bytes", code="claim-elsewhere")

    def _swept(self) -> _Sweeper:
        with self._lock:
            if self._sweeper is None:
                self._sweeper = _Sweeper(self)
            return self._sweeper


class _Sweeper:
    """Deletes claims on a thread of its own; where that is not allowed, or fails, they are left to the store's rules."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._queue: queue.SimpleQueue[tuple[Way, str] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="petal-claims", daemon=True)
        self._thread.start()

    def put(self, way: Way, key: str) -> None:
        """Delete a claim, some time soon."""
        self._queue.put((way, key))

    def end(self, within: float) -> bool:
        """Wait until all is deleted; say whether it is."""
        self._queue.put(None)
        self._thread.join(within)
        return not self._thread.is_alive()

    def _work(self) -> None:
        refused: set[Way] = set()
        for way in _WAYS:
            with suppress(OSError, PetalError):
                drop_older = getattr(self._claims._store(way), "drop_older", None)
                if drop_older is not None:
                    drop_older(LIFE)
        while (item := self._queue.get()) is not None:
            way, key = item
            if way in refused:
                continue
            try:
                self._claims._store(way).delete(key)
            except (OSError, PetalError):  # most likely it may not
                refused.add(way)


def run_mark(run: str) -> str:
    """Return a run's id as a part of a key."""
    return _UNFIT.sub("-", run)[:100] or "run"


def claim_of(header: bytes) -> Claim:
    """Return the claim that a header holds.

    Raises:
        WireError: It holds none.
    """
    try:
        found = msgspec.json.decode(header, type=_Header)
    except (msgspec.DecodeError, ValueError) as error:
        raise WireError(f"a message does not say well where it lies: {error}") from None
    return found.claim


def claims_here() -> Claims | None:
    """Return the claims of the place that ``$PETAL_CLAIMS`` names, the same each time; None where it names none.

    Raises:
        UsageError: It is no URL of a store.
        EnvironmentNotReady: No plugin brings stores of this kind.
    """
    url = os.environ.get(VARIABLE)
    if not url:
        return None
    found = _HERE.get(url)
    if found is None:
        found = _HERE[url] = Claims(url)
    return found


_HERE: dict[str, Claims] = {}


def _whole(source: bytes | BinaryIO, claim: Claim) -> Any:
    """Return what a store gave, as bytes or mapped into memory, if it is what a claim says; else None."""
    if isinstance(source, bytes):
        data: Any = source
    else:
        with source:
            if os.fstat(source.fileno()).st_size != claim.size:
                return None
            data = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) if claim.size else b""
    view = memoryview(data)
    return view if view.nbytes == claim.size and hashlib.sha256(view).hexdigest() == claim.sha256 else None


def _expired(claim: Claim, way: Way) -> ClaimExpired:
    age = max(0.0, time.time() - claim.made)
    return ClaimExpired(
        f"a {_WHAT[way]} is gone from {claim.uri}: `{claim.key}`, put there {age:,.0f} s ago",
        hint="keep what is there for as long as a task may wait (a lifecycle rule deletes it after a day or more); "
        "the node can be run again",
    )


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno and error.strerror:
        return error.strerror
    return error.message if isinstance(error, PetalError) else str(error) or type(error).__name__
