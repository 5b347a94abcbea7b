"""Keep pieces of a stream, in memory up to a limit and on disk beyond it, in order (S4.2)."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from petal.data.codec import Codec
from petal.data.columns import holds_objects
from petal.data.frames import loaded_polars

__all__ = ["Codec", "Counted", "Held", "Kept", "Spill", "size_of"]

#: Bytes of batches that are kept in memory before the next go to disk.
_HELD = 64 << 20


class _Written(NamedTuple):
    """A piece on disk: its kind (``s`` Series, ``f`` DataFrame, ``m`` list of items), and its size in bytes."""

    kind: str
    size: int


class _Shelved(NamedTuple):
    """A piece on disk that may be read again: its kind, where it begins, and its size in bytes."""

    kind: str
    at: int
    size: int


class Spill:
    """A queue of pieces on disk: batches as Arrow IPC, lists of items as msgpack. The file has no name.

    A piece that no codec takes exactly keeps its place in the queue, in memory.
    """

    def __init__(self, folder: str | None, codec: Codec) -> None:
        import tempfile  # with shutil and random, 3 ms that only a stream that spills pays for

        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=1 << 16)  # noqa: SIM115
        self._codec = codec
        self._read_at = 0
        self._write_at = 0
        self._queue: deque[Any] = deque()

    @property
    def pieces(self) -> int:
        """How many pieces there are."""
        return len(self._queue)

    def put(self, piece: Any) -> None:
        """Write a piece behind the others."""
        kind, data = encoded(piece, self._codec)
        if data is None:
            self._queue.append(piece)
            return
        self._file.seek(self._write_at)
        self._file.write(data)
        self._write_at = self._file.tell()
        self._queue.append(_Written(kind, len(data)))

    def take(self) -> Any:
        """Read the first piece and forget it."""
        piece = self._queue.popleft()
        if type(piece) is not _Written:
            return piece
        self._file.seek(self._read_at)
        data = self._file.read(piece.size)
        self._read_at = self._file.tell()
        if self._read_at == self._write_at:
            self._read_at = self._write_at = 0
            self._file.truncate(0)
        return decoded(piece.kind, data, self._codec)

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()
        self._queue.clear()

    def __del__(self) -> None:
        file = getattr(self, "_file", None)
        if file is not None:  # nobody read what was kept
            file.close()


def encoded(piece: Any, codec: Codec) -> tuple[str, Any]:
    """Return the kind and the bytes of a piece; None for the bytes where no codec takes it exactly."""
    polars = loaded_polars()
    if polars is not None and isinstance(piece, polars.Series | polars.DataFrame):
        is_series = isinstance(piece, polars.Series)
        frame = piece.to_frame() if is_series else piece
        if any(map(holds_objects, frame.dtypes)):
            return "", None
        buffer = io.BytesIO()
        frame.write_ipc_stream(buffer, compression="zstd")
        return ("s" if is_series else "f"), buffer.getbuffer()
    return "m", codec.encode(piece) if isinstance(piece, list) else None


def decoded(kind: str, data: bytes, codec: Codec) -> Any:
    """Make a piece of its bytes again."""
    if kind == "m":
        return codec.decode(data)
    import polars as pl

    frame = pl.read_ipc_stream(io.BytesIO(data))
    return frame.to_series(0) if kind == "s" else frame


def size_of(piece: Any) -> int:
    """Return the bytes of a batch; a list of items counts as nothing, for measuring it would cost too much."""
    return 0 if isinstance(piece, list) else int(piece.estimated_size())


class Counted:
    """Stands for a stream that nobody will ask for: its rows are counted, and dropped."""

    def __init__(self, rows: int = 0) -> None:
        self.rows = rows

    def put(self, piece: Any) -> None:
        """Count one more piece."""
        self.rows += len(piece)

    def close(self) -> None:
        """Do nothing: nothing is kept."""


class Kept:
    """All pieces of a stream that nobody has read yet: a leaf's output, loaded when asked for (S5.3).

    Args:
        folder: Where to spill, or None for the temporary folder.
        element: What flows, to choose a codec.
        window: Pieces held in memory, if they are not too large.
    """

    def __init__(self, folder: str | None, element: object, window: int = 64) -> None:
        self._folder = folder
        self._codec = Codec(element)
        self._window = window
        self._memory: deque[Any] = deque()
        self._held = 0
        self._spill: Spill | None = None
        self.rows = 0

    def put(self, piece: Any) -> None:
        """Keep one more piece."""
        self.rows += len(piece)
        if len(self._memory) < self._window and self._held < _HELD and self._spill is None:
            self._memory.append(piece)
            self._held += size_of(piece)
            return
        if self._spill is None:
            self._spill = Spill(self._folder, self._codec)
        self._spill.put(piece)

    def pieces(self) -> Iterator[Any]:
        """Give the pieces in order; once."""
        while self._memory:
            yield self._memory.popleft()
        if self._spill is not None:
            while self._spill.pieces:
                yield self._spill.take()
            self.close()

    def close(self) -> None:
        """Drop what is kept."""
        self._memory.clear()
        if self._spill is not None:
            self._spill.close()
            self._spill = None


class Held:
    """All pieces of a stream, to be read as often as somebody likes, by several threads: what attempts are given (S4.3).

    Args:
        folder: Where to keep what is too large for memory, or None for the temporary folder.
        element: What flows, to choose a codec.
        limit: Bytes of batches, and pieces, held in memory.
    """

    def __init__(self, folder: str | None, element: object, limit: tuple[int, int] = (_HELD, 64)) -> None:
        self._folder = folder
        self._codec = Codec(element)
        self._room, self._places = limit
        self._pieces: list[Any] = []
        self._file: IO[bytes] | None = None
        self._end = 0
        self.rows = 0

    def put(self, piece: Any) -> None:
        """Hold one more piece."""
        self.rows += len(piece)
        self._pieces.append(self._written(piece) if self._room <= 0 or self._places <= 0 else piece)
        self._room -= size_of(piece)
        self._places -= 1

    def _written(self, piece: Any) -> Any:
        """Write a piece to the file; one that no codec takes exactly stays in memory."""
        kind, data = encoded(piece, self._codec)
        if data is None:
            return piece
        if self._file is None:
            import tempfile

            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
        at, size = self._end, len(data)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._end += size
        return _Shelved(kind, at, size)

    def pieces(self) -> Iterator[Any]:
        """Give the pieces in order."""
        for piece in self._pieces:
            if type(piece) is _Shelved:
                assert self._file is not None
                data = os.pread(self._file.fileno(), piece.size, piece.at)
                yield decoded(piece.kind, data, self._codec)
            else:
                yield piece

    def close(self) -> None:
        """Drop what is held."""
        self._pieces.clear()
        if self._file is not None:
            self._file.close()

    def __del__(self) -> None:
        file = getattr(self, "_file", None)
        if file is not None:
            file.close()
