"""What a run tells: a result for each node, and events for whoever listens."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from petal.errors import NodeFailed
from petal.execution.result import NodeResult
from petal.execution.state import Collected
from petal.planning.moving import backend_of
from petal.running.watch import Watch
from petal.spec.event import Event, NodeFinished, NodeStarted, Status
from petal.spec.operator import OperatorSpec
from petal.spec.plan import Plan
from petal.spec.redaction import preview


class Facts:
    """Keeps the results of a run's nodes, and reports what happens.

    Args:
        plan: The plan.
        specs: The operator of each node.
        run_id: The run.
        emit: Called with every event; None when nobody listens.
        previews: Whether events carry the first rows of inputs and outputs.

    Attributes:
        results: How each node ended, by index.
    """

    def __init__(
        self,
        plan: Plan,
        specs: Sequence[OperatorSpec],
        run_id: str,
        emit: Callable[[Event], None] | None,
        previews: bool,
    ) -> None:
        self._plan = plan
        self._specs = specs
        self._run_id = run_id
        self._emit = emit
        self._previews = previews
        self.results: list[NodeResult | None] = [None] * len(plan.nodes)

    def say(self, make: Callable[[], Event]) -> None:
        """Report an event, made only if somebody listens."""
        if self._emit is not None:
            self._emit(make())

    def begin(self, index: int) -> None:
        """A node begins."""
        if self._emit is not None:
            node = self._plan.nodes[index]
            self._emit(NodeStarted(self._run_id, time.time(), node.id, node.operator, backend_of(node)))

    def finish(
        self,
        index: int,
        status: Status,
        error: BaseException | None,
        watch: Watch | None,
        where: str | None = None,
    ) -> None:
        """A node has ended.

        Args:
            index: The node.
            status: How.
            error: What its code raised.
            watch: What was counted, None for a node that did not start.
            where: The rows that it was at.
        """
        node = self._plan.nodes[index]
        failure = None
        if error is not None:
            # With it come traceback and sysconfig: only a failure pays for them.
            from petal.execution.failures import node_failed

            failure = node_failed(node, self._specs[index], error, where=where)
        began = watch.began if watch is not None else 0.0
        seconds = perf_counter() - began if began else 0.0
        attempts = 1 if began or index in self._plan.overrides else 0
        rows = watch.rows if watch is not None else None
        own = watch.own_seconds if watch is not None else 0.0
        batches = watch.batches if watch is not None else None
        result = NodeResult(status, False, attempts, failure, backend_of(node), rows, seconds, own, batches)
        self.results[index] = result
        if self._emit is not None:
            self._emit(self._finished(index, result, watch))

    def take(self, index: int, result: NodeResult, *, told: bool) -> None:
        """Keep the result of a node that ran in another process, which may have told of it."""
        self.results[index] = result
        if self._emit is not None and not told:
            self._emit(self._finished(index, result, None))

    def _finished(self, index: int, result: NodeResult, watch: Watch | None) -> NodeFinished:
        node = self._plan.nodes[index]
        inputs = output = rows_in = None
        if watch is not None:
            rows_in = {n: sum(r.rows or 0 for r in reads) for n, reads in watch.reads.items()} or None
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
            backend=result.backend,
            own_seconds=result.own_seconds,
            rows_in=rows_in,
            rows=result.rows,
            batches=result.batches,
            error=failure.message if failure is not None else None,
            kind=failure.kind if failure is not None else None,
            inputs=inputs,
            output=output,
        )


def _preview(value: Any) -> str:
    return f"{value.rows} rows" if isinstance(value, Collected) else preview(value)
