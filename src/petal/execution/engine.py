"""Run a plan: the engine does what the scheduler says, on threads, and reports every fact as an event."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from threading import Lock, get_ident
from time import perf_counter
from typing import Any

from msgspec import Struct

from petal.data.adapters import row_count
from petal.data.spill import Counted
from petal.errors import NodeFailed
from petal.execution.chain import Chain
from petal.execution.direct import SCALARS, Direct, direct_call
from petal.execution.overrides import with_checked_overrides
from petal.execution.result import NodeResult, RunResult
from petal.execution.scheduler import Instructions, Scheduler, State
from petal.execution.signals import Interrupt, Signals
from petal.execution.state import Collected, LeafStream, Ported, RunState
from petal.execution.units import Units
from petal.execution.workers import Workers
from petal.interfaces.source import Operator
from petal.planning.stages import feeds
from petal.running.watch import Watch
from petal.spec.event import Event, NodeFinished, NodeStarted, RunFinished, RunStarted, Status
from petal.spec.memory import without_collection
from petal.spec.pipeline import MISSING
from petal.spec.plan import Plan
from petal.spec.redaction import preview

# Names of their own: to read one from its class takes 0.1 µs, for every node.
_READY, _SUCCEEDED, _CANCELLED = State.READY, Status.SUCCEEDED, Status.CANCELLED


class Options(Struct, frozen=True):
    """How to run.

    Attributes:
        workers: Threads at most for nodes that run at the same time; stages have their own.
        fail_fast: Whether the first failure stops everything else.
        grace: Seconds that threads have to stop after a signal.
        folder: Where streams spill, None for the temporary folder.
        emit: Called with every event, from several threads; None when nobody listens.
        previews: Whether events carry the first rows of inputs and outputs.
        handle_signals: Whether SIGINT and SIGTERM stop the run in an orderly way.
        window: Batches in memory per buffer, None for the default.
        keep: Whether the streams that nobody consumes are kept for who asks for the outputs; else they are counted.
    """

    workers: int = 64
    fail_fast: bool = False
    grace: float = 3.0
    folder: str | None = None
    emit: Callable[[Event], None] | None = None
    previews: bool = False
    handle_signals: bool = True
    window: int | None = None
    keep: bool = True


def new_run_id(now: float | None = None) -> str:
    """Make a run id: UTC time and 8 random characters (S5.8)."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    return f"{stamp}-{os.urandom(4).hex()}"


def execute(plan: Plan, operators: Mapping[str, Operator], options: Options | None = None) -> RunResult:
    """Run a plan to its end.

    Raises:
        UsageError: The value of an override does not fit its node's output.
        Interrupt: A signal stopped the run; everything is cleaned up, ``result`` says how far it came.
    """
    return Engine(with_checked_overrides(plan), dict(operators), options or Options()).run()


