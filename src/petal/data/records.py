"""Records in their several shapes: dict, TypedDict, msgspec Struct, dataclass, NamedTuple; and how one becomes another."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import msgspec

from petal.errors import RowError
from petal.spec.pipeline import MISSING

_AT = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")


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
    if typing.is_typeddict(origin):
        return True
    return isinstance(origin, type) and issubclass(origin, typing.Mapping)


def as_dict(row: Any) -> dict[str, Any]:
    """Return a record as a dict of its fields, not looking inside them."""
    if isinstance(row, dict):
        return row
    if isinstance(row, msgspec.Struct):
        return {f: getattr(row, f) for f in row.__struct_fields__}
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return {f.name: getattr(row, f.name) for f in dataclasses.fields(row)}
    if isinstance(row, tuple) and hasattr(row, "_asdict"):
        fields: dict[str, Any] = row._asdict()
        return fields
    return dict(row)


def is_record(row: Any) -> bool:
    """Whether a value is a record of some shape."""
    return (
        isinstance(row, dict | msgspec.Struct)
        or (dataclasses.is_dataclass(row) and not isinstance(row, type))
        or (isinstance(row, tuple) and hasattr(row, "_asdict"))
    )


def converter(given: object, wanted: object) -> Callable[[Iterator[Any]], Iterator[Any]] | None:
    """Return what turns rows of one element type into rows of another, or None when they pass as they are.

    Args:
        given: The element type on the producer's side, or MISSING.
        wanted: The element type on the consumer's side, or MISSING.
    """
    if wanted is MISSING or given == wanted:
        return None
    if is_record_class(wanted) or typing.is_typeddict(wanted):
        return lambda rows: _to_class(rows, wanted)
    if is_mapping_type(wanted) and is_record_class(given):
        return lambda rows: map(as_dict, rows)
    return None


def _to_class(rows: Iterator[Any], wanted: Any) -> Iterator[Any]:
    is_class = not typing.is_typeddict(wanted)
    into, make = wanted, None
    if is_class and issubclass(wanted, tuple):  # msgspec makes a NamedTuple of a list only
        into, make = _twin(wanted), wanted
    number = 0
    for row in rows:
        number += 1
        if is_class and isinstance(row, wanted):
            yield row
            continue
        try:
            made = msgspec.convert(row if isinstance(row, dict) else as_dict(row), into)
        except (msgspec.ValidationError, TypeError, ValueError) as error:
            raise misfit(error, wanted, number) from None
        yield made if make is None else make(*as_dict(made).values())


@lru_cache(256)
def _twin(named: Any) -> Any:
    """Return a Struct with the fields of a NamedTuple."""
    hints = typing.get_type_hints(named, include_extras=True)
    defaults = named._field_defaults
    fields = [(f, hints.get(f, Any), *([defaults[f]] if f in defaults else [])) for f in named._fields]
    return msgspec.defstruct(named.__name__, fields)


def misfit(error: Exception, wanted: Any, number: int) -> RowError:
    """Say which row and field does not fit a record type."""
    text = str(error)
    found = _AT.search(text)
    name = found.group(1) if found else None
    missing = re.search(r"missing required field `([^`]+)`", text)
    if missing:
        name = missing.group(1)
    where = f"row {number}" + (f", field `{name}`" if name else "")
    reason = _AT.sub("", text)
    return RowError(
        f"{where} does not fit {getattr(wanted, '__name__', wanted)}: {reason[:1].lower()}{reason[1:]}",
        row=number,
        field=name,
        hint="correct the data, or declare the field's type as wide as the data is (for example `int | None`)",
    )
