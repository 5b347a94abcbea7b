"""Run one unit: a chain of nodes, a group in a worker process, a plain call, or one attempt of a held node."""

from __future__ import annotations

from functools import partial
from threading import get_ident
from time import perf_counter
from typing import TYPE_CHECKING

from msgspec import Struct

from petal.data.adapters import row_count
from petal.execution.chain import Chain, show
from petal.execution.direct import SCALARS, Direct
from petal.execution.facts import Facts
from petal.execution.options import Options
from petal.execution.result import NodeResult
from petal.execution.signals import Interrupt, Signals
from petal.execution.state import RunState
from petal.execution.stored import Reused
from petal.planning.moving import backend_of, backends_text
from petal.running.watch import Watch
from petal.spec.event import Status
from petal.spec.policy import Effects

if TYPE_CHECKING:
    from petal.execution.remote import Sessions

# Names of their own: to read one from its class takes 0.1 µs, for every node.
_SUCCEEDED, _CANCELLED = Status.SUCCEEDED, Status.CANCELLED


class Tried(Struct, frozen=True):
    """How one attempt of a held node ended.

    Attributes:
        attempt: Its number, from 1.
        backend: Where it ran.
        status: How it ended.
        watch: What was counted.
        error: What it raised, or None.
        where: The rows that it was at.
        cached: Whether the output came from the cache.
    """

    attempt: int
    backend: str
    status: Status
    watch: Watch
    error: BaseException | None
    where: str | None
    cached: bool


class _Interruptible:
    """A block in which a signal interrupts what runs on the main thread; one for all threads."""

    def __init__(self, signals: Signals, main: int) -> None:
        self._signals = signals
        self._main = main

    def __enter__(self) -> None:
        if get_ident() == self._main:
            self._signals.raising = True

    def __exit__(self, *_: object) -> None:
        if get_ident() == self._main:
            self._signals.raising = False


