"""Batches as a consumer declares them: the columns of a record with their types, or single values of one type."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType
from typing import Any

from petal.data.columns import dtype_of
from petal.errors import DataError, RowError
from petal.spec.pipeline import MISSING
from petal.spec.rows import Field, declared_record, fields_of, is_mapping_type, members


def fitted(batches: Iterator[Any], element: Any) -> Iterator[Any]:
    """Pass batches on that fit the element type that a consumer declares.

    Of a declared record, batches get its columns: those that may be missing are filled, others are left out.

    Raises:
        DataError: A batch holds records where single values are wanted, or the other way round, or a column is
            missing or of another type.
        RowError: A row has no value where one is declared.
    """
    import polars as pl

    record = declared_record(element)
    kinds = [m for m in members(element) if m is not NoneType]
    are_records = [declared_record(m) is not None or is_mapping_type(m) for m in kinds]
    done = 0
    for batch in batches:
        if not hasattr(batch, "columns"):
            if batch.dtype == pl.Struct:
                batch = batch.struct.unnest()
            elif all(are_records):
                raise DataError(
                    f"records are wanted, but the batch holds single values ({batch.dtype})",
                    hint="put a node between them that makes records (dicts) of the values",
                )
        elif not any(are_records) and not {Any, object} & {*kinds}:
            raise DataError(
                f"single values are wanted, but the batch holds records with the columns {', '.join(batch.columns)}",
                hint="put a node between them that chooses one field",
            )
        if record is not None:
            batch = _with_fields(batch, record, done)
        elif not hasattr(batch, "columns"):
            batch = _typed(batch, element, "the batch", done)
        done += len(batch)
        yield batch


def _with_fields(frame: Any, record: Any, done: int) -> Any:
    import polars as pl

    columns: list[Any] = []
    for field in fields_of(record):
        name = field.name if field.name in frame.columns else field.key
        if name in frame.columns:
            where = f"`{record.__name__}.{field.name}`"
            columns.append(_column(frame[name], field, where, done).alias(field.name))
        elif field.default is MISSING:
            raise DataError(
                f"the batch has no column `{field.name}`, which {record.__name__} declares; it has {', '.join(frame.columns)}",
                hint=f"give the column, or a default to `{record.__name__}.{field.name}`",
            )
        else:
            default = pl.Series(field.name, [field.default], dtype=dtype_of(field.type))
            columns.append(default.new_from_index(0, frame.height))
    return pl.DataFrame(columns)


def _column(column: Any, field: Field, where: str, done: int) -> Any:
    if column.null_count() and field.default is MISSING and not _may_be_none(field.type):
        number = done + int(column.is_null().arg_max() or 0) + 1
        raise RowError(
            f"row {number}, field `{field.name}` has no value, but {where} wants one",
            row=number,
            field=field.name,
            hint="correct the data, or declare the field's type as wide as the data is (for example `int | None`)",
        )
    return _typed(column, field.type, f"column `{column.name}`", done, where)


def _may_be_none(annotation: Any) -> bool:
    return any(m in (None, NoneType, Any, object) for m in members(annotation))


def _typed(column: Any, annotation: Any, what: str, done: int, where: str = "") -> Any:
    """Return a column as the declared type has it: whole numbers become fractions, an empty column gets its type."""

    import polars as pl

    wanted = dtype_of(annotation)
    if wanted is None or _holds(column.dtype, wanted):
        return column
    if _holds(column.dtype, wanted, widened=True):
        if wanted.is_nested():  # a cast inside goes by the order of fields
            return pl.Series(column.name, column.to_list(), dtype=wanted)
        return column.cast(wanted)
    name = getattr(annotation, "__name__", None) or str(annotation)
    raise DataError(
        f"{what} holds values of type {column.dtype}, but {where or 'the consumer'} wants {name} (from row {done + 1} on)",
        hint="convert them before (for example with Cast), or declare the type that they have",
    )


def _holds(dtype: Any, wanted: Any, *, widened: bool = False) -> bool:
    """Whether a column's values are of the kind that is wanted, whatever their width.

    Args:
        dtype: The column's type.
        wanted: The declared type's.
        widened: Whether a cast may make them so: whole numbers among fractions, or no values at all.
    """
    import polars as pl

    if widened and dtype == pl.Null:
        return True
    if isinstance(wanted, pl.List):
        return isinstance(dtype, pl.List | pl.Array) and _holds(dtype.inner, wanted.inner, widened=widened)
    if isinstance(wanted, pl.Struct) and isinstance(dtype, pl.Struct):
        have = {f.name: f.dtype for f in dtype.fields}
        return all(f.name in have and _holds(have[f.name], f.dtype, widened=widened) for f in wanted.fields)
    return bool(
        dtype == wanted
        or (dtype.is_integer() and wanted.is_integer())
        or (dtype.is_float() and wanted.is_float())
        or (wanted == pl.String and isinstance(dtype, pl.Categorical | pl.Enum))
        or (widened and dtype.is_integer() and wanted.is_float())
    )
