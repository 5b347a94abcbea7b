"""Read a file as large blocks of whole lines, so that memory is bounded by the block and not by the file."""

import contextlib
import gzip
import io
import os
import select
import stat
import sys
import threading
import zlib
from collections.abc import Generator, Iterator
from itertools import chain
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any, Literal, NamedTuple, TypeVar, cast

from petal import URL, DataError, RowError
from petal.library.paths import STANDARD, File, asked, closed, local, unreadable

#: Bytes read at a time; a block is longer where its last line is, and shorter at the end.
BLOCK = 6 << 20
_PROBE = 4096
#: Seconds that an early end waits for the block that is being read.
_LONGEST = 10.0
#: Lines of a zstd file that are taken at a time.
_LINES = 16_384
_BOM = b"\xef\xbb\xbf"
#: How compressed files begin; neither is the beginning of a text in UTF-8.
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"

#: What is done with bytes that are not UTF-8.
Errors = Literal["strict", "replace"]
T = TypeVar("T")


def blocks(path: File, errors: Errors = "strict", *, eager: bool = False, growth: int = 1) -> Iterator[bytes]:
    """Yield a file's bytes in blocks that end with a line, without a leading byte order mark.

    A regular file is read up to the size it had when it was opened. What begins as gzip or zstd does is
    decompressed on the way; of a zstd file, which Polars decompresses, every line ends with ``\n``.

    Args:
        path: The file, which may be named by a URL; ``-`` is standard input.
        errors: ``replace`` puts U+FFFD in the place of bytes that are not UTF-8; ``strict`` leaves them to
            whoever parses the block, see :func:`not_utf8`.
        eager: Whether what a slow feed has brought so far is handed on; else every block is full, so that the
            types that a first block shows do not depend on time.
        growth: How many times as large as the first block of a plain file the others are.

    Raises:
        DataError: The file cannot be read, or what is compressed in it is damaged.
        OSError: A URL cannot be read now; trying again may help.
    """
    found = _raw(path, eager, growth)
    try:
        first = next(found, b"").removeprefix(_BOM)
        data = chain([first] if first else [], found)
        yield from map(_replaced, data) if errors == "replace" else data
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _damaged(path, "gzip") from error
    except OSError as error:
        raise unreadable(path, error) from error
    finally:
        found.close()


class LinesBefore:
    """How many lines of a file come before what is being read, for messages.

    Counting takes a tenth of the time of reading, so what can be read again is counted when somebody asks.

    Args:
        path: The file.
        errors: How its :func:`blocks` are read.
    """

    def __init__(self, path: File, errors: Errors) -> None:
        self._path = path
        self._errors = errors
        self._stays = isinstance(path, Path) and path != STANDARD and path.is_file()
        self._passed = 0
        self._lines = 0

    def add(self, data: bytes) -> None:
        """Leave data behind."""
        self._passed += len(data)
        if not self._stays:
            self._lines += data.count(b"\n")

    def count(self) -> int:
        """Return how many lines were left behind."""
        if not self._stays:
            return self._lines
        left, lines = self._passed, 0
        for data in blocks(self._path, self._errors):
            if left <= 0:
                break
            lines += data.count(b"\n", 0, left)
            left -= len(data)
        return lines


def is_large(path: File) -> bool:
    """Whether a file is regular and has more than one block; one that comes over a network is taken to have."""
    if isinstance(path, URL):
        return True
    try:
        found = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size > BLOCK


