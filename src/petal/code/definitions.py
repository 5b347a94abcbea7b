"""Find where a function or class was written, and what its text says without comments, docstrings and formatting."""

from __future__ import annotations

import ast
import linecache
import os
import symtable
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from petal.code.source import SOURCE_ATTRIBUTE

Node = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_WITH_DOCSTRING = (*_DEFINITIONS, ast.Module)
_STANDARD_LIBRARY = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib")})
_LOADERS = frozenset({"import_module", "__import__"})
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_PETAL = str(Path(__file__).resolve().parent.parent) + os.sep


class Home(StrEnum):
    """Whose code a module is."""

    PROJECT = "project"
    STANDARD = "standard"
    PACKAGE = "package"


def home_of(namespace: Mapping[str, Any]) -> Home:
    """Say whose code a module is, by the file that it came from.

    Args:
        namespace: The module's own names.
    """
    file = namespace.get("__file__")
    top = str(namespace.get("__name__", "")).partition(".")[0]
    if not file:
        known = top in sys.stdlib_module_names or top in sys.builtin_module_names
        return Home.STANDARD if known and top != "__main__" else Home.PROJECT
    if not _INSTALLED.isdisjoint(Path(file).parts) or str(file).startswith(_PETAL):
        return Home.PACKAGE
    return Home.STANDARD if str(file).startswith(_STANDARD_LIBRARY) else Home.PROJECT


def module_label(namespace: Mapping[str, Any]) -> str:
    """Name a module as every process does: a file that is loaded by its path is called by its stem."""
    name, file = str(namespace.get("__name__", "?")), namespace.get("__file__")
    spec = namespace.get("__spec__")
    if name == "__main__" and getattr(spec, "name", None):
        return str(spec.name)  # type: ignore[union-attr]
    if name == "__main__" or name.startswith("petal_file_"):
        return Path(file).stem if file else name
    return name


class Text:
    """One file, parsed, with its definitions by name and line."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self._functions: dict[tuple[int, str], Node] = {}
        self._classes: dict[str, ast.ClassDef] = {}
        self._lambdas: dict[int, list[ast.Lambda]] = {}
        #: Name -> module and name of what the file imports, outside functions.
        self.imported: dict[str, tuple[str, str]] = {}
        stack: list[tuple[ast.AST, str, bool]] = [(tree, "", False)]
        while stack:
            node, outer, inside = stack.pop()
            inner = outer
            if isinstance(node, ast.ClassDef):
                self._classes[outer + node.name] = node
                inner = f"{outer}{node.name}."
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                self._functions[first_line(node), node.name] = node
                inner, inside = f"{outer}{node.name}.<locals>.", True
            elif isinstance(node, ast.Lambda):
                self._lambdas.setdefault(node.lineno, []).append(node)
            elif isinstance(node, ast.ImportFrom) and not inside and not node.level and node.module:
                self.imported |= {a.asname or a.name: (node.module, a.name) for a in node.names}
            stack += [(child, inner, inside) for child in reversed(list(ast.iter_child_nodes(node)))]

    def function(self, code: CodeType) -> Node | None:
        """Return the definition that a function's code was compiled from."""
        if code.co_name != "<lambda>":
            return self._functions.get((code.co_firstlineno, code.co_name))
        found = self._lambdas.get(code.co_firstlineno, [])
        places = [p for p in code.co_positions() if p[0] and p[2] is not None and p[3]]
        if len(found) > 1 and places:
            starts = min((p[0], p[2]) for p in places[1:] or places)
            found = [n for n in found if _begins(n) <= starts <= (n.body.end_lineno, n.body.end_col_offset)]
            found = sorted(found, key=_begins)[-1:]  # the innermost
        return found[0] if len(found) == 1 else None

    def class_(self, qualname: str) -> ast.ClassDef | None:
        """Return the definition of a class; the last one where there are several of that name."""
        return self._classes.get(qualname)


def _begins(node: ast.Lambda) -> tuple[int, int]:
    return node.body.lineno, node.body.col_offset


def first_line(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> int:
    """Return the line of the first decorator, or of the definition."""
    return min([node.lineno, *(d.lineno for d in node.decorator_list)])


def text_of(namespace: Mapping[str, Any], file: str | None = None) -> Text | None:
    """Parse the source that a module was compiled from; None where there is none.

    Args:
        namespace: The module's own names.
        file: The file that the code names, where it may be another.
    """
    own = namespace.get("__file__")
    file = file or own
    data = namespace.get(SOURCE_ATTRIBUTE) if file == own else None
    if data is None and file:
        try:
            data = Path(file).read_bytes()
        except (OSError, ValueError):  # in a zip file, or typed into a notebook
            data = "".join(linecache.getlines(file, dict(namespace))).encode()
    return _parsed(data) if data else None


@lru_cache(256)
def _parsed(data: bytes) -> Text | None:
    try:
        return Text(ast.parse(data))
    except (SyntaxError, ValueError, RecursionError):
        return None


def shape(node: ast.AST, without: frozenset[int] = frozenset()) -> str:
    """Write a syntax tree in one way only: no places, no docstrings, the same for every version of Python.

    Args:
        node: The tree.
        without: ``id()`` of the subtrees to leave out.
    """
    written: list[str] = []
    stack: list[Any] = [node]
    while stack:
        item = stack.pop()
        if type(item) is _Written:
            written.append(item)
        elif isinstance(item, ast.AST):
            if id(item) in without:
                continue
            written.append(f"{type(item).__name__}(")
            stack.append(_Written(")"))
            for name in reversed(item._fields):
                value = getattr(item, name, None)
                if name == "body" and isinstance(item, _WITH_DOCSTRING):
                    value = _without_docstring(value)
                is_constant = isinstance(item, ast.Constant)
                if name == "kind" or (not is_constant and (value is None or value == [])):
                    continue
                stack += [_Written(","), value, _Written(f"{name}=")]
        elif isinstance(item, list):
            stack += [_Written("]"), *reversed(item)]
            written.append("[")
        else:
            written.append(f"{type(item).__name__}:{hex(item) if type(item) is int else repr(item)} ")
    return "".join(written)


class _Written(str):
    """Text of the shape itself, not of the tree."""

    __slots__ = ()


def _without_docstring(body: Any) -> list[ast.stmt]:
    found: list[ast.stmt] = body
    first = found[0] if found else None
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and type(first.value.value) is str
    ):
        return found[1:] or [ast.Pass()]
    return found


