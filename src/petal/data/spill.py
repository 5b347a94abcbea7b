"""Keep pieces of a stream, in memory up to a limit and on disk beyond it, in order (S4.2)."""

from __future__ import annotations

import io
import struct
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from typing import IO, Any

import msgspec

from petal.data.records import is_mapping_type, is_record_class
from petal.spec.pipeline import MISSING

_SIZE = struct.Struct("<cQ")


def codec_for(element: object) -> Any:
    """Return the decoder of a list of items of this type, or None when no codec takes them."""
    if element is MISSING or element is object or element is Any:
        return None
    plain = element in (str, int, float, bool, bytes)
    if not plain and not is_record_class(element) and not is_mapping_type(element):
        return None
    if is_mapping_type(element) and not hasattr(element, "__required_keys__"):
        return None  # a dict of anything: tuples and dates in it would not come back as they were
    try:
        return msgspec.msgpack.Decoder(list[element])  # type: ignore[valid-type]
    except (TypeError, ValueError):
        return None


class Spill:
    """A queue of pieces on disk: batches as Arrow IPC, lists of items as msgpack. The file has no name."""

    def __init__(self, folder: str | None, decoder: Any) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=1 << 16)  # noqa: SIM115
        self._decoder = decoder
        self._read_at = 0
        self._write_at = 0
        self.pieces = 0

    def put(self, piece: Any) -> bool:
        """Write a piece behind the others; False when no codec takes it."""
        kind, data = self._encode(piece)
        if data is None:
            return False
        self._file.seek(self._write_at)
        self._file.write(_SIZE.pack(kind, len(data)))
        self._file.write(data)
        self._write_at = self._file.tell()
        self.pieces += 1
        return True

    def take(self) -> Any:
        """Read the first piece and forget it."""
        self._file.seek(self._read_at)
        kind, size = _SIZE.unpack(self._file.read(_SIZE.size))
        data = self._file.read(size)
        self._read_at = self._file.tell()
        self.pieces -= 1
        if not self.pieces:
            self._read_at = self._write_at = 0
            self._file.truncate(0)
        return self._decode(kind, data)

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()

    def _encode(self, piece: Any) -> tuple[bytes, Any]:
        polars = sys.modules.get("polars")
        if polars is not None and isinstance(piece, polars.Series | polars.DataFrame):
            is_series = isinstance(piece, polars.Series)
            frame = piece.to_frame() if is_series else piece
            buffer = io.BytesIO()
            frame.write_ipc_stream(buffer, compression="zstd")
            return (b"s" if is_series else b"f"), buffer.getbuffer()
        if self._decoder is None:
            return b"", None
        try:
            return b"m", msgspec.msgpack.encode(piece)
        except (TypeError, ValueError, OverflowError, NotImplementedError):
            return b"", None

    def _decode(self, kind: bytes, data: bytes) -> Any:
        if kind == b"m":
            return self._decoder.decode(data)
        import polars as pl

        frame = pl.read_ipc_stream(io.BytesIO(data))
        return frame.to_series(0) if kind == b"s" else frame


class Kept:
    """All pieces of a stream that nobody has read yet: a leaf's output, loaded when asked for (S5.3).

    Args:
        folder: Where to spill, or None for the temporary folder.
        element: What flows, to choose a codec.
        window: Pieces held in memory.
    """

    def __init__(self, folder: str | None, element: object, window: int = 64) -> None:
        self._folder = folder
        self._decoder = codec_for(element)
        self._window = window
        self._memory: deque[Any] = deque()
        self._spill: Spill | None = None
        self.rows = 0

    def put(self, piece: Any) -> None:
        """Keep one more piece."""
        self.rows += len(piece)
        if len(self._memory) < self._window and self._spill is None:
            self._memory.append(piece)
            return
        if self._spill is None:
            self._spill = Spill(self._folder, self._decoder)
        if not self._spill.put(piece):
            self._drain_to_memory()
            self._memory.append(piece)

    def _drain_to_memory(self) -> None:
        """No codec takes the rows: all of them stay in memory, in order."""
        if self._spill is not None:
            while self._spill.pieces:
                self._memory.append(self._spill.take())
            self._spill.close()
            self._spill = None
        self._window = sys.maxsize

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
