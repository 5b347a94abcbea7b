"""The bytes of an artifact: written and hashed as they come, in memory or in one file, and read again in parts."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import mmap
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

from petal.data.wire import Spool
from petal.errors import OutputError

#: Bytes that stay in memory.
_IN_MEMORY = 256 << 10
#: Bytes of a frame that are written to memory before they are hashed; larger ones go to the file at once.
_PIECE = 16 << 20
#: Bytes of a part from which it is mapped, or read by Polars from the file itself, rather than read to memory.
_MAPPED = 1 << 20
_AT_ONCE = 1 << 18


class Pile(Spool):
    """Attachments that are hashed as they are added: in memory up to a limit, then in one file.

    The file is locked while it is being made, so that :func:`petal.data.publishing.sweep` can tell it from what a process
    that was killed has left.

    Args:
        folder: Where the file will be; None for the temporary folder, which also serves where this one cannot.
        keep: Whether the bytes are to be kept, or their digest is all that is wanted.

    Attributes:
        hash: The sha256 of all that was added.
        sizes: Bytes of each attachment.
    """

    __slots__ = ("_at", "_bytes", "_descriptor", "_keep", "_where", "hash")

    def __init__(self, folder: str | None, *, keep: bool = True) -> None:
        self.hash = hashlib.sha256()
        self.sizes: list[int] = []
        self.path: str | None = None
        self._bytes = bytearray()
        self._where = folder
        self._keep = keep
        self._descriptor = -1
        self._at = 0

    def add(self, data: Any) -> int:
        """Add an attachment, and return its number, from 0."""
        self.sizes.append(self._append(data))
        return len(self.sizes) - 1

    def add_written(self, write: Callable[[IO[bytes]], object], about: int) -> int:
        """Add what a function writes to a binary file, and return its number."""
        if about <= _PIECE or not self._keep:
            buffer = io.BytesIO()
            write(buffer)
            return self.add(buffer.getbuffer())
        start = self._at_end()
        try:
            with os.fdopen(os.dup(self._descriptor), "wb", closefd=True) as file:
                write(file)
        except OSError as error:
            raise self._failure(error) from error
        size = os.fstat(self._descriptor).st_size - start
        os.lseek(self._descriptor, start + size, os.SEEK_SET)
        self._at = start + size
        for block in _blocks(self._descriptor, start, size):
            self.hash.update(block)
        self.sizes.append(size)
        return len(self.sizes) - 1

    def end(self, label: bytes) -> None:
        """Add what stands behind the attachments."""
        self._append(label)

    def stored(self) -> Stored:
        """Return what was added, to be read; the pile is empty then."""
        if self._descriptor < 0:
            return Stored(bytes(self._bytes), len(self._bytes))
        descriptor, self._descriptor = self._descriptor, -1
        path, self.path = self.path, None
        return Stored(descriptor, self._at, path)

    def close(self) -> None:
        """Remove the file, and forget what is in memory."""
        self._bytes = bytearray()
        descriptor, self._descriptor = getattr(self, "_descriptor", -1), -1
        if descriptor >= 0:
            _remove(self.path)
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()

    def _append(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self.hash.update(view)
        if not self._keep:
            return view.nbytes
        if self._descriptor < 0 and len(self._bytes) + view.nbytes <= _IN_MEMORY:
            self._bytes += view
            return view.nbytes
        self._at_end()
        self._write(view)
        return view.nbytes

    def _at_end(self) -> int:
        """See to it that there is a file, and return where it ends."""
        if self._descriptor < 0:
            self._open(self._where)
            held, self._bytes = self._bytes, bytearray()
            self._write(memoryview(held))
        return self._at

    def _open(self, folder: str | None) -> None:
        folders = [folder, None] if folder is not None else [None]
        for one in folders:
            try:
                self._descriptor, self.path = _create(one)
            except OSError as error:
                failure = error
                continue
            self._where = one
            return
        raise self._failure(failure) from failure

    def _write(self, view: memoryview) -> None:
        """Write all of it; where a disk is full, go on in the temporary folder with what was written before."""
        done = 0
        while done < view.nbytes:
            try:
                done += os.write(self._descriptor, view[done:])
            except OSError as error:
                self._move(self._at + done, error)
        self._at += done

    def _move(self, size: int, error: OSError) -> None:
        if self._where is None:
            raise self._failure(error) from error
        before, path = self._descriptor, self.path
        try:
            self._descriptor, self.path = _create(None)
            self._where = None
            for block in _blocks(before, 0, size):
                rest = memoryview(block)
                while rest.nbytes:
                    rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            raise self._failure(error) from error
        finally:
            _remove(path)
            os.close(before)

    def _failure(self, error: OSError) -> OutputError:
        where = self._where or tempfile.gettempdir()
        return OutputError(
            f"cannot keep a node's output in {where!r}: {os.strerror(error.errno or 0)}",
            hint="free some space on that disk, or name another one with $TMPDIR",
        )


class Stored:
    """Bytes that are read in parts: in memory, or in a file that is open.

    Args:
        source: The bytes, the number of an open file, or a binary file that is open for reading; it is closed at the end.
        size: How many of its bytes count.
        path: Where a temporary file is, which is removed at the end unless it is taken away before.
    """

    def __init__(self, source: Any, size: int, path: str | None = None) -> None:
        self.size = size
        self._path = path
        self._bytes: bytes | None = None
        self._descriptor = -1
        if isinstance(source, bytes | bytearray | memoryview):
            self._bytes = bytes(source)
        elif isinstance(source, int):
            self._descriptor = source
        else:
            self._descriptor = os.dup(source.fileno())
            source.close()

    @property
    def is_file(self) -> bool:
        """Whether the bytes are in a file."""
        return self._bytes is None

    def read(self, at: int, size: int) -> bytes:
        """Return some bytes; fewer where there are no more."""
        if self._bytes is not None:
            return self._bytes[max(at, 0) : at + size]
        return os.pread(self._descriptor, size, max(at, 0))

    def digest(self) -> str:
        """Return the sha256 of the bytes that count."""
        if self._bytes is not None:
            return hashlib.sha256(memoryview(self._bytes)[: self.size]).hexdigest()
        made = hashlib.sha256()
        for block in _blocks(self._descriptor, 0, self.size):
            made.update(block)
        return made.hexdigest()

    @contextlib.contextmanager
    def reading(self, sizes: Sequence[int]) -> Iterator[Reading]:
        """Read it in parts, beside others who do."""
        reading = Reading(self._bytes if self._bytes is not None else os.dup(self._descriptor), sizes)
        try:
            yield reading
        finally:
            reading.close()

    def find(self, texts: list[bytes]) -> bool:
        """Whether one of some texts stands in the bytes."""
        if self._bytes is not None:
            return any(text in self._bytes for text in texts)
        if not self.size:
            return False
        with mmap.mmap(self._descriptor, self.size, access=mmap.ACCESS_READ) as mapped:
            return any(mapped.find(text) >= 0 for text in texts)

    def with_label(self, label: bytes) -> bytes | Path:
        """Return the bytes and a label behind them: as bytes, or as a file that belongs to the caller from now on.

        Raises:
            OSError: The file cannot be written.
        """
        if self._bytes is not None:
            return self._bytes[: self.size] + label
        if self._path is not None:
            os.ftruncate(self._descriptor, self.size)
            os.pwrite(self._descriptor, label, self.size)
            path, self._path = self._path, None
            return Path(path)
        raise OSError("the bytes are in a store already")

    def copied(self, label: bytes, folder: str | None) -> bytes | Path:
        """Return a copy of the bytes with a label behind it: as bytes, or as a file that belongs to the caller.

        Raises:
            OSError: The file cannot be written.
        """
        if self._bytes is not None:
            return self._bytes[: self.size] + label
        pile = Pile(folder)
        try:
            for block in _blocks(self._descriptor, 0, self.size):
                pile.add(block)
            copy = pile.stored()
        finally:
            pile.close()
        try:
            return copy.with_label(label)
        finally:
            copy.close()

    def sync(self) -> None:
        """Return when a file's bytes are on disk."""
        if self._descriptor >= 0:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file, and remove it if it is a temporary one."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            _remove(self._path)
            os.close(descriptor)

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            self.close()


