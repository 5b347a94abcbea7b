"""Run a plan: the engine does what the scheduler says, on threads, and reports every fact as an event."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from threading import Lock, Timer, get_ident
from time import perf_counter
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from petal.data.adapters import row_count
from petal.data.spill import Counted
from petal.errors import TimedOut
from petal.execution.chain import Chain
from petal.execution.direct import SCALARS, Direct, direct_call
from petal.execution.facts import Facts
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
from petal.spec.event import Event, RunFinished, RunStarted, Status
from petal.spec.memory import without_collection
from petal.spec.pipeline import MISSING
from petal.spec.plan import Plan
from petal.spec.policy import duration_text

if TYPE_CHECKING:
    from petal.data.files import Outputs
    from petal.data.signing import Keyring
    from petal.execution.remote import Opener, Sessions

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
        opener: Opens a backend by name, settings and folder; None where all nodes run here.
        folders: Folders whose Python must be importable in other processes.
        ring: The keys that seal messages to backends, or None.
        publish: Called instead of publishing what a node has written, in a worker process.
        run_id: The run's id, in a worker process; None for a new one.
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
    opener: Opener | None = None
    folders: tuple[str, ...] = ()
    ring: Keyring | None = None
    publish: Callable[[str, Outputs], None] | None = None
    run_id: str | None = None


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
        self.run_id = options.run_id or new_run_id()
        self._units = Units(plan)
        self._sessions: Sessions | None = None
        if self._units.away or self._units.moved:
            # With it comes the wire, which a run that stays here never needs.
            from petal.execution.remote import Sessions

            self._sessions = Sessions(options.opener, options.folder, options.folders, options.ring)
        self._state = RunState(
            plan,
            operators,
            self._units,
            self.run_id,
            options.folder,
            options.window,
            options.keep,
            self._sessions,
            options.publish,
        )
        self._scheduler = Scheduler(self._units.waits, self._units.streams, fail_fast=options.fail_fast)
        self._lock = Lock()
        self._facts = Facts(plan, self._state.specs, self.run_id, options.emit, options.previews)
        self._workers = Workers(self._run_unit, options.workers)
        self._alone = {self._units.of[i] for i in self._state.trunks} | {
            u for u, s in enumerate(self._units.streams) if s
        }
        self._bug: BaseException | None = None
        stop = self._state.stop  # what waits looks at it
        self._signals = Signals(lambda number: stop.append(f"signal {number}"), self._state.abandon_outputs)
        self._main = get_ident()
        self._is_late = False

    def run(self) -> RunResult:
        """Run every unit and gather the results."""
        began = perf_counter()
        timer = self._timer()
        self._facts.say(lambda: RunStarted(self.run_id, time.time(), self._plan.name, len(self._plan.nodes)))
        interrupt: BaseException | None = None
        with self._signals if self._options.handle_signals else nullcontext():
            try:
                self._follow(self._scheduler.begin())
                self._workers.work(self._is_done)
                if self._signals.received:
                    self._halt("signal")
            except (Interrupt, KeyboardInterrupt) as error:
                interrupt = error if not self._is_late else None
                self._halt(type(error).__name__)
            if timer is not None:
                timer.cancel()
            if self._is_late:
                self._halt("run_timeout")
            stopped_all = self._workers.close(self._options.grace if self._state.stop else 60.0)
            if self._sessions is not None:
                self._sessions.close(self._options.grace)
            self._state.abort_outputs(in_use=not stopped_all)
            if stopped_all:
                self._state.loop.close()
        if self._bug is not None:
            raise self._bug
        result = self._result(began)
        self._facts.say(
            lambda: RunFinished(self.run_id, time.time(), result.status, result.seconds, _counts(result))
        )
        if interrupt is not None or self._signals.received:
            raise Interrupt(self._signals.received or 2, result) from None
        return result

    def _timer(self) -> Timer | None:
        if self._plan.run_timeout is None:
            return None
        timer = Timer(self._plan.run_timeout, self._time_is_over)
        timer.daemon = True
        timer.start()
        return timer

    def _time_is_over(self) -> None:
        self._is_late = True
        self._state.halt("run_timeout")
        self._workers.wake()
        self._signals.interrupt()

    # -- following the scheduler ------------------------------------------------------------------------------

    def _is_done(self) -> bool:
        return self._scheduler.done or self._is_late or self._bug is not None or bool(self._signals.received)

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
            self._facts.finish(index, status, None, None)
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
            self._facts.begin(index)
            state.values[index] = self._plan.overrides[index]
            self._facts.finish(index, Status.SUCCEEDED, None, None)
            return True
        if unit in self._units.moved:
            return self._move(unit)
        chain = Chain(state, members, self._options.previews)
        statuses: dict[int, Status] = {}
        inline = get_ident() == self._main
        try:
            if inline:
                self._signals.raising = True
            statuses = chain.run(self._facts.begin)
        finally:
            if inline:
                self._signals.raising = False
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
        inputs = Chain(self._state, moved.nodes, previews=False)
        options = {"previews": self._options.previews, "window": self._options.window}
        group = Group(self._state, self._sessions, moved, inputs.input, self._emit, options)
        results = group.run()
        for index, result in results.items():
            self._facts.take(index, result, told=index in group.told)
        return all(r.status is Status.SUCCEEDED for r in results.values())

    def take(self, index: int) -> Any:
        """Return the output of a target as it flows: a value, or an iterator of items or batches."""
        value = self._state.values[index]
        return value.stream() if isinstance(value, LeafStream | Collected) else value

    def _call(self, direct: Direct) -> bool:
        """Run a node that takes values and gives one: no stream, no output file, no thread of its own."""
        index, state, signals = direct.node, self._state, self._signals
        if self._emit is not None:
            self._facts.begin(index)
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
                self._facts.results[index] = NodeResult(
                    status, False, 1, None, "local", rows, seconds, seconds
                )
            else:
                watch = Watch(index)
                watch.began, watch.value, watch.rows = began, value, rows
                watch.spent = perf_counter() - began
                watch.inputs = direct.inputs(values)
                self._facts.finish(index, status, error, watch)
        return status is _SUCCEEDED

    def _release(self, sources: Sequence[int]) -> None:
        """With the lock held: free the values that nobody needs any more, once these are used."""
        state = self._state
        uses = state.uses
        for source in sources:
            uses[source] -= 1
            if not uses[source] and source not in state.targets:
                state.values[source] = None

    # -- the end ----------------------------------------------------------------------------------------------

    def _halt(self, reason: str) -> None:
        self._state.halt(reason)
        with self._lock:
            self._follow(self._scheduler.stop())

    def _rows(self, index: int) -> int:
        result = self._facts.results[index]
        return result.rows or 0 if result is not None else 0

    def _result(self, began: float) -> RunResult:
        if self._state.stop or not self._scheduler.done:
            with self._lock:
                self._follow(self._scheduler.stop())
        nodes: dict[str, NodeResult] = {}
        for i, node in enumerate(self._plan.nodes):
            nodes[node.id] = self._facts.results[i] or NodeResult(Status.CANCELLED, attempts=0)
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
        error = None
        if self._is_late and status is not Status.SUCCEEDED:
            status, error = Status.FAILED, self._too_late()
        return RunResult(self.run_id, status, nodes, values, perf_counter() - began, error)

    def _too_late(self) -> TimedOut:
        assert self._plan.run_timeout is not None
        running = [
            f"`{node.id}`"
            for i, node in enumerate(self._plan.nodes)
            if self._facts.results[i] is None and self._scheduler.states[self._units.of[i]] is State.RUNNING
        ]
        still = f"; {', '.join(running)} cannot be stopped and may still run" if running else ""
        return TimedOut(
            f"the run took longer than its run_timeout of {duration_text(self._plan.run_timeout)}{still}",
            hint="give it more time, or a `timeout` to nodes that hang: it stops them",
        )


def _counts(result: RunResult) -> dict[str, int]:
    counts: dict[str, int] = {}
    for node in result.nodes.values():
        counts[node.status.value] = counts.get(node.status.value, 0) + 1
    return counts
