"""Open what a writer writes to: a file that appears when it is complete, or standard output."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, TypeVar, cast

from petal import Context, DataError, OutputError, open_output
from petal.library.paths import STANDARD, File

if TYPE_CHECKING:
    import polars as pl

#: Bytes that the system is told to store at a time.
_STORED_AT_ONCE = 4 << 20
_OS_ERROR = re.compile(r"\(os error (\d+)\)")

T = TypeVar("T")


def writable(file_path: File) -> None:
    """Refuse a file whose name promises a compression that is not written.

    Raises:
        ValueError: It ends in ``.zst``.
    """
    if file_path.suffix == ".zst":
        raise ValueError(
            f"{str(file_path)!r} would have to be compressed with zstd, which is not written: "
            "use `.gz`, or write plain text and run `zstd` on it"
        )


@contextlib.contextmanager
def opened(file_path: File, context: Context | None) -> Iterator[IO[bytes]]:
    """Open a file for writing through Petal, or standard output for ``-``.

    What is written to a file whose name ends in ``.gz`` is compressed; the same rows give the same bytes.

    Args:
        file_path: The target.
        context: The operator's Context.

    Raises:
        DataError: The name ends in ``.zst``.
        OutputError: It cannot be written.
    """
    try:
        writable(file_path)
    except ValueError as error:
        raise DataError(str(error)) from None
    if file_path != STANDARD:
        with open_output(file_path, context) as file, _with_number():
            if file_path.suffix == ".gz":
                with _Gzip(fileobj=file, filename="", mode="wb", compresslevel=6, mtime=0) as packed:
                    yield cast(IO[bytes], packed)
            else:
                yield file
        return
    if sys.stdout is None:
        raise OutputError("cannot write to standard output: it is closed", hint="name a file")
    try:
        sys.stdout.flush()
        with _with_number():
            yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write to standard output: {error.strerror or error}") from error


def stored_early(batches: Iterable[T], file: IO[bytes]) -> Iterator[T]:
    """Pass batches on to who writes them, and let the system store them meanwhile.

    Else all of it would be stored when the file is complete, while nothing else is done.

    Args:
        batches: What is being written.
        file: Where to.
    """
    stored = 0
    for batch in batches:
        yield batch
        try:
            size = os.fstat(file.fileno()).st_size
            if size - stored >= _STORED_AT_ONCE:
                # begins to write, and drops nothing that is not on disk
                os.posix_fadvise(file.fileno(), stored, size - stored, os.POSIX_FADV_DONTNEED)
                stored = size
        except (OSError, AttributeError):  # no plain file, or a system without such advice
            continue


def same_columns(frame: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Put the columns into the first batch's order, or refuse the frame (S3.5)."""
    extra = [c for c in frame.columns if c not in columns]
    absent = [c for c in columns if c not in frame.columns]
    if not extra and not absent:
        return frame.select(columns)
    what = [f"has {', '.join(map(repr, extra))} more"] if extra else []
    what += [f"lacks {', '.join(map(repr, absent))}"] if absent else []
    raise DataError(
        f"the columns changed on the way: a later record {' and '.join(what)}",
        hint=f"give every record the columns of the first: {', '.join(columns)}",
    )


class _Gzip(gzip.GzipFile):
    """A gzip file for Polars, which must not write past the compression, nor cut it where a batch ends."""

    def fileno(self) -> int:
        raise OSError("a compressed file has no descriptor")

    def flush(self, zlib_mode: int = 0) -> None:
        pass


@contextlib.contextmanager
def _with_number() -> Iterator[None]:
    """Give the errors of Polars, which carry the number in their text, an ``errno``."""
    try:
        yield
    except OSError as error:
        found = _OS_ERROR.search(str(error)) if error.errno is None else None
        if found is None:
            raise
        number = int(found[1])
        raise OSError(number, os.strerror(number)) from error
