"""Tell readers which columns anybody looks at, so that they read no others (``Context.columns``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from petal.interfaces.source import Operator
from petal.planning.stages import feeds
from petal.spec.pipeline import MISSING
from petal.spec.plan import PlanNode
from petal.spec.signature import COLUMNS_ATTRIBUTE


def needed_columns(
    nodes: Sequence[PlanNode], operators: Mapping[str, Operator], kept: set[int]
) -> dict[int, tuple[str, ...]]:
    """Find the streams of which known columns are needed only, going from the consumers to the sources.

    Args:
        nodes: The plan's nodes, in topological order.
        operators: Their operators by key.
        kept: Nodes whose output is kept: all of it.

    Returns:
        The columns of each node that can make use of them, because it has a Context.
    """
    if not any([op.spec.looks_at_columns for op in operators.values()]):
        return {}
    found: dict[int, list[str] | None] = dict.fromkeys(kept)
    for i in range(len(nodes) - 1, -1, -1):
        node = nodes[i]
        op = operators[node.operator]
        for name, _, feed in feeds(node):
            needed = _needed(op, node, name, found.get(i)) if feed.port == "output" else None
            known = found.get(feed.node, [])
            both = None if needed is None or known is None else [*needed, *known]
            found[feed.node] = both and list(dict.fromkeys(both))
    return {
        i: tuple(columns) for i, columns in sorted(found.items()) if columns and _reads(nodes[i], operators)
    }


def _reads(node: PlanNode, operators: Mapping[str, Operator]) -> bool:
    spec = operators[node.operator].spec
    return bool(spec.contexts) and spec.outputs[0].seen.view.streams


def _needed(op: Operator, node: PlanNode, name: str, wanted: list[str] | None) -> list[str] | None:
    """Ask an operator what it needs of an input, if this and that of its output are wanted."""
    if not op.spec.looks_at_columns or op.spec.inputs[0].name != name:
        return None
    ask = vars(op.target)[COLUMNS_ATTRIBUTE]
    values: dict[str, Any] = {
        p.name: p.default for p in op.spec.params if p.default is not MISSING
    } | node.params
    try:
        columns = ask(values, wanted)
        return None if columns is None else [str(c) for c in columns] or None
    except Exception:  # a hint that cannot be had is no hint
        return None
