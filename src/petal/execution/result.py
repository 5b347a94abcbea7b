"""What a run gave back: statuses, outputs, one record per node (S5.2, S5.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from petal.errors import NodeFailed, PetalError, RunInterrupted, UsageError
from petal.execution.state import Collected, LeafStream
from petal.spec.event import Status


class Attempt(Struct, frozen=True, gc=False):
    """One of several attempts of a node.

    Attributes:
        number: From 1.
        backend: Where it ran.
        status: How it ended.
        kind: The error kind, None where it succeeded.
        error: What went wrong, or None.
        seconds: Wall-clock time.
        wait: Seconds until the next one, None where there was none.
    """

    number: int
    backend: str
    status: Status
    kind: str | None = None
    error: str | None = None
    seconds: float = 0.0
    wait: float | None = None


class NodeResult(Struct, frozen=True, gc=False):
    """How one node ended.

    Attributes:
        status: ``succeeded``, ``failed``, ``unknown``, ``skipped`` or ``cancelled``.
        cached: Whether its output came from the cache.
        attempts: How often it was tried.
        error: What went wrong, or None.
        backend: Where it ran.
        rows: Rows it gave, None for a single value or a sink.
        seconds: Wall-clock time from its start to its end.
        own_seconds: Seconds in its own code: without the nodes that it streams from, and without waiting for them.
            Of a long stream of items this is an estimate.
        batches: Batches it gave, None where its output is no stream of batches.
        history: Each attempt, where there was more than one.
    """

    status: Status
    cached: bool = False
    attempts: int = 1
    error: NodeFailed | None = None
    backend: str = "local"
    rows: int | None = None
    seconds: float = 0.0
    own_seconds: float = 0.0
    batches: int | None = None
    history: tuple[Attempt, ...] = ()

    def as_record(self) -> dict[str, Any]:
        """Return plain data with the same keys, for JSON."""
        error = self.error
        record: dict[str, Any] = {
            "status": self.status.value,
            "cached": self.cached,
            "attempts": self.attempts,
            "error": None
            if error is None
            else {"kind": error.kind, "code": error.code, "message": error.message},
            "backend": self.backend,
            "rows": self.rows,
            "seconds": round(self.seconds, 6),
            "own_seconds": round(self.own_seconds, 6),
            "batches": self.batches,
        }
        if self.history:
            import msgspec

            record["history"] = msgspec.to_builtins(self.history)
        return record


class RunOutputs(Mapping[str, Any]):
    """Outputs of the targets by node id; reading one that did not succeed raises its error."""

    def __init__(self, values: dict[str, Any], nodes: Mapping[str, NodeResult]) -> None:
        self._values = values
        self._nodes = nodes

    def __getitem__(self, node: str) -> Any:
        if node not in self._values:
            if node in self._nodes:
                raise UsageError(
                    f"the output of `{node}` was not kept",
                    hint=f"ask for it: run(targets=[{node!r}])",
                    code="not-kept",
                )
            raise KeyError(node)
        result = self._nodes[node]
        if result.status is not Status.SUCCEEDED:
            raise _error_of(node, result)
        value = self._values[node]
        return value.load() if isinstance(value, LeafStream) else value

    def __contains__(self, node: object) -> bool:
        return node in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<outputs of {', '.join(self._values) or 'no node'}>"

    def close(self) -> None:
        """Drop the streams that were kept for reading."""
        for value in self._values.values():
            if isinstance(value, LeafStream):
                value.close()


class RunResult:
    """The result of a run.

    Attributes:
        run_id: The run.
        status: ``succeeded``, ``failed`` or ``cancelled``.
        nodes: One :class:`NodeResult` per node, by id, in the order of the plan.
        outputs: Outputs of the targets; a stream is read into memory when asked for.
        seconds: Wall-clock time of the whole run.
        error: Why the run as a whole failed, beside its nodes: its ``run_timeout`` was over.
    """

    def __init__(
        self,
        run_id: str,
        status: Status,
        nodes: dict[str, NodeResult],
        values: dict[str, Any],
        seconds: float,
        error: PetalError | None = None,
    ) -> None:
        self.run_id = run_id
        self.status = status
        self.nodes = nodes
        self.outputs = RunOutputs(values, nodes)
        self.seconds = seconds
        self.error = error

    def check(self) -> RunResult:
        """Raise the error of the first node that failed; return the result itself when none did."""
        open_ends = [node.error for node in self.nodes.values() if node.status is Status.UNKNOWN]
        errors = [node.error for node in self.nodes.values() if node.status is not Status.UNKNOWN]
        for error in (
            *errors,
            self.error,
            *open_ends,
        ):  # why a run was stopped says more than what it cut short
            if error is not None:
                raise error
        if self.status is Status.CANCELLED:
            raise RunInterrupted("the run was stopped")
        return self

    def as_record(self) -> dict[str, Any]:
        """Return plain data, as ``petal run --json`` prints it."""
        outputs = {
            name: {"rows": value.rows}
            if isinstance(value, LeafStream | Collected)
            else {"type": type(value).__name__}
            for name, value in self.outputs._values.items()
            if self.nodes[name].status is Status.SUCCEEDED
        }
        return {
            "run_id": self.run_id,
            "status": self.status.value,
            "seconds": round(self.seconds, 6),
            "error": None if self.error is None else {"code": self.error.code, "message": self.error.message},
            "nodes": {name: node.as_record() for name, node in self.nodes.items()},
            "outputs": outputs,
        }

    def __repr__(self) -> str:
        return f"<run {self.run_id}: {self.status}, {len(self.nodes)} nodes>"


def _error_of(node: str, result: NodeResult) -> PetalError:
    if result.error is not None:
        return result.error
    return NodeFailed(
        f"node `{node}` was {result.status}, so it has no output",
        node=node,
        kind="user",
        hint="see `result.nodes` for the node that failed",
    )
