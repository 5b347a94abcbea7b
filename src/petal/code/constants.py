"""Write the values that code takes from its module, closure or defaults, the same in every process."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import fractions
import functools
import logging
import operator
import re
import struct
import sys
import types
import typing
import uuid
import zoneinfo
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import PurePath
from typing import Any

import msgspec

from petal.code.definitions import Home, home_of
from petal.spec.url import URL

#: Values within values, at most: deeper ones hold themselves, as a rule.
_DEPTH = 20
_PLAIN: frozenset[type] = frozenset(
    {bool, float, complex, str, bytes, bytearray, range}
    | {types.NoneType, types.EllipsisType, types.NotImplementedType}
    | {decimal.Decimal, fractions.Fraction, uuid.UUID, zoneinfo.ZoneInfo}
    | {datetime.date, datetime.time, datetime.datetime, datetime.timedelta, datetime.timezone}
    | {operator.itemgetter, operator.attrgetter, operator.methodcaller}
)
_SEQUENCES = (tuple, list, collections.deque)
_MAPPINGS = (
    dict,
    collections.OrderedDict,
    collections.defaultdict,
    collections.Counter,
    types.MappingProxyType,
)
_TYPE_VARIABLES = (typing.TypeVar, typing.ParamSpec, typing.TypeVarTuple, typing.ForwardRef)


class Unwritable(Exception):
    """A value of a kind that cannot be written."""


class Constants:
    """Writes values as text.

    Args:
        follow: Called with each function, class or module within a value; returns the name that stands for it.
    """

    def __init__(self, follow: Callable[[Any], str]) -> None:
        self._follow = follow

    def text(self, value: Any, depth: int = 0) -> str:
        """Write a value.

        Raises:
            Unwritable: It, or something in it, is of a kind that cannot be written; its text names the kind.
        """
        kind = type(value)
        if depth > _DEPTH:
            raise Unwritable(f"{kind.__module__}.{kind.__qualname__} (nested too deeply, or in itself)")
        if kind is int:
            return f"int {value:x}"
        if kind in _PLAIN:
            return f"{kind.__name__} {value!r}"
        inner = functools.partial(self.text, depth=depth + 1)
        return (
            self._collection(kind, value, inner)
            or self._callable(value, inner)
            or self._annotation(value, inner)
            or self._named(kind, value, inner)
        )

    def _collection(self, kind: type, value: Any, inner: Callable[[Any], str]) -> str:
        if kind in _SEQUENCES:
            return f"{kind.__name__}[{_joined(map(inner, value))}]"
        if kind in (set, frozenset):
            return f"{kind.__name__}[{_joined(sorted(map(inner, value)))}]"
        if kind in _MAPPINGS:
            factory = inner(value.default_factory) if kind is collections.defaultdict else ""
            pairs = [f"{inner(k)}: {inner(v)}" for k, v in value.items()]
            return f"{kind.__name__} {factory}[{_joined(pairs)}]"
        return ""

    def _callable(self, value: Any, inner: Callable[[Any], str]) -> str:
        """Write functions, classes, and what holds one together with values."""
        if isinstance(value, type | types.FunctionType | types.ModuleType):
            return self._follow(value)
        if isinstance(value, functools.partial):
            return f"partial {inner(value.func)} {inner(value.args)} {inner(value.keywords)}"
        if isinstance(value, staticmethod | classmethod):
            return f"{type(value).__name__} {inner(value.__func__)}"
        if isinstance(value, property):
            return f"property {inner(value.fget)} {inner(value.fset)} {inner(value.fdel)}"
        if isinstance(value, types.MethodType):
            held = value.__self__
            known = _found_in_module(value, type(held).__module__)
            return known or f"method {inner(value.__func__)} of {inner(held)}"
        if isinstance(value, types.BuiltinFunctionType):
            held = value.__self__
            if held is None or isinstance(held, types.ModuleType):
                return self._follow(value)
            return f"method {value.__name__} of {inner(held)}"
        if isinstance(value, types.MethodDescriptorType | types.WrapperDescriptorType):
            return f"method {value.__name__} of {inner(value.__objclass__)}"
        wrapped = getattr(value, "__dict__", {}).get("__wrapped__")
        if wrapped is not None:  # functools.lru_cache
            return f"{type(value).__name__} {inner(wrapped)}"
        return ""

    def _annotation(self, value: Any, inner: Callable[[Any], str]) -> str:
        """Write what annotations are made of."""
        origin = typing.get_origin(value)
        if origin is not None:
            extras = inner(value.__metadata__) if hasattr(value, "__metadata__") else ""
            return f"{inner(origin)}[{_joined(map(inner, typing.get_args(value)))}]{extras}"
        if isinstance(value, _TYPE_VARIABLES):
            bound = getattr(value, "__bound__", None)
            return f"{type(value).__name__} {value!r} {inner(bound)}"
        if isinstance(value, typing.NewType):
            return f"NewType {value.__name__} {inner(value.__supertype__)}"
        if type(value).__name__ == "TypeAliasType":
            return f"type {value.__name__} {inner(value.__value__)}"
        if type(value).__module__ == "typing":
            return repr(value)
        return ""

    def _named(self, kind: type, value: Any, inner: Callable[[Any], str]) -> str:
        """Write values that a name or a few fields say all about."""
        if isinstance(value, Enum):
            return f"{inner(kind)} {value.name} {inner(value.value)}"
        if isinstance(value, PurePath) or kind is URL:
            return f"{kind.__name__} {str(value)!r}"
        if isinstance(value, re.Pattern):
            return f"regex {value.pattern!r} {value.flags}"
        if isinstance(value, logging.Logger):
            return f"logger {value.name!r}"
        if isinstance(value, struct.Struct):
            return f"struct {value.format!r}"
        if kind is object or value is msgspec.UNSET or value is msgspec.NODEFAULT:
            return f"sentinel {kind.__name__}"
        fields = _frozen_fields(kind, value)
        if fields is None:
            raise Unwritable(f"{kind.__module__}.{kind.__qualname__}")
        return f"{inner(kind)}({_joined(f'{n}={inner(getattr(value, n))}' for n in fields)})"


def _joined(texts: Iterable[str]) -> str:
    return ", ".join(texts)


def _frozen_fields(kind: type, value: Any) -> list[str] | None:
    """Return the names of a record's fields if it cannot change, else None."""
    if isinstance(value, msgspec.Struct):
        return list(kind.__struct_fields__) if kind.__struct_config__.frozen else None  # type: ignore[attr-defined]
    if dataclasses.is_dataclass(kind):
        frozen = kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
        return [f.name for f in dataclasses.fields(kind)] if frozen else None
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return list(kind._fields)
    return None


def _found_in_module(value: types.MethodType, module: str) -> str:
    """Name a method that its module offers as a function, as ``random.choice``."""
    found = sys.modules.get(module)
    name = value.__func__.__name__
    if found is not None and home_of(vars(found)) is not Home.PROJECT and getattr(found, name, None) == value:
        return f"{module}.{name}"
    return ""
