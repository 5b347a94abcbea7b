"""Check the values that are given instead of running nodes, before anything runs (S5.7)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import msgspec

from petal.data.adapters import adapt
from petal.errors import DataError, UsageError
from petal.execution.stored import Reused
from petal.planning.edgetypes import check_constant
from petal.planning.values import BadValue
from petal.spec.operator import Input, Output
from petal.spec.plan import Plan
from petal.spec.views import Seen, View

_GIVEN = Seen(View.VALUE)


def with_checked_overrides(plan: Plan) -> Plan:
    """Return the plan with its overrides as their nodes would have given them.

    Raises:
        UsageError: A value does not fit what its node gives.
    """
    if not plan.overrides:
        return plan
    found: dict[int, Any] = {}
    for index, value in plan.overrides.items():
        if type(value) is Reused:
            found[index] = value
            continue
        node = plan.nodes[index]
        try:
            found[index] = _checked(value, plan.operators[node.operator].outputs[0])
        except (BadValue, DataError) as error:
            text = error.message if isinstance(error, DataError) else str(error)
            raise UsageError(
                f"the override of `{node.id}` does not fit what it gives: {text}",
                hint="give a value of the type that the operator returns; for a stream, a list or a frame",
                code="bad-override",
            ) from None
    return msgspec.structs.replace(plan, overrides=found)


def _checked(value: Any, output: Output) -> Any:
    seen = output.seen
    if seen.view is not View.VALUE and isinstance(value, Iterator):
        value = list(value)  # several consumers may want it
    value = check_constant(value, Input("output", output.annotation, seen), os.getcwd(), lenient=False)
    return adapt(value, _GIVEN, seen, "output") if seen.view is View.WHOLE else value
