"""Parquet files: records in, records out, a row group at a time."""

import contextlib
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from queue import Full, Queue
from typing import IO, Annotated, Any, Literal, cast

import polars as pl
from polars.io.plugins import register_io_source

from petal import READS, WRITES, Batches, Check, Context, DataError, operator
from petal.library.hints import hinted
from petal.library.names import first_line, need_columns
from petal.library.output import opened, same_columns
from petal.library.paths import STANDARD, File, files, local, telling
from petal.library.types import type_name

#: Rows of a batch that is read.
ROWS = 65_536
#: Rows of a group that is written; memory holds a few groups.
GROUP = 131_072


def _seekable(file_path: File | list[File]) -> None:
    if STANDARD in (file_path if isinstance(file_path, list) else [file_path]):
        raise ValueError("a Parquet file is read from its end, so it cannot come from standard input")


def _unpacked(file_path: File) -> None:
    if file_path.suffix in (".gz", ".zst"):
        raise ValueError(
            f"{str(file_path)!r}: a Parquet file is compressed within: leave {file_path.suffix!r} out "
            "and set `compression`"
        )


@operator
def parquet_reader(
    *,
    file_path: Annotated[File | list[File], READS, Check(_seekable)],
    columns: list[str] | None = None,
    context: Context | None = None,
) -> Batches[dict[str, Any]]:
    """Read the records of one or several Parquet files.

    Memory is bounded by a few row groups. Only the columns that are needed are read. Several files must
    have the same columns, of the same types.

    Args:
        file_path: A file, a list of files, or a pattern such as `data/*.parquet`; each may be a URL such as
            `s3://bucket/key`, of which a temporary copy is made.
        columns: The columns to read, in this order; all when left out.

    Raises:
        DataError: A file is missing or is no Parquet file, or a column is not there.

    Example:
        nodes:
          - { id: people, type: ParquetReader, params: { file_path: people.parquet, columns: [name, age] } }
          - { id: writer, type: CsvWriter, params: { file_path: people.csv } }
        edges:
          - [people, writer]
    """
    schema: pl.Schema | None = None
    for path in files(file_path):
        with telling(path), local(path) as place:
            found = _schema(place, path)
            if schema is None:
                schema = found
                need_columns(columns or [], schema)
                chosen = columns or hinted(context, schema) or list(schema)
            elif found != schema:
                raise DataError(
                    f"the columns of {str(path)!r} are {_shown(found)}; but the first file has {_shown(schema)}",
                    hint="read files with other columns by a node of their own",
                )
            frames: Generator[Any, None, None] = _frames(place, path, chosen, schema)
            yield from frames


@operator(effects="idempotent", rowwise=False)
def parquet_writer(
    records: Batches[dict[str, Any]],
    *,
    file_path: Annotated[File, WRITES, Check(_unpacked)],
    compression: Literal["zstd", "snappy", "lz4", "gzip", "uncompressed"] = "zstd",
    context: Context | None = None,
) -> None:
    """Write records to a Parquet file.

    The first record fixes the columns and their types. Row groups are written as they come, and memory
    holds a few of them. The file appears under its name when it is complete.

    Args:
        records: The records.
        file_path: The file, its URL such as `s3://bucket/key`, or `-` for standard output.
        compression: How the columns are compressed.

    Raises:
        DataError: A record has other columns than the first, or a value of another type.
        OutputError: The file cannot be written.

    Example:
        nodes:
          - { id: people, type: CsvReader, params: { file_path: people.csv } }
          - { id: writer, type: ParquetWriter, params: { file_path: copy.parquet } }
        edges:
          - [people, writer]
    """
    try:
        _unpacked(file_path)
    except ValueError as error:
        raise DataError(str(error)) from None
    with opened(file_path, context) as file:
        groups = _groups(_alike(records))
        first = next(groups, pl.DataFrame())
        second = next(groups, None)
        target = _Target(file)
        try:
            if second is None:
                first.write_parquet(cast(IO[bytes], target), compression=compression)
            else:
                _stream(chain([first, second], groups), first.schema, target, compression)
        except pl.exceptions.PolarsError:
            if target.error is not None:
                raise target.error from None
            raise


class _Target:
    """A file for Polars that remembers why writing failed, which Polars does not pass on."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            self.error = error
            raise


def _schema(place: Path, path: File) -> pl.Schema:
    try:
        with open(place, "rb"):
            return pl.scan_parquet(place, glob=False).collect_schema()
    except pl.exceptions.PolarsError as error:
        raise _damaged(path, error) from None


def _frames(
    place: Path, path: File, chosen: list[str], schema: pl.Schema
) -> Generator[pl.DataFrame, None, None]:
    query = pl.scan_parquet(place, glob=False).select(chosen)
    none = True
    try:
        for frame in query.collect_batches(maintain_order=True):
            none = none and not len(frame)
            yield from frame.iter_slices(ROWS)
    except pl.exceptions.PolarsError as error:
        raise _damaged(path, error) from None
    if none:
        yield pl.DataFrame(schema={name: schema[name] for name in chosen})


def _damaged(path: File, error: Exception) -> DataError:
    return DataError(
        f"cannot read {str(path)!r} as Parquet: {first_line(error)}",
        hint="check that the file is complete, and that it is a Parquet file",
    )


def _shown(schema: pl.Schema) -> str:
    return ", ".join(f"{name}: {type_name(kind)}" for name, kind in schema.items())


def _alike(records: Batches[dict[str, Any]]) -> Iterator[pl.DataFrame]:
    """Yield the frames with the columns and types of the first."""
    schema: pl.Schema | None = None
    for frame in records:
        if schema is None:
            schema = frame.schema
        elif frame.schema != schema:
            frame = _in_schema(same_columns(frame, list(schema)), schema)
        yield frame


def _in_schema(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    for name, kind in frame.schema.items():
        if kind not in (schema[name], pl.Null):
            raise DataError(
                f"column {name!r} changed on the way: a later record has {type_name(kind)}, "
                f"but the first {type_name(schema[name])}",
                hint="give the column one type before it is written, by Cast",
            )
    return frame.cast(schema)


def _groups(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Put frames together, or cut them, to row groups."""
    waiting: list[pl.DataFrame] = []
    count = 0
    for frame in frames:
        waiting.append(frame)
        count += len(frame)
        if count >= GROUP:
            *whole, rest = pl.concat(waiting).iter_slices(GROUP)
            yield from whole
            if len(rest) == GROUP:
                yield rest
                rest = rest.clear()
            waiting, count = [rest], len(rest)
    if count or waiting:
        rest = pl.concat(waiting)
        yield rest


def _stream(groups: Iterator[pl.DataFrame], schema: pl.Schema, file: _Target, compression: Any) -> None:
    """Write groups as they come: Polars writes on a thread, this one goes on bringing them."""
    waiting: Queue[pl.DataFrame | None] = Queue(1)

    def brought(*_: object) -> Iterator[pl.DataFrame]:
        while (group := waiting.get()) is not None:
            yield group

    def bring(group: pl.DataFrame | None) -> bool:
        while not written.done():
            with contextlib.suppress(Full):
                waiting.put(group, timeout=0.1)
                return True
        return False

    query = register_io_source(brought, schema=schema)
    with ThreadPoolExecutor(1, "petal-parquet") as pool:
        written = pool.submit(
            query.sink_parquet, cast(IO[bytes], file), compression=compression, row_group_size=GROUP
        )
        try:
            all(map(bring, groups))
        finally:  # after an error the file, which is not whole, is dropped by who opened it
            bring(None)
    written.result()
