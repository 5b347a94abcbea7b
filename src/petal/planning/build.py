"""Make a plan of a pipeline, or say everything that keeps it from being one, in one pass."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from petal.interfaces.source import Operator, Part, PartLoader
from petal.planning.binding import Binder, Bound, Feed
from petal.planning.checks import check_request, check_stdin, check_written_files
from petal.planning.columns import needed_columns
from petal.planning.edgetypes import Mismatch, check_constant, check_edge
from petal.planning.expand import Draft, expand
from petal.planning.findings import Findings
from petal.planning.lookup import find_operators
from petal.planning.order import needed_for, topological_order
from petal.planning.parameters import Parameters
from petal.planning.policies import PolicyResolver, check_run_timeout
from petal.planning.request import Request
from petal.planning.stages import find_stages
from petal.planning.values import BadValue
from petal.spec.diagnostic import Diagnostic
from petal.spec.memory import without_collection
from petal.spec.operator import Input, OperatorSpec
from petal.spec.plan import Constant, FromNode, Plan, PlanNode, Resolved


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
    drafts = expanded.drafts
    operators = find_operators(drafts, findings)
    parameters = Parameters(expanded, request, findings)
    binder = Binder(request, parameters, findings)
    policies = PolicyResolver(request, findings)
    check_request(root, drafts, request)
    works = [_Work(draft) for draft in drafts]
    for work in works:
        draft = work.draft
        if draft.op is not None:
            work.params = parameters.of_node(draft)
            work.bound = binder.bind(draft)
        work.policies = policies.resolve(draft)
        if draft.spec.after:
            work.after = binder.after(draft)
    for scope in expanded.scopes:
        binder.check_interface(scope)
        check_run_timeout(scope, findings)
    types = _Types(binder, findings, request)
    for work in works:
        if work.draft.op is not None and work.bound:
            types.check(work)
    settings = [w.params for w in works]
    check_written_files(drafts, settings, findings)
    check_stdin(drafts, settings, findings)
    before = [work.sources() for work in works]
    order = topological_order(before, drafts, findings)
    if not drafts and not findings.failed:
        findings.add(
            expanded.scopes[0].place,
            (),
            "empty-pipeline",
            "the pipeline has no nodes",
            hint="add one under `nodes:`",
        )
    if findings.failed or order is None or any(d.op is None for d in drafts):
        return Planned(None, operators, findings.in_order())
    return Planned(_assemble(root, request, works, before, order), operators, findings.in_order())


class _Work:
    """A draft with what has been found out about it."""

    __slots__ = ("after", "bound", "draft", "params", "policies")

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.params: dict[str, Any] = {}
        self.bound: Bound = {}
        self.after: list[Draft] = []
        self.policies: Resolved | None = None

    def sources(self) -> list[int]:
        """Indices of the drafts that must come before, repeats included."""
        found = [d.index for d in self.after]
        for feed in self.bound.values():
            if type(feed) is tuple:
                if feed and type(feed[0]) is Draft:
                    found.append(feed[0].index)
                else:
                    found += [f[0].index for f in feed if type(f) is tuple]
        return found


class _Types:
    """Checks what is bound against what is wanted; each pair of ports is compared once."""

    def __init__(self, binder: Binder, findings: Findings, request: Request) -> None:
        self._binder = binder
        self._findings = findings
        self._request = request
        self._fine: set[tuple[int, int]] = set()

    def check(self, work: _Work) -> None:
        """Check every binding of a node; constants are converted."""
        assert work.draft.op is not None
        for port in work.draft.op.spec.inputs:
            feed = work.bound.get(port.name)
            if feed is None:
                continue
            if isinstance(feed, Constant):
                work.bound[port.name] = self._constant(work.draft, port, feed)
            elif feed and isinstance(feed[0], Draft):
                op = feed[0].op
                if op and feed[1] == "output" and (id(op.spec.outputs[0]), id(port)) in self._fine:
                    continue
                self._edge(work.draft, port, feed[0], feed[1], 0)
            else:
                for k, one in enumerate(feed):
                    if isinstance(one, tuple):
                        self._edge(work.draft, port, one[0], one[1], k)

    def _edge(self, draft: Draft, port: Input, source: Draft, output: str, position: int) -> None:
        if source.op is None:
            return
        given = source.op.spec.output(output)
        if given is None:
            return
        pair = (id(given), id(port))  # ports live as long as the operators of this plan
        if pair in self._fine:
            return
        try:
            check_edge(given, port)
        except Mismatch as error:
            scope, path = self._binder.written.get(
                (draft.index, port.name, position), (draft.scope, draft.path)
            )
            whose = f"`{source.id}`" if output == "output" else f"`{source.id}.{output}`"
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
    root: Part, request: Request, works: list[_Work], before: list[list[int]], order: list[int]
) -> Plan:
    by_id = {w.draft.id: w.draft.index for w in works}
    overrides = {by_id[name]: value for name, value in request.overrides.items()}
    sinks = {i for i in overrides if not _spec(works[i]).outputs}
    used = {s for sources in before for s in sources}
    roots = [by_id[t] for t in request.targets] or [i for i in range(len(works)) if i not in used]
    kept = order
    if request.targets or overrides:  # else every node leads to a root
        needed = needed_for([r for r in roots if r not in sinks], before, set(overrides)) - sinks
        kept = [i for i in order if i in needed]
    index = {old: new for new, old in enumerate(kept)}
    nodes = tuple([_node(works[i], index, overrides) for i in kept])
    found = {draft.key: draft.op for draft in [works[i].draft for i in kept] if draft.op is not None}
    operators = {key: op.spec for key, op in found.items()}
    targets = tuple(index[r] for r in roots if r in index and _spec(works[r]).outputs)
    columns = needed_columns(nodes, found, set(targets))
    if columns:
        nodes = tuple(
            msgspec.structs.replace(node, columns=columns[i]) if i in columns else node
            for i, node in enumerate(nodes)
        )
    return Plan(
        root.spec.name or "pipeline",
        nodes,
        operators,
        find_stages(nodes, operators),
        targets,
        {index[i]: v for i, v in overrides.items() if i in index},
        root.source.file,
        root.spec.run_timeout,
    )


def _spec(work: _Work) -> OperatorSpec:
    assert work.draft.op is not None
    return work.draft.op.spec


def _node(work: _Work, index: dict[int, int], overrides: dict[int, Any]) -> PlanNode:
    draft = work.draft
    given = draft.index in overrides
    inputs: dict[str, Any] = {}
    for name, feed in work.bound.items() if not given else ():
        if type(feed) is tuple and feed and type(feed[0]) is Draft:
            inputs[name] = FromNode(index[feed[0].index], feed[1])
        else:
            inputs[name] = _binding(feed, index)
    after = (
        ()
        if given or not work.after
        else tuple(dict.fromkeys(index[d.index] for d in work.after if d.index in index))
    )
    return PlanNode(draft.id, draft.key, work.params, inputs, after, work.policies)


def _binding(feed: Feed | tuple[Feed, ...], index: dict[int, int]) -> Any:
    if isinstance(feed, Constant):
        return feed
    if feed and isinstance(feed[0], Draft):
        return FromNode(index[feed[0].index], feed[1])
    return tuple(_binding(f, index) for f in feed)
