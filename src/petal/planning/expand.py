"""Open modules: a pipeline and everything inside it as one flat list of draft nodes, with what each name means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field

from petal.errors import PetalError
from petal.interfaces.source import Operator, Part, PartLoader
from petal.planning.findings import Findings, PathTo, Place, did_you_mean, listing
from petal.spec.diagnostic import errors_of
from petal.spec.pipeline import MISSING, EdgeSpec, ModuleSpec, NodeSpec, split_port
from petal.spec.plan import FromNode, Resolved

MAX_DEPTH = 32
MAX_NODES = 1_000_000


class Draft(Struct, eq=False):
    """A node on its way into the plan, with what has been found out about it.

    Attributes:
        id: The full id, ``module/node`` inside modules.
        spec: What its author wrote.
        path: Where that stands in its file.
        scope: The pipeline that it is in.
        index: Its place among all drafts.
        op: The operator that its type names, None where there is none.
        key: The operator's key in the plan.
        params: Its parameters, worked out.
        bound: What feeds its inputs.
        after: What it waits for without data.
        policies: How it is run.
        whole: The binding to its whole output, once somebody takes it.
        fed: The drafts that feed its inputs, where nothing else does and all of them are known to fit.
        wrapped: Whether its operator is the one that a ``RetryWrapper`` names.
    """

    id: str
    spec: NodeSpec
    path: PathTo
    scope: Scope
    index: int
    op: Operator | None = None
    key: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    bound: dict[str, Any] = field(default_factory=dict)
    after: Sequence[Draft] = ()
    policies: Resolved | None = None
    whole: FromNode | None = None
    wrapped: bool = False
    fed: list[int] | None = None

    def feed(self) -> FromNode:
        """Return the binding to its whole output, one for all consumers."""
        self.whole = FromNode(self.index)
        return self.whole


class Given:
    """What a module or the caller gives for a pipeline input: references in the parent, or a value."""

    __slots__ = ("origin", "path", "refs", "scope", "value")

    def __init__(
        self,
        *,
        value: Any = MISSING,
        refs: tuple[str, ...] = (),
        scope: Scope | None = None,
        path: PathTo = (),
        origin: str = "",
    ) -> None:
        self.value = value
        self.refs = refs
        self.scope = scope
        self.path = path
        self.origin = origin


class Scope:
    """One pipeline inside the whole: its names, and what its parent gave it."""

    def __init__(self, part: Part, prefix: str, place: Place, parent: Scope | None, entry: PathTo) -> None:
        self.part = part
        self.prefix = prefix
        self.place = place
        self.parent = parent
        self.entry = entry
        self.nodes: dict[str, Draft] = {}
        self.modules: dict[str, Scope] = {}
        self.params: dict[str, Any] = dict(part.spec.params)
        self.texts: set[str] = (
            set()
        )  # parameters given as text, to be read by the annotation of who uses them
        self.given: dict[str, Given] = {}
        self.edges: dict[str, list[tuple[int, EdgeSpec, str | None]]] = {}
        self.unopened: set[str] = set()  # modules whose file cannot be used; reported where they are named
        self.missed: set[str] = set()  # nodes that an edge with a misspelt end was probably meant for

    @property
    def unread(self) -> bool:
        """Whether nothing is known of this pipeline because its file could not be read."""
        return not (self.part.spec.nodes or self.part.spec.modules) and bool(errors_of(self.part.findings))

    @property
    def names(self) -> list[str]:
        """All ids that this pipeline's edges can name."""
        return [*self.nodes, *self.modules]


class Expanded:
    """The result: scopes by prefix and drafts in the order of the files."""

    def __init__(self) -> None:
        self.drafts: list[Draft] = []
        self.scopes: list[Scope] = []

    def close(self) -> None:
        """Undo what refers to each other, so that all of it is freed at once and not by the garbage collector."""
        for scope in self.scopes:
            scope.nodes.clear()