class Engine:
    """One run of one plan."""

    @without_collection
    def __init__(self, plan: Plan, operators: dict[str, Operator], options: Options) -> None:
        self._plan = plan
        self._options = options
        self._emit = options.emit
        self.run_id = new_run_id()
        self._units = Units(plan)
        self._state = RunState(
            plan, operators, self._units, self.run_id, options.folder, options.window, options.keep
        )
        self._scheduler = Scheduler(self._units.waits, self._units.streams, fail_fast=options.fail_fast)
        self._lock = Lock()
        self._results: list[NodeResult | None] = [None] * len(plan.nodes)
        self._workers = Workers(self._run_unit, options.workers)
        self._alone = {self._units.of[i] for i in self._state.trunks} | {
            u for u, s in enumerate(self._units.streams) if s
        }
        self._bug: BaseException | None = None
        stop = self._state.stop  # what waits looks at it
        self._signals = Signals(lambda number: stop.append(f"signal {number}"), self._state.abandon_outputs)
        self._main = get_ident()

    def run(self) -> RunResult:
        """Run every unit and gather the results."""
        began = perf_counter()
        self._say(lambda: RunStarted(self.run_id, time.time(), self._plan.name, len(self._plan.nodes)))
        interrupt: BaseException | None = None
        with self._signals if self._options.handle_signals else nullcontext():
            try:
                self._follow(self._scheduler.begin())
                self._workers.work(self._is_done)
                if self._signals.received:
                    self._halt("signal")
            except (Interrupt, KeyboardInterrupt) as error:
                interrupt = error
                self._halt(type(error).__name__)
            stopped_all = self._workers.close(self._options.grace if self._state.stop else 60.0)
            self._state.abort_outputs(in_use=not stopped_all)
            if stopped_all:
                self._state.loop.close()
        if self._bug is not None:
            raise self._bug
        result = self._result(began)
        self._say(
            lambda: RunFinished(self.run_id, time.time(), result.status, result.seconds, _counts(result))
        )
        if interrupt is not None or self._signals.received:
            raise Interrupt(self._signals.received or 2, result) from None
        return result

    # -- following the scheduler ------------------------------------------------------------------------------

    def _is_done(self) -> bool:
        return self._scheduler.done or self._bug is not None or bool(self._signals.received)

    def _follow(self, todo: Instructions) -> None:
        for unit in todo.skip:
            self._never(unit, Status.SKIPPED)
        for unit in todo.cancel:
            self._never(unit, Status.CANCELLED)
        if todo.start:
            if self._alone:
                alone = [u for u in todo.start if u in self._alone]
                for unit in alone:
                    self._workers.add_alone(unit)
                if len(alone) < len(todo.start):
                    self._workers.add(tuple(u for u in todo.start if u not in self._alone))
            else:
                self._workers.add(todo.start)

    def _never(self, unit: int, status: Status) -> None:
        """A unit that will not start: record its nodes and let the streams that it would have read go on."""
        for index in self._units.members[unit]:
            self._finish(index, status, None, None)
            for branch in self._state.branches_of.get(index, ()):
                branch.close(failed=True)
        driver = self._units.members[unit][-1]
        trunk = self._state.trunks.get(driver)
        if trunk is not None:
            trunk.finish(broken=True)

    def _run_unit(self, unit: int) -> None:
        scheduler, lock = self._scheduler, self._lock
        try:
            with lock:
                if scheduler.states[unit] is not _READY:
                    return
                todo = scheduler.started(unit)
                if todo.start:
                    self._follow(todo)
            direct = direct_call(self._state, unit)
            ok = self._work(unit) if direct is None else self._call(direct)
            with lock:
                if direct is not None:
                    self._release(direct.sources)
                else:
                    for index in self._units.members[unit]:
                        self._release([f.node for _, _, f in feeds(self._plan.nodes[index])])
                todo = scheduler.finished(unit, ok=ok)
                if todo.start or not ok:
                    self._follow(todo)
                if not ok and self._options.fail_fast:
                    self._state.halt("fail-fast")
        except BaseException as error:  # a bug of ours: never swallow it, never hang
            if isinstance(error, Interrupt | KeyboardInterrupt) and get_ident() == self._main:
                raise
            self._bug = error
            self._state.halt("bug")
        if scheduler.done or self._bug is not None:
            self._workers.wake()

    def _work(self, unit: int) -> bool:
        members = self._units.members[unit]
        state = self._state
        if len(members) == 1 and members[0] in self._plan.overrides:
            index = members[0]
            self._begin(index)
            state.values[index] = self._plan.overrides[index]
            self._finish(index, Status.SUCCEEDED, None, None)
            return True
        chain = Chain(state, members, self._options.previews)
        statuses: dict[int, Status] = {}
        inline = get_ident() == self._main
        try:
            if inline:
                self._signals.raising = True
            statuses = chain.run(self._begin)
        finally:
            if inline:
                self._signals.raising = False
            if not statuses:
                statuses = dict.fromkeys(members, Status.CANCELLED)
            for index in members:
                error = chain.failure.errors.get(index) if statuses[index] is Status.FAILED else None
                self._finish(
                    index, statuses[index], error, chain.watches[index], chain.failure.where.get(index)
                )
        return statuses[members[-1]] is Status.SUCCEEDED

    def _call(self, direct: Direct) -> bool:
        """Run a node that takes values and gives one: no stream, no output file, no thread of its own."""
        index, state, signals = direct.node, self._state, self._signals
        if self._emit is not None:
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
            if self._emit is None and error is None:
                seconds = perf_counter() - began
                self._results[index] = NodeResult(status, False, 1, None, "local", rows, seconds, seconds)
            else:
                watch = Watch(index)
                watch.began, watch.value, watch.rows = began, value, rows
                watch.spent = perf_counter() - began
                watch.inputs = direct.inputs(values)
                self._finish(index, status, error, watch)
        return status is _SUCCEEDED

    def _release(self, sources: Sequence[int]) -> None:
        """With the lock held: free the values that nobody needs any more, once these are used."""
        state = self._state
        uses = state.uses
        for source in sources:
            uses[source] -= 1
            if not uses[source] and source not in state.targets:
                state.values[source] = None

    # -- facts ------------------------------------------------------------------------------------------------

    def _say(self, make: Callable[[], Event]) -> None:
        if self._emit is not None:
            self._emit(make())

    def _begin(self, index: int) -> None:
        if self._emit is not None:
            node = self._plan.nodes[index]
            self._emit(NodeStarted(self.run_id, time.time(), node.id, node.operator))

    def _finish(
        self,
        index: int,
        status: Status,
        error: BaseException | None,
        watch: Watch | None,
        where: str | None = None,
    ) -> None:
        node = self._plan.nodes[index]
        failure = None
        if error is not None:
            from petal.execution.failures import (
                node_failed,  # traceback and sysconfig: only a failure pays for them
            )

            failure = node_failed(node, self._state.specs[index], error, where=where)
        began = watch.began if watch is not None else 0.0
        seconds = perf_counter() - began if began else 0.0
        attempts = 1 if began or index in self._plan.overrides else 0
        rows = watch.rows if watch is not None else None
        own = watch.own_seconds if watch is not None else 0.0
        batches = watch.batches if watch is not None else None
        self._results[index] = NodeResult(
            status, False, attempts, failure, "local", rows, seconds, own, batches
        )
        if self._emit is not None:
            self._emit(self._finished(index, status, failure, watch, seconds, rows))

    def _finished(
        self,
        index: int,
        status: Status,
        failure: NodeFailed | None,
        watch: Watch | None,
        seconds: float,
        rows: int | None,
    ) -> NodeFinished:
        node = self._plan.nodes[index]
        inputs = output = rows_in = None
        if watch is not None:
            rows_in = {n: sum(r.rows or 0 for r in reads) for n, reads in watch.reads.items()} or None
            if self._options.previews:
                inputs = {n: self._preview(v) for n, v in watch.inputs.items()}
                inputs |= {
                    n: preview([h for r in reads for h in getattr(r, "head", None) or []][:3])
                    for n, reads in watch.reads.items()
                }
                value = watch.head if watch.head is not None else watch.value
                output = preview(value) if self._state.specs[index].outputs else None
        return NodeFinished(
            self.run_id,
            time.time(),
            node.id,
            node.operator,
            status,
            seconds,
            own_seconds=watch.own_seconds if watch is not None else 0.0,
            rows_in=rows_in,
            rows=rows,
            batches=watch.batches if watch is not None else None,
            error=failure.message if failure is not None else None,
            kind=failure.kind if failure is not None else None,
            inputs=inputs,
            output=output,
        )

    def _preview(self, value: Any) -> str:
        return f"{value.rows} rows" if isinstance(value, Collected) else preview(value)

    # -- the end ----------------------------------------------------------------------------------------------

    def _halt(self, reason: str) -> None:
        self._state.halt(reason)
        with self._lock:
            self._follow(self._scheduler.stop())

    def _rows(self, index: int) -> int:
        result = self._results[index]
        return result.rows or 0 if result is not None else 0

    def _result(self, began: float) -> RunResult:
        if self._state.stop or not self._scheduler.done:
            with self._lock:
                self._follow(self._scheduler.stop())
        nodes: dict[str, NodeResult] = {}
        for i, node in enumerate(self._plan.nodes):
            nodes[node.id] = self._results[i] or NodeResult(Status.CANCELLED, attempts=0)
        statuses = {n.status for n in nodes.values()}
        if Status.FAILED in statuses:
            status = Status.FAILED
        elif statuses <= {Status.SUCCEEDED}:
            status = Status.SUCCEEDED
        else:
            status = Status.CANCELLED
        values: dict[str, Any] = {}
        for i in self._plan.targets:
            value = self._state.values[i]
            if isinstance(value, Collected):
                value = LeafStream(value, self._units.seen[i])
            elif isinstance(value, Ported):
                value = LeafStream(Counted(self._rows(i)), self._units.seen[i])
            values[self._plan.nodes[i].id] = None if value is MISSING else value
        return RunResult(self.run_id, status, nodes, values, perf_counter() - began)


def _counts(result: RunResult) -> dict[str, int]:
    counts: dict[str, int] = {}
    for node in result.nodes.values():
        counts[node.status.value] = counts.get(node.status.value, 0) + 1
    return counts