def chains(node: ast.AST) -> Iterator[tuple[str, ...]]:
    """Give every name in a tree with the attributes that follow it: ``helpers.clean`` as ("helpers", "clean")."""
    inner: set[int] = set()
    for found in _walk(node):
        if id(found) in inner or not isinstance(found, ast.Attribute | ast.Name):
            continue
        attributes: list[str] = []
        root: ast.AST = found
        while isinstance(root, ast.Attribute):
            attributes.append(root.attr)
            root = root.value
            inner.add(id(root))
        if isinstance(root, ast.Name):
            yield (root.id, *reversed(attributes))


def without(node: ast.AST, left_out: set[int]) -> ast.AST:
    """Return a definition without some of its decorators, given by their ``id()``."""
    if not left_out or isinstance(node, ast.Lambda):
        return node
    kept = {name: getattr(node, name) for name in node._fields if hasattr(node, name)}
    kept["decorator_list"] = [d for d in kept["decorator_list"] if id(d) not in left_out]
    return type(node)(**kept)


def loads(node: ast.AST) -> Iterator[tuple[str | None, str, list[tuple[str, ...]]]]:
    """Give every import by a call in a tree: ``importlib.import_module("x")``, ``__import__("x")``.

    Yields:
        The module's name as it is written, None where it is made while the code runs; the package that a name beginning
        with a dot belongs to, empty for that of the code; and what of the module is used, as :func:`chains` gives it, an
        empty one where that cannot be told.
    """
    calls = [c for c in ast.walk(node) if isinstance(c, ast.Call) and c.args and _called(c) in _LOADERS]
    if not calls:
        return
    holders = {id(child): parent for parent in ast.walk(node) for child in ast.iter_child_nodes(parent)}
    for call in calls:
        named, package = (
            call.args[0],
            [*call.args[1:2], *[k.value for k in call.keywords if k.arg == "package"]],
        )
        dotted = named.value if isinstance(named, ast.Constant) and type(named.value) is str else None
        within = package[0].value if package and isinstance(package[0], ast.Constant) else ""
        top = (
            _called(call) == "__import__" and dotted is not None and "." in dotted
        )  # it gives the first of the two
        yield dotted, str(within or ""), [()] if top else _taken(call, holders, node)


def _called(call: ast.Call) -> str | None:
    """Return the last name of what is called."""
    return getattr(call.func, "attr", None) or getattr(call.func, "id", None)


def _taken(call: ast.Call, holders: dict[int, ast.AST], node: ast.AST) -> list[tuple[str, ...]]:
    """Return what is used of a module that a call gives."""
    holder = holders.get(id(call))
    if isinstance(holder, ast.Attribute):
        return [(holder.attr,)]
    if (
        isinstance(holder, ast.Assign)
        and len(holder.targets) == 1
        and isinstance(holder.targets[0], ast.Name)
    ):
        name = holder.targets[0].id
        return [c[1:] for c in chains(node) if c[0] == name and c[1:]] or [()]
    return [()]


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree, and what annotations that are written as text say."""
    yield from ast.walk(node)
    for text in _written_annotations(node):
        yield from ast.walk(text)


def _written_annotations(node: ast.AST) -> Iterator[ast.AST]:
    """Parse the annotations, or parts of them, that are written as text."""
    for found in ast.walk(node):
        for name in ("annotation", "returns"):
            annotation = getattr(found, name, None)
            for part in ast.walk(annotation) if isinstance(annotation, ast.AST) else ():
                if isinstance(part, ast.Constant) and type(part.value) is str:
                    try:
                        yield ast.parse(part.value, mode="eval")
                    except (SyntaxError, ValueError, RecursionError):
                        continue


def global_names(node: Node) -> set[str] | None:
    """Return the names that a definition takes from its module; None where that cannot be told."""
    try:
        top = symtable.symtable(ast.unparse(node), "<petal>", "exec")
    except (SyntaxError, ValueError, RecursionError):  # `nonlocal` in a nested function
        return None
    found = {s.get_name() for s in top.get_symbols() if s.is_referenced()}
    tables = list(top.get_children())
    while tables:
        table = tables.pop()
        tables += table.get_children()
        found |= {s.get_name() for s in table.get_symbols() if s.is_global() and s.is_referenced()}
    return found.union(*[{c[0] for c in chains(text)} for text in _written_annotations(node)])


def namespace_of(kind: type) -> Mapping[str, Any]:
    """Return the names of the module in which a class was defined, also when another has taken its name since."""
    for found in vars(kind).values():
        function = found.__func__ if isinstance(found, staticmethod | classmethod) else found
        if isinstance(function, FunctionType) and function.__globals__.get("__name__") == kind.__module__:
            return function.__globals__
    module = sys.modules.get(kind.__module__)
    return vars(module) if module is not None else {"__name__": kind.__module__}
