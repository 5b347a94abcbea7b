"""Make batches of items: a Series of scalars, a DataFrame of records, all with the schema of the first (S3.5)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from petal.data.columns import column_of, dtype_of, is_settled, schema_of
from petal.data.records import as_dict, is_record
from petal.errors import RowError
from petal.spec.rows import declared_record, is_mapping_type, is_record_class

#: Rows in a batch that is made of items.
BATCH_ROWS = 8192


def is_scalar(element: object) -> bool:
    """Whether an element type makes a Series rather than a DataFrame."""
    return (
        isinstance(element, type)
        and not is_record_class(element)
        and not is_mapping_type(element)
        and element is not object
        and element is not Any
    )


def chunked(rows: Iterator[Any], make: BatchMaker, *, lists: bool = False) -> Iterator[Any]:
    """Gather items into batches; the first batch of records fixes their schema (S3.5).

    Where the fields of records are declared, a stream without rows is one batch without rows: its columns are known.

    Args:
        rows: The items.
        make: Makes a batch of a list of them.
        lists: Whether a list of text may stay a list.
    """
    piece = list(islice(rows, BATCH_ROWS))
    if not piece and (empty := make.empty()) is not None:
        yield empty
    while piece:
        yield piece if lists and make.is_text(piece) else make(piece)
        piece = list(islice(rows, BATCH_ROWS))


class BatchMaker:
    """Makes one batch after another of lists of rows, all with one schema.

    Args:
        element: What the rows are declared to be; the fields of a record have their types from there.
    """

    def __init__(self, element: object) -> None:
        self._element = element
        self._dtype: Any = None
        self._schema: dict[str, Any] = {}
        self._declared: dict[str, Any] = {}
        self._started = False
        self._done = 0

    def __call__(self, rows: list[Any]) -> Any:
        """Return a Series of scalars or a DataFrame of records.

        Raises:
            RowError: A row does not fit what is declared, or those before it.
        """
        self._start()
        batch = self._frame(rows) if self._schema or is_record(rows[0]) else self._series(rows)
        self._done += len(rows)
        return batch

    def empty(self) -> Any:
        """Return a batch without rows, or None where the columns are not declared."""
        if declared_record(self._element) is None:
            return None
        import polars as pl

        self._start()
        return pl.DataFrame(schema={n: t if t is not None else pl.Null for n, t in self._schema.items()})

    def no_values(self) -> Any:
        """Return a Series without rows, of the declared type."""
        import polars as pl

        self._start()
        return pl.Series("", [], dtype=self._dtype)

    def is_text(self, rows: list[Any]) -> bool:
        """Whether the rows are text alone, as is declared; they are counted then, as if a batch were made."""
        if self._element is not str or set(map(type, rows)) != {str}:
            return False
        self._done += len(rows)
        return True

    def _start(self) -> None:
        """Learn from the declared type what it says of columns."""
        if self._started:
            return
        self._started = True
        self._declared = schema_of(self._element)
        self._schema = dict(self._declared)
        self._dtype = None if self._schema else dtype_of(self._element)

    def _series(self, rows: list[Any]) -> Any:
        import polars as pl

        try:
            series = column_of("", rows, self._dtype)
        except ValueError as error:
            raise self._bad_value(rows, error) from error
        if series.dtype == pl.Object:
            at, value = next((i, r) for i, r in enumerate(rows, self._done + 1) if r is not None)
            raise RowError(
                f"row {at} holds a {type(value).__name__}, which no batch can hold",
                row=at,
                hint="yield text, numbers, dates or records (dicts); or let the consumer take `Iterable[...]`",
            )
        if is_settled(series.dtype):
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
        for number, row in enumerate(rows, self._done + 1):
            if type(row) is not dict and not is_record(row):
                raise RowError(
                    f"row {number} is {row!r:.80}, but the rows before it are records",
                    row=number,
                    hint="yield rows of one kind",
                )
            dicts.append(row if type(row) is dict else as_dict(row))
        if self._done and self._schema:
            self._check_fields(dicts)
        else:
            self._schema |= dict.fromkeys(k for row in dicts for k in row if k not in self._schema)
        if not self._schema:
            return pl.DataFrame(dicts)
        return pl.DataFrame([self._column(name, dicts) for name in self._schema])

    def _column(self, name: str, dicts: list[dict[str, Any]]) -> Any:
        """Make one column; one that has been empty so far takes the type of its first values."""
        known = self._schema[name]
        values = [row.get(name) for row in dicts]
        try:
            column = column_of(name, values, known)
        except ValueError as error:
            raise self._bad_field(name, values, known) from error
        if known is None and is_settled(column.dtype):
            self._schema[name] = column.dtype
        return column

    def _check_fields(self, dicts: list[dict[str, Any]]) -> None:
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
        declared = self._declared.get(name) is not None
        what = f"`{self._element_name()}.{name}`" if declared else "the rows before it"
        return RowError(
            f"row {number}, field `{name}`: {values[at]!r:.80} does not fit {what}",
            row=number,
            field=name,
            hint="correct the data, or declare the field's type as wide as the data is"
            if declared
            else "give the field one type in every record, or declare a record type",
        )

    def _element_name(self) -> str:
        return getattr(declared_record(self._element), "__name__", str(self._element))


def _first_misfit(values: list[Any], known: Any) -> int | None:
    """Return the position of the first value that does not fit those before it, or a known type."""
    for i, value in enumerate(values):
        if value is None:
            continue
        try:
            found = column_of("", [value], known).dtype
        except ValueError:
            return i
        known = found if is_settled(found) else known
    return None
