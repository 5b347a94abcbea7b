"""Make a plan of a pipeline, or say everything that keeps it from being one, in one pass."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from petal.interfaces.source import Operator, Part, PartLoader
from petal.planning.binding import Binder, Bound
from petal.planning.checks import check_request, check_stdin, check_urls, check_written_files
from petal.planning.columns import needed_columns
from petal.planning.edgetypes import Mismatch, check_constant, check_edge
from petal.planning.expand import Draft, Expanded, expand
from petal.planning.findings import Findings
from petal.planning.lookup import find_operators
from petal.planning.memory import warn_of_memory
from petal.planning.moving import away_nodes, find_moved
from petal.planning.order import needed_for, topological_order
from petal.planning.parameters import Parameters
from petal.planning.policies import PolicyResolver
from petal.planning.request import Request
from petal.planning.stages import find_stages
from petal.planning.values import BadValue
from petal.spec.diagnostic import Diagnostic
from petal.spec.memory import without_collection
from petal.spec.operator import Input, OperatorSpec
from petal.spec.plan import Constant, FromNode, Plan, PlanNode, distinct_policies


class Planned(Struct, frozen=True):
    """What planning found out.

    Attributes:
        plan: The plan, or None when there are errors.
        operators: The operators by their key in the plan.
        findings: Everything found, in the order of the files.
    """

    plan: Plan | None
    operators: dict[str, Operator]
    findings: list[Diagnostic]


@without_collection
def make_plan(root: Part, load: PartLoader, request: Request) -> Planned:
    """Resolve and validate a pipeline.

    Raises:
        UsageError: The request names something that the pipeline does not have.
    """
    findings = Findings()
    expanded = expand(root, load, findings)
    try:
        return _plan(root, expanded, request, findings)
    finally:
        expanded.close()


def _plan(root: Part, expanded: Expanded, request: Request, findings: Findings) -> Planned:
    drafts = expanded.drafts
    operators = find_operators(drafts, request, findings, request.adapters())
    parameters = Parameters(expanded, request, findings)
    binder = Binder(request, parameters, findings)
    policies = PolicyResolver(request, parameters, findings)
    check_request(root, drafts, request)
    types, before = _Types(drafts, binder, findings, request), list[list[int]]()
    overridden = parameters.constants
    for draft in drafts:
        op = draft.op
        if op is not None:
            if op.spec.params or draft.spec.params or overridden:
                draft.params = parameters.of_node(draft)
            draft.bound = binder.bind(draft)
        draft.policies = policies.resolve(draft)
        if draft.spec.after:
            draft.after = binder.after(draft)
        before.append(types.check(draft))
    for scope in expanded.scopes:
        binder.check_interface(scope)
    if policies.caches:
        from petal.planning.caching import settle_caching

        settle_caching(drafts, request, findings)
    configured = [d for d in drafts if d.op is not None and d.op.spec.params]
    check_written_files(configured, findings)
    check_stdin(configured, findings)
    check_urls(configured, request, findings)
    order = topological_order(before, drafts, findings) if types.backwards else list(range(len(drafts)))
    if not drafts and not findings.failed:
        findings.add(
            expanded.scopes[0].place,
            (),
            "empty-pipeline",
            "the pipeline has no nodes",
            hint="add one under `nodes:`",
        )
    if findings.failed or order is None or any([d.op is None for d in drafts]):
        return Planned(None, operators, findings.in_order())
    plan = _assemble(root, request, drafts, operators, before, order)
    warn_of_memory(plan, drafts, binder.written, findings)
    if plan.moved or away_nodes(plan):
        from petal.planning.crossing import check_crossing

        if not check_crossing(plan, drafts, operators, request, findings):
            return Planned(None, operators, findings.in_order())
    return Planned(plan, operators, findings.in_order())


class _Types:
    """Checks what is bound against what is wanted; an output is compared once with each annotation.

    Attributes:
        backwards: Whether a draft waits for one that comes after it in the file, or for itself.
    """

    def __init__(self, drafts: list[Draft], binder: Binder, findings: Findings, request: Request) -> None:
        self._drafts = drafts
        self._binder = binder
        self._findings = findings
        self._request = request
        self._fine: set[tuple[int, int]] = set()
        self.backwards = False

    def check(self, draft: Draft) -> list[int]:
        """Check every binding of a node; constants are converted.

        Returns:
            Indices of the drafts that must come before it, repeats included.
        """
        before = draft.fed
        if before is None:
            before = []
            if draft.bound:
                assert draft.op is not None
                self._bindings(draft, draft.op.spec.inputs, draft.bound, before)
        if draft.after:
            before += [d.index for d in draft.after]
        if before and max(before) >= draft.index:
            self.backwards = True
        return before

    def _bindings(self, draft: Draft, inputs: tuple[Input, ...], bound: Bound, before: list[int]) -> None:
        drafts, fine = self._drafts, self._fine
        for port in inputs:
            feed = bound.get(port.name)
            if type(feed) is FromNode:
                before.append(feed.node)
                op = drafts[feed.node].op
                if op is None or feed.port != "output":
                    self._edge(draft, port, feed, 0)
                    continue
                given, wanted = op.spec.outputs[0], port.annotation
                if (id(given), id(wanted)) in fine:
                    self._binder.output, self._binder.annotation = given, wanted
                else:
                    self._edge(draft, port, feed, 0)
            elif type(feed) is Constant:
                bound[port.name] = self._constant(draft, port, feed)
            elif type(feed) is tuple:
                for k, one in enumerate(feed):
                    if type(one) is FromNode:
                        before.append(one.node)
                        self._edge(draft, port, one, k)

    def _edge(self, draft: Draft, port: Input, feed: FromNode, position: int) -> None:
        source = self._drafts[feed.node]
        if source.op is None:
            return
        given = source.op.spec.output(feed.port)
        if given is None:
            return
        pair = (id(given), id(port.annotation))  # both live as long as the operators of this plan
        if pair in self._fine:
            return
        try:
            check_edge(given, port)
        except Mismatch as error:
            scope, path = self._binder.written.get(
                (draft.index, port.name, position), (draft.scope, draft.path)
            )
            whose = f"`{source.id}`" if feed.port == "output" else f"`{source.id}.{feed.port}`"
            self._findings.add(
                scope.place,
                path,
                "type-mismatch",
                f"{whose} does not fit `{draft.id}.{port.name}`: {error}",
                hint=error.hint,
            )
        else:
            self._fine.add(pair)

    def _constant(self, draft: Draft, port: Input, feed: Constant) -> Constant:
        given = feed.origin.removeprefix("input ")
        lenient = given != feed.origin and given in self._request.text
        folder = self._request.folder if given != feed.origin else draft.scope.part.folder
        try:
            return Constant(check_constant(feed.value, port, folder, lenient=lenient), feed.origin)
        except BadValue as error:
            scope, path = draft.scope, draft.path
            if feed.origin == "params":
                path = (*path, "params", port.name, *error.steps)
            elif given == feed.origin or given.startswith("default of "):
                scope, path = self._binder.written.get((draft.index, port.name, 0), (scope, path))
            self._findings.add(
                scope.place,
                path,
                "bad-value",
                f"input `{port.name}` of `{draft.id}`: {error}",
                hint=f"see `petal describe {draft.op.spec.name}`" if draft.op else None,
            )
            return feed


def _assemble(
    root: Part,
    request: Request,
    drafts: list[Draft],
    operators: dict[str, Operator],
    before: list[list[int]],
    order: list[int],
) -> Plan:
    overrides: dict[int, Any] = {}
    roots: list[int] = []
    if request.overrides or request.targets:
        by_id = {d.id: d.index for d in drafts}
        overrides = {by_id[name]: value for name, value in request.overrides.items()}
        roots = [by_id[t] for t in request.targets]
    if not roots:
        used = {s for sources in before for s in sources}
        roots = [i for i in range(len(drafts)) if i not in used]
    sinks = {i for i in overrides if not _spec(drafts[i]).outputs}
    kept = order
    if request.targets or overrides:  # else every node leads to a root
        needed = needed_for([r for r in roots if r not in sinks], before, set(overrides)) - sinks
        kept = [i for i in order if i in needed]
    index = {old: new for new, old in enumerate(kept)}
    moved = kept != list(range(len(drafts)))
    nodes = tuple([_node(drafts[i], index, overrides, moved=moved) for i in kept])
    if moved:
        operators = {node.operator: operators[node.operator] for node in nodes}
    specs = {key: op.spec for key, op in operators.items()}
    targets = tuple([index[r] for r in roots if r in index and _spec(drafts[r]).outputs])
    columns = needed_columns(nodes, operators, set(targets))
    if columns:
        nodes = tuple(
            msgspec.structs.replace(node, columns=columns[i]) if i in columns else node
            for i, node in enumerate(nodes)
        )
    overrides = {index[i]: v for i, v in overrides.items() if i in index}
    policies = distinct_policies(nodes)
    stages = find_stages(nodes, specs, policies)
    return Plan(
        root.spec.name or "pipeline",
        nodes,
        specs,
        stages,
        find_moved(nodes, specs, stages, overrides, policies),
        targets,
        overrides,
        root.source.file,
        root.spec.run_timeout,
        policies,
        root.spec.cache_io if isinstance(root.spec.cache_io, str) else None,
    )


def _spec(draft: Draft) -> OperatorSpec:
    assert draft.op is not None
    return draft.op.spec


def _node(draft: Draft, index: dict[int, int], overrides: dict[int, Any], *, moved: bool) -> PlanNode:
    if draft.index in overrides:
        return PlanNode(draft.id, draft.key, draft.params, {}, (), draft.policies)
    inputs = {name: _at(feed, index) for name, feed in draft.bound.items()} if moved else draft.bound
    after: tuple[int, ...] = ()
    if draft.after:
        after = tuple(dict.fromkeys([index[d.index] for d in draft.after if d.index in index]))
    return PlanNode(draft.id, draft.key, draft.params, inputs, after, draft.policies)


def _at(feed: Any, index: dict[int, int]) -> Any:
    """Turn indices of drafts into those of the plan's nodes."""
    if type(feed) is tuple:
        return tuple([_at(f, index) for f in feed])
    return FromNode(index[feed.node], feed.port) if type(feed) is FromNode else feed