def expand(root: Part, load: PartLoader, findings: Findings) -> Expanded:
    """Open every module beneath ``root``; recursion is found and shown."""
    result = Expanded()
    waiting: list[tuple[Part, str, Place, Scope | None, PathTo, tuple[str, ...]]] = [
        (root, "", Place(root), None, (), (_identity(root),))
    ]
    while waiting:
        part, prefix, place, parent, entry, files = waiting.pop(0)
        findings.extend(_in_chain(part, place))
        scope = Scope(part, prefix, place, parent, entry)
        result.scopes.append(scope)
        if parent is not None:
            parent.modules[prefix.rstrip("/").rsplit("/", 1)[-1]] = scope
        for i, spec in enumerate(part.spec.nodes):
            draft = Draft(prefix + spec.id, spec, ("nodes", i), scope, len(result.drafts))
            scope.nodes[spec.id] = draft
            result.drafts.append(draft)
        _sort_edges(scope, findings)
        for i, module in enumerate(part.spec.modules):
            opened = _open(module, ("modules", i), scope, load, findings, files)
            if opened is None:
                scope.unopened.add(module.id)
            else:
                child, chain, child_files = opened
                waiting.append(
                    (
                        child,
                        f"{prefix}{module.id}/",
                        Place(child, chain, f"{prefix}{module.id}/"),
                        scope,
                        ("modules", i),
                        child_files,
                    )
                )
    _give(result, findings)
    return result


def _identity(part: Part) -> str:
    return part.source.file or f"<{part.spec.name}>"


def _in_chain(part: Part, place: Place) -> list[Any]:
    import msgspec

    if not place.chain:
        return part.findings
    return [msgspec.structs.replace(f, chain=place.chain) for f in part.findings]


def _open(
    module: ModuleSpec,
    path: PathTo,
    scope: Scope,
    load: PartLoader,
    findings: Findings,
    files: tuple[str, ...],
) -> tuple[Part, tuple[str, ...], tuple[str, ...]] | None:
    place = scope.place
    if not module.path:  # reported by the reader of the file
        return None
    at = place.part.source.locate((*path, "path")) or place.part.source.file or ""
    try:
        child = load(module.path, place.part)
    except PetalError as error:
        message = f"{error.location}: {error.message}" if error.location else error.message
        findings.add(place, (*path, "path"), error.code, message, hint=error.hint)
        return None
    identity = _identity(child)
    if identity in files:
        loop = " → ".join(_base(f) for f in (*files[files.index(identity) :], identity))
        findings.add(
            place,
            (*path, "path"),
            "module-recursion",
            f"module `{module.id}` contains itself: {loop}",
            hint="a module may not use a file that uses it",
        )
        return None
    if len(files) > MAX_DEPTH:
        findings.add(
            place,
            (*path, "path"),
            "too-large",
            f"modules are nested more than {MAX_DEPTH} deep",
            hint="flatten them",
        )
        return None
    return child, (*place.chain, str(at)), (*files, identity)


def _base(file: str) -> str:
    return file.rsplit("/", 1)[-1]


def _sort_edges(scope: Scope, findings: Findings) -> None:
    """File each edge under the node or module that it leads to."""
    spec = scope.part.spec
    if not spec.edges:
        return
    known = {n.id for n in spec.nodes} | {m.id for m in spec.modules}
    for i, edge in enumerate(spec.edges):
        target, port = split_port(edge.target)
        if target in known:
            scope.edges.setdefault(target, []).append((i, edge, port))
        elif edge.target not in known:  # an id with a dot in it is reported where it is written
            close = did_you_mean(target, known)
            if close:
                scope.missed.add(close.split("`")[1])
            ids = [n.id for n in spec.nodes] + [m.id for m in spec.modules]
            findings.add(
                scope.place,
                ("edges", i, 1),
                "unknown-node",
                f"this edge leads to `{target}`, but there is no node of that id",
                hint=close or (f"the nodes are {listing(ids)}" if ids else "add it under `nodes`"),
            )