def ahead(items: Generator[T, None, None]) -> Generator[T, None, None]:
    """Yield the items, each made on a thread while the consumer works on the one before.

    An abandoned generator is closed by the garbage collector, which may run on any thread and at any line, even while
    a thread is being started: so nothing here takes a lock of ``threading``, and the wait for the end is bounded.
    """
    asked: SimpleQueue[bool] = SimpleQueue()
    made: SimpleQueue[_Made] = SimpleQueue()
    maker = threading.Thread(target=_make, args=(items, asked, made), name="petal-read-ahead", daemon=True)
    maker.start()
    ended = False
    asked.put(True)
    try:
        while True:
            made_now = made.get()
            if made_now.ended:
                ended = True
                if made_now.error is not None:
                    raise made_now.error
                return
            asked.put(True)
            yield made_now.item
    finally:
        asked.put(False)
        if not ended and threading.get_ident() != maker.ident:
            with contextlib.suppress(Empty):
                while not made.get(timeout=_LONGEST).ended:
                    pass


class _Made(NamedTuple):
    """What the thread hands over: an item; or, as the last, what it ended with."""

    item: Any = None
    error: BaseException | None = None
    ended: bool = False


def _make(items: Generator[Any, None, None], asked: SimpleQueue[bool], made: SimpleQueue[_Made]) -> None:
    error: BaseException | None = None
    try:
        try:
            while asked.get():
                made.put(_Made(next(items)))
        finally:
            items.close()
    except StopIteration:
        pass
    except BaseException as raised:  # raised again by the consumer
        error = raised
    made.put(_Made(None, error, True))


def not_utf8(data: bytes, path: File, lines_before: int) -> RowError | None:
    """Return the error for the first line of a block that is not UTF-8, or None when all are.

    Args:
        data: The block.
        path: Its file.
        lines_before: How many lines of the file come before it.
    """
    try:
        data.decode()
    except UnicodeDecodeError as error:
        at = error.start
        line = lines_before + data.count(b"\n", 0, at) + 1
        column = at - (data.rfind(b"\n", 0, at) + 1) + 1
        return RowError(
            f"line {line} of {str(path)!r} is not UTF-8: byte 0x{data[at]:02x} at byte {column} of the line",
            row=line,
            hint="convert the file to UTF-8, for instance with `iconv -f latin1 -t utf-8`, "
            "or set `errors: replace`",
        )
    return None


def _replaced(data: bytes) -> bytes:
    """Put U+FFFD in the place of what is not UTF-8; no letter is cut by the end of a line."""
    if data.isascii():
        return data
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace").encode()
    return data


