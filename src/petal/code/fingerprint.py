"""Say in one digest what an operator does: its code, and that of everything of the project's that it reaches (S9.2)."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

from msgspec import Struct

from petal.code.constants import Constants, Unwritable
from petal.code.definitions import (
    Home,
    Node,
    Text,
    chains,
    global_names,
    home_of,
    loads,
    module_label,
    namespace_of,
    shape,
    text_of,
    without,
)
from petal.code.edited import is_edited

_Defined = FunctionType | type | ModuleType
#: Characters of the text of a value that are kept as they are.
_SHORT = 80
#: The version of a package that is not installed here.
ABSENT = "absent"


class Fingerprint(Struct, frozen=True):
    """What an operator's code is, equal in every process that has the same code.

    Attributes:
        digest: Stands for all parts.
        parts: What it is made of: definitions and values by name, packages with their versions.
        problems: What it could not look into, in whole sentences; with one, it may stay the same after an edit.
        edited: What is not what its file says any more, in whole sentences: the digest is that of the file.
    """

    digest: str
    parts: dict[str, str]
    problems: list[str]
    edited: list[str]


def fingerprint(target: Any) -> Fingerprint:
    """Take the fingerprint of a function or class.

    Comments, docstrings, formatting and Petal's own decorators do not count; annotations, defaults, closures, global
    constants, helpers, base classes and the versions of packages do.
    """
    walk = _Walk()
    walk.start(target)
    text = json.dumps(sorted(walk.parts.items()))
    return Fingerprint(_hashed(text, 32), walk.parts, walk.problems, walk.edited)


def differences(mine: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """Say in which parts two fingerprints differ; a package that one side does not have at all is no difference."""
    found = []
    for name in sorted({*mine, *theirs}):
        here, there = mine.get(name), theirs.get(name)
        if here == there or ABSENT in (here, there):
            continue
        if name.startswith("package "):
            if here is not None and there is not None:
                found.append(f"{name}: {here} here, {there} there")
        else:
            found.append(
                f"`{name}` is not there"
                if there is None
                else f"`{name}` is not here"
                if here is None
                else f"`{name}`"
            )
    return found


class _Walk:
    """One walk over all that a target reaches."""

    def __init__(self) -> None:
        self.parts: dict[str, str] = {}
        self.problems: list[str] = []
        self.edited: list[str] = []
        self._constants = Constants(self._follow)
        self._names: dict[int, str] = {}
        self._held: list[Any] = []  # or an id() could be another's
        self._waiting: deque[tuple[str, Any]] = deque()

    def start(self, target: Any) -> None:
        self._value("operator", target)
        while self._waiting:
            name, found = self._waiting.popleft()
            if isinstance(found, FunctionType):
                self._function(name, found)
            elif isinstance(found, type):
                self._class(name, found)
            else:
                self._module(name, found)

    # -- naming -------------------------------------------------------------------------------------------------

    def _follow(self, found: Any) -> str:
        """Return the name of a function, class or module, and look into it if it is the project's and new."""
        if id(found) in self._names:
            return self._names[id(found)]
        namespace = _namespace(found)
        name = module_label(namespace)
        if not isinstance(found, ModuleType):
            name += f":{getattr(found, '__qualname__', None) or getattr(found, '__name__', '?')}"
        home = home_of(namespace)
        if home is Home.PACKAGE:
            self._package(str(namespace["__name__"]))
        wrapped = getattr(found, "__dict__", {}).get("__wrapped__")
        if home is not Home.PROJECT and wrapped is not None:  # contextlib.contextmanager
            name += f" {self._follow(wrapped)}" if callable(wrapped) else ""
        elif home is Home.PROJECT and isinstance(found, FunctionType | type | ModuleType):
            name = self._free(name)
            self._waiting.append((name, found))
        self._names[id(found)] = name
        self._held.append(found)
        return name

    def _free(self, name: str) -> str:
        taken = set(self._names.values())
        number = 2
        free = name
        while free in taken:
            free = f"{name}#{number}"
            number += 1
        return free

    def _package(self, module: str) -> None:
        top = module.partition(".")[0]
        if f"package {top}" in self.parts:
            return
        version = _version(top)
        if version is None:
            self.problems.append(f"the package `{top}` has no version")
        self.parts[f"package {top}"] = version or "?"

    def _value(self, name: str, value: Any) -> None:
        try:
            text = self._constants.text(value)
        except Unwritable as error:
            text = f"? {error}"
            self.problems.append(f"{name} is a {error}, whose content cannot be told apart by its code")
        self.parts[name] = text if len(text) <= _SHORT else _hashed(text)

    # -- looking into -------------------------------------------------------------------------------------------

    def _function(self, name: str, function: FunctionType) -> None:
        namespace, code = function.__globals__, function.__code__
        text = text_of(namespace, code.co_filename)
        node = text.function(code) if text is not None else None
        self._values_of(name, function)
        if text is None or node is None:
            self.parts[name] = _hashed(self._bytecode(code))
            names: list[tuple[str, ...]] = [(n,) for n in _names_in(code) if n in namespace]
            self._globals(name, names, namespace, None)
            return
        self._compare(name, function, node, namespace)
        self._definition(name, node, namespace, text)

    def _values_of(self, name: str, function: FunctionType) -> None:
        """Take what a function was made with: closure and defaults."""
        for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                held = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
            self._value(f"{name} closure {variable}", held)
        if function.__defaults__:
            self._value(f"{name} defaults", function.__defaults__)
        if function.__kwdefaults__:
            self._value(f"{name} keyword defaults", dict(sorted(function.__kwdefaults__.items())))

    def _class(self, name: str, kind: type) -> None:
        namespace = namespace_of(kind)
        for base in kind.__mro__[1:-1]:
            self._follow(base)
        if home_of(_namespace(type(kind))) is Home.PROJECT:
            self._follow(type(kind))
        text = text_of(namespace)
        node = text.class_(kind.__qualname__) if text is not None else None
        if text is not None and node is not None:
            self._compare(name, kind, node, namespace)
            self._definition(name, node, namespace, text)
            self._methods(name, kind, text)
            return
        self.parts[name] = "made by a call"
        for attribute, value in sorted(vars(kind).items()):
            if attribute in ("__annotations__", "_fields") or isinstance(value, FunctionType):
                self._value(f"{name} {attribute}", value)
        if hasattr(kind, "__members__"):
            self._value(f"{name} members", {n: m.value for n, m in kind.__members__.items()})

    def _methods(self, name: str, kind: type, text: Text) -> None:
        """Take what methods were made with, and what a decorator or a later assignment has put in their place."""
        for attribute, value in sorted(vars(kind).items()):
            function = value.__func__ if isinstance(value, staticmethod | classmethod) else value
            if not isinstance(function, FunctionType) or text.function(function.__code__) is None:
                continue  # a plain value is in the text; a dataclass makes functions that have none
            if function.__qualname__ == f"{kind.__qualname__}.{attribute}":
                self._values_of(f"{name}.{attribute}", function)
            else:
                self._value(f"{name} {attribute}", function)

    def _module(self, name: str, module: ModuleType) -> None:
        """Take all of a module of the project that is used as a value: nobody can tell which part matters."""
        text = text_of(vars(module))
        if text is None and hasattr(module, "__path__"):
            self.parts[name] = "a folder"
        elif text is None:
            self.problems.append(f"the source of module `{name}` cannot be read")
        else:
            self._compare(name, module, text.tree, vars(module))
            self.parts[name] = _hashed(shape(text.tree))

    def _compare(
        self, name: str, found: _Defined, node: Node | ast.Module, namespace: Mapping[str, Any]
    ) -> None:
        """Note what was edited after it was imported: its text says what the next process will run, not this one."""
        if is_edited(found, node, namespace):
            self.edited.append(f"`{name}` has been changed on disk since it was imported")

    def _definition(self, name: str, node: Node, namespace: Mapping[str, Any], text: Text) -> None:
        ours: list[ast.expr] = []
        if not isinstance(node, ast.Lambda):
            ours = [d for d in node.decorator_list if _is_petals(d, namespace)]
        self.parts[name] = _hashed(shape(node, frozenset(map(id, ours))))
        known = global_names(node)
        left_out = {id(n) for d in ours for n in ast.walk(d)}
        taken = [
            c
            for c in chains(without(node, left_out))
            if c[0] in namespace and (known is None or c[0] in known)
        ]
        self._globals(name, taken, namespace, text)
        self._imports(name, node, namespace)

    def _globals(
        self, name: str, taken: list[tuple[str, ...]], namespace: Mapping[str, Any], text: Text | None
    ) -> None:
        for chain in dict.fromkeys(taken):
            value, used = namespace[chain[0]], chain[0]
            foreign = self._imported(chain[0], value, text)
            for attribute in chain[1:]:
                if not isinstance(value, ModuleType) or foreign:
                    break
                foreign = home_of(vars(value)) is not Home.PROJECT
                if foreign:
                    self._follow(value)
                elif hasattr(value, attribute):
                    value = getattr(value, attribute)
                    used += f".{attribute}"
            if not foreign:
                self._value(f"{name} uses {used}", value)

    def _imported(self, name: str, value: Any, text: Text | None) -> bool:
        """Whether a name is imported from a package, which then says all about it."""
        origin = text.imported.get(name) if text is not None else None
        module = sys.modules.get(origin[0]) if origin is not None else None
        if origin is None or module is None or home_of(vars(module)) is Home.PROJECT:
            return False
        if getattr(module, origin[1], self) is not value:
            return False
        self._follow(module)
        return True

    def _imports(self, name: str, node: Node, namespace: Mapping[str, Any]) -> None:
        """Follow what is imported inside a function."""
        package = str(namespace.get("__package__") or "")
        for found in ast.walk(node):
            if isinstance(found, ast.Import):
                for alias in found.names:
                    start = (alias.asname,) if alias.asname else tuple(alias.name.split("."))
                    used = [c[len(start) :] for c in chains(node) if c[: len(start)] == start]
                    self._import(name, alias.name, used or [()])
            elif isinstance(found, ast.ImportFrom):
                module = "." * found.level + (found.module or "")
                try:
                    module = importlib.util.resolve_name(module, package)
                except ImportError:
                    continue
                self._import(name, module, [(alias.name,) for alias in found.names])
        for dotted, within, used in loads(node):
            if dotted is None:
                self.problems.append(f"{name} imports a module whose name is made while it runs")
                continue
            with suppress(ImportError):
                self._import(name, importlib.util.resolve_name(dotted, within or package), used)

    def _import(self, name: str, dotted: str, attributes: list[tuple[str, ...]]) -> None:
        module = sys.modules.get(dotted)
        if module is None:
            try:
                spec = importlib.util.find_spec(dotted)
            except (ImportError, ValueError, AttributeError):
                spec = None
            if spec is None:
                self.parts.setdefault(f"package {dotted.partition('.')[0]}", ABSENT)
                return
            namespace = {"__name__": dotted, "__file__": spec.origin if spec.has_location else None}
            if home_of(namespace) is not Home.PROJECT:
                if home_of(namespace) is Home.PACKAGE:
                    self._package(dotted)
                return
            try:
                module = importlib.import_module(dotted)
            except Exception as error:
                self.problems.append(
                    f"{name} imports `{dotted}`, which raises {type(error).__name__}: {error}"
                )
                return
        if home_of(vars(module)) is not Home.PROJECT:
            self._follow(module)
            return
        for chain in attributes:
            if chain and hasattr(module, chain[0]):
                self._value(f"{name} imports {dotted}.{chain[0]}", getattr(module, chain[0]))
            else:
                self._follow(module)

    def _bytecode(self, code: CodeType) -> str:
        """Write code that has no source: equal only for one version of Python."""
        written = [sys.version.partition(" ")[0].rpartition(".")[0], code.co_code.hex()]
        written += [repr(code.co_names), repr(code.co_varnames)]
        for constant in code.co_consts:
            is_code = isinstance(constant, CodeType)
            written.append(self._bytecode(constant) if is_code else self._constants.text(constant))
        return "\n".join(written)