class UnitRunner:
    """Runs units of one run, on whatever thread it is called.

    Args:
        state: The run.
        facts: Told of what happens.
        options: How to run.
        signals: What interrupts the main thread; only while a node's own code runs there.
        sessions: The run's backends, None where all nodes run here.
    """

    def __init__(
        self, state: RunState, facts: Facts, options: Options, signals: Signals, sessions: Sessions | None
    ) -> None:
        self._state = state
        self._plan = state.plan
        self._units = state.units
        self._facts = facts
        self._options = options
        self._signals = signals
        self._sessions = sessions
        self._main = get_ident()
        self._interruptible = _Interruptible(signals, self._main)

    def attempt(self, index: int, number: int, place: int) -> Tried:
        """Make one attempt of a held node, or take its output from the cache.

        Args:
            index: The node.
            number: The attempt, from 1.
            place: Where it runs: 0 for the node's backend, then those that it fails over to.
        """
        backend = backend_of(self._plan.nodes[index], place)
        watch: Watch | None = None
        state = self._state
        caching, policies = self._options.caching, self._plan.nodes[index].policies
        try:
            with self._interruptible:
                asked = found = None
                if caching is not None and policies is not None and policies.cache is not None:
                    asked = caching.ask(state, index)
                    found = caching.find(state, index, asked) if asked is not None else None
                if found is None:
                    chain = Chain(state, (index,), self._options.previews, number, place)
                    watch = chain.watches[index]
                    begin = partial(self._begin, attempt=number, backend=backend)
                    if caching is not None and asked is not None:
                        status, found = caching.run(chain, index, asked, begin)
                    else:
                        status = chain.run(begin)[index]
                        if (
                            status is _SUCCEEDED
                            and caching is not None
                            and policies is not None
                            and policies.kept
                        ):
                            caching.keep(chain, index)
                if found is not None:
                    self._facts.begin(index)
                    watch = Watch(index)
                    show(state, index, found, watch)
                    return Tried(number, backend, _SUCCEEDED, watch, None, None, True)
        except BaseException:
            status, error = self._stopped(index, watch)
            self._facts.finish(index, status, error, watch, attempt=number, backend=backend)
            raise
        assert watch is not None
        error = chain.failure.errors[index] if status is Status.FAILED else None
        if status is _CANCELLED:
            status, error = self._stopped(index, watch)
        where = chain.failure.where.get(index)
        if status is _CANCELLED and not watch.began:
            number -= 1  # it was taken back before anybody had it
        backend = backends_text(self._plan.nodes[index], chain.places.get(index, ())) or backend
        return Tried(number, backend, status, watch, error, where, False)

    def _begin(self, index: int, attempt: int = 1, backend: str | None = None) -> None:
        """An attempt of a node begins: record it first where that matters (S9.3)."""
        facts = self._facts
        if self._options.journal is not None:
            node = self._plan.nodes[index]
            if index in facts.once or index in self._units.away or index in self._units.held:
                key = f"{self._state.run_id}:{node.id}"
                facts.submit(index, attempt, backend or backend_of(node), key)
        facts.begin(index, attempt, backend)

    def work(self, unit: int) -> bool:
        """Run a unit to its end; say whether its driver succeeded."""
        members = self._units.members[unit]
        state = self._state
        if len(members) == 1 and members[0] in self._plan.overrides:
            index = members[0]
            given = self._plan.overrides[index]
            self._facts.begin(index)
            if type(given) is Reused:
                state.values[index] = given.value(self._units.seen[index])
                before = NodeResult(_SUCCEEDED, True, 0, rows=given.rows)
                self._facts.take(index, before, told=False)
                return True
            state.values[index] = given
            self._facts.finish(index, Status.SUCCEEDED, None, None)
            return True
        if unit in self._units.moved:
            return self._move(unit)
        chain = Chain(state, members, self._options.previews)
        statuses: dict[int, Status] = {}
        try:
            with self._interruptible:
                statuses = chain.run(self._begin)
        finally:
            interrupted = not statuses
            if interrupted:
                statuses = dict.fromkeys(members, _CANCELLED)
            for index in members:
                status, watch = statuses[index], chain.watches[index]
                error = chain.failure.errors.get(index) if status is Status.FAILED else None
                if status is _CANCELLED and (interrupted or self._state.stop):
                    status, error = self._stopped(index, watch)
                where, places = chain.failure.where.get(index), chain.places.get(index)
                backend = backends_text(self._plan.nodes[index], places) if places else None
                self._facts.finish(index, status, error, watch, where, backend=backend)
        return statuses[members[-1]] is Status.SUCCEEDED

    def abandon(self, index: int) -> None:
        """The run ends while a node is still at work on a thread, which nobody can stop."""
        status, error = self._cut_short(index)
        self._facts.finish(index, status, error, None, attempt=1)

    def _stopped(self, index: int, watch: Watch | None) -> tuple[Status, BaseException | None]:
        """Say how a node ended whose attempt a stop may have cut short."""
        return (_CANCELLED, None) if watch is None or not watch.began else self._cut_short(index)

    def _cut_short(self, index: int) -> tuple[Status, BaseException | None]:
        """Say how a node ended that a stop has cut short: of one that must not run twice nobody knows (S5.4)."""
        policies = self._plan.nodes[index].policies
        if policies is None or policies.effects is not Effects.ONCE:
            return _CANCELLED, None
        from petal.execution.failures import cut_short

        return Status.UNKNOWN, cut_short(self._plan.nodes[index].id)

    def _move(self, unit: int) -> bool:
        """Run a group of nodes in a worker process."""
        from petal.execution.moved import Group

        assert self._sessions is not None
        moved = self._units.moved[unit]
        for index in moved.nodes:
            self._facts.submit(index, 1, "process", f"{self._state.run_id}:{self._plan.nodes[index].id}")
        inputs = Chain(self._state, moved.nodes, previews=False)
        options = {"previews": self._options.previews, "window": self._options.window}
        group = Group(self._state, self._sessions, moved, inputs.input, self._options.emit, options)
        results = group.run()
        for index, result in results.items():
            told = index in group.told and result.status is not Status.UNKNOWN
            self._facts.take(index, result, told=told)
        return all(r.status is Status.SUCCEEDED for r in results.values())

    def call(self, direct: Direct) -> bool:
        """Run a node that takes values and gives one: no stream, no output file, no thread of its own."""
        index, state, signals = direct.node, self._state, self._signals
        facts = self._facts
        if facts.listened or index in facts.once:
            self._begin(index, 1, "local")
        inline = get_ident() == self._main
        values, error, status = state.values, None, _CANCELLED
        began = perf_counter()
        try:
            if inline:
                signals.raising = True
            values[index] = direct.call(values, state.loop)
            status = _SUCCEEDED
        except (Interrupt, KeyboardInterrupt):
            raise
        except BaseException as raised:  # SystemExit as well: a node that exits has failed
            error, status = raised, Status.FAILED
        finally:
            if inline:
                signals.raising = False
            value = values[index]
            rows = None if type(value) in SCALARS else row_count(value)
            if status is _SUCCEEDED and not self._options.previews:
                facts.finish_plain(index, perf_counter() - began, rows)
            else:
                watch = Watch(index)
                watch.began, watch.value, watch.rows = began, value, rows
                watch.spent = perf_counter() - began
                watch.inputs = direct.inputs(values)
                if status is _CANCELLED:
                    status, error = self._stopped(index, watch)
                self._facts.finish(index, status, error, watch)
        return status is _SUCCEEDED
