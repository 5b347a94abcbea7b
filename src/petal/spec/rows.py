"""What an element type says of rows: whether they are records, of which fields, and what can hold them."""

from __future__ import annotations

import collections.abc as abc
import dataclasses
import datetime
import decimal
import enum
import types
import typing
import uuid
from functools import lru_cache
from types import NoneType
from typing import Any

import msgspec
from msgspec import Struct

from petal.spec.pipeline import MISSING

_WRAPPERS = (typing.Annotated, typing.Required, typing.NotRequired, typing.Final, typing.ClassVar)
_TIMES = (datetime.date, datetime.time, datetime.timedelta)
#: Single values that a column of a batch holds.
_IN_COLUMNS = (bool, int, float, str, bytes, NoneType, decimal.Decimal, enum.Enum, list, tuple, *_TIMES)
#: Types that a codec gives back exactly, by themselves or with what their brackets name.
_IN_CODECS = frozenset(
    {bool, int, float, str, bytes, NoneType, decimal.Decimal, uuid.UUID, datetime.datetime, *_TIMES}
    | {list, tuple, set, frozenset, dict}
)


class Field(Struct, frozen=True, gc=False):
    """A field of a declared record.

    Attributes:
        name: Its name in Python.
        type: Its annotation, ``Any`` where that cannot be resolved.
        default: What a record without it has; MISSING where every record has it.
        key: Its name in data, which a Struct may rename.
    """

    name: str
    type: Any
    default: Any
    key: str


def plain_type(annotation: Any) -> Any:
    """Take off what does not change which values fit: Annotated, NotRequired, NewType, ``type X = …``."""
    while True:
        if typing.get_origin(annotation) in _WRAPPERS:
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation


def members(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the annotation alone."""
    bare = plain_type(annotation)
    if typing.get_origin(bare) in (typing.Union, types.UnionType):
        return tuple(plain_type(a) for a in typing.get_args(bare))
    return (bare,)


def is_record_class(element: object) -> bool:
    """Whether an element type is a class with declared fields that is not a dict at run time."""
    return isinstance(element, type) and (
        issubclass(element, msgspec.Struct)
        or dataclasses.is_dataclass(element)
        or (issubclass(element, tuple) and hasattr(element, "_fields"))
    )


def is_mapping_type(element: object) -> bool:
    """Whether an element type is a plain mapping: ``dict``, ``dict[str, Any]``, ``Mapping``, a TypedDict."""
    origin = typing.get_origin(element) or element
    return typing.is_typeddict(origin) or (isinstance(origin, type) and issubclass(origin, typing.Mapping))


def declared_record(element: object) -> Any:
    """Return the class of a record with declared fields, TypedDict included; None for every other element."""
    origin = typing.get_origin(bare := plain_type(element)) or bare
    return origin if typing.is_typeddict(origin) or is_record_class(origin) else None


@lru_cache(1024)
def fields_of(record: Any) -> tuple[Field, ...]:
    """Return the fields of a class that :func:`declared_record` gives."""
    try:
        hints = typing.get_type_hints(record, include_extras=True)
    except Exception:  # a name in it is not known here
        hints = {}
    if typing.is_typeddict(record):
        return tuple(
            Field(name, hints.get(name, Any), MISSING if _is_required(record, name, hints) else None, name)
            for name in record.__annotations__
        )
    if issubclass(record, msgspec.Struct):
        keys = dict(zip(record.__struct_fields__, record.__struct_encode_fields__, strict=True))
        defaults = _struct_defaults(record)
        return tuple(Field(n, hints.get(n, Any), defaults.get(n, MISSING), key) for n, key in keys.items())
    if dataclasses.is_dataclass(record):
        return tuple(
            Field(f.name, hints.get(f.name, Any), _dataclass_default(f), f.name)
            for f in dataclasses.fields(record)
        )
    given = record._field_defaults
    return tuple(Field(n, hints.get(n, Any), given.get(n, MISSING), n) for n in record._fields)


def _is_required(record: Any, name: str, hints: dict[str, Any]) -> bool:
    """Read Required and NotRequired from the hint too: Python overlooks them in postponed annotations."""
    origin = typing.get_origin(hints.get(name))
    return origin is typing.Required or (
        name in record.__required_keys__ and origin is not typing.NotRequired
    )


def _struct_defaults(record: Any) -> dict[str, Any]:
    try:
        fields = msgspec.structs.fields(record)
    except Exception:  # a name in its annotations is not known here
        return {}
    return {
        f.name: f.default if f.default is not msgspec.NODEFAULT else f.default_factory()
        for f in fields
        if not f.required
    }


def _dataclass_default(field: Any) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return MISSING if field.init else None


def no_batch_holds(element: object) -> bool:
    """Whether a batch certainly cannot hold rows of this type: instances of a class without declared fields."""
    found = [typing.get_origin(m) or m for m in members(element) if m is not NoneType]
    return bool(found) and all(_is_opaque(m) and not issubclass(m, _IN_COLUMNS) for m in found)


def no_codec_takes(element: object) -> Any:
    """Return the type for which rows of this type certainly cannot be spilled to disk, or None."""
    return _uncoded(element, set())


def _uncoded(annotation: Any, inside: set[Any]) -> Any:
    for member in members(annotation):
        record = declared_record(member)
        if record is not None:
            parts: tuple[Any, ...] = ()
            if record not in inside:
                inside.add(record)
                parts = tuple(f.type for f in fields_of(record))
        else:
            origin = typing.get_origin(member) or member
            if _is_opaque(origin) and origin not in _IN_CODECS and not issubclass(origin, enum.Enum):
                return origin
            parts = () if origin is typing.Literal else typing.get_args(member)
        found = next((f for p in parts if (f := _uncoded(p, inside)) is not None), None)
        if found is not None:
            return found
    return None


def _is_opaque(kind: Any) -> bool:
    """Whether an annotation is a class whose instances are what it says, with no fields that are known."""
    return (
        isinstance(kind, type)
        and kind is not object
        and kind is not Any  # a class, since Python 3.11
        and declared_record(kind) is None
        and not issubclass(kind, abc.Mapping)
        and kind.__module__ not in ("collections.abc", "numpy")
        and not getattr(kind, "_is_protocol", False)
    )
