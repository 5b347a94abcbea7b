"""Decide what may start: a pure state machine over units. Events in, instructions out; no I/O, clock or thread.

Events are :meth:`Scheduler.begin`, :meth:`started`, :meth:`finished` and :meth:`stop`; each returns what to do now.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
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


# Names of their own: to read one from its class takes 0.1 µs, and a plain node's whole schedule a few of them.
_WAITING, _READY, _RUNNING, _SUCCEEDED, _FAILED, _SKIPPED = State


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
        self,
        waits: Sequence[Collection[int]],
        streams: Sequence[Collection[int]] | None = None,
        *,
        fail_fast: bool = False,
    ) -> None:
        count = len(waits)
        self.states = [_WAITING] * count
        self._left = [len(w) for w in waits]
        self._after: list[list[int]] = [[] for _ in range(count)]
        self._readers: dict[int, list[int]] = {}
        for unit, needed in enumerate(waits):
            for other in needed:
                self._after[other].append(unit)
        for unit, read in enumerate(streams or ()):
            self._left[unit] += len(read)
            for other in read:
                self._readers.setdefault(other, []).append(unit)
        self._fail_fast = fail_fast
        self._stopping = False
        self._unfinished = count

    @property
    def done(self) -> bool:
        """Whether every unit has come to its end."""
        return self._unfinished == 0

    def begin(self) -> Instructions:
        """Start the run."""
        return self._ready([u for u, left in enumerate(self._left) if not left])

    def started(self, unit: int) -> Instructions:
        """A unit has started: those that read its stream may start too."""
        self.states[unit] = _RUNNING
        readers = self._readers.get(unit)
        return self._one_less(readers) if readers else _NOTHING

    def finished(self, unit: int, *, ok: bool) -> Instructions:
        """A unit has come to its end; ``ok`` tells whether others may use what it made."""
        self._unfinished -= 1
        if ok:
            self.states[unit] = _SUCCEEDED
            return self._one_less(self._after[unit])
        self.states[unit] = _FAILED
        skipped = self._skip_behind(unit)
        if self._fail_fast:
            return Instructions((), tuple(skipped), self.stop().cancel)
        return Instructions((), tuple(skipped))

    def stop(self) -> Instructions:
        """Start nothing any more."""
        self._stopping = True
        cancelled = [u for u, s in enumerate(self.states) if s in (_WAITING, _READY)]
        for unit in cancelled:
            self.states[unit] = _SKIPPED
        self._unfinished -= len(cancelled)
        return Instructions(cancel=tuple(cancelled))

    def _one_less(self, units: list[int]) -> Instructions:
        """Each of these waits for one unit less; start those that wait for none any more."""
        left, free = self._left, []
        for unit in units:
            missing = left[unit] = left[unit] - 1
            if not missing:
                free.append(unit)
        return self._ready(free) if free else _NOTHING

    def _ready(self, units: list[int]) -> Instructions:
        if self._stopping:
            return _NOTHING
        states, found = self.states, []
        for unit in units:
            if states[unit] is _WAITING:
                states[unit] = _READY
                found.append(unit)
        return Instructions(tuple(found))

    def _skip_behind(self, unit: int) -> list[int]:
        """Skip everything that needs a unit and has not started; what runs already notices by itself."""
        skipped: list[int] = []
        waiting = [unit]
        while waiting:
            current = waiting.pop()
            for other in (*self._after[current], *self._readers.get(current, ())):
                if self.states[other] in (_WAITING, _READY):
                    self.states[other] = _SKIPPED
                    self._unfinished -= 1
                    skipped.append(other)
                    waiting.append(other)
        return skipped
