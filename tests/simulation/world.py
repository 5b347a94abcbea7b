"""The world outside of one simulated run: its graph, its rules, and what becomes of every attempt; all from one seed."""

from __future__ import annotations

from random import Random

from msgspec import Struct

from petal.execution.retrying import Failure, Rule
from petal.spec.policy import Effects, ErrorKind

CODE = Failure(ErrorKind.USER, ("ConnectionError", "OSError", "Exception"))
WRONG = Failure(ErrorKind.USER, ("RowError", "DataError", "Exception"), permanent=True)
REFUSED = Failure(ErrorKind.INFRASTRUCTURE, ("TaskRefused", "Exception"))
CLOSED = Failure(ErrorKind.INFRASTRUCTURE, ("EnvironmentNotReady", "PetalError", "Exception"), permanent=True)
DIED = Failure(ErrorKind.INFRASTRUCTURE, ("WorkerDied", "TaskLost", "Exception"), unknown=True)
LATE = Failure(ErrorKind.TIMEOUT, ("TimedOut", "TaskLost", "Exception"), unknown=True)
FULL = Failure(ErrorKind.OUT_OF_MEMORY, ("WorkerDied", "TaskLost", "Exception"), unknown=True)
STOPPED = Failure(ErrorKind.INFRASTRUCTURE, ("TaskLost", "Exception"), unknown=True)


class Unit(Struct):
    """One unit: its rule, or None for a plain one; what it waits for, what it reads as a stream."""

    rule: Rule | None
    waits: set[int]
    streams: set[int]


class Effect(Struct):
    """The operator does, out there, what it does: ``after`` seconds from the start of the attempt."""

    after: float


class Reply(Struct):
    """The engine hears of an attempt, for the first time or again: None is success."""

    after: float
    failure: Failure | None


class World:
    """Everything that one seed decides.

    Args:
        seed: The seed; the same one is always the same world.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random = Random(seed)
        self.units: list[Unit] = []
        for i in range(random.randint(1, 12)):
            self.units.append(self._unit(i))
        #: How much goes wrong, from nearly nothing to nearly everything.
        self.evil = random.choice((0.1, 0.4, 0.7, 0.95))
        self.fail_fast = random.random() < 0.2
        self.workers = random.randint(1, 4)
        self.budget = random.choice((None, None, None, 0, 2))
        self.stop_at = random.uniform(0, 20) if random.random() < 0.25 else None

    def _unit(self, index: int) -> Unit:
        random = self.random
        before = {u for u in range(index) if random.random() < 0.15}
        rule = self._rule() if random.random() < 0.65 else None
        # the output of a unit that may be tried again is held back: nobody reads it as a stream
        streams = {u for u in range(index) if self.units[u].rule is None and random.random() < 0.4}
        return Unit(rule, before - streams, streams)

    def _rule(self) -> Rule:
        random = self.random
        return Rule(
            random.choice(tuple(Effects)),
            random.randint(1, 5),
            delay=random.choice((0.0, 0.5, 8.0)),
            max_delay=20.0,
            jitter=random.random() < 0.7,
            retry_on=random.choice(
                (*[()] * 6, ("OSError",), ("infrastructure", "timeout"), ("RowError", "unknown"))
            ),
            abort_on=random.choice((*[()] * 8, ("TaskLost",), ("user",))),
            places=random.choice((1, 1, 2, 3)),
        )

    def plain(self) -> tuple[float, bool]:
        """Return how long a plain unit takes, and whether it goes well."""
        return self.random.uniform(0.1, 12), self.random.random() > self.evil / 3

    def attempt(self) -> list[Effect | Reply]:
        """Return what becomes of one attempt: what happens out there, and what the engine is told, in any order."""
        random = self.random
        at, end = sorted((random.uniform(0.1, 3), random.uniform(0.1, 3)))
        if random.random() > self.evil:
            return [Effect(at), Reply(end, None)]
        return _MISFORTUNES[random.randrange(len(_MISFORTUNES))](random, at, end)


def _maybe(random: Random, at: float) -> list[Effect | Reply]:
    return [Effect(at)] if random.random() < 0.5 else []


def _raised(random: Random, at: float, end: float) -> list[Effect | Reply]:
    return [*_maybe(random, at), Reply(end, random.choice((CODE, CODE, WRONG)))]


def _not_begun(random: Random, _at: float, end: float) -> list[Effect | Reply]:
    throttled = Failure(
        ErrorKind.THROTTLE, ("TooMany", "Exception"), after=random.choice((None, 1.0, 9_999.0))
    )
    return [Reply(end, random.choice((REFUSED, CLOSED, throttled, throttled)))]


def _died(random: Random, at: float, end: float) -> list[Effect | Reply]:
    return [*_maybe(random, at), Reply(end, random.choice((DIED, DIED, FULL)))]


def _late(random: Random, at: float, end: float) -> list[Effect | Reply]:
    """Its time was over, but it went on, and says so at some time: perhaps while the next attempt runs."""
    last = Reply(end + random.uniform(0, 4), random.choice((None, None, CODE)))
    return [Reply(at, LATE), Effect(end), last]


def _told_twice(random: Random, at: float, end: float) -> list[Effect | Reply]:
    replies = [Reply(end + random.uniform(0, 4), random.choice((None, CODE, DIED))) for _ in range(2)]
    return [Effect(at), Reply(end, random.choice((None, CODE))), *replies]


def _done_twice(random: Random, at: float, end: float) -> list[Effect | Reply]:
    """A queue delivers a task again: two workers do it, and both reply."""
    later = at + random.uniform(0, 3)
    return [Effect(at), Effect(later), Reply(end, None), Reply(later, None)]


def _done_twice_and_lost(random: Random, at: float, end: float) -> list[Effect | Reply]:
    return [Effect(at), Effect(at + random.uniform(0, 3)), Reply(end, DIED)]


_MISFORTUNES = (
    _raised,
    _raised,
    _not_begun,
    _died,
    _late,
    _late,
    _told_twice,
    _done_twice,
    _done_twice_and_lost,
)
