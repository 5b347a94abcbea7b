"""Columns of one type become columns of another, or an error that names the value."""

from typing import Annotated, Any

import polars as pl

from petal import Batches, Check, DataError, RowError, operator
from petal.library.hints import with_wanted
from petal.library.names import first_line, need_columns
from petal.library.types import TypeName, column_types, type_name

_DATE = "%Y-%m-%d"
_TIMES = [f"{_DATE}{t}%H:%M{s}" for t in "T " for s in (":%S%.f", "")]
_HINTS = {
    "int": "write whole numbers, or cast to `float`",
    "float": "write numbers with a decimal point",
    "bool": "write true or false",
    "date": "write dates as 2026-01-31",
    "datetime": "write times as 2026-01-31T08:00:00",
}


def _check_types(types: dict[str, TypeName]) -> None:
    if not types:
        raise ValueError("name at least one column and its type, such as {age: int}")


@operator(rowwise=True, columns=lambda params, wanted: with_wanted(params["types"], wanted))
def cast(
    records: Batches[dict[str, Any]], *, types: Annotated[dict[str, TypeName], Check(_check_types)]
) -> Batches[dict[str, Any]]:
    """Change the types of columns; a value that does not fit is an error.

    Nothing is lost on the way: 1.5 is no `int`, 2 no `bool`, and a time of day no `date`. Text becomes a
    `bool` from `true` or `false`, a `date` or `datetime` from the forms of ISO 8601; a time with an offset
    becomes that of UTC. Null stays null.

    Args:
        records: The records.
        types: The columns with their new types: str, int, float, bool, date or datetime.

    Raises:
        DataError: A column is not there, or its type cannot become the other.
        RowError: A value does not fit; the error names row, column and value.

    Example:
        nodes:
          - { id: people, type: CsvReader, params: { file_path: people.csv } }
          - { id: typed, type: Cast, params: { types: { age: float, user_id: str } } }
          - { id: writer, type: JsonFileWriter, params: { file_path: typed.jsonl } }
        edges:
          - [people, typed]
          - [typed, writer]
    """
    kinds = column_types(types)
    before = 0
    for frame in records:
        need_columns(kinds, frame.columns)
        columns = [_cast(frame[name], kind, before) for name, kind in kinds.items()]
        changed: Any = frame.with_columns(columns)
        yield changed
        before += len(frame)


def _cast(values: pl.Series, kind: pl.DataType, before: int) -> pl.Series:
    if values.dtype == kind:
        return values
    try:
        found = _converted(values, kind)
        lost = found.is_null() & values.is_not_null()
        if found.dtype.is_integer() or kind in (pl.Boolean, pl.Date):
            if not isinstance(values.dtype, pl.String):
                lost |= (found.cast(values.dtype, strict=False) != values).fill_null(False)
        elif kind == pl.Float64 and values.dtype == pl.String:
            lost |= found.is_infinite().fill_null(False) & values.str.contains(r"\d")
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"column {values.name!r} holds {type_name(values.dtype)}, which cannot become "
            f"{type_name(kind)}: {first_line(error)}",
            hint="choose another type, or take single fields out with KeyExtractor",
        ) from None
    if lost.any():
        at = lost.arg_max() or 0
        name = type_name(kind)
        raise RowError(
            f"row {before + at + 1}: column {values.name!r} is {values[at]!r}, which is no {name}",
            row=before + at + 1,
            field=values.name,
            hint=_HINTS.get(name),
        )
    return found


def _converted(values: pl.Series, kind: pl.DataType) -> pl.Series:
    """Convert what can be converted; the rest is null."""
    if values.dtype == pl.String:
        made = _from_text(pl.col(values.name).str.strip_chars(), kind)
        return values.to_frame().select(made.alias(values.name)).to_series()
    if values.dtype == pl.Null:
        return values.cast(kind)
    if kind.is_temporal() != values.dtype.is_temporal() and kind != pl.String:
        raise pl.exceptions.InvalidOperationError("one is a number, the other a time")
    if values.dtype.is_nested() or values.dtype == pl.Binary:
        raise pl.exceptions.InvalidOperationError("it has parts")
    return values.cast(kind, strict=False)


def _from_text(text: pl.Expr, kind: pl.DataType) -> pl.Expr:
    if kind == pl.Boolean:
        words = {"true": True, "false": False}
        return text.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
    if kind == pl.Date:
        return text.str.to_date(_DATE, strict=False)
    return _time(text) if kind.is_temporal() else text.cast(kind, strict=False)


def _time(text: pl.Expr) -> pl.Expr:
    plain = [text.str.to_datetime(form, strict=False, time_unit="us") for form in _TIMES]
    day = text.str.to_date(_DATE, strict=False).cast(pl.Datetime("us"))
    zoned = text.str.to_datetime("%+", strict=False, time_unit="us").dt.replace_time_zone(None)
    return pl.coalesce(*plain, day, zoned)
