"""Make a plan of a pipeline, or say everything that keeps it from being one, in one pass."""

from __future__ import annotations

import os
from typing import Any

from msgspec import Struct

from petal.errors import PetalError, UsageError
from petal.interfaces.source import Operator, Part, PartLoader
from petal.planning.binding import Binder, Bound, Feed
from petal.planning.edgetypes import Mismatch, check_constant, check_edge
from petal.planning.expand import Draft, Scope, expand
from petal.planning.findings import Findings, did_you_mean, listing
from petal.planning.order import needed_for, topological_order
from petal.planning.parameters import Parameters
from petal.planning.policies import PolicyResolver, check_run_timeout
from petal.planning.request import Request
from petal.planning.stages import find_stages
from petal.planning.values import BadValue, file_use
from petal.spec.diagnostic import Diagnostic, Severity
from petal.spec.memory import without_collection
from petal.spec.operator import Input, Kind, OperatorSpec, camel_case
from petal.spec.plan import Constant, FromNode, Plan, PlanNode, Resolved
from petal.spec.views import WRITES

#: Operators of the library that a later version brings, so that the finding can say so.
COMING = frozenset(
    [
        "FlakyTransformer",
        "RetryWrapper",
        "ParquetReader",
        "ParquetWriter",
        "GzipCompressor",
        "GzipDecompressor",
        "Rename",
        "Cast",
        "FilterRows",
        "Sort",
        "Deduplicate",
        "Limit",
        "Sample",
        "SqlQuery",
    ]
)

#: Findings that say that a plugin's operators are not known.
_LOST = frozenset(
    {
        "python-missing",
        "python-syntax",
        "python-import",
        "python-unreadable",
        "outside-project",
        "broken-plugin",
    }
)


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
    operators = _find_operators(drafts, findings)
    parameters = Parameters(expanded, request, findings)
    binder = Binder(request, parameters, findings)
    policies = PolicyResolver(request, findings)
    _check_request(root, drafts, request)
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
    _check_written_files(works, findings)
    before = [work.sources() for work in works]
    order = topological_order(before, drafts, findings)
    if not drafts and not findings.failed:
        findings.add(
            _place(expanded.scopes[0]),
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


def _place(scope: Scope) -> Any:
    return scope.place


def _find_operators(drafts: list[Draft], findings: Findings) -> dict[str, Operator]:
    """Look every type name up, once per scope; equal operators share one key."""
    operators: dict[str, Operator] = {}
    keys: dict[int, str] = {}
    found: dict[tuple[int, str], tuple[Operator, str] | None] = {}
    for draft in drafts:
        if not draft.spec.type:  # reported by the reader of the file
            continue
        asked = (id(draft.scope.part.names), draft.spec.type)
        if asked not in found:
            found[asked] = _find_operator(draft, operators, keys, findings)
        hit = found[asked]
        if hit is not None:
            draft.op, draft.key = hit
        elif not draft.scope.part.blind:
            _report_unknown(draft, findings)
    return operators


def _find_operator(
    draft: Draft, operators: dict[str, Operator], keys: dict[int, str], findings: Findings
) -> tuple[Operator, str] | None:
    try:
        op = draft.scope.part.names.find(draft.spec.type)
    except PetalError as error:
        findings.add(draft.scope.place, (*draft.path, "type"), error.code, error.message, hint=error.hint)
        return None
    if op is None:
        return None
    key = keys.get(id(op.target))
    if key is None:
        key, count = op.spec.name, 2
        while key in operators:
            key, count = f"{op.spec.name}#{count}", count + 1
        keys[id(op.target)] = key
        operators[key] = op
        for remark in op.spec.remarks:
            findings.add(
                draft.scope.place,
                (*draft.path, "type"),
                remark.code,
                remark.message,
                hint=remark.hint,
                severity=Severity.WARNING,
            )
    return op, key


def _report_unknown(draft: Draft, findings: Findings) -> None:
    name, names = draft.spec.type, draft.scope.part.names
    if name in COMING or camel_case(name) in COMING:
        findings.add(
            draft.scope.place,
            (*draft.path, "type"),
            "not-yet",
            f"operator `{name}` is not available in this version",
            hint="a later version of Petal brings it",
        )
        return
    close = names.close_matches(name)
    lost = any(f.code in _LOST for f in draft.scope.part.findings)
    hint = (
        f"did you mean {listing(close[:3])}?"
        if close
        else "the plugin that could not be loaded may hold it"
        if lost
        else "define it in a Python file and name that file under `plugins:`; `petal describe operators` lists all there are"
    )
    findings.add(
        draft.scope.place,
        (*draft.path, "type"),
        "unknown-operator",
        f"there is no operator `{name}`",
        hint=hint,
    )


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


def _check_written_files(works: list[_Work], findings: Findings) -> None:
    """Two nodes of one run that publish the same file are an error (S5.10)."""
    writers: dict[str, Draft] = {}
    for work in works:
        draft = work.draft
        if draft.op is None or draft.op.spec.kind is not Kind.SINK:
            continue
        for param in draft.op.spec.params:
            value = work.params.get(param.name)
            if (
                file_use(param.annotation) is not WRITES
                or not isinstance(value, os.PathLike)
                or str(value) == "-"
            ):
                continue
            real = os.path.realpath(value)
            if real in writers:
                findings.add(
                    draft.scope.place,
                    (*draft.path, "params", param.name),
                    "duplicate-target",
                    f"`{draft.id}` writes the file that `{writers[real].id}` writes too",
                    hint="give each its own file, or merge the streams with a ListMerger node",
                )
            else:
                writers[real] = draft


def _check_request(root: Part, drafts: list[Draft], request: Request) -> None:
    """Refuse targets, overrides, inputs and backends that name nothing."""
    ids = [d.id for d in drafts]
    known = set(ids)
    asked = [("target", t) for t in request.targets] + [("override", o) for o in request.overrides]
    asked += [("backend", b) for b in request.backends if b]
    for what, name in asked:
        if name not in known:
            raise UsageError(
                f"{what} `{name}`: there is no node of that id",
                hint=did_you_mean(name, ids) or f"the nodes are {listing(ids)}",
                code="unknown-node",
            )
    for name in request.inputs:
        if name not in root.spec.inputs:
            declared = list(root.spec.inputs)
            raise UsageError(
                f"the pipeline has no input `{name}`",
                hint=did_you_mean(name, declared)
                or (f"it has {listing(declared)}" if declared else "it declares none (`inputs:`)"),
                code="unknown-input",
            )


def _assemble(
    root: Part, request: Request, works: list[_Work], before: list[list[int]], order: list[int]
) -> Plan:
    by_id = {w.draft.id: w.draft.index for w in works}
    overrides = {by_id[name]: value for name, value in request.overrides.items()}
    sinks = {i for i in overrides if not _spec(works[i]).outputs}
    used = {s for sources in before for s in sources}
    roots = [by_id[t] for t in request.targets] or [i for i in range(len(works)) if i not in used]
    needed = needed_for([r for r in roots if r not in sinks], before, set(overrides)) - sinks
    kept = [i for i in order if i in needed] if len(needed) < len(order) else order
    index = {old: new for new, old in enumerate(kept)}
    nodes = tuple(_node(works[i], index, overrides) for i in kept)
    operators = {works[i].draft.key: _spec(works[i]) for i in kept}
    targets = tuple(index[r] for r in roots if r in index and _spec(works[r]).outputs)
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
    inputs = {} if given else {name: _binding(feed, index) for name, feed in work.bound.items()}
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
