"""Report what cannot go to another process, before anything runs (S6.1, S7.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from petal.code.loader import is_importable
from petal.interfaces.source import Operator
from petal.planning.expand import Draft
from petal.planning.findings import Findings
from petal.planning.moving import backend_of, is_away, standard_stream
from petal.planning.request import Request
from petal.planning.stages import feeds
from petal.spec.crossing import undecodable
from petal.spec.operator import Input, OperatorSpec, Output
from petal.spec.plan import Plan, PlanNode, stream_ports
from petal.spec.views import Seen, View

_VALUE = Seen(View.VALUE)


def check_crossing(
    plan: Plan,
    drafts: Sequence[Draft],
    operators: Mapping[str, Operator],
    request: Request,
    findings: Findings,
) -> bool:
    """Add an error for each node that is to run in another process and cannot; say whether all can.

    Args:
        plan: The plan.
        drafts: What its nodes were made of.
        operators: The plan's operators, by their keys.
        request: What is asked, which knows whether codecs take part.
        findings: Takes the errors.
    """
    moved = {i: set(group.nodes) for group in plan.moved for i in group.nodes}
    by_id: dict[str, Draft] = {}
    fine = True
    for i, node in enumerate(plan.nodes):
        if i in plan.overrides or (i not in moved and not is_away(node)):
            continue
        by_id = by_id or {d.id: d for d in drafts}
        draft, spec = by_id[node.id], plan.operators[node.operator]
        protocols = {False} if i in moved else _protocols(node)
        if True in protocols:
            for annotation_problem in _of_program(spec):
                fine = False
                _add(
                    findings,
                    draft,
                    node,
                    annotation_problem,
                    "annotate it with a type that JSON can be read as",
                )
        if False not in protocols:
            continue
        reason = is_importable(operators[node.operator].target)
        if reason is not None:
            fine = False
            _add(findings, draft, node, reason, "a worker process imports what it runs by its name")
            continue
        stream = standard_stream(node, spec)
        if stream is not None:
            fine = False
            hint = "name a file, or let the node run here: no `timeout` (`timeout: false` undoes that of `defaults`)"
            _add(findings, draft, node, stream, hint)
            continue
        problems = _of_group(plan, i, moved[i]) if i in moved else _of_call(node, spec)
        for what, annotation_problem in (*_of_params(node, spec), *problems):
            if request.codecs():  # of plugins, which look at the values, not at annotations
                break
            fine = False
            _add(
                findings,
                draft,
                node,
                f"{what}: {annotation_problem}",
                "annotate it with a type whose values can be told apart when they are read back, or run the node here",
            )
    return fine


def _protocols(node: PlanNode) -> set[bool]:
    """Say of the places where a node may run outside of this process whether they speak plain JSON."""
    assert node.policies is not None
    places = enumerate(node.policies.execution.places)
    return {place.speaks_json for k, place in places if backend_of(node, k) != "local"}


def _of_program(spec: OperatorSpec) -> Iterator[str]:
    """Look at what comes back as plain JSON; what goes is looked at when it is written (S6.3)."""
    if stream_ports(spec):
        yield "its output: several streams at once cannot come from another process"
    elif spec.outputs:
        output = spec.outputs[0]
        if (problem := undecodable(output.annotation, output.seen)) is not None:
            yield f"its output: {problem}"


def _of_params(node: PlanNode, spec: OperatorSpec) -> Iterator[tuple[str, str]]:
    for param in spec.params:
        if param.name in node.params and (problem := undecodable(param.annotation, _VALUE)) is not None:
            yield f"its parameter `{param.name}`", problem


def _of_call(node: PlanNode, spec: OperatorSpec) -> Iterator[tuple[str, str]]:
    """Look at everything that goes to a call of its own, and comes back."""
    if stream_ports(spec):
        yield "its output", "several streams at once cannot come from another process"
        return
    for port in spec.inputs:
        if node.inputs.get(port.name) and (problem := _of_port(port)) is not None:
            yield f"its input `{port.name}`", problem
    if spec.outputs and (problem := _of_port(spec.outputs[0])) is not None:
        yield "its output", problem


def _of_port(port: Input | Output) -> str | None:
    adapter = port.seen.adapter
    if adapter is None:
        return undecodable(port.annotation, port.seen)
    reason = is_importable(type(adapter))
    return None if reason is None else f"its adapter `{adapter.name}` cannot be made there: {reason}"


def _of_group(plan: Plan, index: int, group: set[int]) -> Iterator[tuple[str, str]]:
    """Look at what crosses between a group and the rest of the plan."""
    node = plan.nodes[index]
    spec = plan.operators[node.operator]
    for name, _, feed in feeds(node):
        port = spec.input(name)
        if feed.node in group or port is None:
            continue
        if (problem := _of_port(port)) is not None:
            yield f"its input `{name}`", problem
    wanted = index in plan.targets or any(
        feed.node == index
        for i, other in enumerate(plan.nodes)
        if i not in group
        for _, _, feed in feeds(other)
    )
    if wanted and spec.outputs:
        problem = _of_port(spec.outputs[0])
        if problem is not None:
            yield "its output", problem


def _add(findings: Findings, draft: Draft, node: PlanNode, problem: str, hint: str) -> None:
    policies = node.policies
    places = policies.execution.places if policies is not None else ()
    away = next((place.backend for place in places if place.backend != "local"), None)
    where = f"on `{away}`" if away is not None else "in a worker process, for its `timeout`"
    findings.add(
        draft.scope.place,
        draft.path,
        "cannot-cross",
        f"`{node.id}` is to run {where}, but {problem}",
        hint=hint,
    )
