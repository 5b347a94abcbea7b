"""Turn a parsed file into a :class:`PipelineSpec`, with every mistake at its exact place.

Decoding is lenient: what is wrong becomes a finding and is dropped or defaulted, and the rest still becomes a
spec, so that one pass finds everything. A node without a ``type`` and a module without a ``path`` stay with
an empty one, so that edges to them are not reported as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from petal.config.findings import Findings, Part, shorten, show
from petal.config.links import ID_HINT, Links
from petal.config.policies import read_duration, read_policies
from petal.spec.diagnostic import Severity
from petal.spec.pipeline import ID_PATTERN, MISSING, ModuleSpec, NodeSpec, PipelineSpec
from petal.spec.policy import NO_POLICIES, POLICY_NAMES, Policies
from petal.spec.url import is_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from petal.config.findings import Path
    from petal.config.syntax import Document
    from petal.spec.diagnostic import Diagnostic

TOP_KEYS = (
    "name", "plugins", "params", "inputs", "cache_io", "defaults", "run_timeout",
    "nodes", "edges", "modules", "outputs",
)  # fmt: skip
NODE_KEYS = ("id", "type", "params", "inputs", *POLICY_NAMES, "after")
MODULE_KEYS = ("id", "path", "params", "inputs", "after")
#: Tells an editor which JSON Schema to use; Petal passes over it.
SCHEMA_KEY = "$schema"

_TOP_SET = frozenset((*TOP_KEYS, SCHEMA_KEY))
_NODE_SET = frozenset(NODE_KEYS)
_MODULE_SET = frozenset(MODULE_KEYS)


def decode(document: Document) -> tuple[PipelineSpec, list[Diagnostic]]:
    """Return the pipeline that a document describes, and every finding in the order of the file.

    Args:
        document: A parsed file; its own findings (syntax, duplicate keys) come back too.

    Returns:
        The spec, complete but for what is wrong, and the findings. It is fit to run when none is an error.
    """
    findings = Findings(document)
    spec = _pipeline(document, findings)
    if findings.items or document.findings:
        both = [*document.findings, *findings.items]
        return spec, sorted(both, key=lambda f: (f.line, f.column))
    return spec, []


def _pipeline(document: Document, findings: Findings) -> PipelineSpec:
    data = document.data
    if not isinstance(data, dict):
        if data is not None:
            findings.add(
                "wrong-type",
                f"the file holds {show(data)}, but a pipeline is a mapping",
                (),
                hint="begin with `nodes:`" if not isinstance(data, list) else "put this list under `nodes:`",
            )
        elif not any(f.severity is Severity.ERROR for f in document.findings):
            findings.add("empty-pipeline", "the file is empty", (), hint="add a node under `nodes`")
        return PipelineSpec()
    top = Part(findings, data, (), "")
    if not _TOP_SET.issuperset(data):
        top.check_keys(TOP_KEYS, passed_over=SCHEMA_KEY)
    links = Links(top)
    nodes = tuple(_nodes(top, links))
    modules = tuple(_modules(top, links))
    if not data.get("nodes") and not data.get("modules"):
        _note_empty(top)
    return PipelineSpec(
        name=top.text("name") or "",
        plugins=top.texts("plugins"),
        params=top.mapping("params"),
        inputs=_pipeline_inputs(top),
        cache_io=_cache_io(top),
        defaults=_defaults(top),
        run_timeout=None if data.get("run_timeout") is False else read_duration(top, "run_timeout"),
        nodes=nodes,
        edges=links.edges(),
        modules=modules,
        outputs=links.outputs(),
    )


def _cache_io(top: Part) -> bool | str:
    """Read true, false, or the URL of a store."""
    value = top.data.get("cache_io")
    if not is_url(value):
        return top.flag("cache_io") or False
    return False if top.refuse_reference(value, "cache_io", code="bad-policy") else str(value)


def _note_empty(top: Part) -> None:
    key = next((k for k in ("nodes", "modules") if k in top.data), None)
    hint = "add a node under `nodes`, or a module under `modules`"
    if key is None:
        top.add("empty-pipeline", "the pipeline has neither nodes nor modules", hint=hint)
    elif top.data[key] is None or isinstance(top.data[key], list | dict):
        top.add(
            "empty-pipeline", f"`{key}` is empty, so there is nothing to run", key, hint=hint, at_key=True
        )


def _entries(top: Part, key: str, kind: str) -> Iterator[tuple[Any, Path, str | None]]:
    """Go through a list, or a mapping of id to entry: each entry, its path, and the id from its key."""
    value = top.data.get(key)
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield item, (key, i), None
    elif isinstance(value, dict):
        for name, item in value.items():
            yield item, (key, name), name
    elif value is not None:
        top.wrong(f"a list of {kind}s", key, value=value, what=f"`{key}`")


def _nodes(top: Part, links: Links) -> Iterator[NodeSpec]:
    for entry, path, name in _entries(top, "nodes", "node"):
        if (part := _part(top, entry, path, name, "node", "type")) is None:
            continue
        data = part.data
        if not _NODE_SET.issuperset(data):
            part.check_keys(NODE_KEYS)
        if (id_ := _id(part, name, links)) is None:
            continue
        type_ = _required(part, "type", "the operator's name")
        yield NodeSpec(
            id_,
            type_,
            part.mapping("params"),
            links.inputs(part) if data.get("inputs") is not None else {},
            links.after(part) if data.get("after") is not None else (),
            read_policies(part),
        )


def _modules(top: Part, links: Links) -> Iterator[ModuleSpec]:
    for entry, path, name in _entries(top, "modules", "module"):
        if (part := _part(top, entry, path, name, "module", "path")) is None:
            continue
        if not _MODULE_SET.issuperset(part.data):
            policies = "the policies of a module's nodes are said in its own file"
            part.check_keys(MODULE_KEYS, hint=policies if not _NODE_SET.isdisjoint(part.data) else None)
        if (id_ := _id(part, name, links)) is None:
            continue
        file = _required(part, "path", "the pipeline file")
        yield ModuleSpec(id_, file, part.mapping("params"), links.inputs(part), links.after(part))


def _part(top: Part, entry: Any, path: Path, name: str | None, kind: str, needed: str) -> Part | None:
    """Return the part of one node or module, or None when it is none."""
    known = name if name is not None else entry.get("id") if isinstance(entry, dict) else None
    where = f"{kind} `{shorten(known)}`" if known and type(known) is str else f"{kind} {_ordinal(path)}"
    if entry is None and name is not None:
        entry = {}
    if not isinstance(entry, dict):
        start = "" if name is not None else "id: ..., "
        example = shorten(entry) if name is not None and isinstance(entry, str) else "..."
        hint = f"write {{{start}{needed}: {example}}}"
        top.wrong("a mapping", *path, value=entry, what=where, hint=hint)
        return None
    if name is None and len(entry) == 1:
        (key,) = entry
        if key not in ("id", needed) and isinstance(entry[key], dict):
            hint = f"write `- id: {shorten(key)}` and put its other keys on the same level"
            top.add("missing-key", f"{where} has no `id`", *path, hint=hint)
            return None
    return Part(top.findings, entry, path, where)


def _ordinal(path: Path) -> str:
    return str(path[1] + 1) if isinstance(path[1], int) else "without a name"


def _required(part: Part, key: str, what: str) -> str:
    """Read a text that must be there; "" when it is not."""
    if part.data.get(key) is not None:
        return part.fixed_text(key, "bad-value") or ""
    if key not in part.meant:
        part.add("missing-key", f"{part.where} has no `{key}`", hint=f"add `{key}:`, {what}")
    return ""


def _id(part: Part, name: str | None, links: Links) -> str | None:
    """Read the id of a node or module, or take it from its key, and claim it."""
    at_key = name is not None
    value = part.data.get("id")
    place: Path = part.path if at_key else (*part.path, "id")
    misspelt = part.meant.get("id")
    if value is None and misspelt is not None and ID_PATTERN.fullmatch(str(part.data[misspelt])):
        # So that what refers to it is not reported too.
        value, place = str(part.data[misspelt]), (*part.path, misspelt)
    if at_key:
        if value is not None and value != name:
            hint = "remove `id`: the key is the id"
            part.add("bad-id", f"{part.where} says that its id is {show(value)}", "id", hint=hint)
        value = name
    if value is None:
        if "id" not in part.meant:
            part.add("missing-key", f"{part.where} has no `id`", hint="add `id:`, a name that edges can use")
        return None
    if type(value) is not str:
        part.wrong(
            "text", "id", value=value, what=f"the id of {part.where}", hint=f"an id is a name: {ID_HINT}"
        )
        return None
    if not ID_PATTERN.fullmatch(value):
        part.findings.add("bad-id", f"{show(value)} is not an id", place, hint=ID_HINT, key=at_key)
    first = links.claim(value, place, at_key=at_key)
    if first is None:
        return value
    message = f"the id `{shorten(value)}` is taken: its first place is {first}"
    part.findings.add("duplicate-id", message, place, hint="rename one of the two", key=at_key)
    return None


def _defaults(top: Part) -> Policies:
    data = top.mapping("defaults", hint="write the policies of every node, such as {timeout: 5m}")
    if not data:
        return NO_POLICIES
    part = Part(top.findings, data, ("defaults",), "`defaults`")
    part.check_keys(POLICY_NAMES)
    return read_policies(part)


def _pipeline_inputs(top: Part) -> dict[str, Any]:
    """Read the declared inputs: names, single-key mappings of a name to its default, or one mapping."""
    value = top.data.get("inputs")
    if value is None:
        return {}
    if isinstance(value, dict):
        good = [name for name in value if _is_name(top, name, ("inputs", name), at_key=True)]
        return {name: value[name] for name in good}
    if not isinstance(value, list):
        top.wrong(
            "a list of names or a mapping of names to defaults",
            "inputs",
            value=value,
            what="`inputs`",
            hint=f"write [{shorten(value)}]" if isinstance(value, str) else None,
        )
        return {}
    found: dict[str, Any] = {}
    first: dict[str, tuple[Path, bool]] = {}
    for i, item in enumerate(value):
        path: Path = ("inputs", i)
        default: Any = MISSING
        at_key = isinstance(item, dict) and len(item) == 1
        if at_key:
            ((name, default),) = item.items()
            path = (*path, name)
        elif type(item) is str:
            name = item
        else:
            top.wrong("a name or {name: default}", *path, value=item, what=f"item {i + 1} of `inputs`")
            continue
        if name in first:
            place = top.findings.place(first[name][0], key=first[name][1])
            message = f"the input `{shorten(name)}` is listed twice: its first place is {place}"
            top.findings.add("duplicate-name", message, path, hint="remove one of the two", key=at_key)
        elif _is_name(top, name, path, at_key=at_key):
            first[name] = path, at_key
            found[name] = default
    return found


def _is_name(top: Part, name: str, path: Path, *, at_key: bool) -> bool:
    if ID_PATTERN.fullmatch(name):
        return True
    top.findings.add("bad-id", f"{show(name)} is not the name of an input", path, hint=ID_HINT, key=at_key)
    return False
