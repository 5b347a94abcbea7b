"""One simulated run: the engine's part under a virtual clock, driven by the real scheduler; every step is checked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random

from petal.execution.retrying import Failure
from petal.execution.scheduler import Instructions, Retries, Scheduler, State
from petal.spec.policy import Effects
from tests.simulation.checks import Broken, Checks
from tests.simulation.world import STOPPED, Effect, World

#: Seconds of the virtual clock after which something hangs.
LONGEST = 1e6


class Run:
    """One run of the world of a seed.

    Args:
        seed: The seed.
        scheduler: What schedules: the real one, or one with a defence switched off.
        has_keys: Whether what happens out there knows executions again by their idempotency key.
    """

    def __init__(self, seed: int, scheduler: type[Scheduler] = Scheduler, *, has_keys: bool = True) -> None:
        self.world = world = World(seed)
        rules = {i: u.rule for i, u in enumerate(world.units) if u.rule is not None}
        self.scheduler = scheduler(
            [u.waits for u in world.units],
            [u.streams for u in world.units],
            fail_fast=world.fail_fast,
            retries=Retries(rules, Random(seed + 1).random, world.budget) if rules else None,
        )
        self.checks = Checks(world)
        self.trace: list[str] = []
        self.now = 0.0
        self._has_keys = has_keys
        self._seen_keys: set[str] = set()
        self._ready: deque[int] = deque()
        self._running: dict[int, int] = {}  # by unit: the attempt that holds a worker
        self._ended: dict[int, bool] = {}
        self._stopping = False
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def go(self) -> None:
        """Run to the end.

        Raises:
            Broken: An invariant does not hold.
        """
        if self.world.stop_at is not None:
            self._at(self.world.stop_at, self._stop)
        self._follow(self.scheduler.begin())
        while True:
            self._fill()
            due = self.scheduler.next_due
            following = self._events[0][0] if self._events else None
            if due is not None and (following is None or due <= following):
                self.now = max(self.now, due)
                self._say("time has passed")
                self._follow(self.scheduler.due(self.now))
            elif following is not None:
                self.now = following
                heappop(self._events)[2]()
            else:
                break
            if self.now > LONGEST:
                raise Broken("the run hangs")
        self.checks.end(self.scheduler)

    # -- the engine's part ------------------------------------------------------------------------------------

    def _at(self, time: float, event: Callable[[], None]) -> None:
        self._count += 1
        heappush(self._events, (time, self._count, event))

    def _say(self, text: str) -> None:
        self.trace.append(f"{self.now:8.2f}  {text}")

    def _follow(self, todo: Instructions) -> None:
        if todo != Instructions():
            self._say(f"    start {todo.start} later {todo.later} skip {todo.skip} cancel {todo.cancel}")
        self.checks.told(todo, self.now)
        self._ready.extend(todo.start)

    def _fill(self) -> None:
        """Start what is ready, as long as there are workers."""
        while self._ready and len(self._running) < self.world.workers:
            unit = self._ready.popleft()
            if self.scheduler.states[unit] is not State.READY:
                continue
            attempt, place = self.scheduler.attempt_of(unit), self.scheduler.place_of(unit)
            self._say(f"unit {unit}: attempt {attempt} in place {place}")
            self.checks.starts(unit, attempt, place, self.now)
            self._running[unit] = attempt
            self._follow(self.scheduler.started(unit))
            if self.world.units[unit].rule is None:
                self._start_plain(unit)
            else:
                self._send(unit, attempt)

    def _start_plain(self, unit: int) -> None:
        after, ok = self.world.plain()
        self._at(self.now + after, lambda: self._plain_ends(unit, ok))

    def _plain_ends(self, unit: int, ok: bool) -> None:
        if unit in self._ended:
            return
        if ok and self._waits_for_rows(unit):
            self._at(self.now + 0.5, lambda: self._plain_ends(unit, ok))
            return
        self._end(unit, ok)

    def _waits_for_rows(self, unit: int) -> bool:
        return any(source not in self._ended for source in self.world.units[unit].streams)

    def _end(self, unit: int, ok: bool) -> None:
        """A unit ends without another attempt: a plain one, one whose input broke, or one that was stopped."""
        self._say(f"unit {unit} {'ends' if ok else 'fails'}")
        self._running.pop(unit, None)
        self._over(unit, ok)
        todo = self.scheduler.finished(unit, ok=ok)
        self.checks.ended(unit, ok)
        self._follow(todo)

    def _over(self, unit: int, ok: bool) -> None:
        self._ended[unit] = ok
        if not ok:
            for reader in [r for r in self._running if unit in self.world.units[r].streams]:
                self._at(self.now, lambda reader=reader: self._broken(reader))  # type: ignore[misc]

    def _broken(self, unit: int) -> None:
        if unit in self._running:
            self._end(unit, ok=False)

    def _send(self, unit: int, attempt: int) -> None:
        """Send an attempt away: what happens there, and what is heard of it, happens by itself."""
        for event in self.world.attempt():
            if isinstance(event, Effect):
                self._at(self.now + event.after, lambda: self._happens(unit, attempt))
            else:
                failure = event.failure
                self._at(
                    self.now + event.after,
                    lambda failure=failure: self._hears(unit, attempt, failure),  # type: ignore[misc]
                )

    def _happens(self, unit: int, attempt: int) -> None:
        """What a unit does to the world outside, where keys tell a second execution from a first one."""
        rule = self.world.units[unit].rule
        assert rule is not None
        key = f"run:{unit}" if rule.effects is Effects.IDEMPOTENT else f"run:{unit}:{attempt}"
        if self._has_keys and key in self._seen_keys:
            return
        self._seen_keys.add(key)
        self._say(f"unit {unit}: attempt {attempt} takes effect")
        self.checks.effect(unit, attempt)

    def _hears(self, unit: int, attempt: int, failure: Failure | None) -> None:
        """A reply comes: in time, late, or for the second time."""
        self._say(f"unit {unit}: attempt {attempt} says {failure.names[0] if failure else 'done'}")
        if failure is None:
            if self._running.get(unit) == attempt and self._waits_for_rows(unit):
                self._at(self.now + 0.5, lambda: self._hears(unit, attempt, failure))
                return
            if not self.scheduler.is_current(unit, attempt):
                self._follow(self.scheduler.succeeded(unit, attempt))
                return
            self.checks.commits(unit, attempt)
            self._say(f"unit {unit}: attempt {attempt} is published")
            self._running.pop(unit, None)
            self._over(unit, ok=True)
            self._follow(self.scheduler.succeeded(unit, attempt))
            return
        before = self.scheduler.states[unit]
        was_current = self._running.get(unit) == attempt
        if was_current:
            del self._running[unit]
        todo = self.scheduler.failed(unit, attempt, failure, self.now)
        self.checks.failed(unit, attempt, failure, todo, before, self.scheduler.states[unit])
        if was_current and self.scheduler.states[unit] in (State.FAILED, State.UNKNOWN):
            self._over(unit, ok=False)
        self._follow(todo)

    def _stop(self) -> None:
        """Somebody stops the run: what runs is told so, and what has been sent away is given up."""
        self._say("the run is stopped")
        self._stopping = True
        self.checks.stops()
        self._follow(self.scheduler.stop())
        for unit, attempt in list(self._running.items()):
            if self.world.random.random() < 0.5:
                continue  # it comes to its end before
            rule = self.world.units[unit].rule
            if rule is None or rule.effects is not Effects.ONCE:
                self._at(self.now + 0.1, lambda unit=unit: self._broken(unit))  # type: ignore[misc]
            else:
                self._at(
                    self.now + 0.1, lambda unit=unit, attempt=attempt: self._hears(unit, attempt, STOPPED)
                )  # type: ignore[misc]
