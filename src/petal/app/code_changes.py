"""Tell for each operator whether a change of the user's files can matter to it, from their text then and now (S9.3)."""

from __future__ import annotations

import ast
import re
import zlib
from binascii import Error, a2b_base64
from collections.abc import Iterable, Mapping
from pathlib import PurePath

from petal.code.definitions import shape

_WORD = re.compile(r"\w+")
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class CodeChanges:
    """What a change of files can matter to.

    An operator is its own definition and all that one can come to from there by name, in whichever of the files that
    name is defined. What a file does beyond defining names, and the hooks in it, count for every operator.

    Args:
        before: The files then, by path, as :func:`petal.app.recording.packed` gives them.
        now: The files now.
        roots: The files that operators are in; others count where a name leads to them.
        changed: The files that differ. If no name leads to one of them, nothing is known of what it is for.
    """

    def __init__(
        self, before: Mapping[str, str], now: Mapping[str, str], roots: set[str], changed: Iterable[str]
    ) -> None:
        old, new = _modules(before, roots), _modules(now, roots)
        known = old is not None and new is not None and old.keys() >= set(changed)
        self._before, self._now = (_merged(old), _merged(new)) if known else ({}, {})

    def matter_to(self, name: str) -> bool:
        """Say whether an operator, by the name of its function or class, may be another now; so it is if in doubt."""
        if name not in self._before:
            return True
        return _reached(self._before, name) != _reached(self._now, name)


class _Definition:
    """One statement of a module: its text without comments and docstrings, and the names in it."""

    def __init__(self, statement: ast.stmt) -> None:
        self.shape = shape(statement)
        self.is_assigned = isinstance(statement, ast.Assign | ast.AnnAssign)
        self.names: set[str] = set()
        for node in ast.walk(statement):
            if isinstance(node, ast.Name):
                self.names.add(node.id)
            elif isinstance(node, ast.Attribute):
                self.names.add(node.attr)
            elif isinstance(node, ast.alias):
                self.names.update(node.name.split("."))
            elif isinstance(node, ast.ImportFrom):
                self.names.update((node.module or "").split("."))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                self.names.update(
                    _WORD.findall(node.value)
                )  # an annotation in quotes, or what `getattr` is given


Module = dict[str, list[_Definition]]


def _modules(sources: Mapping[str, str], roots: set[str]) -> dict[str, Module] | None:
    """Return the files that operators are in, and those that a name in one of them leads to; None where one is no Python."""
    found: dict[str, Module] = {}
    names: set[str] = set()
    while True:
        waiting = [f for f in sources if f not in found and (f in roots or _name_of(f) in names)]
        if not waiting:
            return found if found else None
        for file in waiting:
            try:
                found[file] = _definitions(zlib.decompress(a2b_base64(sources[file])))
            except (Error, zlib.error, ValueError, SyntaxError, RecursionError):
                return None
            names.update(*(one.names for made in found[file].values() for one in made))


def _name_of(file: str) -> str:
    path = PurePath(file)
    return path.parent.name if path.stem == "__init__" else path.stem


def _definitions(source: bytes) -> Module:
    """Return what defines each name, ``""`` for what counts for all."""
    found: Module = {}
    for statement in ast.parse(source).body:
        names = _defined(statement)
        if names != []:
            definition = _Definition(statement)
            for name in names or [""]:
                found.setdefault(name, []).append(definition)
    return found


def _merged(modules: Mapping[str, Module] | None) -> Module:
    found: Module = {}
    for _, module in sorted((modules or {}).items()):
        for name, made in module.items():
            found[name] = found.get(name, []) + made
    return found


def _defined(statement: ast.stmt) -> list[str] | None:
    """Return the names that a statement defines and does no more; None where it does, ``[]`` for a docstring."""
    if isinstance(statement, _DEFINITIONS):
        is_hook = any("hook" in ast.unparse(one) for one in statement.decorator_list)
        return None if is_hook else [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        names = [(one.asname or one.name).partition(".")[0] for one in statement.names]
        return None if "*" in names else names
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        names = [one.id for target in targets for one in _parts(target) if isinstance(one, ast.Name)]
        return names if len(names) == sum(1 for target in targets for _ in _parts(target)) else None
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return []
    return None


def _parts(target: ast.expr) -> Iterable[ast.expr]:
    return target.elts if isinstance(target, ast.Tuple | ast.List) else [target]


def _reached(definitions: Mapping[str, list[_Definition]], name: str) -> dict[str, list[str]]:
    """Return the text of all that a name, and what counts for all, leads to."""
    found: dict[str, list[str]] = {}
    wrapped = {  # as in `loud = operator(wrap(quiet))`, of which only `quiet` can be told
        key for key, made in definitions.items() if any(one.is_assigned and name in one.names for one in made)
    }
    waiting = {name, "", *wrapped}
    while waiting:
        one = waiting.pop()
        if one in definitions and one not in found:
            found[one] = [definition.shape for definition in definitions[one]]
            waiting.update(*(definition.names for definition in definitions[one]))
    return found
