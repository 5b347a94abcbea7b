"""What must hold of every run, kept in books of their own beside the scheduler's."""

from __future__ import annotations

from petal.execution.retrying import LONGEST_THROTTLE, MOST_THROTTLES, Failure, Rule
from petal.execution.scheduler import BUDGET, Instructions, Scheduler, State
from petal.spec.policy import Effects, ErrorKind
from tests.simulation.world import World

_ENDS = {State.SUCCEEDED, State.FAILED, State.SKIPPED, State.UNKNOWN}


class Broken(AssertionError):
    """An invariant does not hold."""


def check(holds: bool, text: str) -> None:
    """Raise unless something holds."""
    if not holds:
        raise Broken(text)


class Book:
    """What is known of one unit."""

    def __init__(self) -> None:
        self.attempts = 0
        self.running: int | None = None
        self.place = 0
        self.used = 0  # attempts that count, as far as they have begun or are promised
        self.throttled = 0
        self.may_start = False
        self.not_before = 0.0
        self.unknown = False
        self.end: bool | None = None
        self.never = False
        self.commits = 0
        self.effects: dict[int, int] = {}


class Checks:
    """The invariants of one run.

    Args:
        world: The world that it runs in.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._books = [Book() for _ in world.units]
        self._stopping = False
        own = max((u.rule.max_attempts - 1 for u in world.units if u.rule is not None), default=0)
        self._budget = world.budget if world.budget is not None else max(BUDGET, own)

    # -- what the scheduler says ------------------------------------------------------------------------------

    def told(self, todo: Instructions, now: float) -> None:
        """Instructions: nothing starts too early, twice, or after its end."""
        check(not (self._stopping and (todo.start or todo.later)), "something starts after the stop")
        for unit in todo.start:
            self._promise(unit, now)
        for unit, at in todo.later:
            check(at > now, f"unit {unit} waits for a time that has passed")
            self._promise(unit, at)
        for unit in (*todo.skip, *todo.cancel):
            book = self._books[unit]
            check(
                book.end is None and not book.never and book.running is None, f"unit {unit} is over or runs"
            )
            book.never = True
        for unit in todo.skip:
            needed = self._world.units[unit].waits | self._world.units[unit].streams
            check(
                any(self._books[n].end is False or self._books[n].never for n in needed),
                f"unit {unit} is skipped although all that it needs is well",
            )
        check(self._stopping or not todo.cancel, "units are cancelled and nobody stopped the run")

    def _promise(self, unit: int, at: float) -> None:
        book, world = self._books[unit], self._world.units[unit]
        check(book.end is None and not book.never, f"unit {unit} starts after its end")
        check(book.running is None, f"unit {unit} starts while it runs")
        check(all(self._books[u].end for u in world.waits), f"unit {unit} starts before a value it needs")
        check(
            all(self._books[u].attempts for u in world.streams),
            f"unit {unit} starts before a stream it reads",
        )
        check(at >= book.not_before, f"unit {unit} starts before its wait is over")
        book.may_start, book.not_before = True, at

    def starts(self, unit: int, attempt: int, place: int, now: float) -> None:
        """An attempt starts."""
        book, rule = self._books[unit], self._world.units[unit].rule
        check(not self._stopping, f"unit {unit} starts after the stop")
        check(book.may_start and now >= book.not_before, f"unit {unit} starts and nobody said so")
        check(book.running is None and book.end is None and not book.never, f"unit {unit} starts twice")
        check(attempt == book.attempts + 1, f"unit {unit}: attempt {attempt} follows attempt {book.attempts}")
        check(place == book.place, f"unit {unit} runs in place {place}, not in {book.place}")
        check(
            not (book.unknown and rule is not None and rule.effects is Effects.ONCE),
            f"unit {unit}: after unknown",
        )
        broken = [u for u in self._world.units[unit].streams if self._books[u].end is False]
        check(not broken, f"unit {unit} reads a stream that is broken")
        if attempt == 1:
            book.used = 1
        check(book.used <= (rule.max_attempts if rule else 1), f"unit {unit} has {book.used} attempts")
        check(attempt <= (rule.most if rule else 1), f"unit {unit} has {attempt} attempts in all")
        book.attempts, book.running, book.may_start = attempt, attempt, False

    # -- what the engine does, and what happens outside -------------------------------------------------------

    def effect(self, unit: int, attempt: int) -> None:
        """What a unit does to the world happens."""
        book, rule = self._books[unit], self._world.units[unit].rule
        assert rule is not None
        count = book.effects[attempt] = book.effects.get(attempt, 0) + 1
        if rule.effects is Effects.ONCE:
            check(count == 1, f"unit {unit}: attempt {attempt} takes effect twice")
        elif rule.effects is Effects.IDEMPOTENT:
            check(
                sum(book.effects.values()) == 1, f"unit {unit}: attempts with the same key take effect twice"
            )

    def commits(self, unit: int, attempt: int) -> None:
        """What an attempt made is published."""
        book = self._books[unit]
        check(
            book.running == attempt, f"unit {unit}: attempt {attempt} publishes, and is not the one that runs"
        )
        book.commits += 1
        check(book.commits == 1, f"unit {unit} publishes twice")
        if self._world.units[unit].rule is not None:
            self._budget += 1
        book.running, book.end = None, True

    def ended(self, unit: int, ok: bool) -> None:
        """A unit ends that is not tried again."""
        book = self._books[unit]
        check(book.running is not None and book.end is None, f"unit {unit} ends and does not run")
        book.running = None
        self._ends(book, ok)

    def _ends(self, book: Book, ok: bool) -> None:
        book.end = ok
        self._stopping = self._stopping or (self._world.fail_fast and not ok)

    def failed(
        self, unit: int, attempt: int, failure: Failure, todo: Instructions, before: State, after: State
    ) -> None:
        """An attempt reports a failure; what it leads to is what the rule says."""
        book, rule = self._books[unit], self._world.units[unit].rule
        assert rule is not None
        if book.running != attempt:
            check(
                todo == Instructions(), f"unit {unit}: a reply of attempt {attempt} has an effect, too late"
            )
            check(after is before, f"unit {unit}: a reply of attempt {attempt} changes its state, too late")
            return
        book.running = None
        book.unknown = book.unknown or failure.unknown
        again = unit in todo.start or unit in [u for u, _ in todo.later]
        expected = None if self._stopping else self._expected(book, rule, failure)
        if expected is None:
            check(not again, f"unit {unit} is tried again after {failure.names[0]}")
            open_end = failure.unknown and rule.effects is Effects.ONCE
            check(after is (State.UNKNOWN if open_end else State.FAILED), f"unit {unit} ends as {after.name}")
            self._ends(book, False)
            return
        check(again, f"unit {unit} is not tried again after {failure.names[0]}")
        check(after in (State.READY, State.LATER), f"unit {unit} is {after.name} before its next attempt")
        if expected == "move":
            check(unit in todo.start, f"unit {unit} waits before it moves")
            book.place += 1
        elif expected == "throttle":
            book.throttled += 1
        else:
            book.used += 1
            self._budget -= 1

    def _expected(self, book: Book, rule: Rule, failure: Failure) -> str | None:
        """Say what the policies of DESIGN.md §5 come to, in the words of that page."""
        called = {failure.kind.value, *failure.names} | ({"unknown"} if failure.unknown else set())
        if failure.unknown and rule.effects is Effects.ONCE:
            return None  # after an unknown outcome nothing is retried or failed over
        if called & set(rule.abort_on):
            return None
        if failure.kind is ErrorKind.THROTTLE:
            waits = book.throttled < MOST_THROTTLES and (failure.after or 0) <= LONGEST_THROTTLE
            return "throttle" if waits else None
        if failure.kind is ErrorKind.INFRASTRUCTURE and book.place < rule.places - 1:
            return "move"
        if failure.permanent or failure.kind is ErrorKind.OUT_OF_MEMORY:
            wanted = bool({failure.names[0], "out_of_memory"} & called & set(rule.retry_on))
        else:
            wanted = not rule.retry_on or bool(called & set(rule.retry_on))
        return "again" if wanted and book.used < rule.max_attempts and self._budget > 0 else None

    def stops(self) -> None:
        """The run is stopped: from now on nothing may start."""
        self._stopping = True

    def end(self, scheduler: Scheduler) -> None:
        """Nothing happens any more: everything has come to its end, and the scheduler knows it."""
        check(scheduler.done, "the run hangs: nothing will happen, and it is not done")
        check(set(scheduler.states) <= _ENDS, f"units are left in {[s.name for s in scheduler.states]}")
        check(self._budget >= 0, "the run made more attempts than its budget allows")
        for unit, book in enumerate(self._books):
            check(book.never or book.end is not None, f"unit {unit} has no end")
            is_well = scheduler.states[unit] is State.SUCCEEDED
            check(is_well == bool(book.end), f"unit {unit} ends as {scheduler.states[unit].name}")
            rule = self._world.units[unit].rule
            if rule is not None and is_well:
                check(book.commits == 1, f"unit {unit} succeeded and published {book.commits} times")
        if not self._stopping:
            for unit, book in enumerate(self._books):
                needed = self._world.units[unit].waits | self._world.units[unit].streams
                well = all(self._books[n].end for n in needed)
                check(
                    book.attempts > 0 or not well, f"unit {unit} never ran although all that it needs is well"
                )