def _namespace(found: Any) -> Mapping[str, Any]:
    """Return the names of the module that something was defined in."""
    if isinstance(found, ModuleType):
        return vars(found)
    if isinstance(found, FunctionType):
        return found.__globals__
    if isinstance(found, type):
        return namespace_of(found)
    module = sys.modules.get(getattr(found, "__module__", None) or "builtins")
    return vars(module) if module is not None else {"__name__": str(found.__module__)}


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _is_petals(decorator: ast.expr, namespace: Mapping[str, Any]) -> bool:
    """Whether a decorator is one of Petal's own, which change no result."""
    found: Any = decorator.func if isinstance(decorator, ast.Call) else decorator
    while isinstance(found, ast.Attribute):
        found = found.value
    value = namespace.get(found.id) if isinstance(found, ast.Name) else None
    home = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    return isinstance(home, str) and (home == "petal" or home.startswith("petal."))


@cache
def _version(top: str) -> str | None:
    """Return the version of the installed distribution that has a module."""
    if top == "petal":
        from petal import __version__

        return __version__
    try:
        return importlib.metadata.version(top)
    except importlib.metadata.PackageNotFoundError:
        found = importlib.metadata.packages_distributions().get(top)
        return importlib.metadata.version(found[0]) if found else None


def _hashed(text: str, length: int = 16) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:length]


__all__ = ["ABSENT", "Fingerprint", "differences", "fingerprint"]
