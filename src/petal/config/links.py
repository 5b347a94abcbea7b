"""Read everything in a file that names a node: edges, inputs, ``after`` and the pipeline's outputs."""

from __future__ import annotations

import re
from functools import cached_property
from itertools import pairwise
from typing import Any

from petal.config.findings import Part, Path, shorten, show
from petal.spec.pipeline import ID_PATTERN, EdgeSpec

#: ``node``, ``node.port`` or ``module.output``.
_REFERENCE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[^\s.]+)?")
_NAMED = "a node is named by its id, a port as `node.port`"
ID_HINT = "use letters, digits, `_` and `-`, beginning with a letter or `_`"
_ARROW = re.compile(r"\s*(?:->|-->|→|>>|>)\s*")


class Links:
    """The names of a pipeline's parts, and whatever refers to them.

    Names that were found to be wrong where they are defined are not reported again where they are used.
    """

    def __init__(self, top: Part) -> None:
        self._top = top
        self._findings = top.findings
        self._taken: dict[str, tuple[Path, bool]] = {}

    def claim(self, name: str, path: Path, *, at_key: bool) -> str | None:
        """Take an id; when it is taken already, return its first place."""
        first = self._taken.setdefault(name, (path, at_key))
        if first[0] is path:
            return None
        return self._findings.place(first[0], key=first[1])

    @cached_property
    def _ids(self) -> frozenset[str]:
        """Every id as it is written, the ones that are no ids included."""
        found: list[Any] = []
        for key in ("nodes", "modules"):
            value = self._top.data.get(key)
            if isinstance(value, list):
                found += [entry.get("id") for entry in value if isinstance(entry, dict)]
            elif isinstance(value, dict):
                found += value
        return frozenset(i for i in found if isinstance(i, str))

    def edges(self) -> tuple[EdgeSpec, ...]:
        """Read the edges of the pipeline."""
        value = self._top.data.get("edges")
        if value is None:
            return ()
        if not isinstance(value, list):
            self._top.wrong(
                "a list of edges", "edges", value=value, what="`edges`", hint="write [[from, to], ...]"
            )
            return ()
        seen: dict[tuple[str, str], int] = {}
        for i, item in enumerate(value):
            ends = self._ends(item, ("edges", i))
            if ends is None:
                continue
            first = seen.setdefault(ends, i)
            if first != i:
                self._findings.add(
                    "duplicate-edge",
                    f"the edge from `{shorten(ends[0])}` to `{shorten(ends[1])}` is written twice: "
                    f"its first place is {self._findings.place(('edges', first))}",
                    ("edges", i),
                    hint="remove one of the two",
                )
        return tuple([EdgeSpec(*ends) for ends in seen])

    def inputs(self, part: Part) -> dict[str, str | tuple[str, ...]]:
        """Read the ``inputs`` of a node or module: input name to what feeds it."""
        found: dict[str, str | tuple[str, ...]] = {}
        hint = "write the input's name and what feeds it: {lines: reader}"
        for name, source in part.mapping("inputs", hint=hint).items():
            what = f"input `{shorten(name)}` of {part.where}"
            path: Path = (*part.path, "inputs", name)
            if not ID_PATTERN.fullmatch(name):
                self._findings.add(
                    "bad-id", f"{show(name)} is not the name of an input", path, hint=ID_HINT, key=True
                )
            elif isinstance(source, list):
                sources = [s for i, s in enumerate(source) if self._is_reference(s, (*path, i), what)]
                if len(sources) == len(source):
                    found[name] = tuple(sources)
            elif isinstance(source, str | None):
                if self._is_reference(source, path, what) and source is not None:
                    found[name] = source
            else:
                hint = f"a constant is given under `params`, as {{{shorten(name)}: ...}}"
                wanted = "the name of a node or a list of such names"
                part.wrong(wanted, "inputs", name, value=source, what=what, hint=hint)
        return found

    def after(self, part: Part) -> tuple[str, ...]:
        """Read the nodes that must have succeeded before a node."""
        value = part.data.get("after")
        items = value if isinstance(value, list) else [] if value is None else [value]
        found = []
        for i, item in enumerate(items):
            path: Path = (*part.path, "after", i) if isinstance(value, list) else (*part.path, "after")
            if not self._is_reference(item, path, part.name("after")):
                continue
            if "." in item and item not in self._ids:
                self._findings.add(
                    "bad-reference",
                    f"{part.name('after')} names the port `{shorten(item)}`, but order is between nodes",
                    path,
                    hint=f"write `{shorten(item.partition('.')[0])}`",
                )
            else:
                found.append(item)
        return tuple(found)

    def outputs(self) -> dict[str, str]:
        """Read what the pipeline shows as a module: a mapping of names to nodes, or a list of nodes."""
        value = self._top.data.get("outputs")
        if value is None:
            return {}
        if isinstance(value, dict):
            return self._named_outputs(value)
        if not isinstance(value, list):
            hint = f"write {{output: {shorten(value)}}}" if isinstance(value, str) else None
            wanted = "a mapping of names to nodes or a list of nodes"
            self._top.wrong(wanted, "outputs", value=value, what="`outputs`", hint=hint)
            return {}
        first: dict[str, int] = {}
        for i, item in enumerate(value):
            path: Path = ("outputs", i)
            if not self._is_reference(item, path, f"item {i + 1} of `outputs`"):
                continue
            if "." in item and item not in self._ids:
                hint = f"give it a name: {{{shorten(item.rpartition('.')[2])}: {shorten(item)}}}"
                message = f"`outputs` lists the port `{shorten(item)}`, but a list holds nodes"
                self._findings.add("bad-reference", message, path, hint=hint)
            elif first.setdefault(item, i) != i:
                place = self._findings.place(("outputs", first[item]))
                message = f"the output `{shorten(item)}` is listed twice: its first place is {place}"
                self._findings.add("duplicate-name", message, path, hint="remove one of the two")
        return {name: name for name in first}

    def _named_outputs(self, value: dict[str, Any]) -> dict[str, str]:
        found = {}
        for name, source in value.items():
            path: Path = ("outputs", name)
            if not ID_PATTERN.fullmatch(name):
                self._findings.add(
                    "bad-id", f"{show(name)} is not the name of an output", path, hint=ID_HINT, key=True
                )
            elif self._is_reference(source, path, f"output `{shorten(name)}`"):
                found[name] = source
        return found

    def _ends(self, item: Any, path: Path) -> tuple[str, str] | None:
        """Read the two ends of an edge."""
        if isinstance(item, dict):
            part = Part(self._findings, item, path, f"edge {int(path[1]) + 1}")
            part.check_keys(("from", "to"))
            missing = [k for k in ("from", "to") if item.get(k) is None and k not in part.meant]
            if missing:
                self._bad_edge(path, f"has no `{missing[0]}`", "write {from: ..., to: ...}")
            if item.get("from") is None or item.get("to") is None:
                return None
            ends, places = (item["from"], item["to"]), ("from", "to")
            return self._checked(ends, [(*path, p) for p in places], path)
        if not isinstance(item, list):
            hint = "write [from, to]"
            if isinstance(item, str) and len(parts := _ARROW.split(item.strip())) == 2 and all(parts):
                hint = f"write [{shorten(parts[0])}, {shorten(parts[1])}]"
            self._bad_edge(path, f"is {show(item)}, but [from, to] is wanted", hint)
            return None
        if len(item) != 2:
            hint = "write [from, to]"
            if len(item) > 2 and all(isinstance(end, str) for end in item):
                pairs = [f"[{shorten(a)}, {shorten(b)}]" for a, b in pairwise(item[:3])]
                hint = "an edge is one pair: write " + " and ".join(pairs) + (" ..." if len(item) > 3 else "")
            count = {0: "no end", 1: "one end"}.get(len(item), f"{len(item)} ends")
            self._bad_edge(path, f"has {count}, but an edge has two", hint)
            return None
        return self._checked((item[0], item[1]), [(*path, 0), (*path, 1)], path)

    def _checked(self, ends: tuple[Any, Any], places: list[Path], path: Path) -> tuple[str, str] | None:
        what = f"an end of edge {int(path[1]) + 1}"
        # No generator in `all`: both ends are looked at, even when the first is wrong.
        good = [self._is_reference(end, place, what) for end, place in zip(ends, places, strict=True)]
        return ends if all(good) else None

    def _bad_edge(self, path: Path, problem: str, hint: str) -> None:
        self._findings.add("bad-edge", f"edge {int(path[1]) + 1} {problem}", path, hint=hint)

    def _is_reference(self, value: Any, path: Path, what: str) -> bool:
        """Tell whether a value looks like ``node`` or ``node.port``, and note when it does not."""
        if type(value) is not str:
            self._findings.add(
                "wrong-type", f"{what} is {show(value)}, but the name of a node is wanted", path, hint=_NAMED
            )
            return False
        if _REFERENCE.fullmatch(value) or value in self._ids or value.partition(".")[0] in self._ids:
            return True
        hint = _NAMED
        head, slash, rest = value.partition("/")
        if slash and ID_PATTERN.fullmatch(head):
            hint = f"what a module holds is reached through its outputs: `{head}.{shorten(rest) or 'output'}`"
        elif "${" in value:
            hint = "names are never interpolated: write the node's id"
        self._findings.add("bad-reference", f"{what} is {show(value)}, which names no node", path, hint=hint)
        return False
