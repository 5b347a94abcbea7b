"""Tables of operators by name, and the order in which they are asked (S2.5)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from types import FunctionType, ModuleType
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec import Struct

from petal.errors import DefinitionError, EnvironmentNotReady, PetalError
from petal.spec.operator import OperatorSpec, camel_case
from petal.spec.signature import ATTRIBUTE, declared, describe


class Operator(Struct, frozen=True, gc=False):
    """An operator that a name stands for.

    Attributes:
        spec: Its description.
        target: The function or class.
        origin: Where it came from, for people: ``built-in``, ``./operators.py``, ``petal-foo 1.2``.
    """

    spec: OperatorSpec
    target: Any
    origin: str


class Clash(NamedTuple):
    """Two different operators of one scope that claim one name."""

    name: str
    first: str
    second: str


class _Entry(Struct):
    """What a scope holds: a function, class or ``module:qualname`` text, described when it is first found."""

    target: Any
    origin: str
    operator: Operator | None = None


class Scope:
    """An ordered table of operators; one is imported and described when it is first asked for.

    Attributes:
        clashes: Names that a second, different object claimed; the first one holds.
    """

    def __init__(self) -> None:
        self.clashes: list[Clash] = []
        self._entries: dict[str, _Entry] = {}
        self._aliases: dict[str, str] = {}

    def add(self, target: Any, origin: str, name: str | None = None) -> None:
        """Add a function, a class or a ``module:qualname`` text, under a name or its own.

        Raises:
            DefinitionError: It is neither.
        """
        own = _own_name(target)
        if own is None:
            raise DefinitionError(
                f"{target!r}, from {origin}, is not an operator",
                hint="give a function, a class with a `process` method, or text such as `module:function`",
                code="not-an-operator",
            )
        said = None if isinstance(target, str) else declared(target).name
        name = _type_name(target, name or said or own)
        known = self._entries.get(name)
        if known is None:
            self._entries[name] = _Entry(target, origin)
            if own != name and camel_case(own) == name:
                self._aliases[own] = name
        elif not _same(known.target, target):
            self.clashes.append(Clash(name, known.origin, origin))

    def add_all(self, found: object, origin: str) -> None:
        """Add what ``petal_operators`` returned: a mapping of names, or objects and modules."""
        if isinstance(found, Mapping):
            for name, target in found.items():
                self.add(target, origin, str(name))
            return
        if isinstance(found, str) or not isinstance(found, Iterable):
            raise DefinitionError(
                f"petal_operators of {origin} returned {found!r}",
                hint="return a mapping of names to operators, or a list of operators or modules",
                code="bad-plugin",
            )
        for target in found:
            if isinstance(target, ModuleType):
                for operator in decorated_in(target):
                    self.add(operator, origin)
            else:
                self.add(target, origin)

    def extend(self, other: Scope) -> None:
        """Add everything that another scope holds; a name that both give to different objects is a clash."""
        for name, entry in other._entries.items():
            self.add(entry.target, entry.origin, name)
        self.clashes += other.clashes

    def find(self, name: str) -> Operator | None:
        """Return the operator of that name, in CamelCase or as its function is called.

        Raises:
            EnvironmentNotReady: It is there, but cannot be imported.
        """
        name = self._aliases.get(name, name)
        entry = self._entries.get(name)
        if entry is None:
            return None
        if entry.operator is None:
            target = _imported(name, entry) if isinstance(entry.target, str) else entry.target
            spec = describe(target)
            if spec.name != name:
                spec = msgspec.structs.replace(spec, name=name)
            entry.operator = Operator(spec, target, entry.origin)
        return entry.operator

    def origin(self, name: str) -> str | None:
        """Return where the operator of that name came from, without importing it."""
        entry = self._entries.get(self._aliases.get(name, name))
        return None if entry is None else entry.origin

    def names(self) -> list[str]:
        """Return the names as files write them, in order."""
        return list(self._entries)

    def all(self) -> list[Operator]:
        """Return the operators in order.

        Raises:
            EnvironmentNotReady: One cannot be imported.
        """
        return [operator for name in self._entries if (operator := self.find(name)) is not None]


class Lookup(Protocol):
    """What a chain of scopes asks of each."""

    def find(self, name: str) -> Operator | None:
        """Return the operator of that name."""
        ...

    def origin(self, name: str) -> str | None:
        """Return where an operator that is known already came from, without loading anything."""
        ...

    def names(self) -> list[str]:
        """Return the names that are known without loading anything."""
        ...


class Scopes:
    """Scopes in the order in which they are asked: own operators, plugins, built-ins, installed (S2.5)."""

    def __init__(self, scopes: Sequence[Lookup]) -> None:
        self.scopes = tuple(scopes)

    def find(self, name: str) -> Operator | None:
        """Return the operator of the first scope that has the name."""
        for scope in self.scopes:
            found = scope.find(name)
            if found is not None:
                return found
        return None

    def own(self, name: str) -> Operator | None:
        """Return the operator of the first scope, which are the pipeline's own, if it has the name."""
        return self.scopes[0].find(name)

    def names(self) -> list[str]:
        """Return every name once, in the order in which scopes are asked."""
        return list(dict.fromkeys(name for scope in self.scopes for name in scope.names()))

    def close_matches(self, name: str) -> list[str]:
        """Return at most three names that are most like this one, best first."""
        import difflib

        plain = {known.lower(): known for known in reversed(self.names())}
        near = difflib.get_close_matches(name.replace("_", "").lower(), plain, n=3)
        return [plain[match] for match in near]

    def shadowed(self, name: str) -> list[str]:
        """Return the origins of the operators that the one found hides."""
        return [o for o in (scope.origin(name) for scope in self.scopes) if o is not None][1:]

    def clashes(self) -> list[Clash]:
        """Return the clashes within each scope."""
        return [clash for scope in self.scopes if isinstance(scope, Scope) for clash in scope.clashes]


def decorated_in(module: ModuleType) -> list[Any]:
    """Return the decorated objects that a module, or for a package a module within it, defines."""
    inside = f"{module.__name__}."
    found: list[Any] = []
    for obj in list(vars(module).values()):
        if isinstance(obj, FunctionType | type) and ATTRIBUTE in obj.__dict__:
            is_own = f"{obj.__module__}.".startswith(inside)
            if is_own and not any(obj is f for f in found):
                found.append(obj)
    return found


def _own_name(target: Any) -> str | None:
    if isinstance(target, str):
        module, _, qualname = target.partition(":")
        return qualname.rpartition(".")[2] if module and qualname else None
    return target.__name__ if isinstance(target, FunctionType | type) else None


def _type_name(target: Any, name: str) -> str:
    """Return the name that files write: a function's in CamelCase, a class's or an explicit one as it is."""
    if isinstance(target, type) or (not isinstance(target, str) and declared(target).name == name):
        return name
    return name if "-" in name else camel_case(name)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return _ref(one) == _ref(other)
    return one is other


def _ref(target: Any) -> str:
    return target if isinstance(target, str) else f"{target.__module__}:{target.__qualname__}"


def _imported(name: str, entry: _Entry) -> Any:
    module, _, qualname = entry.target.partition(":")
    try:
        with redirect_stdout(sys.stderr):
            found: Any = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (KeyboardInterrupt, PetalError):
        raise
    except BaseException as error:
        raise EnvironmentNotReady(
            f"operator `{name}` of {entry.origin} cannot be loaded from `{entry.target}`: {one_line(error)}",
            hint="install what it needs, or reinstall the package that brings it",
            code="operator-broken",
        ) from error
    return found


def one_line(error: BaseException) -> str:
    """Return an exception as one line of text."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
