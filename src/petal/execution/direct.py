"""The plain case, made cheap: a function of values that returns a value is called with nothing around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from petal.execution.state import RunState
from petal.planning.references import has_reference
from petal.running.call import plain_result
from petal.running.loop import LoopThread
from petal.spec.operator import Flavour, Input, OperatorSpec
from petal.spec.pipeline import MISSING
from petal.spec.plan import Constant, FromNode, PlanNode
from petal.spec.views import Seen, View

#: Types that need no second look when a function returns them.
SCALARS = frozenset({int, float, str, bool, bytes, type(None)})

# Names of their own: to read one from its class takes 0.1 µs.
_FUNCTION, _VALUE = Flavour.FUNCTION, View.VALUE
_NOTHING: dict[str, Any] = {}


class Direct(Struct, frozen=True, gc=False):
    """A call that needs no adapting.

    Attributes:
        node: The node.
        target: The function.
        spec: Its description.
        sources: The nodes whose values it takes.
        names: The inputs that take them; None where those are all its arguments, in order.
        constants: Its other arguments.
    """

    node: int
    target: Callable[..., Any]
    spec: OperatorSpec
    sources: Sequence[int]
    names: tuple[str, ...] | None
    constants: dict[str, Any]

    def call(self, values: list[Any], loop: LoopThread) -> Any:
        """Call the function."""
        if self.names is None:
            result = self.target(*[values[i] for i in self.sources])
        else:
            result = self.target(**self.inputs(values))
        return (
            result if type(result) in SCALARS and self.spec.outputs else plain_result(result, self.spec, loop)
        )

    def inputs(self, values: list[Any]) -> dict[str, Any]:
        """Return the arguments by name."""
        names = self.names if self.names is not None else self.spec.positional
        return dict(zip(names, [values[i] for i in self.sources], strict=True)) | self.constants


def direct_call(state: RunState, unit: int) -> Direct | None:
    """Return the direct call that is all there is to a unit; None for one that needs more."""
    units = state.units
    if units.direct:
        index = unit
        node, spec = state.plan.nodes[index], state.specs[index]
        if spec.flavour is not _FUNCTION or spec.contexts:
            return None
        sources = units.sources[unit]
        if sources is not None and not node.params and spec.positional == tuple(node.inputs):
            for port in spec.inputs:
                if port.seen.view is not _VALUE:
                    break
            else:
                return Direct(index, state.operators[node.operator].target, spec, sources, None, _NOTHING)
    else:
        members = units.members[unit]
        index = members[-1]
        if (
            len(members) > 1
            or units.flows[index]
            or index in state.plan.overrides
            or index in units.ports
            or index in units.away
            or index in units.held
            or unit in units.moved
        ):
            return None
        node, spec = state.plan.nodes[index], state.specs[index]
        if spec.flavour is not _FUNCTION or spec.contexts:
            return None
    if node.params and has_reference(node.params):
        return None
    return _looked_at(state, index, node, spec)


def _looked_at(state: RunState, index: int, node: PlanNode, spec: OperatorSpec) -> Direct | None:
    """Look at each input of a function."""
    given = state.units.seen
    sources: list[int] = []
    constants, bound = node.params, node.inputs
    for port in spec.inputs:
        binding = bound.get(port.name)
        if type(binding) is FromNode and not port.variadic:
            source, seen = binding.node, port.seen
            if given[source].view.streams or binding.port != "output":
                return None  # it flows, or is kept in pieces
            if seen.view is not _VALUE and not _same_whole(state.specs[source].outputs[0].seen, seen):
                return None
            sources.append(source)
        elif type(binding) is Constant and _is_value(port, binding):
            constants = {**constants, port.name: binding.value}
        elif binding is not None:  # else the function's own default
            return None
    names = None
    if constants or len(sources) < len(spec.inputs):
        names = tuple([p.name for p in spec.inputs if type(node.inputs.get(p.name)) is FromNode])
    return Direct(index, state.operators[node.operator].target, spec, sources, names, constants)


def _is_value(port: Input, binding: Constant) -> bool:
    value = binding.value
    return (
        not port.variadic and port.seen.view is _VALUE and value is not MISSING and not has_reference(value)
    )


def _same_whole(given: Seen, wanted: Seen) -> bool:
    """Whether one end gives the very container that the other takes."""
    return wanted.view is View.WHOLE and given == wanted and wanted.container != ""
