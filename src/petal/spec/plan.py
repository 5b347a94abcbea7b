"""A validated pipeline with everything resolved. Immutable; holds names and types, never functions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct, field

from petal.spec.operator import Input, OperatorSpec
from petal.spec.policy import Batch, Cache, Effects, Execution, Retry
from petal.spec.views import Seen, View


class FromNode(Struct, frozen=True, gc=False):
    """An input fed by an output port of the node at index ``node`` of the plan."""

    node: int
    port: str = "output"


class Constant(Struct, frozen=True, gc=False):
    """An input with a value from ``params``, a pipeline input or a default; ``origin`` says which."""

    value: Any
    origin: str


class Given(Struct, frozen=True, gc=False):
    """An input whose value came from outside of a part of a plan that runs in another process, in the port's own view."""

    value: Any


Binding = FromNode | Constant | Given


class Setting(Struct, frozen=True):
    """A policy's value and where it came from (S5.6)."""

    value: Any
    origin: str


class Resolved(Struct, frozen=True, gc=False):
    """Every policy of a node, resolved; a policy that is off is None.

    Attributes:
        kept: Whether its output is stored for who resumes the run: it must not run twice, and gives something (S9.3).
    """

    execution: Execution
    retry: Retry | None
    timeout: float | None
    cache: Cache | None
    batch: Batch | None
    effects: Effects
    origins: dict[str, str] = field(default_factory=dict)
    kept: bool = False


class PlanNode(Struct, frozen=True, gc=False):
    """A node with everything resolved.

    Attributes:
        id: The full id, ``module/node`` inside modules.
        operator: Key of its operator in :attr:`Plan.operators`.
        params: Parameters to call it with; secret references are still references.
        inputs: One entry per input that is bound: a binding, or a tuple of them for a variadic input.
        after: Indices of nodes that must have succeeded before.
        policies: Resolved policies.
        columns: Columns of its output that its consumers look at, or None for all of them.
    """

    id: str
    operator: str
    params: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Binding | tuple[Binding, ...]] = field(default_factory=dict)
    after: tuple[int, ...] = ()
    policies: Resolved | None = None
    columns: tuple[str, ...] | None = None


def output_view(node: PlanNode, spec: OperatorSpec) -> Seen:
    """Return how a node's output flows: as it is declared, or as rows where ``batch`` makes many calls of it."""
    seen = spec.outputs[0].seen
    if seen.view is View.WHOLE and node.policies is not None and node.policies.batch is not None:
        if seen.container in ("list", "tuple", "set", "frozenset"):
            return Seen(View.ITEMS, seen.element, "iterator")
        return Seen(View.BATCHES, seen.element)
    return seen


def stream_ports(spec: OperatorSpec) -> tuple[str, ...]:
    """Return the output ports, fields of the whole, that are streams of items (S1.5)."""
    if len(spec.outputs) < 2:
        return ()
    return tuple(o.name for o in spec.outputs[1:] if o.seen.view is View.ITEMS)


def batched_input(spec: OperatorSpec, batch: Batch) -> Input | None:
    """Return the input that ``batch`` cuts: the one it names, or the only stream; None where that is not clear."""
    fit = [i for i in spec.inputs if not i.variadic and i.seen.view is not View.VALUE]
    if batch.over is not None:
        return next((i for i in fit if i.name == batch.over), None)
    fit = [i for i in fit if i.seen.view.streams] or fit
    return fit[0] if len(fit) == 1 else None


class Link(Struct, frozen=True, gc=False):
    """A stream edge between two nodes of the plan, and whether its rows may spill to disk (S4.2)."""

    source: int
    port: str
    target: int
    input: str
    spill: bool = False


class Stage(Struct, frozen=True):
    """Neighbouring local streaming nodes that run as one: indices of its nodes, and its stream links."""

    nodes: tuple[int, ...]
    links: tuple[Link, ...] = ()


class Moved(Struct, frozen=True):
    """Nodes that run together in one worker process, so that a time-out can stop them (S4.3).

    Attributes:
        nodes: Their indices, in order.
        timeouts: Seconds from the start that each of them may take, of those that have a limit.
    """

    nodes: tuple[int, ...]
    timeouts: dict[int, float]


class Plan(Struct, frozen=True):
    """What would run.

    Attributes:
        name: The pipeline's name.
        nodes: In topological order.
        operators: Operator descriptions by key.
        stages: Every stage of two nodes or more.
        moved: Groups of local nodes that run in a worker process, because one of them has a time-out.
        targets: Indices of the nodes whose outputs the run returns.
        overrides: Values given instead of running a node, by index.
        file: The file it came from, or None.
        run_timeout: Seconds the run may take, or None.
        policies: Each object among the nodes' policies once, as most nodes share theirs; see :func:`policies_of`.
        cache_store: The URL of the store where outputs are cached for other machines too, or None.
    """

    name: str
    nodes: tuple[PlanNode, ...]
    operators: dict[str, OperatorSpec]
    stages: tuple[Stage, ...] = ()
    moved: tuple[Moved, ...] = ()
    targets: tuple[int, ...] = ()
    overrides: dict[int, Any] = field(default_factory=dict)
    file: str | None = None
    run_timeout: float | None = None
    policies: tuple[Resolved | None, ...] = ()
    cache_store: str | None = None


def policies_of(plan: Plan) -> tuple[Resolved | None, ...]:
    """Return each object among the policies of a plan's nodes once: what one of them says is soon found."""
    return plan.policies or distinct_policies(plan.nodes)


def distinct_policies(nodes: Iterable[PlanNode]) -> tuple[Resolved | None, ...]:
    """Return each object among the policies of nodes once."""
    return tuple({id(node.policies): node.policies for node in nodes}.values())
