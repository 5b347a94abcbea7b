"""Frames, columns and Arrow objects of every library: read as batches, and made of batches."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import chain
from typing import Any

from petal.data.batches import BatchMaker
from petal.data.columns import holds_objects
from petal.errors import DataError, RowError
from petal.spec.pipeline import MISSING
from petal.spec.views import COLUMN_KINDS, container_of

#: Kinds of NumPy arrays that Polars reads as they are: flags, numbers, text, bytes and dates.
_NUMPY_KINDS = frozenset("biufUSM")


def batches_of(value: Any) -> Iterator[Any] | None:
    """Return the batches of anything that is a frame, a column or an Arrow object; None for everything else.

    What is not in memory yet (a LazyFrame, a RecordBatchReader, a relation of DuckDB) is read as it is asked for.
    """
    polars = loaded_polars()
    if polars is not None and isinstance(value, polars.LazyFrame):
        return _collected(value)
    if hasattr(value, "__arrow_c_stream__") and _may_be_long(value):
        return _arrow_batches(value)
    frame = frame_of(value)
    return None if frame is None else iter([frame])


def loaded_polars() -> Any:
    """Return Polars if it is there; None while another thread still imports it: no value can be of its classes then."""
    polars = sys.modules.get("polars")
    return polars if polars is not None and hasattr(polars, "__all__") else None


def frame_of(value: Any) -> Any:
    """Return a Polars Series or DataFrame for anything that is a frame or column, or None."""
    polars = loaded_polars()
    if polars is not None:
        if isinstance(value, polars.DataFrame | polars.Series):
            return value
        if isinstance(value, polars.LazyFrame):
            return value.collect()
    if hasattr(value, "__arrow_c_stream__") or hasattr(value, "__arrow_c_array__"):
        return _imported(value)
    if type(value).__module__ == "numpy" and getattr(value, "ndim", False):
        return _from_numpy(value)
    if hasattr(value, "__dataframe__"):
        import polars as pl

        return pl.from_dataframe(value)
    return None


def _imported(value: Any) -> Any:
    """Read an Arrow object: records as a DataFrame, everything else as a Series."""
    import polars as pl

    if type(value).__module__.partition(".")[0] == "pandas":
        return pl.from_pandas(value)
    column = pl.Series(value)
    return column.struct.unnest() if column.dtype == pl.Struct else column


def _from_numpy(value: Any) -> Any:
    import polars as pl

    if value.dtype.names:
        return pl.DataFrame(value)
    if value.ndim == 1 and value.dtype.kind in _NUMPY_KINDS:
        return pl.Series(value)
    return value.tolist()  # as rows: a row of a matrix is a list


def _may_be_long(value: Any) -> bool:
    """Whether an Arrow stream may be longer than memory: nobody knows how long, or it is computed as it is read."""
    return container_of(type(value)) == "pyarrow.RecordBatchReader" or (
        type(value).__module__.partition(".")[0] not in ("polars", "pandas", "pyarrow", "numpy")
    )


def _arrow_batches(value: Any) -> Iterator[Any]:
    import polars as pl

    try:
        import pyarrow as pa  # type: ignore[import-untyped]

        reader = value if isinstance(value, pa.RecordBatchReader) else pa.RecordBatchReader.from_stream(value)
    except ImportError:  # polars reads it at once
        yield _imported(value)
        return
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # a column, not records
        yield _imported(value)
        return
    empty = True
    for batch in reader:
        empty = False
        yield pl.DataFrame(batch)
    if empty:
        yield pl.DataFrame(reader.schema.empty_table())


def _collected(lazy: Any) -> Iterator[Any]:
    empty = True
    for batch in lazy.collect_batches(maintain_order=True, lazy=True):
        empty = False
        yield batch
    if empty:
        yield lazy.collect_schema().to_frame()


# -- everything at once ---------------------------------------------------------------------------------------


def to_container(batches: list[Any], container: str, element: object = MISSING) -> Any:
    """Join batches into a frame or column of the kind named.

    Args:
        batches: Series or DataFrames.
        container: What to make; see :class:`petal.spec.views.Seen`.
        element: What the rows are declared to be: a frame without rows has its columns from there.

    Raises:
        DataError: The batches do not fit together, or not into a container of this kind.
    """
    import polars as pl

    if container in COLUMN_KINDS:
        return _to_column(batches, container, element)
    frames = [b.to_frame("value") if isinstance(b, pl.Series) else b for b in batches]
    if not frames and (empty := BatchMaker(element).empty()) is not None:
        frames = [empty]
    frame = joined(frames)
    if container == "polars.LazyFrame":
        return frame.lazy()
    if container == "pyarrow.Table":
        return to_arrow(frame)
    if container == "pyarrow.RecordBatch":
        return _record_batch(frame)
    return to_pandas(frame) if container == "pandas.DataFrame" else frame


def _to_column(batches: list[Any], container: str, element: object) -> Any:
    import polars as pl

    records = next((b for b in batches if hasattr(b, "columns")), None)
    if records is not None:
        raise DataError(
            f"single values are wanted, but the rows are records with the columns {', '.join(records.columns)}",
            hint="take a DataFrame, or put a node between them that chooses one field",
        )
    frame = joined([b.to_frame("") for b in batches])
    column = frame.to_series(0) if frame.width else BatchMaker(element).no_values()
    if container == "pandas.Series":
        return to_pandas(column.to_frame("")).iloc[:, 0]
    if container in ("pyarrow.Array", "pyarrow.ChunkedArray"):
        array = to_arrow(column.to_frame(""))[0]
        return array if container == "pyarrow.ChunkedArray" else array.combine_chunks()
    return column if isinstance(column, pl.Series) else pl.Series(column)


def joined(frames: list[Any]) -> Any:
    """Put DataFrames under one another; columns go by name, one that a later frame lacks is null there.

    Raises:
        RowError: A frame has a column, or a column a type, that does not fit the frames before it.
    """
    import polars as pl

    if len(frames) < 2:
        return frames[0] if frames else pl.DataFrame()
    schema, done = dict(frames[0].schema), frames[0].height
    for frame in frames[1:]:
        for name, dtype in frame.schema.items():
            if name not in schema:
                raise RowError(
                    f"row {done + 1} has the column `{name}`, which the rows before it do not have",
                    row=done + 1,
                    field=name,
                    hint="give every batch the same columns (null where there is no value)",
                )
            if not _go_together(schema[name], dtype):
                raise RowError(
                    f"row {done + 1}, column `{name}` is of type {dtype}, but it is {schema[name]} in the rows before it",
                    row=done + 1,
                    field=name,
                    hint="give the column one type in every batch",
                )
            if schema[name] == pl.Null:
                schema[name] = dtype
        done += frame.height
    return pl.concat(frames, how="diagonal_relaxed", rechunk=False)


def _go_together(known: Any, other: Any) -> bool:
    """Whether columns of two types can be one without changing what a value is."""
    import polars as pl

    if known == other or pl.Null in (known, other):
        return True
    if isinstance(known, pl.Struct) and isinstance(other, pl.Struct):
        fields = {f.name: f.dtype for f in known.fields}
        return all(f.name not in fields or _go_together(fields[f.name], f.dtype) for f in other.fields)
    if isinstance(known, pl.List | pl.Array) and isinstance(other, pl.List | pl.Array):
        return _go_together(known.inner, other.inner)
    if isinstance(known, pl.Datetime) and isinstance(other, pl.Datetime):
        return bool(known.time_zone == other.time_zone)
    texts = (pl.String, pl.Categorical, pl.Enum)
    return (
        (known.is_numeric() and other.is_numeric())
        or (isinstance(known, texts) and isinstance(other, texts))
        or (isinstance(known, pl.Duration) and isinstance(other, pl.Duration))
    )


def to_arrow(frame: Any) -> Any:
    """Return a Table of Arrow.

    Raises:
        DataError: A column holds Python objects: Arrow would get their addresses.
    """
    for name, dtype in frame.schema.items():
        if holds_objects(dtype):
            value = next((v for v in frame[name] if v is not None), None)
            raise DataError(
                f"column `{name}` holds Python objects ({type(value).__name__}), which Arrow cannot hold",
                hint="make text, numbers or dates of them, or take `Iterable[...]`",
            )
    return frame.to_arrow()


def to_pandas(frame: Any) -> Any:
    """Return a DataFrame of pandas; whole numbers stay whole where some are missing, within records and lists too."""
    found = frame.to_pandas(integer_object_nulls=True)
    for column in frame:
        if column.dtype.is_integer() and column.null_count():
            import pandas as pd  # type: ignore[import-untyped]

            values = column.fill_null(0).to_numpy()
            found[column.name] = pd.arrays.IntegerArray(values, column.is_null().to_numpy())
    return found


def _record_batch(frame: Any) -> Any:
    import pyarrow as pa

    table = to_arrow(frame).combine_chunks()
    batches = table.to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def to_reader(batches: Iterator[Any], element: object) -> Any:
    """Return a RecordBatchReader that makes its batches of a stream's as they are asked for.

    Raises:
        RowError: While it is read: a batch has other columns than the first, or of other types.
    """
    import polars as pl
    import pyarrow as pa

    first = next(batches, None)
    if first is None:
        first = BatchMaker(element).empty()
    if first is None:
        first = pl.DataFrame()
    schema = to_arrow(first).schema

    def arrow() -> Iterator[Any]:
        done = 0
        for frame in chain([first], batches):
            try:
                table = to_arrow(frame).select(schema.names).cast(schema)
            except (pa.ArrowException, KeyError) as error:
                raise RowError(
                    f"the batch that begins with row {done + 1} does not have the columns of the first: {error}",
                    row=done + 1,
                    hint="declare a record type, so that the columns are known before the first value",
                ) from None
            done += frame.height
            yield from table.to_batches()

    return pa.RecordBatchReader.from_batches(schema, arrow())
