"""Find out which kind of values an annotation declares (S6.1)."""

from __future__ import annotations

import collections.abc as abc
import datetime
import numbers
import typing
from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from pathlib import PurePath
from types import NoneType
from typing import Any

from petal.data.kinds import (
    ANYTHING,
    KEY,
    Atom,
    Exact,
    Float,
    Frame,
    Kind,
    Literal,
    Many,
    Notes,
    OneOf,
    Pairs,
    Places,
    Step,
    Time,
    Typed,
    frame_kind,
)
from petal.spec.pipeline import MISSING
from petal.spec.rows import declared_record, fields_of, members, plain_type

_ATOMS: dict[Any, Kind] = {
    NoneType: Atom("None", (NoneType,)),
    bool: Atom("bool", (bool,)),
    int: Atom("int", (int,), (numbers.Integral, int)),
    float: Float("float", (float, int), (numbers.Real,)),
    str: Atom("str", (str,), (str,)),
    bytes: Atom("bytes", (bytes,)),
    bytearray: Atom("bytearray", (bytearray,)),
    datetime.datetime: Time("datetime", (datetime.datetime,)),
    datetime.time: Time("time", (datetime.time,)),
    Any: ANYTHING,
    object: ANYTHING,
    MISSING: ANYTHING,
}
#: Lists, sets and tuples: what values may be, by what is declared.
_MANY: dict[Any, tuple[type, ...]] = {
    list: (list,),
    set: (set,),
    frozenset: (frozenset,),
    tuple: (tuple,),
    abc.Sequence: (list, tuple),
    abc.MutableSequence: (list,),
    abc.Collection: (list, tuple, set, frozenset),
    abc.Set: (set, frozenset),
    abc.MutableSet: (set,),
}


def kind_of(annotation: Any) -> Kind:
    """Return the kind of values that an annotation declares."""
    try:
        return _kind_of(annotation)
    except TypeError:  # unhashable, as Annotated[str, []] is
        return _made(annotation, ())


@lru_cache(2048)
def _kind_of(annotation: Any) -> Kind:
    return _made(annotation, ())


def _made(annotation: Any, inside: tuple[Any, ...]) -> Kind:
    if isinstance(bare := plain_type(annotation), typing.TypeVar):
        annotation = bare.__bound__ or Any
    found = members(annotation)
    if len(found) > 1:
        return OneOf([_made(m, inside) for m in found])
    return _made_of(found[0], inside)


def _made_of(member: Any, inside: tuple[Any, ...]) -> Kind:
    if isinstance(member, typing.TypeVar):
        return _made(member, inside)
    member = NoneType if member is None else member
    if member in _ATOMS:
        return _ATOMS[member]
    origin, arguments = typing.get_origin(member) or member, typing.get_args(member)
    if origin is typing.Literal:
        return Literal(arguments)
    record = declared_record(member)
    if record is not None:
        return _record(record, member, inside)
    if origin is tuple and arguments and Ellipsis not in arguments:
        return Places([] if arguments == ((),) else [_made(a, inside) for a in arguments])
    if origin in _MANY:
        item = _made(arguments[0], inside) if arguments else ANYTHING
        return _with_frames(Many(origin.__name__, _MANY[origin], item), item)
    if isinstance(origin, type) and issubclass(origin, abc.Mapping):
        key, value = (_made(a, inside) for a in arguments) if len(arguments) == 2 else (KEY, ANYTHING)
        return _with_frames(Pairs(key, value), value)
    return _of_class(origin, arguments, inside)


def _record(record: Any, member: Any, inside: tuple[Any, ...]) -> Kind:
    if record in inside:
        return _Late(record)
    if typing.get_args(member):  # a generic record: its fields are of types that only msgspec works out
        return Kind() if typing.is_typeddict(record) else Exact(record, {})
    fields = {f.name: _made(f.type, (*inside, record)) for f in fields_of(record)}
    made: Kind = Typed(record.__name__, fields) if typing.is_typeddict(record) else Exact(record, fields)
    return _with_frames(made, *fields.values())


def _of_class(origin: Any, arguments: tuple[Any, ...], inside: tuple[Any, ...]) -> Kind:
    if not isinstance(origin, type):
        return Kind()
    container = frame_kind(origin)
    if container:
        return _with_frames(Frame(container))
    if issubclass(origin, deque):
        return Many(origin.__name__, (origin,), _made(arguments[0], inside) if arguments else ANYTHING)
    if issubclass(origin, PurePath):
        return Atom(origin.__name__, (origin,), (origin,))
    return Atom(origin.__name__, (origin,))


class _Late(Kind):
    """A record that contains itself: known when it is looked at."""

    def __init__(self, record: Any) -> None:
        self.name = record.__name__
        self._record = record

    def takes(self, kind: type) -> bool:
        return kind_of(self._record).takes(kind)

    def fits(self, values: list[Any], notes: Notes) -> bool:
        return not values or kind_of(self._record).fits(values, notes)

    def steps(self, value: Any) -> Iterator[Step]:
        return kind_of(self._record).steps(value)


def _with_frames(kind: Kind, *inner: Kind) -> Kind:
    kind.frames = kind.frames or any(k.frames for k in inner)
    return kind
