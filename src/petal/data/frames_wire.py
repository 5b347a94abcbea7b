"""Frames, columns and batches to Arrow IPC and back: each comes back as the library and the kind that it was."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import IO, Any

from petal.data.adapted import made_by, whole_of
from petal.data.arrow_limits import check_arrow
from petal.data.columns import holds_objects
from petal.data.frames import frame_of
from petal.data.kinds import frame_kind
from petal.data.limits import Limits
from petal.data.wire import Spool
from petal.errors import DataError, WireError
from petal.interfaces.adapter import Adapter
from petal.spec.views import COLUMN_KINDS, FRAME_KINDS


def encode_batch(batch: Any, spool: Spool, where: str) -> tuple[str, int] | None:
    """Add one batch to the attachments.

    Returns:
        ``s`` for a Series or ``f`` for a DataFrame, and the attachment's number; None when it is no batch.

    Raises:
        DataError: It holds Python objects.
    """
    frame = frame_of(batch)
    if frame is None or isinstance(frame, list):
        return None
    if hasattr(frame, "to_frame"):
        return "s", _write_polars(frame.to_frame(), spool, where)
    return "f", _write_polars(frame, spool, where)


def decode_batch(kind: str, part: Any, where: str, limits: Limits | None = None) -> Any:
    """Return the Series or DataFrame of an attachment; of a file that is open at its place, without a copy.

    Raises:
        WireError: The attachment is damaged, or beyond the limits.
    """
    frame = _read_polars(part, where, limits)
    if kind == "s" and frame.width != 1:
        raise WireError(f"{where} is not one column")
    return frame.to_series(0) if kind == "s" else frame


def encode_frame(value: Any, spool: Spool, where: str) -> dict[str, Any]:
    """Add a frame or column to the attachments, and return what says which.

    Raises:
        DataError: Arrow cannot hold it.
    """
    container = _container(value)
    library = container.partition(".")[0]
    if library != "polars":
        table, more = _table_of(value, container, where)
        return {"frame": container, "part": _write_arrow(table, spool), **more}
    frame = value.collect() if container == "polars.LazyFrame" else value
    if container == "polars.Series":
        frame = frame.to_frame()
    return {"frame": container, "part": _write_polars(frame, spool, where)}


def decode_frame(found: Mapping[str, Any], part: Any, where: str, limits: Limits | None = None) -> Any:
    """Return a frame or column.

    Args:
        found: What :func:`encode_frame` said of it.
        part: Its attachment; of a frame of Polars, maybe a file that is open at its place.
        where: What it is, for messages.
        limits: What it may be; None for the bytes of a process of this machine, which are not looked through.

    Raises:
        WireError: The attachment is damaged.
    """
    container = found.get("frame")
    if type(container) is not str or container not in FRAME_KINDS | COLUMN_KINDS:
        raise WireError(f"{where} is of an unknown kind of frame, `{container!s:.80}`")
    if container.partition(".")[0] == "polars":
        frame = _read_polars(part, where, limits)
        if container == "polars.Series":
            if frame.width != 1:
                raise WireError(f"{where} is not one column")
            return frame.to_series(0)
        return frame.lazy() if container == "polars.LazyFrame" else frame
    table = _read_arrow(part, where, limits)
    return _from_table(table, container, found, where)


def encode_adapted(value: Any, adapter: Adapter, spool: Spool, where: str) -> dict[str, Any]:
    """Add what an adapter brings to the attachments, as a frame of Polars, and return what says which.

    Raises:
        DataError: The adapter fails, or Arrow cannot hold the rows.
    """
    return {"frame": adapter.name, "part": _write_polars(whole_of(adapter, value), spool, where)}


def decode_adapted(part: memoryview, adapter: Adapter, where: str, limits: Limits | None = None) -> Any:
    """Return what :func:`encode_adapted` wrote, made by the adapter.

    Raises:
        DataError: The adapter fails.
        WireError: The attachment is damaged, or beyond the limits.
    """
    return made_by(adapter, _read_polars(part, where, limits))


# -- Polars ---------------------------------------------------------------------------------------------------


def _write_polars(frame: Any, spool: Spool, where: str) -> int:
    for name, dtype in frame.schema.items():
        if holds_objects(dtype):
            raise DataError(
                f"{where}: column `{name}` holds Python objects, which cannot go to another process",
                hint="make text, numbers or dates of them",
            )
    if not frame.width and frame.height:
        raise DataError(f"{where}: a frame with {frame.height} rows has no columns", hint="give it a column")

    def write(file: IO[bytes]) -> None:
        frame.write_ipc_stream(file, compression="uncompressed")

    return spool.add_written(write, int(frame.estimated_size()))


def _read_polars(part: Any, where: str, limits: Limits | None) -> Any:
    import polars as pl

    is_memory = isinstance(part, memoryview)
    if limits is not None:
        check_arrow(part if is_memory else memoryview(part.read()), limits)
    try:
        return pl.read_ipc_stream(io.BytesIO(part) if is_memory else part)
    except (Exception, pl.exceptions.PanicException) as error:
        raise WireError(f"{where} holds no frame: {error!s:.200}") from None


# -- Arrow, and pandas through it -----------------------------------------------------------------------------


def _table_of(value: Any, container: str, where: str) -> tuple[Any, dict[str, Any]]:
    """Return a table, or a batch, and what it does not say."""
    import pyarrow as pa  # type: ignore[import-untyped]

    if container in ("pyarrow.Table", "pyarrow.RecordBatch"):
        return value, {}
    if container == "pyarrow.Array":
        return pa.RecordBatch.from_arrays([value], [""]), {}
    if container == "pyarrow.ChunkedArray":
        return pa.Table.from_arrays([value], [""]), {}
    more: dict[str, Any] = {}
    if container == "pandas.Series":
        if value.name is not None and type(value.name) not in (str, int):
            raise DataError(
                f"{where}: a Series is named by a {type(value.name).__name__}", hint="name it by a text"
            )
        more = {"name": value.name}
        value = value.to_frame("value")
    try:
        return pa.Table.from_pandas(value), more
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise DataError(
            f"{where}: Arrow cannot hold this {container}: {error!s:.300}",
            hint="give every column values of one type",
        ) from None


def _write_arrow(table: Any, spool: Spool) -> int:
    import pyarrow as pa

    def write(file: IO[bytes]) -> None:
        with pa.ipc.new_stream(file, table.schema) as writer:
            writer.write(table)

    return spool.add_written(write, int(table.nbytes))


def _read_arrow(part: memoryview, where: str, limits: Limits | None) -> Any:
    import pyarrow as pa

    if limits is not None:
        check_arrow(part, limits)
    try:
        with pa.ipc.open_stream(pa.py_buffer(part)) as reader:
            table = reader.read_all()
        if limits is not None:
            table.validate(full=True)
    except (pa.ArrowException, ValueError, OSError, KeyError, IndexError, NotImplementedError) as error:
        raise WireError(f"{where} holds no Arrow data: {error!s:.200}") from None
    return table


def _from_table(table: Any, container: str, found: Mapping[str, Any], where: str) -> Any:
    import pyarrow as pa

    if container == "pyarrow.Table":
        return table
    if container == "pyarrow.RecordBatch":
        batches = table.combine_chunks().to_batches()
        return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
    if container.startswith("pandas."):
        return _to_pandas(table, container, found, where)
    if table.num_columns < 1:
        raise WireError(f"{where} is not one column")
    if container == "pyarrow.ChunkedArray":
        return table.column(0)
    found_array = table.column(0).combine_chunks()
    if isinstance(found_array, pa.ChunkedArray):  # in older versions, one without chunks stays so
        return found_array.chunk(0) if found_array.num_chunks else pa.array([], found_array.type)
    return found_array


def _to_pandas(table: Any, container: str, found: Mapping[str, Any], where: str) -> Any:
    try:
        frame = table.to_pandas()
        if container == "pandas.DataFrame":
            return frame
        column = frame["value"]
        column.name = found.get("name")
    except Exception as error:  # what the metadata say of the index is pandas' own, and so are its errors
        raise WireError(f"{where} holds no {container}: {error!s:.200}") from None
    return column


def is_frame(value: Any) -> bool:
    """Whether a value is a frame or column, without importing the library of any."""
    return bool(_container(value))


def _container(value: Any) -> str:
    cls: Any = type(value)
    return frame_kind(cls)


def part_of(parts: Sequence[memoryview], number: Any, where: str) -> memoryview:
    """Return an attachment by its number.

    Raises:
        WireError: There is none.
    """
    if type(number) is not int or not 0 <= number < len(parts):
        raise WireError(f"{where} names an attachment that is not there")
    return parts[number]
