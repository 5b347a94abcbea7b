"""Write an output for the cache; one in which something cannot be written is there for this run alone (S9)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from petal.data.artifact import Artifact, Making
from petal.data.spill import Held
from petal.errors import DataError


def written(making: Making, value: Any) -> tuple[Artifact | None, str | None]:
    """Write a value, and return its artifact; or why it cannot be written.

    Raises:
        OutputError: There is no space for it.
    """
    try:
        making.value(value)
    except DataError as error:
        return None, _told(error)
    return making.finish(), None


def _told(error: DataError) -> str:
    """Return what an error says; the error itself would hold on to all that was at work when it was raised."""
    return f"{error.message}; {error.hint}" if error.hint else error.message


class Writing:
    """The pieces of a stream, written once, and read by this run whether all of them could be written or not.

    Args:
        making: Writes them.
        held: Holds what cannot be written, and all behind it.

    Attributes:
        problem: Why they cannot all be written, None as long as they can.
    """

    def __init__(self, making: Making, held: Held) -> None:
        self.problem: str | None = None
        self._making = making
        self._held = held
        self._before: Artifact | None = None
        self._waiting: deque[Any] = deque()  # put, and not written yet, as far as that is known
        self._written = 0  # rows before these

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return (self._before.rows or 0 if self._before is not None else 0) + self._held.rows

    def put(self, piece: Any) -> None:
        """Add a piece.

        Raises:
            DataError: It is no piece at all.
            OutputError: There is no space for it.
        """
        if self.problem is not None:
            self._held.put(piece)
            return
        making, rows = self._making, self._making.rows
        try:
            making.put(piece)
        except DataError as error:
            if making.rows == rows:
                raise
            self._waiting.append(piece)
            self._fall_back(error)
            return
        self._waiting.append(piece)
        while self._waiting and self._written + len(self._waiting[0]) <= making.written:
            self._written += len(self._waiting.popleft())

    def finish(self) -> Artifact | None:
        """Return what was written; None where a part of it could not be, and :meth:`pieces` gives all there is.

        Raises:
            OutputError: There is no space for it.
        """
        if self.problem is None:
            try:
                return self._making.finish()
            except DataError as error:  # in what had waited for more rows
                self._fall_back(error)
        return None

    def pieces(self) -> Iterator[Any]:
        """Give the pieces in order, once it is known that they cannot all be written."""
        if self._before is not None:
            yield from self._before.stream()
        yield from self._held.pieces()

    def _fall_back(self, error: DataError) -> None:
        self.problem = _told(error)
        done = self._making.written - self._written  # rows of the first piece that waits
        self._before = self._making.so_far()
        for piece in self._waiting:
            self._held.put(piece[done:] if done else piece)
            done = 0
        self._waiting.clear()
