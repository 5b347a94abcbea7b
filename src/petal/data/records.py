"""Records in their several shapes: dict, TypedDict, msgspec Struct, dataclass, NamedTuple; and how one becomes another."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import NoneType
from typing import Any

import msgspec

from petal.errors import RowError
from petal.spec.pipeline import MISSING
from petal.spec.rows import declared_record, fields_of, is_mapping_type, is_record_class, members, plain_type

_AT = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")


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


def converter(
    given: object, wanted: object, *, from_batches: bool = False
) -> Callable[[Iterator[Any]], Iterator[Any]] | None:
    """Return what turns rows of one element type into rows of another, or None when they pass as they are.

    Args:
        given: The element type on the producer's side, or MISSING.
        wanted: The element type on the consumer's side, or MISSING.
        from_batches: Whether the rows come from batches, so that every record is a dict with all fields.
    """
    record = declared_record(wanted)
    if wanted is MISSING or (given == wanted and not (from_batches and record is not None)):
        return None
    if record is not None:
        return lambda rows: _to_class(rows, plain_type(wanted), record, from_batches)
    if not from_batches and is_mapping_type(wanted):
        if is_record_class(given):
            return lambda rows: map(as_dict, rows)
        if given in (MISSING, Any, object):
            return lambda rows: (as_dict(row) if is_record(row) else row for row in rows)
    return None


def _to_class(rows: Iterator[Any], wanted: Any, record: Any, from_batches: bool) -> Iterator[Any]:
    is_class = not typing.is_typeddict(record)
    into, make = wanted, None
    if is_class and issubclass(record, tuple):  # msgspec makes a NamedTuple of a list only
        into, make = _twin(record), record
    shape = _is_odd(record, frozenset()) or (from_batches and bool(_optional(record)))
    number = 0
    for row in rows:
        number += 1
        if is_class and isinstance(row, record):
            yield row
            continue
        try:
            fields = row if isinstance(row, dict) else as_dict(row)
            if shape:
                fields = _shaped_fields(fields, record, from_batches)
            made = msgspec.convert(fields, into, from_attributes=True)
        except (msgspec.ValidationError, TypeError, ValueError) as error:
            raise misfit(error, record, number) from None
        yield made if make is None else make(*as_dict(made).values())


# -- what msgspec wants otherwise than a row has it ------------------------------------------------------------


@lru_cache(1024)
def _is_odd(record: Any, inside: frozenset[Any]) -> bool:
    """Whether a record's rows must be shaped: it, or one inside it, renames fields, or one inside is a NamedTuple."""
    if any(f.name != f.key for f in fields_of(record)):
        return True
    within = inside | {record}
    found = [r for f in fields_of(record) for r in _records_in(f.type) if r not in within]
    return any(_is_tuple(r) or _is_odd(r, within) for r in found)


def _records_in(annotation: Any) -> Iterator[Any]:
    for member in members(annotation):
        record = declared_record(member)
        if record is not None:
            yield record
        else:
            for argument in typing.get_args(member):
                yield from _records_in(argument)


def _is_tuple(record: Any) -> bool:
    return not typing.is_typeddict(record) and issubclass(record, tuple)


@lru_cache(1024)
def _optional(record: Any) -> frozenset[str]:
    """Return the fields that may be absent but not None: a batch has null for them."""
    fields = [f for f in fields_of(record) if f.default is not MISSING]
    return frozenset(f.name for f in fields if not {NoneType, Any, object} & {*members(f.type)})


def _shaped_fields(row: dict[str, Any], record: Any, from_batches: bool) -> dict[str, Any]:
    """Return a row with the keys that msgspec looks for, without nulls that stand for absent fields."""
    absent = _optional(record) if from_batches else ()
    known = {f.name: f for f in fields_of(record)}
    return {
        known[k].key if k in known else k: _shaped(v, known[k].type, from_batches) if k in known else v
        for k, v in row.items()
        if v is not None or k not in absent
    }


def _shaped(value: Any, annotation: Any, from_batches: bool) -> Any:
    if not isinstance(value, dict | list) or not any(True for _ in _records_in(annotation)):
        return value
    found = [m for m in members(annotation) if m is not NoneType]
    if len(found) != 1:
        return value
    record, arguments = declared_record(found[0]), typing.get_args(found[0])
    if isinstance(value, list):
        return [_shaped(v, arguments[0], from_batches) for v in value] if arguments else value
    if record is None:
        return {k: _shaped(v, arguments[-1], from_batches) for k, v in value.items()} if arguments else value
    fields = _shaped_fields(value, record, from_batches)
    if not _is_tuple(record) or not all(
        f.name in fields or f.default is not MISSING for f in fields_of(record)
    ):
        return fields
    return [fields.get(f.name, f.default) for f in fields_of(record)]


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
