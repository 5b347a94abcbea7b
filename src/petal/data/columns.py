"""Make one column of Python values: every value comes back as it was put in, or the column is refused."""

from __future__ import annotations

import datetime
import decimal
import enum
import typing
from math import isnan
from types import NoneType
from typing import Any

from petal.data.records import as_dict, is_record
from petal.spec.rows import declared_record, fields_of, members, plain_type

#: Types of values with nothing inside.
_FLAT = frozenset(
    {str, int, float, bool, bytes, NoneType, decimal.Decimal}
    | {datetime.date, datetime.datetime, datetime.time, datetime.timedelta}
)


def column_of(name: str, values: list[Any], known: Any = None) -> Any:
    """Return a Polars Series of the values.

    Args:
        name: The column's name.
        values: The values, None for those that are not there; records and enumeration members among them too.
        known: The column's type, or None to find it out.

    Raises:
        ValueError: The values do not fit together, or not the type that is known.
    """
    import polars as pl

    kinds = set(map(type, values))
    if not kinds <= _FLAT:
        values = [unwrapped(v) for v in values]
    try:
        column = pl.Series(name, values, dtype=known, strict=True)
        if known is None and column.dtype.is_nested() and not _is_exact(column, values):
            # a later record inside has a field that the first has not
            column = pl.from_dicts([{name: v} for v in values], infer_schema_length=None)[name]
    except (Exception, pl.exceptions.PanicException) as error:
        raise ValueError(str(error)) from error
    if known is not None and column.dtype != known:
        raise ValueError(f"values of type {column.dtype}, not {known}")
    if not _is_sure(kinds - {NoneType}, column.dtype) and not _is_exact(column, values):
        raise ValueError(f"values that a column of {column.dtype} would change")
    return column


def _is_sure(kinds: set[type], dtype: Any) -> bool:
    """Whether a column of this type changes no value of these types, so that none must be looked at."""
    import polars as pl

    if dtype == pl.Object or not kinds:
        return True
    return (
        kinds in ({str}, {float}, {bool}, {bytes})
        or (kinds == {int} and dtype.is_integer())
        or (kinds == {datetime.date} and dtype == pl.Date)
    )


def _is_exact(column: Any, values: list[Any]) -> bool:
    back = column.to_list()
    return bool(back == values) or all(map(_same, values, back))


def _same(given: Any, back: Any) -> bool:
    """Whether a value came back; a record inside may have got fields that it did not have, without a value."""
    if isinstance(given, dict) and isinstance(back, dict):
        return given.keys() <= back.keys() and all(_same(given.get(k), v) for k, v in back.items())
    if isinstance(given, list) and isinstance(back, list):
        return len(given) == len(back) and all(map(_same, given, back))
    return bool(given == back) or (type(given) is type(back) is float and isnan(given) and isnan(back))


def is_settled(dtype: Any) -> bool:
    """Whether a column's type is known, inside as well: lists that are all empty leave theirs open."""
    import polars as pl

    if isinstance(dtype, pl.List | pl.Array):
        return is_settled(dtype.inner)
    if isinstance(dtype, pl.Struct):
        return all(is_settled(f.dtype) for f in dtype.fields)
    return bool(dtype != pl.Null)


def holds_objects(dtype: Any) -> bool:
    """Whether a column holds Python objects, inside as well: outside of the process they are addresses of nothing."""
    import polars as pl

    if isinstance(dtype, pl.List | pl.Array):
        return holds_objects(dtype.inner)
    if isinstance(dtype, pl.Struct):
        return any(holds_objects(f.dtype) for f in dtype.fields)
    return bool(dtype == pl.Object)


def unwrapped(value: Any) -> Any:
    """Return a value as a column holds it: records as dicts, tuples as lists, members of enumerations by value."""
    if is_record(value):
        return {str(k): unwrapped(v) for k, v in as_dict(value).items()}
    if isinstance(value, list | tuple):
        return [unwrapped(v) for v in value]
    return value.value if isinstance(value, enum.Enum) else value


# -- declared types -------------------------------------------------------------------------------------------


def dtype_of(annotation: Any, inside: tuple[Any, ...] = ()) -> Any:
    """Return the type of a column of such values, or None where only the values tell.

    Args:
        annotation: The type of the values.
        inside: Records that the values are part of.
    """
    import polars as pl

    found = [m for m in members(annotation) if m is not NoneType]
    if len(found) != 1:
        return None
    kind, arguments = typing.get_origin(found[0]) or found[0], typing.get_args(found[0])
    if kind is typing.Literal:
        kinds = {type(a) for a in arguments} - {NoneType}
        return dtype_of(kinds.pop(), inside) if len(kinds) == 1 else None
    if kind is list or (kind is tuple and len(arguments) == 2 and arguments[1] is Ellipsis):
        inner = dtype_of(arguments[0], inside) if arguments else None
        return None if inner is None else pl.List(inner)
    record = declared_record(found[0])
    if record is not None:
        fields = schema_of(record, inside)
        return pl.Struct(fields) if fields and None not in fields.values() else None
    return {
        str: pl.String,
        int: pl.Int64,
        float: pl.Float64,
        bool: pl.Boolean,
        bytes: pl.Binary,
        datetime.date: pl.Date,
        datetime.time: pl.Time,
    }.get(kind)


def schema_of(element: Any, inside: tuple[Any, ...] = ()) -> dict[str, Any]:
    """Return the columns of a declared record with their types (None: the values tell); none for anything else."""
    record = declared_record(element)
    if record is None or record in inside:
        return {}
    return {f.name: dtype_of(plain_type(f.type), (*inside, record)) for f in fields_of(record)}
