"""Schedulers with one defence switched off each: a simulation that finds nothing wrong with them proves nothing."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from petal.execution.retrying import Failure
from petal.execution.scheduler import Instructions, Retries, Scheduler, State


class Unfenced(Scheduler):
    """Takes whatever any attempt says for the current one's word."""

    def is_current(self, unit: int, attempt: int) -> bool:
        """Forget to compare the attempts."""
        return self.states[unit] is State.RUNNING


class UnknownIsFailed(Scheduler):
    """Takes an unknown outcome for a failure."""

    def failed(self, unit: int, attempt: int, failure: Failure, now: float) -> Instructions:
        """Forget that the call may have happened."""
        return super().failed(unit, attempt, replace(failure, unknown=False), now)


class _Changed(Scheduler):
    """Changes the rules."""

    def __init__(self, *args: Any, retries: Retries | None = None, **rest: Any) -> None:
        super().__init__(*args, retries=retries and self.change(retries), **rest)

    def change(self, retries: Retries) -> Retries:
        """Return the rules to go by."""
        raise NotImplementedError


class Uncapped(_Changed):
    """Tries once more than allowed."""

    def change(self, retries: Retries) -> Retries:
        """Allow one attempt more."""
        rules = {u: replace(r, max_attempts=r.max_attempts + 1) for u, r in retries.rules.items()}
        return replace(retries, rules=rules)


class Unbudgeted(_Changed):
    """Has no budget for the run."""

    def change(self, retries: Retries) -> Retries:
        """Allow any number."""
        return replace(retries, budget=1_000_000)


class Impatient(Scheduler):
    """Starts what waits at once."""

    def due(self, now: float) -> Instructions:
        """Forget to look at the clock."""
        return super().due(float("inf"))

    @property
    def next_due(self) -> float | None:
        """Say that it is always time."""
        return None if super().next_due is None else 0.0


class Unstoppable(Scheduler):
    """Goes on trying while the run is being stopped."""

    def failed(self, unit: int, attempt: int, failure: Failure, now: float) -> Instructions:
        """Forget the stop."""
        stopping, self._stopping = self._stopping, False
        try:
            return super().failed(unit, attempt, failure, now)
        finally:
            self._stopping = self._stopping or stopping


class Resigned(Scheduler):
    """Never tries again."""

    def failed(self, unit: int, attempt: int, failure: Failure, now: float) -> Instructions:
        """Take every failure for the end."""
        if not self.is_current(unit, attempt):
            return Instructions()
        return self.finished(unit, ok=False)


class Forgetful(Scheduler):
    """Lets a unit wait for its next attempt although the stream that it would read is broken."""

    def _skip_behind(self, unit: int) -> list[int]:
        later = [u for u, s in enumerate(self.states) if s is State.LATER]
        for other in later:
            self.states[other] = State.RUNNING
        skipped = super()._skip_behind(unit)
        for other in later:
            self.states[other] = State.LATER
        return skipped


#: Name of the defence -> the scheduler without it.
WITHOUT: dict[str, type[Scheduler]] = {
    "fencing": Unfenced,
    "unknown": UnknownIsFailed,
    "cap": Uncapped,
    "budget": Unbudgeted,
    "clock": Impatient,
    "stop": Unstoppable,
    "retry": Resigned,
    "skip": Forgetful,
}