def _raw(path: File, eager: bool, growth: int) -> Generator[bytes, None, None]:
    if isinstance(path, URL):
        yield from ahead(_of_url(path))
        return
    if path == STANDARD:
        if sys.stdin is None:
            raise closed()
        yield from _of_pipe(sys.stdin.buffer, path, eager)
        return
    with open(path, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or not found.st_size:
            # a pipe, a device, or a file of /proc, which says that it is empty
            yield from _of_pipe(file, path, eager)
            return
        start = os.pread(file.fileno(), len(_ZSTD), 0)
        if start.startswith(_GZIP):
            data = _of_gzip(file, eager)
        elif start == _ZSTD:
            data = _of_zstd(path)
        else:
            data = _of_file(file.fileno(), found.st_size, growth)
        yield from ahead(data) if found.st_size > BLOCK else data


def _of_pipe(file: IO[bytes], path: Path, eager: bool) -> Iterator[bytes]:
    peek = getattr(file, "peek", None)
    start = peek(len(_ZSTD)) if peek is not None else b""
    if start.startswith(_ZSTD):
        raise DataError(
            f"{'standard input' if path == STANDARD else repr(str(path))} is compressed with zstd, "
            "which is read from files only",
            hint="decompress it on the way: `zstd -dc FILE | ...`",
        )
    yield from _of_gzip(file, eager) if start.startswith(_GZIP) else _of_stream(file, eager)


def _of_gzip(file: IO[bytes], eager: bool) -> Generator[bytes, None, None]:
    with gzip.GzipFile(fileobj=file, mode="rb") as plain:
        yield from _of_stream(cast(IO[bytes], plain), eager)


def _of_url(url: URL) -> Generator[bytes, None, None]:
    with asked(url, lambda files: files.read(url)) as stream:
        begun = _Begun(stream, len(_ZSTD))
        file = cast(IO[bytes], begun)
        if begun.start != _ZSTD:
            yield from _of_gzip(file, False) if begun.start.startswith(_GZIP) else _of_stream(file, False)
            return
    with local(url) as copy:  # Polars decompresses files only
        yield from _of_zstd(copy)


class _Begun:
    """A stream whose first bytes have been looked at."""

    def __init__(self, file: IO[bytes], count: int) -> None:
        self._file = file
        self.start = b""
        while len(self.start) < count and (more := file.read(count - len(self.start))):
            self.start += more

    def read(self, size: int = -1) -> bytes:
        if not self.start:
            return self._file.read(size)
        cut = len(self.start) if size < 0 else size
        start, self.start = self.start[:cut], self.start[cut:]
        return start


def _of_zstd(path: Path) -> Generator[bytes, None, None]:
    import polars as pl

    waiting = io.BytesIO()
    try:
        for lines in pl.scan_lines(path, glob=False).collect_batches(chunk_size=_LINES):
            lines.write_csv(waiting, include_header=False, quote_style="never", null_value="")
            if waiting.tell() >= BLOCK:
                yield waiting.getvalue()
                waiting = io.BytesIO()
    except (pl.exceptions.PolarsError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        if "utf" in str(error).lower():
            raise DataError(
                f"{str(path)!r} is not UTF-8",
                hint="convert the text before it is compressed, for instance with `iconv -f latin1 -t utf-8`",
            ) from None
        raise _damaged(path, "zstd") from error
    yield waiting.getvalue()


def _damaged(path: File, form: str) -> DataError:
    return DataError(
        f"cannot read {str(path)!r}: its {form} data is damaged or cut short",
        hint=f"check it with `{form} -t`, or fetch it again",
    )


def _of_file(descriptor: int, size: int, growth: int) -> Generator[bytes, None, None]:
    offset, length = 0, BLOCK
    while offset < size:
        end = _line_end(descriptor, offset + length - 1, size)
        data = _read(descriptor, offset, end)
        if not data:  # the file was cut while it was read
            return
        yield data
        offset += len(data)
        length = BLOCK * growth


def _line_end(descriptor: int, start: int, size: int) -> int:
    """Return the offset behind the first newline at or after start, so that a block needs no joining."""
    step = _PROBE
    while start < size:
        probe = os.pread(descriptor, step, start)
        at = probe.find(b"\n")
        if at >= 0:
            return min(start + at + 1, size)
        if not probe:
            break
        start += len(probe)
        step = min(step * 2, BLOCK)
    return size


def _read(descriptor: int, start: int, end: int) -> bytes:
    data = os.pread(descriptor, end - start, start)
    while len(data) < end - start:
        more = os.pread(descriptor, end - start - len(data), start + len(data))
        if not more:
            break
        data += more
    return data


def _of_stream(file: IO[bytes], eager: bool) -> Iterator[bytes]:
    pieces: list[bytes] = []
    while chunk := _available(file, eager):
        cut = chunk.rfind(b"\n") + 1
        if not cut:
            pieces.append(chunk)
            continue
        yield b"".join((*pieces, chunk[:cut]))
        pieces = [chunk[cut:]]
    if rest := b"".join(pieces):
        yield rest


def _available(file: IO[bytes], eager: bool) -> bytes:
    """Read up to a block; an eager reader waits only for the first bytes of it."""
    read = getattr(file, "read1", file.read)
    parts: list[bytes] = []
    missing = BLOCK
    while missing > 0 and (data := read(missing)):
        parts.append(data)
        missing -= len(data)
        if eager and not _ready(file):
            break
    return b"".join(parts)


def _ready(file: IO[bytes]) -> bool:
    try:
        poll = select.poll()
        poll.register(file.fileno(), select.POLLIN)
    except (OSError, ValueError):  # no descriptor: memory, or a replaced sys.stdin
        return True
    return bool(poll.poll(0))
