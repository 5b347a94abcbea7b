"""Say what failed, in the user's terms: their frames, the node, its parameters."""

from __future__ import annotations

from petal.errors import EnvironmentNotReady, NodeFailed, PetalError, RemoteError, TaskLost
from petal.running.tracebacks import user_traceback
from petal.spec.operator import OperatorSpec
from petal.spec.pipeline import MISSING
from petal.spec.plan import PlanNode
from petal.spec.policy import ErrorKind
from petal.spec.redaction import preview, redact


def node_failed(
    node: PlanNode, spec: OperatorSpec, error: BaseException, attempt: int = 1, where: str | None = None
) -> NodeFailed:
    """Wrap what a node's code raised; the original is the ``__cause__``, ``where`` the rows it was at."""
    message = redact(str(error.message if isinstance(error, PetalError) else error))
    name = error.type if isinstance(error, RemoteError) else type(error).__name__
    is_own = isinstance(error, PetalError) and not (isinstance(error, RemoteError) and name)
    if is_own:
        text = message
    else:
        text = f"{name}: {message}" if message else name
    if where is not None:
        text = f"in {where}: {text}"
    kind = ErrorKind.OUT_OF_MEMORY if isinstance(error, MemoryError) else ErrorKind.USER
    if isinstance(
        error, EnvironmentNotReady
    ):  # as retry and failover see it; where it was noticed helps nobody
        kind, shown = ErrorKind.INFRASTRUCTURE, ""
    elif isinstance(error, RemoteError | TaskLost):
        shown = error.traceback if isinstance(error, RemoteError) else error.output
        kind = ErrorKind(error.kind)
    else:
        expected = isinstance(error, PetalError) or spec.ref.startswith("petal.library")
        shown = user_traceback(error, expected=expected)
    found = NodeFailed(
        text,
        kind=kind,
        traceback=redact(shown),
        node=node.id,
        attempt=attempt,
        hint=redact(error.hint) if isinstance(error, PetalError) and error.hint else None,
        code=error.code if isinstance(error, PetalError) and is_own else None,
        params=_params(node, spec),
    )
    found.__cause__ = error
    return found


def cut_short(node: str) -> TaskLost:
    """Return the error of a node that must not run twice, and that a stop has cut short: what it did is not known (S5.4)."""
    return TaskLost(
        "the run was stopped while it was at work, so whether it has done it is not known",
        kind=ErrorKind.UNKNOWN,
        hint=f"find out what it has done; then the run goes on with `--resume` and `--rerun {node}`, which does it "
        f"again, or `--assume-done {node}`, which goes on without",
    )


def _params(node: PlanNode, spec: OperatorSpec) -> str:
    values = {p.name: p.default for p in spec.params if p.default is not MISSING} | node.params
    return ", ".join(f"{k}={preview(v, 60)}" for k, v in values.items())
