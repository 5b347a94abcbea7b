"""Run one unit: a chain of nodes, a group in a worker process, a plain call, or one attempt of a held node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import get_ident
from time import perf_counter
from typing import TYPE_CHECKING

from msgspec import Struct

from petal.data.adapters import row_count
from petal.execution.chain import Chain
from petal.execution.direct import SCALARS, Direct
from petal.execution.facts import Facts
from petal.execution.options import Options
from petal.execution.result import NodeResult
from petal.execution.signals import Interrupt, Signals
from petal.execution.state import RunState
from petal.execution.stored import Reused
from petal.planning.moving import backend_of
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

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let a signal interrupt what runs on the main thread."""
        inline = get_ident() == self._main
        try:
            if inline:
                self._signals.raising = True
            yield
        finally:
            if inline:
                self._signals.raising = False

    def attempt(self, index: int, number: int, place: int) -> Tried:
        """Make one attempt of a held node, or take its output from the cache.

        Args:
            index: The node.
            number: The attempt, from 1.
            place: Where it runs: 0 for the node's backend, then those that it fails over to.
        """
        backend = backend_of(self._plan.nodes[index], place)
        chain = Chain(self._state, (index,), self._options.previews, number, place)
        watch = chain.watches[index]
        try:
            with self._interruptible():
                status = self._attempted(chain, index, number, backend)
        except BaseException:
            self._facts.finish(index, _CANCELLED, None, watch, attempt=number, backend=backend)
            raise
        error = chain.failure.errors[index] if status is Status.FAILED else None
        where = chain.failure.where.get(index)
        return Tried(number, backend, status, watch, error, where, chain.cached)

    def _attempted(self, chain: Chain, index: int, number: int, backend: str) -> Status:
        begin = partial(self._begin, attempt=number, backend=backend)
        policies, caching = self._plan.nodes[index].policies, self._options.caching
        if caching is None or policies is None:
            return chain.run(begin)[index]
        if policies.cache is not None:
            return caching.run(chain, index, begin, self._facts.begin)
        status = chain.run(begin)[index]
        if status is _SUCCEEDED and policies.kept:
            caching.keep(chain, index)
        return status

    def _begin(self, index: int, attempt: int = 1, backend: str | None = None) -> None:
        """An attempt of a node begins: record it first where that matters (S9.3)."""
        node, facts = self._plan.nodes[index], self._facts
        if self._options.journal is not None:
            once = node.policies is not None and node.policies.effects is Effects.ONCE
            if once or index in self._units.away or index in self._units.held:
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
            with self._interruptible():
                statuses = chain.run(self._begin)
        finally:
            if not statuses:
                statuses = dict.fromkeys(members, Status.CANCELLED)
            for index in members:
                error = chain.failure.errors.get(index) if statuses[index] is Status.FAILED else None
                self._facts.finish(
                    index, statuses[index], error, chain.watches[index], chain.failure.where.get(index)
                )
        return statuses[members[-1]] is Status.SUCCEEDED

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
            self._facts.take(index, result, told=index in group.told)
        return all(r.status is Status.SUCCEEDED for r in results.values())

    def call(self, direct: Direct) -> bool:
        """Run a node that takes values and gives one: no stream, no output file, no thread of its own."""
        index, state, signals = direct.node, self._state, self._signals
        if not self._facts.silent:
            self._begin(index)
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
                self._facts.finish_plain(index, perf_counter() - began, rows)
            else:
                watch = Watch(index)
                watch.began, watch.value, watch.rows = began, value, rows
                watch.spent = perf_counter() - began
                watch.inputs = direct.inputs(values)
                self._facts.finish(index, status, error, watch)
        return status is _SUCCEEDED