class Ahead:
    """One value of bytes, read while the whole is being verified: nothing looks into it before that is done.

    Args:
        stored: Where it is, in a file.
        at: Where it begins.
        size: Its bytes.
    """

    def __init__(self, stored: Stored, at: int, size: int) -> None:
        self.size = size
        self._found = b""
        self._thread = threading.Thread(
            target=self._read, args=(stored, at), name="petal-read-ahead", daemon=True
        )
        self._thread.start()

    def _read(self, stored: Stored, at: int) -> None:
        with contextlib.suppress(OSError):
            self._found = stored.read(at, self.size)

    def take(self) -> bytes | None:
        """Return it, or None where it could not be read."""
        self._thread.join()
        return self._found if len(self._found) == self.size else None


class Reading(Sequence[memoryview]):
    """The attachments of an artifact, each read when it is asked for.

    Args:
        source: The bytes, or the number of an open file, which is closed at the end.
        sizes: Bytes of each attachment.
    """

    def __init__(self, source: bytes | int, sizes: Sequence[int]) -> None:
        self._memory = memoryview(source) if isinstance(source, bytes) else None
        self._descriptor = source if isinstance(source, int) else -1
        self._sizes = sizes
        self._starts = [0, *accumulate(sizes)]
        self._file: io.FileIO | None = None

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, number: Any) -> Any:
        at, size = self._starts[number], self._sizes[number]
        if self._memory is not None:
            return self._memory[at : at + size]
        if size < _MAPPED:
            return memoryview(os.pread(self._descriptor, size, at))
        before = at % mmap.ALLOCATIONGRANULARITY
        found = mmap.mmap(self._descriptor, size + before, access=mmap.ACCESS_READ, offset=at - before)
        return memoryview(found)[before:]

    def for_frames(self, number: int) -> Any:
        """Return a part, or a file that stands where it begins: Polars reads a large one from there in half the time."""
        if self._memory is not None or self._sizes[number] < _MAPPED or not sys.platform.startswith("linux"):
            return self[number]
        if self._file is None:  # a file of its own, whose place nobody else changes
            path = f"/proc/self/fd/{self._descriptor}"
            self._file = io.FileIO(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb")
        self._file.seek(self._starts[number])
        return self._file

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _create(folder: str | None) -> tuple[int, str]:
    """Make a temporary file of a name that :func:`petal.data.publishing.sweep` knows, and lock it."""
    where = folder or tempfile.gettempdir()
    path = os.path.join(where, f".artifact.petal-{os.getpid()}-{os.urandom(8).hex()}.tmp")
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with contextlib.suppress(OSError):  # a file system without locks: then nobody sweeps either
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor, path


def _remove(path: str | None) -> None:
    if path is not None:
        with contextlib.suppress(OSError):
            Path(path).unlink()


def _blocks(descriptor: int, at: int, size: int) -> Iterator[memoryview]:
    """Read a file block by block into one buffer; fewer bytes where it is shorter."""
    buffer = bytearray(min(_AT_ONCE, max(size, 1)))
    view = memoryview(buffer)
    while size > 0:
        count = os.preadv(descriptor, [view[: min(size, len(buffer))]], at)
        if not count:
            return
        yield view[:count]
        at += count
        size -= count
