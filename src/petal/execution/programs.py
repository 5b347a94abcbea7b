"""What a program that speaks plain JSON gets of a node, and what its reply says (S6.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from petal.data.plain import PlainCall, plain_data, plain_port, read_plain
from petal.interfaces.backend import Reply
from petal.running.secrets import reveal
from petal.spec.context import Context
from petal.spec.operator import OperatorSpec
from petal.spec.pipeline import MISSING
from petal.spec.plan import PlanNode


def plain_call(node: PlanNode, spec: OperatorSpec, inputs: Mapping[str, Any], context: Context) -> PlainCall:
    """Write what a program gets: one entry per input, in order, and the parameters.

    Secrets are put in here: the program, whose parameters they are, knows no references.

    Raises:
        DataError: JSON has no word for something in it.
        EnvironmentNotReady: A secret does not exist.
    """
    given: list[Any] = []
    for port in spec.inputs:
        where = f"input `{port.name}`"
        found = inputs.get(port.name, () if port.variadic else port.default)
        if port.variadic:
            given.append([plain_port(value, port.seen, where) for value in found])
        else:
            given.append(None if found is MISSING else plain_port(found, port.seen, where))
    params = {p.name: p.default for p in spec.params if p.default is not MISSING} | reveal(node.params)
    said = {name: plain_data(value, f"parameter `{name}`") for name, value in params.items()}
    return PlainCall(node.id, spec.name, given, said, context.trace)


def output_of(reply: Reply, spec: OperatorSpec) -> Any:
    """Return the output that a program replied with; None of one that has none.

    Raises:
        WireError: The reply is not JSON.
        DataError: It is not what is declared.
    """
    if not spec.outputs:
        return None
    return read_plain(reply.header, spec.outputs[0].annotation, spec.outputs[0].seen)
