"""Decide what may start: a pure state machine over units. Events in, instructions out; no I/O, clock or thread.

Events are :meth:`Scheduler.begin`, :meth:`started`, :meth:`finished` and :meth:`stop`; each returns what to do now.
Units that may be tried again have events of their own, which name the attempt that they are about:
:meth:`succeeded` and :meth:`failed`, and :meth:`due` when time has passed. What an older attempt says changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from heapq import heappop, heappush

from msgspec import Struct

from petal.execution.retrying import FIRST, Attempt, Failure, Rule, decide
from petal.spec.policy import Effects


class State(Enum):
    """Where a unit is."""

    WAITING = 0
    READY = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    SKIPPED = 5
    LATER = 6  # failed, and waits until it is tried again
    UNKNOWN = 7  # ended, and whether its effects have happened is not known (S5.4)


# Names of their own: to read one from its class takes 0.1 µs, and a plain node's whole schedule a few of them.
_WAITING, _READY, _RUNNING, _SUCCEEDED, _FAILED, _SKIPPED, _LATER, _UNKNOWN = State
_NOT_RUNNING = (_WAITING, _READY, _LATER)
#: How many more attempts than successes a run makes at most, unless one of its nodes may have more for itself.
BUDGET = 100


class Instructions(Struct, frozen=True):
    """What the engine does next.

    Attributes:
        start: Units to start.
        skip: Units that will never start, or not again, because something they need failed.
        cancel: Units that will never start, or not again, because the run is being stopped.
        later: Units that are tried again, each with the time from which on :meth:`Scheduler.due` starts it.
    """

    start: tuple[int, ...] = ()
    skip: tuple[int, ...] = ()
    cancel: tuple[int, ...] = ()
    later: tuple[tuple[int, float], ...] = ()


_NOTHING = Instructions()


class Retries(Struct, frozen=True):
    """What a scheduler needs to have units tried again.

    Attributes:
        rules: By unit; a unit without a rule has one attempt.
        random: Gives numbers from 0 to 1, for the jitter of waits.
        budget: How many attempts the run may make again beyond one for each such unit that has succeeded: a
            service that is down is not asked by every node as often as its rule allows. None for
            :data:`BUDGET`, or more where a single unit may have more. Free attempts do not count.
    """

    rules: Mapping[int, Rule]
    random: Callable[[], float]
    budget: int | None = None


class Scheduler:
    """Schedules units by what they wait for.

    Args:
        waits: For each unit, the units that must have finished well.
        streams: For each unit, the units that must at least have started: it reads their streams as they flow.
        fail_fast: Whether one failure stops everything else.
        retries: Which units are tried again, and how; None where none is.
    """

    def __init__(
        self,
        waits: Sequence[Collection[int]],
        streams: Sequence[Collection[int]] | None = None,
        *,
        fail_fast: bool = False,
        retries: Retries | None = None,
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
        self._rules: Mapping[int, Rule] = retries.rules if retries is not None else {}
        if retries is not None:
            own = max((rule.max_attempts - 1 for rule in self._rules.values()), default=0)
            self._random = retries.random
            self._budget = max(BUDGET, own) if retries.budget is None else retries.budget
        self._attempts: dict[int, Attempt] = {}
        self._times: list[tuple[float, int]] = []
        self._cut_short: set[int] = set()

    @property
    def done(self) -> bool:
        """Whether every unit has come to its end."""
        return self._unfinished == 0

    def begin(self) -> Instructions:
        """Start the run."""
        free = tuple([u for u, left in enumerate(self._left) if not left])
        for unit in free:
            self.states[unit] = _READY
        return Instructions(free)

    def started(self, unit: int) -> Instructions:
        """A unit has started: those that read its stream may start too."""
        self.states[unit] = _RUNNING
        readers = self._readers.get(unit)
        return self._one_less(readers) if readers and unit not in self._attempts else _NOTHING

    def finished(self, unit: int, *, ok: bool) -> Instructions:
        """A unit has come to its end; ``ok`` tells whether others may use what it made."""
        self._unfinished -= 1
        if ok:
            self.states[unit] = _SUCCEEDED
            return self._one_less(self._after[unit])
        return self._over(unit, _FAILED)

    def stop(self) -> Instructions:
        """Start nothing any more, and nothing again."""
        self._stopping = True
        cancelled = [u for u, s in enumerate(self.states) if s in _NOT_RUNNING]
        for unit in cancelled:
            self.states[unit] = _SKIPPED
        self._unfinished -= len(cancelled)
        return Instructions(cancel=tuple(cancelled))

    # -- units that are tried again ---------------------------------------------------------------------------

    def attempt_of(self, unit: int) -> int:
        """Return the number, from 1, of a unit's attempt that runs, or that would run next, or that was its last."""
        return self._attempts.get(unit, FIRST).number

    def place_of(self, unit: int) -> int:
        """Return where that attempt runs: 0 for its backend, then those that it fails over to."""
        return self._attempts.get(unit, FIRST).place

    def is_current(self, unit: int, attempt: int) -> bool:
        """Say whether this attempt runs and its outcome counts: what it made may be published.

        Ask while nobody else tells the scheduler anything, and no longer than until what was asked for is done.
        """
        return self.states[unit] is _RUNNING and self.attempt_of(unit) == attempt

    def succeeded(self, unit: int, attempt: int) -> Instructions:
        """An attempt has come to a good end; what an attempt says that is not current is dropped."""
        if not self.is_current(unit, attempt):
            return _NOTHING
        if unit in self._rules:
            self._budget += 1
        return self.finished(unit, ok=True)

    def failed(self, unit: int, attempt: int, failure: Failure, now: float) -> Instructions:
        """An attempt has failed: the unit is tried again, or has come to its end.

        Args:
            unit: The unit.
            attempt: The attempt; what one says that is not current is dropped.
            failure: How it failed.
            now: The time in seconds, by the clock that :meth:`due` goes by.
        """
        if not self.is_current(unit, attempt):
            return _NOTHING
        rule = self._rules.get(unit)
        current = self._attempts.get(unit, FIRST)
        again = decide(rule, current, failure, self._random) if rule is not None else None
        if again is not None and not (again.free or self._budget or self._stopping):
            self._cut_short.add(unit)
        if again is None or self._stopping or unit in self._cut_short:
            is_open = failure.unknown and rule is not None and rule.effects is Effects.ONCE
            self._unfinished -= 1
            return self._over(unit, _UNKNOWN if is_open else _FAILED)
        if not again.free:
            self._budget -= 1
        self._attempts[unit] = again.attempt
        if again.wait <= 0:
            self.states[unit] = _READY
            return Instructions((unit,))
        self.states[unit] = _LATER
        heappush(self._times, (now + again.wait, unit))
        return Instructions(later=((unit, now + again.wait),))

    @property
    def next_due(self) -> float | None:
        """The time from which on :meth:`due` has something to start; None when no unit waits for one."""
        times = self._times
        while times and self.states[times[0][1]] is not _LATER:  # skipped or cancelled meanwhile
            heappop(times)
        return times[0][0] if times else None

    def due(self, now: float) -> Instructions:
        """Time has passed: start the units whose wait is over."""
        found = []
        while (at := self.next_due) is not None and at <= now:
            unit = heappop(self._times)[1]
            self.states[unit] = _READY
            found.append(unit)
        return Instructions(tuple(found)) if found else _NOTHING

    @property
    def budget(self) -> int:
        """How many attempts the run may still make again; at 0 each further failure is final."""
        return self._budget if self._rules else 0

    def is_cut_short(self, unit: int) -> bool:
        """Say whether a unit's rule would have had it tried again, but the run's budget was used up."""
        return unit in self._cut_short

    # -- what follows from it ---------------------------------------------------------------------------------

    def _over(self, unit: int, state: State) -> Instructions:
        """A unit has failed for good: skip what needs it."""
        self.states[unit] = state
        skipped = self._skip_behind(unit)
        if self._fail_fast:
            return Instructions((), tuple(skipped), self.stop().cancel)
        return Instructions((), tuple(skipped))

    def _one_less(self, units: list[int]) -> Instructions:
        """Each of these waits for one unit less; start those that wait for none any more."""
        left, states, free = self._left, self.states, []
        for unit in units:
            missing = left[unit] = left[unit] - 1
            if not missing and states[unit] is _WAITING:
                free.append(unit)
        if not free or self._stopping:
            return _NOTHING
        for unit in free:
            states[unit] = _READY
        return Instructions(tuple(free))

    def _skip_behind(self, unit: int) -> list[int]:
        """Skip everything that needs a unit and has not started; what runs already notices by itself."""
        skipped: list[int] = []
        waiting = [unit]
        while waiting:
            current = waiting.pop()
            for other in (*self._after[current], *self._readers.get(current, ())):
                if self.states[other] in _NOT_RUNNING:
                    self.states[other] = _SKIPPED
                    self._unfinished -= 1
                    skipped.append(other)
                    waiting.append(other)
        return skipped
