"""The plain case, made cheap: a function of values that returns a value is called with nothing around it."""

from __future__ import annotations

from typing import Any

from petal.execution.state import RunState
from petal.planning.references import has_reference
from petal.running.call import plain_result
from petal.spec.operator import Flavour, Input, OperatorSpec
from petal.spec.pipeline import MISSING
from petal.spec.plan import Constant, FromNode, PlanNode
from petal.spec.views import View

#: Types that need no second look when a function returns them.
SCALARS = frozenset({int, float, str, bool, bytes, type(None)})


class Direct:
    """A call that needs no adapting: arguments are values of other nodes, constants and parameters."""

    __slots__ = ("_constants", "_feeds", "_loop", "_spec", "_target")

    def __init__(self, state: RunState, node: PlanNode, spec: OperatorSpec) -> None:
        self._target = state.operators[node.operator].target
        inputs = node.inputs
        self._feeds = [(n, b.node) for n, b in inputs.items() if type(b) is FromNode]
        self._constants = node.params
        if len(self._feeds) < len(inputs):
            self._constants = {n: b.value for n, b in inputs.items() if type(b) is Constant} | node.params
        self._spec = spec
        self._loop = state.loop

    def __call__(self, values: list[Any]) -> Any:
        """Call the function."""
        result = self._target(**{n: values[i] for n, i in self._feeds}, **self._constants)
        return (
            result
            if type(result) in SCALARS and self._spec.outputs
            else plain_result(result, self._spec, self._loop)
        )

    def inputs(self, values: list[Any]) -> dict[str, Any]:
        """Return the inputs as they are given, for a preview."""
        return {n: values[i] for n, i in self._feeds} | self._constants


def direct_calls(state: RunState) -> dict[int, Direct]:
    """Find the nodes of a run that can be called directly."""
    plan, units = state.plan, state.units
    fits: dict[tuple[int, int], bool] = {}
    found: dict[int, Direct] = {}
    for i, node in enumerate(plan.nodes):
        spec = state.specs[i]
        if units.flows[i] or i in plan.overrides or spec.flavour is not Flavour.FUNCTION or spec.contexts:
            continue
        if node.params and has_reference(node.params):
            continue
        inputs = node.inputs
        for port in spec.inputs:
            binding = inputs.get(port.name)
            if binding is not None and not _is_direct(state, port, binding, fits):
                break
        else:
            found[i] = Direct(state, node, spec)
    return found


def _is_direct(state: RunState, port: Input, binding: Any, fits: dict[tuple[int, int], bool]) -> bool:
    if port.variadic:
        return False
    if type(binding) is Constant:
        return (
            port.seen.view is View.VALUE and binding.value is not MISSING and not has_reference(binding.value)
        )
    if type(binding) is not FromNode or binding.port != "output" or state.units.flows[binding.node]:
        return False
    source = state.specs[binding.node].outputs[0]
    pair = (id(source), id(port))
    if pair not in fits:
        fits[pair] = _passes_as_it_is(source.seen, port)
    return fits[pair]


def _passes_as_it_is(given: Any, port: Input) -> bool:
    wanted = port.seen
    return wanted.view is View.VALUE or (
        wanted.view is View.WHOLE and given.view is View.WHOLE and given == wanted and wanted.container != ""
    )
