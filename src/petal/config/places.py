"""Say where in a file each part of its :class:`PipelineSpec` stands, also beside entries that were dropped."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from petal.config.findings import Path
    from petal.config.syntax import Document
    from petal.spec.pipeline import PipelineSpec


class Places:
    """Translates paths in a spec (``("edges", 0, 1)``) to paths in the document that it was read from.

    The two differ where the file uses a short form, and where an entry was wrong and is not in the spec.
    """

    def __init__(self, document: Document, spec: PipelineSpec) -> None:
        self._document = document
        self._data: dict[str, Any] = document.data if isinstance(document.data, dict) else {}
        self._spec = spec

    def locate(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        """Return the 1-based line and column of what a path in the spec leads to."""
        return self._document.locate(self.translated(path), key=key)

    def translated(self, path: Path) -> Path:
        """Return the path in the document."""
        if len(path) < 2:
            return path
        head, step, *rest = path
        if head == "nodes" or head == "modules":
            return self._entry(str(head), int(step), tuple(rest))
        if head == "edges":
            return self._edge(int(step), tuple(rest))
        if head == "plugins":
            return ("plugins", *_item(self._data.get("plugins"), self._spec.plugins[int(step)]))
        if head == "inputs" or head == "outputs":
            return (head, *_named(self._data.get(str(head)), str(step)), *rest)
        return _backend(path, self._data)

    def _entry(self, kind: str, index: int, rest: Path) -> Path:
        entries = self._spec.nodes if kind == "nodes" else self._spec.modules
        entry = entries[index]
        where = self._steps[kind].get(entry.id, index)
        path: Path = (kind, where, *rest)
        found: Any = self._data.get(kind)
        data = found.get(where) if isinstance(found, dict) else found[where] if _has(found, where) else None
        if not isinstance(data, dict):
            return path
        if len(rest) == 2 and rest[0] == "after":
            return (kind, where, "after", *_item(data.get("after"), entry.after[int(rest[1])]))
        return (kind, where, *_backend(rest, data))

    @cached_property
    def _steps(self) -> dict[str, dict[str, str | int]]:
        """The key or position of every node and module by its id; of two with one id, the first."""
        steps: dict[str, dict[str, str | int]] = {"nodes": {}, "modules": {}}
        for kind, found in steps.items():
            value = self._data.get(kind)
            if isinstance(value, dict):
                found |= {name: name for name in value}
            elif isinstance(value, list):
                loose: dict[str, int] = {}
                for i, entry in enumerate(value):
                    id_ = entry.get("id") if isinstance(entry, dict) else None
                    if id_ is None and isinstance(entry, dict):  # its key was misspelt: any key may be it
                        loose |= {v: i for v in entry.values() if isinstance(v, str) and v not in loose}
                    elif isinstance(id_, str):
                        found.setdefault(id_, i)
                for id_, i in loose.items():
                    found.setdefault(id_, i)
        return steps

    def _edge(self, index: int, rest: Path) -> Path:
        edge = self._spec.edges[index]
        where = self._edges.get((edge.source, edge.target), index)
        value: Any = self._data.get("edges")
        if rest and _has(value, where) and isinstance(value[where], dict):
            rest = ("from" if rest[0] == 0 else "to",)
        return ("edges", where, *rest)

    @cached_property
    def _edges(self) -> dict[tuple[str, str], int]:
        """The position of every edge by its two ends."""
        found: dict[tuple[str, str], int] = {}
        value: Any = self._data.get("edges")
        for i, item in enumerate(value if isinstance(value, list) else ()):
            ends = (item.get("from"), item.get("to")) if isinstance(item, dict) else item
            if isinstance(ends, list | tuple) and len(ends) == 2 and all(isinstance(e, str) for e in ends):
                found.setdefault((ends[0], ends[1]), i)
        return found


def _has(value: Any, index: Any) -> bool:
    return isinstance(value, list) and isinstance(index, int) and index < len(value)


def _item(value: Any, item: str) -> Path:
    """Return the step to an item of a list that may also be written as one text."""
    return (value.index(item),) if isinstance(value, list) and item in value else ()


def _named(value: Any, name: str) -> Path:
    """Return the steps to a name in a mapping, or in a list of names and ``{name: ...}``."""
    if not isinstance(value, list):
        return (name,)
    return next(_steps_to(value, name), ())


def _steps_to(value: list[Any], name: str) -> Iterator[Path]:
    for i, item in enumerate(value):
        if item == name:
            yield (i,)
        elif isinstance(item, dict) and len(item) == 1 and name in item:
            yield (i, name)


def _backend(path: Path, data: dict[str, Any]) -> Path:
    """Replace ``backend`` by its other spelling, ``target``, where the file has that (S2.6)."""
    if path[-2:] != ("execution", "backend"):
        return path
    block: Any = data
    for step in path[:-1]:
        block = block.get(step) if isinstance(block, dict) else None
    if isinstance(block, dict) and block.get("backend") is None:
        return (*path[:-1], "target")
    return path
