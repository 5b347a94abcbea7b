"""Decide what may start: a pure state machine over units. Events in, instructions out; no I/O, clock or thread.

Events are :meth:`Scheduler.begin`, :meth:`started`, :meth:`finished` and :meth:`stop`; each returns what to do now.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from msgspec import Struct


class State(Enum):
    """Where a unit is."""

    WAITING = 0
    READY = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    SKIPPED = 5


class Instructions(Struct, frozen=True):
    """What the engine does next.

    Attributes:
        start: Units to start.
        skip: Units that will never start, because something they need failed.
        cancel: Units that will never start, because the run is being stopped.
    """

    start: tuple[int, ...] = ()
    skip: tuple[int, ...] = ()
    cancel: tuple[int, ...] = ()


_NOTHING = Instructions()


class Scheduler:
    """Schedules units by what they wait for.

    Args:
        waits: For each unit, the units that must have finished well.
        streams: For each unit, the units that must at least have started: it reads their streams as they flow.
        fail_fast: Whether one failure stops everything else.
    """

    def __init__(
        self, waits: Sequence[set[int]], streams: Sequence[set[int]] | None = None, *, fail_fast: bool = False
    ) -> None:
        count = len(waits)
        self.states = [State.WAITING] * count
        self._left = [len(w) for w in waits]
        self._after: list[list[int]] = [[] for _ in range(count)]
        self._readers: list[list[int]] = [[] for _ in range(count)]
        for unit, needed in enumerate(waits):
            for other in needed:
                self._after[other].append(unit)
        for unit, read in enumerate(streams or ()):
            self._left[unit] += len(read)
            for other in read:
                self._readers[other].append(unit)
        self._fail_fast = fail_fast
        self._stopping = False
        self._unfinished = count

    @property
    def done(self) -> bool:
        """Whether every unit has come to its end."""
        return self._unfinished == 0

    def begin(self) -> Instructions:
        """Start the run."""
        return Instructions(self._ready([u for u, left in enumerate(self._left) if not left]))

    def started(self, unit: int) -> Instructions:
        """A unit has started: those that read its stream may start too."""
        self.states[unit] = State.RUNNING
        readers = self._readers[unit]
        return Instructions(self._ready(self._one_less(readers))) if readers else _NOTHING

    def finished(self, unit: int, *, ok: bool) -> Instructions:
        """A unit has come to its end; ``ok`` tells whether others may use what it made."""
        self._unfinished -= 1
        if ok:
            self.states[unit] = State.SUCCEEDED
            after = self._after[unit]
            return Instructions(self._ready(self._one_less(after))) if after else _NOTHING
        self.states[unit] = State.FAILED
        skipped = self._skip_behind(unit)
        if self._fail_fast:
            return Instructions((), tuple(skipped), self.stop().cancel)
        return Instructions((), tuple(skipped))

    def stop(self) -> Instructions:
        """Start nothing any more."""
        self._stopping = True
        cancelled = [u for u, s in enumerate(self.states) if s in (State.WAITING, State.READY)]
        for unit in cancelled:
            self.states[unit] = State.SKIPPED
        self._unfinished -= len(cancelled)
        return Instructions(cancel=tuple(cancelled))

    def _one_less(self, units: list[int]) -> list[int]:
        left, found = self._left, []
        for unit in units:
            left[unit] -= 1
            if not left[unit]:
                found.append(unit)
        return found

    def _ready(self, units: list[int]) -> tuple[int, ...]:
        if self._stopping:
            return ()
        states = self.states
        found = [u for u in units if states[u] is State.WAITING]
        for unit in found:
            states[unit] = State.READY
        return tuple(found)

    def _skip_behind(self, unit: int) -> list[int]:
        """Skip everything that needs a unit and has not started; what runs already notices by itself."""
        skipped: list[int] = []
        waiting = [unit]
        while waiting:
            current = waiting.pop()
            for other in (*self._after[current], *self._readers[current]):
                if self.states[other] in (State.WAITING, State.READY):
                    self.states[other] = State.SKIPPED
                    self._unfinished -= 1
                    skipped.append(other)
                    waiting.append(other)
        return skipped
