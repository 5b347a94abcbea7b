"""One stream, several consumers: read once, handed over in pieces through one bounded buffer per consumer (S4.1, S4.2).

A trunk that finds a buffer full waits for room (back-pressure). Where the plan says that consumers may wait for each
other (``spill``), it does not wait while a consumer of another buffer starves: it spills. That is enough to exclude
deadlock: in every circle of waiting there is a trunk that waits for room in one buffer while the reader of another one
waits for it, and both buffers are marked.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from time import perf_counter
from typing import Any

from petal.data.spill import Codec, Spill, size_of
from petal.running.watch import Broken, Stopped

#: Pieces that a buffer holds in memory.
WINDOW = 8
#: Bytes of batches from which a buffer that holds two has no room for a third.
HELD = 16 << 20


class NobodyReads(Exception):
    """Every consumer has stopped: the stream need not go on.

    Attributes:
        failed: Whether the last one stopped because it failed.
    """

    def __init__(self, failed: bool) -> None:
        super().__init__("nobody reads")
        self.failed = failed


class Branch:
    """One consumer's end of a trunk: an iterator of pieces, to be read once."""

    def __init__(self, trunk: Trunk, may_spill: bool, port: str) -> None:
        self._trunk = trunk
        self.port = port
        self.may_spill = may_spill
        self.waiting = False
        self.closed = False
        self.queue: deque[Any] = deque()
        self.spill: Spill | None = None
        self.rows = 0
        self.spent = 0.0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        began = perf_counter()
        piece = self._trunk.take(self)
        self.spent += perf_counter() - began
        if piece is None:
            raise StopIteration
        self.rows += len(piece)
        return piece

    @property
    def broken(self) -> bool:
        """Whether its stream ended before the true end while it was being read."""
        return self._trunk.broken and not self._trunk.cancelled and not self.closed

    def close(self, *, failed: bool = False) -> None:
        """Stop reading; the trunk goes on for the others (a finished or failed branch is drained)."""
        self._trunk.leave(self, failed)


class Trunk:
    """A stream with several consumers.

    Args:
        spills: For each consumer, whether its rows may go to disk.
        waited_for: Whether somebody waits for the whole stream, so that marked buffers must never hold it up.
        wanted: Whether the stream is kept, so that it goes on when nobody reads it any more.
        codec: Codec of lists of items, None where nothing is declared of them.
        folder: Where to spill, None for the temporary folder.
        ports: The output port that each consumer reads, where there are several streams.
        stop: Not empty when the run is being stopped.
    """

    def __init__(
        self,
        spills: list[bool],
        *,
        waited_for: bool = False,
        wanted: bool = False,
        codec: Codec | None = None,
        folder: str | None = None,
        stop: list[Any] | None = None,
        window: int | None = None,
        ports: list[str] | None = None,
    ) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._waited_for = waited_for
        self._wanted = wanted or waited_for
        self._last_failed = False
        self.cancelled = False
        self._codec = codec or Codec()
        self._folder = folder
        self._stop = stop if stop is not None else []
        self._window = window or WINDOW
        self._ended = False
        self._broken = False
        named = ports or ["output"] * len(spills)
        self.branches = [Branch(self, s, p) for s, p in zip(spills, named, strict=True)]

    # -- the producer's side ----------------------------------------------------------------------------------

    def push(self, piece: Any, port: str = "output") -> None:
        """Hand one piece to every consumer of a port, waiting for room where that cannot lead to a deadlock.

        Raises:
            NobodyReads: All consumers have stopped.
            Stopped: The run is being stopped.
        """
        with self._changed:
            for branch in self.branches:
                if branch.port == port:
                    self._put(branch, piece)
            if all(b.closed for b in self.branches) and not self._wanted:
                raise NobodyReads(self._last_failed)

    def _put(self, branch: Branch, piece: Any) -> None:
        while not branch.closed:
            if self._stop:
                raise Stopped
            on_disk = branch.spill is not None and branch.spill.pieces
            if not on_disk and self._has_room(branch.queue):
                branch.queue.append(piece)
                break
            if branch.may_spill and self._somebody_starves(branch):
                self._to_disk(branch, piece)
                break
            self._changed.wait()
        if branch.waiting:
            branch.waiting = False
            self._changed.notify_all()

    def _has_room(self, queue: deque[Any]) -> bool:
        held = len(queue)
        return held < self._window and (held < 2 or sum(map(size_of, queue)) < HELD)

    def _somebody_starves(self, full: Branch) -> bool:
        return self._waited_for or any(b.waiting for b in self.branches if b is not full)

    def _to_disk(self, branch: Branch, piece: Any) -> None:
        if branch.spill is None:
            branch.spill = Spill(self._folder, self._codec)
        branch.spill.put(piece)

    def finish(self, *, broken: bool = False, cancelled: bool = False) -> None:
        """Say that there is no more, whether that is the true end, and if not, whether nothing failed."""
        with self._changed:
            self._ended = True
            self.cancelled = cancelled
            self._broken = self._broken or broken
            self._changed.notify_all()

    def wake(self) -> None:
        """Let everyone who waits look at the stop flag."""
        with self._changed:
            self._changed.notify_all()

    # -- the consumers' side ----------------------------------------------------------------------------------

    def take(self, branch: Branch) -> Any:
        """Return the next piece, or None at the true end.

        Raises:
            Broken: The stream ended because its producer did not succeed.
            Stopped: The run is being stopped.
        """
        with self._changed:
            while True:
                if self._stop:
                    raise Stopped
                if branch.queue:
                    piece = branch.queue.popleft()
                    break
                if branch.spill is not None and branch.spill.pieces:
                    piece = branch.spill.take()
                    break
                if self._ended:
                    branch.waiting = False
                    if self._broken:
                        raise Broken("the stream ended early, because the node that makes it did not succeed")
                    return None
                if not branch.waiting:
                    branch.waiting = True
                    self._changed.notify_all()
                self._changed.wait()
            branch.waiting = False
            self._changed.notify_all()
            return piece

    @property
    def broken(self) -> bool:
        """Whether the stream ended before its true end."""
        return self._broken

    def leave(self, branch: Branch, failed: bool) -> None:
        """Close one consumer's end."""
        with self._changed:
            if not branch.closed:
                self._last_failed = failed
            branch.closed = True
            branch.waiting = False
            branch.queue.clear()
            if branch.spill is not None:
                branch.spill.close()
                branch.spill = None
            self._changed.notify_all()
