"""Say whether a file was edited since Python imported it, so that what lives is not what its text says (S9.2)."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from functools import cached_property, lru_cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from petal.code.definitions import Node
from petal.code.source import SOURCE_ATTRIBUTE

_PLAIN = (bool, int, float, complex, str, bytes, type(None), tuple)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_MISSING = object()
#: The code that a file compiles to: by qualified name, with its first line.
_Codes = Mapping[str, list[tuple[int, object]]]


def is_edited(
    found: FunctionType | type | ModuleType, node: Node | ast.Module, namespace: Mapping[str, Any]
) -> bool:
    """Say whether what lives is not what the text on disk says.

    A module that Petal loaded keeps the text that it was compiled from, and one that another loader may have rewritten
    cannot be compared: neither counts as edited.

    Args:
        found: A function, class or module.
        node: Its definition, as the file has it now.
        namespace: The names of its module.
    """
    file = namespace.get("__file__")
    if SOURCE_ATTRIBUTE in namespace or type(namespace.get("__loader__")) is not SourceFileLoader or not file:
        return False
    try:
        codes = _codes(Path(file).read_bytes(), str(file))
    except OSError:
        return False
    if codes is None:
        return True
    if isinstance(found, FunctionType):
        if found.__code__.co_filename != file:
            return False
        place = (found.__code__.co_firstlineno, _form(found.__code__))
        return place not in codes.get(found.__code__.co_qualname, []) or _hints_differ(
            _hints_of_function(node), found, namespace
        )
    return _body_differs(found, node, namespace, codes)


@lru_cache(64)
def _codes(data: bytes, file: str) -> _Codes | None:
    try:
        waiting = [compile(data, file, "exec", dont_inherit=True)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found: dict[str, list[tuple[int, object]]] = {}
    while waiting:
        code = waiting.pop()
        waiting += [c for c in code.co_consts if isinstance(c, CodeType)]
        found.setdefault(code.co_qualname, []).append((code.co_firstlineno, _form(code)))
    return found


def _form(constant: object) -> object:
    """Write code, or a constant of it, as something that is equal only for the same code, wherever it stands."""
    if isinstance(constant, CodeType):
        names = (constant.co_names, constant.co_varnames, constant.co_freevars, constant.co_cellvars)
        counts = (
            constant.co_argcount,
            constant.co_posonlyargcount,
            constant.co_kwonlyargcount,
            constant.co_flags & ~inspect.CO_ITERABLE_COROUTINE,
        )
        return constant.co_code, names, counts, tuple(map(_form, constant.co_consts))
    if isinstance(constant, tuple | frozenset):
        return type(constant)(map(_form, constant))
    return type(constant), repr(constant)


def _body_differs(
    found: type | ModuleType, node: Node | ast.Module, namespace: Mapping[str, Any], codes: _Codes
) -> bool:
    """Compare what a class or module has with the statements of its body."""
    body = node.body if isinstance(node, ast.ClassDef | ast.Module) else []
    for value in vars(found).values():
        for function in _functions_in(value):
            code = function.__code__
            if code.co_filename == namespace["__file__"] and function.__globals__ is namespace:
                forms = [form for _, form in codes.get(code.co_qualname, [])]
                if _form(code) not in forms:
                    return True
        if isinstance(found, ModuleType) and isinstance(value, type) and value.__module__ == found.__name__:
            inner = next(
                (n for n in body if isinstance(n, ast.ClassDef) and n.name == value.__qualname__), None
            )
            if inner is not None and _body_differs(value, inner, namespace, codes):
                return True
    reassigned = {name for n in ast.walk(node) if isinstance(n, ast.Global) for name in n.names}
    reassigned |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Del)}
    for name, value in _assigned(body).items():
        live = getattr(found, name, _MISSING)
        if name not in reassigned and not name.startswith("_") and not _is_value(value, live):
            return True
    return _hints_differ(_hints_of_body(body), found, namespace)


def _functions_in(value: Any) -> Iterator[FunctionType]:
    """Give the functions that an attribute holds: itself, a method's, a property's."""
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    parts = (value.fget, value.fset, value.fdel) if isinstance(value, property) else (value,)
    for part in parts:
        one = part.func if isinstance(part, cached_property) else part
        if isinstance(one, FunctionType):
            yield one


def _assigned(body: Iterable[ast.stmt]) -> dict[str, ast.expr | None]:
    """Return what a body gives names to, and the last value of each; None for a function or class."""
    found: dict[str, ast.expr | None] = {}
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[statement.name] = None
        elif isinstance(statement, ast.Assign):
            found |= {t.id: statement.value for t in statement.targets if isinstance(t, ast.Name)}
    return found


def _is_value(written: ast.expr | None, live: Any) -> bool:
    """Whether a name has the value that is written, as far as a literal tells."""
    if live is _MISSING:
        return False
    if written is None:
        return True
    try:
        literal = ast.literal_eval(written)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return True
    if isinstance(live, Enum):
        return type(live.value) is not type(literal) or repr(live.value) == repr(literal)
    return type(live) not in _PLAIN or repr(live) == repr(literal)


def _hints_of_function(node: Node | ast.Module) -> dict[str, ast.expr]:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return {}
    every = [
        *node.args.posonlyargs,
        *node.args.args,
        *node.args.kwonlyargs,
        node.args.vararg,
        node.args.kwarg,
    ]
    found = {a.arg: a.annotation for a in every if a is not None and a.annotation is not None}
    return found | ({"return": node.returns} if node.returns is not None else {})


def _hints_of_body(body: Iterable[ast.stmt]) -> dict[str, ast.expr]:
    found = [s for s in body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)]
    return {s.target.id: s.annotation for s in found if isinstance(s.target, ast.Name)}


def _hints_differ(written: Mapping[str, ast.expr], found: Any, namespace: Mapping[str, Any]) -> bool:
    """Compare annotations: by their names, and those that can be worked out again by what they are."""
    live = getattr(found, "__annotations__", None) or {}
    return any(name not in live or not _is_hint(one, live[name], namespace) for name, one in written.items())


def _is_hint(written: ast.expr, live: Any, namespace: Mapping[str, Any]) -> bool:
    live = getattr(live, "__forward_arg__", live)  # of a TypedDict or NamedTuple
    if isinstance(live, str):  # `from __future__ import annotations`, or text
        said = written.value if isinstance(written, ast.Constant) else ast.unparse(written)
        return live in (said, ast.unparse(written))
    if not isinstance(written, ast.Name | ast.Constant):
        return True
    now = written.value if isinstance(written, ast.Constant) else _named(written.id, namespace)
    return now is _MISSING or now is live or _ADDRESS.sub("", repr(now)) == _ADDRESS.sub("", repr(live))


def _named(name: str, namespace: Mapping[str, Any]) -> Any:
    return namespace.get(name, getattr(builtins, name, _MISSING))
