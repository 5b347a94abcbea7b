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
    """Find the nodes whose every consumer looks at known columns only.

    Args:
        nodes: The plan's nodes.
        operators: Their operators by key.
        kept: Nodes whose output is kept: all of it.
    """
    if not any([op.spec.looks_at_columns for op in operators.values()]):
        return {}
    found: dict[int, dict[str, None] | None] = {}
    for node in nodes:
        op = operators[node.operator]
        for name, _, feed in feeds(node):
            source = operators[nodes[feed.node].operator].spec
            if (
                feed.node in kept
                or feed.port != "output"
                or not (source.contexts and source.outputs[0].seen.view.streams)
            ):
                continue
            needed = _looks_at(op, node, name)
            known = found.setdefault(feed.node, {})
            if needed is None or known is None:
                found[feed.node] = None
            else:
                known.update(dict.fromkeys(needed))
    return {i: tuple(columns) for i, columns in found.items() if columns}


def _looks_at(op: Operator, node: PlanNode, name: str) -> list[str] | None:
    if not op.spec.looks_at_columns or op.spec.inputs[0].name != name:
        return None
    ask = vars(op.target)[COLUMNS_ATTRIBUTE]
    values: dict[str, Any] = {
        p.name: p.default for p in op.spec.params if p.default is not MISSING
    } | node.params
    try:
        columns = ask(values)
        return None if columns is None else [str(c) for c in columns]
    except Exception:  # a hint that cannot be had is no hint
        return None
