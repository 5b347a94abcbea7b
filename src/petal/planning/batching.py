"""Whether an operator's work can be cut into batches, and if not, why (S4.6)."""

from __future__ import annotations

from petal.planning.findings import did_you_mean, listing
from petal.spec.operator import OperatorSpec
from petal.spec.plan import batched_input
from petal.spec.policy import Batch
from petal.spec.views import View


def batch_problem(spec: OperatorSpec, batch: Batch) -> tuple[str, str] | None:
    """Return why ``batch`` cannot work for an operator, and the remedy; None when it can."""
    if not spec.outputs:
        return (
            "a sink writes its whole input at once",
            "put `batch` on the node before it, whose rows then come as one stream",
        )
    if spec.outputs[0].seen.view is View.VALUE:
        return (
            f"{spec.name} gives one value, and there is no way to join those of several calls",
            "return rows (`list[...]`, `Iterator[...]`, `Batches[...]` or a frame), one or more for each row of input",
        )
    if spec.rowwise is False:
        return (
            f"{spec.name} looks at all rows together, so pieces would give another result",
            "put `batch` on a node that looks at each row by itself (`rowwise`)",
        )
    if batched_input(spec, batch) is not None:
        return None
    fit = [i.name for i in spec.inputs if not i.variadic and i.seen.view is not View.VALUE]
    if batch.over is not None:
        remedy = f"name {listing(fit)}" if fit else "take the rows as `list[...]` or `Iterable[...]`"
        return (
            f"`over` names `{batch.over}`, which is no stream that {spec.name} takes",
            did_you_mean(batch.over, fit) or remedy,
        )
    if not fit:
        return (
            f"{spec.name} takes no stream that could be cut",
            "take the rows as `list[...]` or `Iterable[...]`",
        )
    return f"{spec.name} takes several streams", f"say which is cut: `over: {fit[0]}`"
