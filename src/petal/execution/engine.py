"""Run a plan: the engine does what the scheduler says, on threads, and reports every fact as an event."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from threading import Lock, Timer, get_ident
from time import perf_counter
from typing import TYPE_CHECKING, Any

from petal.data.spill import Counted
from petal.errors import JournalError, TimedOut
from petal.execution.alarm import Alarm
from petal.execution.direct import direct_call
from petal.execution.facts import Facts
from petal.execution.options import Options, new_run_id
from petal.execution.overrides import with_checked_overrides
from petal.execution.result import NodeResult, RunResult
from petal.execution.retrying import failure_of, rule_of
from petal.execution.scheduler import Instructions, Retries, Scheduler, State
from petal.execution.signals import Interrupt, Signals
from petal.execution.state import Collected, LeafStream, Ported, RunState
from petal.execution.stored import Reused
from petal.execution.unit_runner import UnitRunner
from petal.execution.units import Units
from petal.execution.workers import Workers
from petal.interfaces.source import Operator
from petal.planning.stages import feeds
from petal.spec.event import RunFinished, RunStarted, Status
from petal.spec.memory import without_collection
from petal.spec.pipeline import MISSING
from petal.spec.plan import Plan
from petal.spec.policy import duration_text

if TYPE_CHECKING:
    from petal.execution.remote import Sessions

# Names of their own: to read one from its class takes 0.1 µs, for every node.
_READY, _SUCCEEDED, _CANCELLED = State.READY, Status.SUCCEEDED, Status.CANCELLED


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

            self._sessions = Sessions(
                options.opener, options.folder, options.folders, options.ring, options.base
            )
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
        self._held = {self._units.of[i] for i in self._units.held}
        self._scheduler = Scheduler(
            self._units.waits,
            self._units.streams,
            fail_fast=options.fail_fast,
            retries=self._retries() if self._held else None,
        )
        self._lock = Lock()
        self._alarm: Alarm | None = None
        self._facts = Facts(
            plan,
            self._state.specs,
            self.run_id,
            options.emit,
            options.previews,
            options.journal,
            self._journal_is_broken if options.journal is not None else None,
        )
        if options.caching is not None and options.journal is not None:
            options.caching.stored = self._facts.stored
        self._state.publish = options.publish or self._facts.publish
        self._state.again = self._facts.again_in_batch
        self._state.describe = options.journal is not None
        self._workers = Workers(self._run_unit, options.workers)
        self._alone = {self._units.of[i] for i in self._state.trunks} | {
            u for u, s in enumerate(self._units.streams) if s
        }
        self._bug: BaseException | None = None
        stop = self._state.stop  # what waits looks at it
        self._signals = Signals(lambda number: stop.append(f"signal {number}"), self._state.abandon_outputs)
        self._runner = UnitRunner(self._state, self._facts, options, self._signals, self._sessions)
        self._main = get_ident()
        self._is_late = False

    def run(self) -> RunResult:
        """Run every unit and gather the results."""
        began = perf_counter()
        timer = self._timer()
        if self._options.caching is not None:
            self._options.caching.begin(self._plan)
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
            if self._facts.problem is not None:
                self._halt("journal")
            if self._alarm is not None:
                self._alarm.close()
            stopped_all = self._workers.close(self._options.grace if self._state.stop else 60.0)
            if self._sessions is not None:
                self._sessions.close(self._options.grace)
            self._state.abort_outputs(in_use=not stopped_all)
            if stopped_all:
                self._state.loop.close()
        if self._bug is not None:
            raise self._bug
        result = self._result(began)
        ended = RunFinished(self.run_id, time.time(), result.status, result.seconds, _counts(result))
        self._facts.record(ended, durable=True)
        self._facts.say(lambda: ended)
        self._facts.halt = None  # a method of the engine: without the cycle all is freed at once
        if self._facts.problem is not None:
            result.status, result.error = Status.FAILED, self._facts.problem
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
        return (
            self._scheduler.done
            or self._is_late
            or self._bug is not None
            or bool(self._signals.received)
            or self._facts.problem is not None
        )

    def _journal_is_broken(self) -> None:
        self._state.halt("journal")
        self._workers.wake()

    def _retries(self) -> Retries:
        """Say which units are tried again, and how."""
        from random import random

        rules = {}
        for index in self._units.held:
            policies = self._plan.nodes[index].policies
            if policies is None or policies.batch is not None:
                continue  # each call of a node in batches is tried again by itself, the node never
            rule = rule_of(policies)
            if rule is not None:
                rules[self._units.of[index]] = rule
        return Retries(rules, self._options.random or random)

    def _follow(self, todo: Instructions) -> None:
        for unit in todo.skip:
            self._never(unit, Status.SKIPPED)
        for unit in todo.cancel:
            self._never(unit, Status.CANCELLED)
        if todo.later:
            if self._alarm is None:
                self._alarm = Alarm(self._time_has_passed)
            self._alarm.set(min(at for _, at in todo.later))
        if todo.start:
            if self._alone:
                alone = [u for u in todo.start if u in self._alone]
                for unit in alone:
                    self._workers.add_alone(unit)
                if len(alone) < len(todo.start):
                    self._workers.add(tuple(u for u in todo.start if u not in self._alone))
            else:
                self._workers.add(todo.start)

    def _time_has_passed(self) -> float | None:
        """Start the units whose wait is over, and say when the next one's is."""
        with self._lock:
            self._follow(self._scheduler.due(perf_counter()))
            return self._scheduler.next_due

    def _never(self, unit: int, status: Status) -> None:
        """A unit that will not start, or not again: record its nodes; streams that it would have read go on."""
        tried = self._scheduler.attempt_of(unit) - 1 if unit in self._held else None
        for index in self._units.members[unit]:
            self._facts.finish(index, status, None, None, attempt=tried)
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
            if unit in self._held:
                self._try(unit)
                return
            direct = direct_call(self._state, unit)
            ok = self._runner.work(unit) if direct is None else self._runner.call(direct)
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
            if self._facts.problem is None or not isinstance(error, JournalError):
                self._bug = error
            self._state.halt("bug")
        finally:
            if scheduler.done or self._bug is not None or self._facts.problem is not None:
                self._workers.wake()

    def _try(self, unit: int) -> None:
        """Make one attempt of a held node, and have it tried again where its policies say so."""
        scheduler, facts = self._scheduler, self._facts
        (index,) = self._units.members[unit]
        tried = self._runner.attempt(index, scheduler.attempt_of(unit), scheduler.place_of(unit))
        status, error, hint = tried.status, tried.error, None
        with self._lock:
            if status is _SUCCEEDED:
                todo = scheduler.succeeded(unit, tried.attempt)
            elif error is not None:
                todo = scheduler.failed(unit, tried.attempt, failure_of(error), perf_counter())
                if scheduler.states[unit] is State.UNKNOWN:
                    status = Status.UNKNOWN
                elif scheduler.is_cut_short(unit):
                    hint = "the run has used up the attempts that it makes again in all"
            else:
                todo = scheduler.finished(unit, ok=False)
            again = scheduler.states[unit] in (State.LATER, _READY)
        if again and error is not None:
            at = todo.later[0][1] if todo.later else perf_counter()
            wait, seconds = max(0.0, at - perf_counter()), perf_counter() - tried.watch.began
            facts.again(index, tried.attempt, tried.backend, error, wait, seconds)
        else:
            facts.finish(
                index,
                status,
                error,
                tried.watch,
                tried.where,
                attempt=tried.attempt - tried.cached,
                backend=tried.backend,
                cached=tried.cached,
                hint=hint,
            )
        with self._lock:
            if not again:
                self._release([f.node for _, _, f in feeds(self._plan.nodes[index])])
            self._follow(todo)
        if status is Status.FAILED and not again and self._options.fail_fast:
            self._state.halt("fail-fast")

    def take(self, index: int) -> Any:
        """Return the output of a target as it flows: a value, or an iterator of items or batches."""
        value = self._state.values[index]
        return value.stream() if isinstance(value, LeafStream | Collected) else value

    def _release(self, sources: Sequence[int]) -> None:
        """With the lock held: free the values that nobody needs any more, once these are used."""
        state = self._state
        uses = state.uses
        for source in sources:
            left = uses[source] = uses[source] - 1
            if not left and source not in state.targets:
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
        running = self._running()
        nodes: dict[str, NodeResult] = {}
        for i, node in enumerate(self._plan.nodes):
            if i in running:
                self._runner.abandon(i)
            nodes[node.id] = self._facts.results[i] or NodeResult(Status.CANCELLED, attempts=0)
        if self._options.done:
            nodes = {n: found or nodes[n] for n, found in self._options.done.items()}
        statuses = {n.status for n in nodes.values()}
        if Status.FAILED in statuses or (Status.UNKNOWN in statuses and not self._state.stop):
            status = Status.FAILED
        elif statuses <= {Status.SUCCEEDED}:
            status = Status.SUCCEEDED
        else:
            status = Status.CANCELLED
        values: dict[str, Any] = {}
        for i in self._plan.targets:
            value = self._state.values[i]
            given = self._plan.overrides.get(i)
            if type(given) is Reused and given.artifact is None:
                continue  # it was not kept
            if isinstance(value, Collected):
                value = LeafStream(value, self._units.seen[i])
            elif isinstance(value, Ported):
                value = LeafStream(Counted(self._rows(i)), self._units.seen[i])
            values[self._plan.nodes[i].id] = None if value is MISSING else value
        error = None
        if self._is_late and status is not Status.SUCCEEDED:
            status, error = Status.FAILED, self._too_late(running)
        return RunResult(self.run_id, status, nodes, values, perf_counter() - began, error)

    def _running(self) -> frozenset[int]:
        """Return the nodes that are still at work on threads, which cannot be stopped."""
        if self._scheduler.done:
            return frozenset()
        states, of = self._scheduler.states, self._units.of
        results = self._facts.results
        return frozenset(i for i, r in enumerate(results) if r is None and states[of[i]] is State.RUNNING)

    def _too_late(self, running: frozenset[int]) -> TimedOut:
        assert self._plan.run_timeout is not None
        names = [f"`{node.id}`" for i, node in enumerate(self._plan.nodes) if i in running]
        still = f"; {', '.join(names)} cannot be stopped and may still run" if names else ""
        return TimedOut(
            f"the run took longer than its run_timeout of {duration_text(self._plan.run_timeout)}{still}",
            hint="give it more time, or a `timeout` to nodes that hang: it stops them",
        )


def _counts(result: RunResult) -> dict[str, int]:
    counts: dict[str, int] = {}
    for node in result.nodes.values():
        counts[node.status.value] = counts.get(node.status.value, 0) + 1
    return counts
