"""What a run tells: a result for each node, and events for whoever listens."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from petal.data.files import Outputs
from petal.errors import JournalError, NodeFailed, TaskLost
from petal.execution.result import Attempt, NodeResult
from petal.execution.state import Collected
from petal.interfaces.journal import Journal
from petal.planning.moving import backend_of
from petal.running.watch import Watch
from petal.spec.event import (
    AttemptFailed,
    AttemptSubmitted,
    Event,
    NodeFinished,
    NodeStarted,
    NodeStored,
    Status,
)
from petal.spec.operator import OperatorSpec
from petal.spec.plan import Plan, Resolved
from petal.spec.policy import Effects
from petal.spec.redaction import preview

if TYPE_CHECKING:
    from petal.data.artifact import Artifact

_SUCCEEDED = Status.SUCCEEDED


class Facts:
    """Keeps the results of a run's nodes, records what happens in the journal, and reports it.

    Args:
        plan: The plan.
        specs: The operator of each node.
        run_id: The run.
        emit: Called with every event; None when nobody listens.
        previews: Whether events carry the first rows of inputs and outputs.
        journal: Takes what must outlive the run; None where nothing is kept.
        halt: Called once when the journal cannot be written any more (S9.5).

    Attributes:
        results: How each node ended, by index.
        problem: Why the journal cannot be written, or None.
    """

    def __init__(
        self,
        plan: Plan,
        specs: Sequence[OperatorSpec],
        run_id: str,
        emit: Callable[[Event], None] | None,
        previews: bool,
        journal: Journal | None = None,
        halt: Callable[[], None] | None = None,
    ) -> None:
        self._plan = plan
        self._specs = specs
        self._run_id = run_id
        self._emit = emit
        self._previews = previews
        self._journal = journal
        self.halt = halt
        self.problem: JournalError | None = None
        self.results: list[NodeResult | None] = [None] * len(plan.nodes)
        self._history: dict[int, list[Attempt]] = {}
        #: What must not run twice: its end is recorded as durably as its beginning (S9.3).
        self.once = _once(plan) if journal is not None else frozenset()
        #: Whether somebody hears of events as they happen.
        self.listened = emit is not None
        #: Whether a node that has ended well leaves no more behind than its result.
        self.silent = emit is None and journal is None

    def say(self, make: Callable[[], Event]) -> None:
        """Report an event, made only if somebody listens."""
        if self._emit is not None:
            self._emit(make())

    def record(self, event: Event, *, durable: bool = False) -> None:
        """Write an event into the journal; where that cannot be, no new node starts."""
        if self._journal is None or self.problem is not None:
            return
        try:
            self._journal.append(event, durable=durable)
        except JournalError as error:
            self.problem = error
            if self.halt is not None:
                self.halt()

    def publish(self, node: str, outputs: Outputs) -> None:
        """Publish what a node has written, and record that it is stored."""
        found = outputs.commit()
        if self._journal is not None and found:
            stored = NodeStored(self._run_id, time.time(), node, targets=tuple(found))
            self.record(stored, durable=True)

    def stored(self, index: int, key: str, artifact: Artifact) -> None:
        """Record that a node's output is kept under a key, where a resumed run finds it."""
        node = self._plan.nodes[index]
        event = NodeStored(self._run_id, time.time(), node.id, artifact.digest, key=key, rows=artifact.rows)
        self.record(event, durable=node.policies is not None and node.policies.kept)

    def begin(self, index: int, attempt: int = 1, backend: str | None = None) -> None:
        """An attempt of a node begins."""
        if self._emit is not None:
            node = self._plan.nodes[index]
            where = backend or backend_of(node)
            self._emit(NodeStarted(self._run_id, time.time(), node.id, node.operator, where, attempt))

    def submit(self, index: int, attempt: int, backend: str, key: str) -> None:
        """An attempt is about to be made that leaves this process, or that must not happen twice (S9.3)."""
        if self._journal is None:
            return
        node = self._plan.nodes[index]
        # What runs in this process or in its workers ends with it: only a power loss could hide that it began.
        elsewhere = backend not in ("local", "process")
        event = AttemptSubmitted(self._run_id, time.time(), node.id, attempt, backend, key)
        self.record(event, durable=elsewhere or index in self.once)
        if self.problem is not None:
            raise self.problem

    def again(
        self, index: int, attempt: int, backend: str, error: BaseException, wait: float, seconds: float
    ) -> None:
        """An attempt has failed, and the node is tried again in ``wait`` seconds."""
        failure = self._tell_again(index, attempt, backend, error, wait)
        self._history.setdefault(index, []).append(
            Attempt(attempt, backend, Status.FAILED, failure.kind, failure.message, seconds, wait)
        )

    def _tell_again(
        self,
        index: int,
        attempt: int,
        backend: str,
        error: BaseException,
        wait: float,
        where: str | None = None,
    ) -> NodeFailed:
        node, failure = self._plan.nodes[index], self._failure(index, error, attempt, where)
        event = AttemptFailed(
            self._run_id,
            time.time(),
            node.id,
            attempt,
            backend,
            failure.kind,
            failure.message,
            wait,
            isinstance(error, TaskLost),
            where or "",
        )
        self.record(event)
        if self._emit is not None:
            self._emit(event)
        return failure

    def again_in_batch(
        self, index: int, attempt: int, backend: str, error: BaseException, wait: float, where: str
    ) -> None:
        """A call of a node in batches has failed, and is made again in ``wait`` seconds."""
        if not self.silent:
            self._tell_again(index, attempt, backend, error, wait, where)

    def finish(
        self,
        index: int,
        status: Status,
        error: BaseException | None,
        watch: Watch | None,
        where: str | None = None,
        *,
        attempt: int | None = None,
        backend: str | None = None,
        cached: bool = False,
        hint: str | None = None,
    ) -> None:
        """A node has ended.

        Args:
            index: The node.
            status: How.
            error: What its code raised.
            watch: What was counted, None for a node that did not start.
            where: The rows that it was at.
            attempt: How many attempts there were, where that is not told by the watch.
            backend: Where the last of them ran.
            cached: Whether its output came from the cache.
            hint: What more to say about the error.
        """
        node = self._plan.nodes[index]
        began = watch.began if watch is not None else 0.0
        if attempt is None:
            attempt = 1 if began or index in self._plan.overrides else 0
        failure = None
        if error is not None:
            failure = self._failure(index, error, attempt, where)
            if hint is not None and failure.hint is None:
                failure.hint = hint
            if isinstance(error, TaskLost) and status is Status.FAILED and self._is_once(index):
                status = Status.UNKNOWN
        seconds = perf_counter() - began if began else 0.0
        backend = backend or backend_of(node)
        history: tuple[Attempt, ...] = ()
        if index in self._history:
            kind, text = (failure.kind, failure.message) if failure is not None else (None, None)
            last = [Attempt(attempt, backend, status, kind, text, seconds)] if began else []
            history = (*self._history.pop(index), *last)
        rows = watch.rows if watch is not None else None
        own = watch.own_seconds if watch is not None else 0.0
        batches = watch.batches if watch is not None else None
        result = NodeResult(status, cached, attempt, failure, backend, rows, seconds, own, batches, history)
        self.results[index] = result
        if not self.silent:
            self._tell(index, self._finished(index, result, watch))

    def finish_plain(self, index: int, seconds: float, rows: int | None) -> None:
        """A plain node has ended well, and nobody wants to see what it took and gave."""
        self.results[index] = NodeResult(_SUCCEEDED, False, 1, None, "local", rows, seconds, seconds)
        if self.silent:
            return
        node = self._plan.nodes[index]
        event = NodeFinished(
            self._run_id,
            time.time(),
            node.id,
            node.operator,
            _SUCCEEDED,
            seconds,
            1,
            "local",
            False,
            None,
            rows,
            None,
            seconds,
        )
        if self._journal is not None:
            self.record(event, durable=index in self.once)
        if self._emit is not None:
            self._emit(event)

    def _failure(
        self, index: int, error: BaseException, attempt: int, where: str | None = None
    ) -> NodeFailed:
        # With it come traceback and sysconfig: only a failure pays for them.
        from petal.execution.failures import node_failed

        return node_failed(self._plan.nodes[index], self._specs[index], error, max(1, attempt), where)

    def _tell(self, index: int, event: NodeFinished, *, told: bool = False) -> None:
        self.record(event, durable=event.attempt > 0 and index in self.once)
        if self._emit is not None and not told:
            self._emit(event)

    def _is_once(self, index: int) -> bool:
        """Whether a node must not run twice, in a run without a journal too."""
        policies = self._plan.nodes[index].policies
        return policies is not None and policies.effects is Effects.ONCE

    def take(self, index: int, result: NodeResult, *, told: bool) -> None:
        """Keep the result of a node that ran in another process, which may have told of it."""
        self.results[index] = result
        if not self.silent:
            self._tell(index, self._finished(index, result, None), told=told)

    def _finished(self, index: int, result: NodeResult, watch: Watch | None) -> NodeFinished:
        node = self._plan.nodes[index]
        inputs = output = rows_in = None
        if watch is not None:
            read = {n: sum(r.rows or 0 for r in reads) for n, reads in watch.reads.items()}
            rows_in = watch.whole | {n: watch.whole.get(n, 0) + rows for n, rows in read.items()} or None
            if self._previews:
                inputs = {n: _preview(v) for n, v in watch.inputs.items()}
                inputs |= {
                    n: preview([h for r in reads for h in getattr(r, "head", None) or []][:3])
                    for n, reads in watch.reads.items()
                }
                value = watch.head if watch.head is not None else watch.value
                output = preview(value) if self._specs[index].outputs else None
        failure: NodeFailed | None = result.error
        return NodeFinished(
            self._run_id,
            time.time(),
            node.id,
            node.operator,
            result.status,
            result.seconds,
            attempt=result.attempts,
            backend=result.backend,
            cached=result.cached,
            own_seconds=result.own_seconds,
            rows_in=rows_in,
            rows=result.rows,
            batches=result.batches,
            error=failure.message if failure is not None else None,
            kind=failure.kind if failure is not None else None,
            inputs=inputs,
            output=output,
        )


def _once(plan: Plan) -> frozenset[int]:
    known: Resolved | None = None
    once, found = False, []
    for i, node in enumerate(plan.nodes):
        if node.policies is not known:  # most nodes share theirs
            known = node.policies
            once = known is not None and known.effects is Effects.ONCE
        if once:
            found.append(i)
    return frozenset(found)


def _preview(value: Any) -> str:
    return f"{value.rows} rows" if isinstance(value, Collected) else preview(value)
