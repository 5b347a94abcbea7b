"""Keep pieces of a stream, in memory up to a limit and on disk beyond it, in order (S4.2)."""

from __future__ import annotations

import datetime
import decimal
import io
import struct
import sys
import tempfile
import types
import typing
import uuid
from collections import deque
from collections.abc import Iterator
from types import NoneType
from typing import IO, Any

import msgspec

from petal.data.records import is_record_class

_SIZE = struct.Struct("<cQ")


_SCALARS = frozenset({str, int, float, bool, bytes, NoneType})
#: Types of fields that come back from a codec exactly as they were.
_EXACT = _SCALARS | {datetime.date, datetime.timedelta, decimal.Decimal, uuid.UUID}


class Codec:
    """Items of one type to bytes and back, exactly as they were."""

    def __init__(self, element: Any) -> None:
        self._types = _SCALARS if element in _SCALARS else {dict if typing.is_typeddict(element) else element}
        # Scalars are read without a type: an int among floats stays an int.
        self._decoder: Any = msgspec.msgpack.Decoder(list if element in _SCALARS else list[element])
        self._verify = element not in _SCALARS

    def encode(self, rows: list[Any]) -> bytes | None:
        """Return the rows as bytes; None where they would not come back as they are."""
        if not self._types.issuperset(map(type, rows)):
            return None
        try:
            data = msgspec.msgpack.encode(rows)
            if self._verify and msgspec.msgpack.encode(self._decoder.decode(data)) != data:
                return None
        except (TypeError, ValueError, OverflowError, NotImplementedError, RecursionError):
            return None
        return data

    def decode(self, data: bytes) -> Any:
        """Return the rows."""
        return self._decoder.decode(data)


def codec_for(element: object) -> Codec | None:
    """Return the codec of a list of items of this type, or None when none takes them."""
    if element in _SCALARS or (_is_declared(element) and _is_exact(element)):
        try:
            return Codec(element)
        except (TypeError, ValueError):
            return None
    return None


def _is_declared(element: object) -> bool:
    return is_record_class(element) or typing.is_typeddict(element)


def _is_exact(kind: Any, inside: tuple[object, ...] = ()) -> bool:
    """Whether a codec gives back exactly what it was given; not a zone's name, for one, or a tuple in an ``Any``."""
    if kind in _EXACT or kind in inside:
        return True
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _is_exact(args[0], inside)
    if origin in (typing.Union, types.UnionType):
        return len(args) == 2 and NoneType in args and all(_is_exact(a, inside) for a in args)
    if origin in (list, dict):
        return all(_is_exact(a, inside) for a in args) and (origin is list or args[0] is str)
    if not _is_declared(kind):
        return False
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except Exception:
        return False
    return all(_is_exact(h, (*inside, kind)) for h in hints.values())


class Spill:
    """A queue of pieces on disk: batches as Arrow IPC, lists of items as msgpack. The file has no name."""

    def __init__(self, folder: str | None, codec: Codec | None) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=1 << 16)  # noqa: SIM115
        self._codec = codec
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

    def __del__(self) -> None:
        file = getattr(self, "_file", None)
        if file is not None:  # nobody read what was kept
            file.close()

    def _encode(self, piece: Any) -> tuple[bytes, Any]:
        polars = sys.modules.get("polars")
        if polars is not None and isinstance(piece, polars.Series | polars.DataFrame):
            is_series = isinstance(piece, polars.Series)
            frame = piece.to_frame() if is_series else piece
            buffer = io.BytesIO()
            try:
                frame.write_ipc_stream(buffer, compression="zstd")
            except polars.exceptions.PolarsError:  # Python objects in a column
                return b"", None
            return (b"s" if is_series else b"f"), buffer.getbuffer()
        data = self._codec.encode(piece) if self._codec is not None and isinstance(piece, list) else None
        return b"m", data

    def _decode(self, kind: bytes, data: bytes) -> Any:
        if kind == b"m":
            assert self._codec is not None
            return self._codec.decode(data)
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
        self._codec = codec_for(element)
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
            self._spill = Spill(self._folder, self._codec)
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