def _give(result: Expanded, findings: Findings) -> None:
    """Match what each module entry gives with what the module declares."""
    for scope in result.scopes:
        if scope.parent is None or scope.unread:
            continue
        parent, spec = scope.parent, scope.part.spec
        module = parent.part.spec.modules[int(scope.entry[1])]
        for name, value in module.params.items():
            path = (*scope.entry, "params", name)
            if name in spec.params:
                scope.params[name] = Given(value=value, scope=parent, path=path)
            elif name in spec.inputs:
                scope.given[name] = Given(value=value, scope=parent, path=path, origin="params")
            else:
                known = [*spec.params, *spec.inputs]
                findings.add(
                    parent.place,
                    path,
                    "unknown-param",
                    f"module `{module.id}` has no parameter `{name}`",
                    hint=did_you_mean(name, known)
                    or (f"it has {listing(known)}" if known else "it has none"),
                    key=True,
                )
        _give_inputs(scope, parent, module, findings)


def _give_inputs(scope: Scope, parent: Scope, module: ModuleSpec, findings: Findings) -> None:
    declared = list(scope.part.spec.inputs)
    meant: set[str] = set()
    for name, source in module.inputs.items():
        path = (*scope.entry, "inputs", name)
        if name in scope.given:
            message = (
                f"input `{name}` of module `{module.id}` is bound twice: under `inputs` and under `params`"
            )
            findings.add(parent.place, path, "bound-twice", message, hint="remove one of them", key=True)
        elif name in declared:
            refs = source if isinstance(source, tuple) else (source,)
            scope.given[name] = Given(refs=refs, scope=parent, path=path)
        else:
            close = did_you_mean(name, declared)
            if close:
                meant.add(close.split("`")[1])
            findings.add(
                parent.place,
                path,
                "unknown-input",
                f"module `{module.id}` has no input `{name}`",
                hint=close or (f"it has {listing(declared)}" if declared else "it has none"),
                key=True,
            )
    for i, edge, port in sorted(parent.edges.get(module.id, ()), key=lambda e: e[2] is None):
        _give_by_edge(scope, parent, module, (i, edge.source, port), findings)
    for name, default in scope.part.spec.inputs.items():
        if name in scope.given or name in meant:
            continue
        if name in parent.names and name != module.id:
            scope.given[name] = Given(refs=(name,), scope=parent, path=scope.entry)
        elif name in parent.part.spec.inputs:
            scope.given[name] = Given(value=MISSING, scope=parent, path=scope.entry, origin="parent")
        elif default is MISSING and module.id not in parent.missed:
            path = (*scope.entry, "inputs", name)
            if findings.reported(parent.place, path, scope.entry):
                continue
            findings.add(
                parent.place,
                (*scope.entry, "inputs"),
                "unbound-input",
                f"input `{name}` of module `{module.id}` is not bound to anything",
                hint=f"write `inputs: {{{name}: NODE}}` at the module",
            )


def _give_by_edge(
    scope: Scope, parent: Scope, module: ModuleSpec, edge: tuple[int, str, str | None], findings: Findings
) -> None:
    i, source, port = edge
    declared = list(scope.part.spec.inputs)
    free = [n for n in declared if n not in scope.given]
    into = port if port is not None else (free[0] if free else None)
    has = f"it has {listing(declared)}" if declared else "declare it in the module's file: `inputs: [lines]`"
    if into is None:
        code, message, hint = "surplus-edge", f"module `{module.id}` has no input left for this edge", has
    elif into not in declared:
        code, message, hint = "unknown-input", f"module `{module.id}` has no input `{into}`", has
    elif into in scope.given:
        code, message = "bound-twice", f"input `{into}` of module `{module.id}` is bound twice"
        hint = "remove one of the two"
    else:
        scope.given[into] = Given(refs=(source,), scope=parent, path=("edges", i, 0))
        return
    findings.add(parent.place, ("edges", i, 1), code, message, hint=hint)
