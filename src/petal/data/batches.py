"""Make batches of items: a Series of scalars, a DataFrame of records, all with the schema of the first (S3.5)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from petal.data.records import as_dict, is_mapping_type, is_record, is_record_class
from petal.errors import RowError

#: Rows in a batch that is made of items.
BATCH_ROWS = 8192
_NOTHING = object()


def is_scalar(element: object) -> bool:
    """Whether an element type makes a Series rather than a DataFrame."""
    return (
        isinstance(element, type)
        and not is_record_class(element)
        and not is_mapping_type(element)
        and element is not object
    )


def chunked(rows: Iterator[Any], element: object, size: int | None = None) -> Iterator[Any]:
    """Gather items into batches; the first batch of records fixes their schema (S3.5)."""
    make = BatchMaker(element)
    size = size or BATCH_ROWS
    while piece := list(islice(rows, size)):
        yield make(piece)


class BatchMaker:
    """Makes one batch after another of lists of rows, all with one schema."""

    def __init__(self, element: object) -> None:
        self._element = element
        self._dtype: Any = _NOTHING
        self._schema: dict[str, Any] | None = None
        self._done = 0

    def __call__(self, rows: list[Any]) -> Any:
        """Return a Series of scalars or a DataFrame of records."""
        batch = self._frame(rows) if self._schema or is_record(rows[0]) else self._series(rows)
        self._done += len(rows)
        return batch

    def _series(self, rows: list[Any]) -> Any:
        import polars as pl

        if self._dtype is _NOTHING:
            self._dtype = _dtypes(pl).get(self._element)
        try:
            series = pl.Series("", rows, dtype=self._dtype, strict=True)
        except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
            raise self._bad_value(rows, error) from None
        if self._dtype is None and series.dtype != pl.Null:
            if series.dtype == pl.Object:
                raise RowError(
                    f"row {self._done + 1} holds a {type(rows[0]).__name__}, which no batch can hold",
                    row=self._done + 1,
                    hint="yield text, numbers, dates or records (dicts); or let the consumer take `Iterable[...]`",
                )
            self._dtype = series.dtype
        return series

    def _bad_value(self, rows: list[Any], error: Exception) -> RowError:
        at = _first_misfit(rows, self._dtype)
        if at is None:
            return RowError(f"rows from {self._done + 1} on do not fit together: {error}", row=self._done + 1)
        number = self._done + at + 1
        return RowError(
            f"row {number} is {rows[at]!r:.80}, which does not fit the rows before it",
            row=number,
            hint="yield rows of one type",
        )

    def _frame(self, rows: list[Any]) -> Any:
        import polars as pl

        dicts: list[dict[str, Any]] = []
        for i, row in enumerate(rows):
            if not is_record(row):
                raise RowError(
                    f"row {self._done + i + 1} is {row!r:.80}, but the rows before it are records",
                    row=self._done + i + 1,
                    hint="yield rows of one kind",
                )
            dicts.append(row if type(row) is dict else as_dict(row))
        if self._schema is None:
            self._schema = dict.fromkeys(k for row in dicts for k in row)
        else:
            self._check_fields(dicts)
        if not self._schema:
            return pl.DataFrame(dicts)
        return pl.DataFrame([self._column(name, dicts) for name in self._schema])

    def _column(self, name: str, dicts: list[dict[str, Any]]) -> Any:
        """Make one column; one that has been empty so far takes the type of its first values."""
        import polars as pl

        assert self._schema is not None
        known = self._schema[name]
        values = [row.get(name) for row in dicts]
        try:
            if (
                known is not None
                and known.is_nested()
                and not _fits(pl.Series(values, strict=True).dtype, known)
            ):
                raise TypeError(f"the values inside `{name}` are of other types than before")
            column = pl.Series(name, values, dtype=known, strict=True)
            if known is not None and column.dtype != known:
                raise TypeError(f"`{name}` is {column.dtype}, but was {known}")
        except (TypeError, ValueError, OverflowError, AttributeError, pl.exceptions.PolarsError) as error:
            raise self._bad_field(name, values, known) from error
        if known is None and column.dtype != pl.Null:
            self._schema[name] = column.dtype
        return column

    def _check_fields(self, dicts: list[dict[str, Any]]) -> None:
        assert self._schema is not None
        known = self._schema.keys()
        for i, row in enumerate(dicts):
            if not row.keys() <= known:
                extra = next(k for k in row if k not in known)
                number = self._done + i + 1
                raise RowError(
                    f"row {number} has the field `{extra}`, which the rows before it do not have",
                    row=number,
                    field=extra,
                    hint="give every record the same fields (None where there is no value), or declare a record type",
                )

    def _bad_field(self, name: str, values: list[Any], known: Any) -> RowError:
        at = _first_misfit(values, known) or 0
        number = self._done + at + 1
        return RowError(
            f"row {number}, field `{name}`: {values[at]!r:.80} does not fit the rows before it",
            row=number,
            field=name,
            hint="give the field one type in every record, or declare a record type",
        )


def _first_misfit(values: list[Any], known: Any) -> int | None:
    """Return the position of the first value that does not fit those before it, or a known type."""
    import polars as pl

    for i, value in enumerate(values):
        if value is None:
            continue
        try:
            found = pl.Series("", [value], strict=True).dtype
        except Exception:
            return i
        if known is None or known == pl.Null:
            known = found
        elif not _fits(found, known):
            return i
    return None


def _fits(found: Any, known: Any) -> bool:
    """Whether a column of one type holds values of another exactly; whole numbers fit among numbers."""
    import polars as pl

    if found in (known, pl.Null) or (found.is_integer() and known.is_float()):
        return True
    if isinstance(found, pl.Struct) and isinstance(known, pl.Struct):
        fields = {f.name: f.dtype for f in known.fields}
        return all(f.name in fields and _fits(f.dtype, fields[f.name]) for f in found.fields)
    if isinstance(found, pl.List) and isinstance(known, pl.List):
        return _fits(found.inner, known.inner)
    return bool(found == pl.Boolean and known.is_integer())


def _dtypes(pl: Any) -> dict[object, Any]:
    import datetime
    import decimal

    return {
        str: pl.String,
        int: pl.Int64,
        float: pl.Float64,
        bool: pl.Boolean,
        bytes: pl.Binary,
        datetime.date: pl.Date,
        datetime.time: pl.Time,
        datetime.timedelta: pl.Duration,
        decimal.Decimal: None,
    }
