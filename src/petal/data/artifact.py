"""Keep what a node gave as bytes with a digest: written once, read as often as wanted (S4.3, S9).

An artifact is one run of bytes: attachments one after the other, as :mod:`petal.data.values` writes them; a label in
JSON that says what they are; and the label's length. Its digest is the sha256 of all that, so equal digests are equal
values of one type, and what is verified is exactly what is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from petal.data.adapters import row_count
from petal.data.artifact_bytes import Ahead, Pile, Stored
from petal.data.batches import BATCH_ROWS
from petal.data.codecs import Codecs
from petal.data.frames import frame_of
from petal.data.frames_wire import decode_batch, decode_frame, encode_batch
from petal.data.packing import packer_of
from petal.data.type_text import type_text
from petal.data.values import MARK, NO_CODECS, decode_port, encode_port
from petal.errors import DataError, WireError
from petal.spec.pipeline import MISSING
from petal.spec.views import Seen, View

#: The layout of artifacts: it is part of the label, so of the digest, and of the key of every entry of the cache.
LAYOUT = 1
#: Rows of a batch in an artifact, however the stream came: its digest must not depend on that.
_ROWS = 1 << 15
#: Bytes of waiting batches beyond which fewer rows are written as one.
_LARGE = 64 << 20
_COUNT = 8
#: How msgpack writes more than 64 KiB of bytes: this, and their number in four bytes.
_BIN, _BIN_HEAD = b"\xc6", 5
#: Bytes of an entry from which on a value of bytes is read while the entry is verified.
_AHEAD = 4 << 20
_encode = msgspec.json.Encoder().encode


class Artifact:
    """A copy of a node's output, as bytes with a digest.

    It may be read any number of times, by several threads at once, until it is closed.

    Attributes:
        digest: The sha256 of its bytes, in hexadecimal digits; equal for equal values of one annotation.
        rows: How many rows it has; None for a value that is no rows.
        size: Its bytes.
        seen: The view that it was made in.
    """

    def __init__(
        self, stored: Stored, digest: str, annotation: Any, seen: Seen, codecs: Codecs | None = None
    ) -> None:
        self.digest = digest
        self.size = stored.size
        self.seen = seen
        self._stored = stored
        self._ahead: Ahead | None = None
        self._annotation = annotation
        self._codecs = codecs or NO_CODECS
        label = _label(stored)
        self.rows: int | None = label["rows"]
        self._mark = label["mark"]
        self._sizes: list[int] = label["parts"]
        #: Whether it is of this annotation and view, and every codec that wrote it is here.
        self.fits = (
            label["type"] == type_text(annotation)
            and label["view"] == seen.view.value
            and self._codecs.know(self._said())
        )

    def stream(self) -> Iterator[Any]:
        """Give the pieces of a stream: lists of items, or batches; cut otherwise than they were put, maybe.

        Raises:
            WireError: The bytes are damaged.
        """
        packer = _rows_packer(self.seen)
        with self._stored.reading(self._sizes) as reading:
            for form, number in self._mark:
                if form in ("s", "f"):
                    yield decode_batch(form, reading.for_frames(number), "the stored stream")
                elif form.startswith("c:"):
                    yield self._codecs.read_rows(form, reading[number], "the stored stream", None)
                else:
                    yield packer.unpack(form, reading[number], reading, "the stored stream")

    def load(self) -> Any:
        """Return the value; of a stream, all its pieces as a list.

        Raises:
            WireError: The bytes are damaged.
        """
        if self.seen.view.streams:
            return list(self.stream())
        ahead = self._ahead
        if ahead is not None and self._mark == {MARK: {"m": 0}} and self._sizes == [_BIN_HEAD + ahead.size]:
            found = ahead.take()
            if found is not None:
                return found
        with self._stored.reading(self._sizes) as reading:
            said = self._said()
            if str(said.get("frame")).startswith("polars."):
                return decode_frame(said, reading.for_frames(said["part"]), "the stored value")
            return decode_port(
                self._mark, self._annotation, self.seen, reading, "the stored value", codecs=self._codecs
            )

    def _said(self) -> dict[str, Any]:
        """Return what is said of how the value was written; nothing where it stands there itself."""
        if self.seen.view.streams:
            return {"rows": self._mark}
        return self._mark.get(MARK, {}) if isinstance(self._mark, dict) else {}

    def save(self, label: bytes) -> Any:
        """Return what a store keeps of it: bytes, or the path of a file that is the store's from now on.

        Args:
            label: Goes behind its own bytes.
        """
        return self._stored.with_label(label)

    def copied(self, label: bytes, folder: str | None) -> Any:
        """Return a copy of its bytes with a label behind it, for another store than the one that has it."""
        return self._stored.copied(label, folder)

    def sync(self) -> None:
        """Return when the bytes are on disk, where they are in a file."""
        self._stored.sync()

    def find(self, texts: list[bytes]) -> bool:
        """Whether one of some texts stands in the bytes."""
        return self._stored.find(texts)

    def close(self) -> None:
        """Let go of the bytes; what a store has taken stays there."""
        if self._ahead is not None:
            self._ahead.take()
            self._ahead = None
        self._stored.close()

    def __enter__(self) -> Artifact:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Making:
    """An output that is being written and hashed, once: in memory while it is small, then in one temporary file.

    Args:
        folder: Where the file will be; None for the temporary folder, which also serves where this one cannot.
        annotation: The annotation of the output port, or MISSING.
        seen: The view in which the output flows.
        where: What it is, for messages.
        keep: Whether the bytes are wanted, not their digest alone.
        codecs: Those of plugins, which write what is their kind; None where none take part.
    """

    def __init__(
        self,
        folder: str | None,
        annotation: Any,
        seen: Seen,
        *,
        where: str = "its output",
        keep: bool = True,
        codecs: Codecs | None = None,
    ) -> None:
        self._pile = Pile(folder, keep=keep)
        self._annotation = annotation
        self._seen = seen
        self._where = where
        self._codecs = codecs
        self._mark: Any = [] if seen.view.streams else None
        self._packer = _rows_packer(seen) if seen.view.streams else None
        self._rows: list[Any] = []
        self._frames: list[Any] = []
        self._waiting = 0
        self._empty: Any = None
        self._done = 0
        self._count: int | None = 0 if seen.view.streams else None

    @property
    def rows(self) -> int:
        """How many rows were put so far."""
        return self._count or 0

    @property
    def written(self) -> int:
        """How many of them are written; the others wait for more."""
        return self._done

    def so_far(self) -> Artifact:
        """Return the rows of a stream that were written before one that cannot be; what waits is left out."""
        self._rows, self._frames, self._waiting, self._count = [], [], 0, self._done
        return self.finish()

    def put(self, piece: Any) -> None:
        """Add a piece of a stream: a list of items, or a batch.

        Raises:
            DataError: Something in it is not what the annotation says, or cannot be written.
            OutputError: There is no space for it.
        """
        frame = piece if type(piece) is list else frame_of(piece)
        if frame is None:
            raise DataError(
                f"{self._where} holds one {type(piece).__name__}, which is no batch",
                hint="yield a polars Series or DataFrame for each batch, or annotate the stream as `Iterator[...]`",
            )
        self._count = (self._count or 0) + len(frame)
        if type(frame) is list:
            self._write_frames()
            self._put_rows(frame)
        else:
            self._write_rows()
            self._put_frame(frame)

    def value(self, value: Any) -> None:
        """Set the value, where the output is no stream.

        Raises:
            DataError: Something in it is not what the annotation says, or cannot be written.
            OutputError: There is no space for it.
        """
        if self._seen.view is View.WHOLE:
            self._count = row_count(value)
        try:
            if self._count is not None and isinstance(value, set | frozenset):
                self._mark = self._set(value)
            else:
                value = value.rechunk() if hasattr(value, "rechunk") else value
                self._mark = encode_port(
                    value, self._annotation, self._seen, self._pile, self._where, self._codecs
                )
        except DataError as error:
            raise _worded(error) from None

    def finish(self) -> Artifact:
        """Return what was written.

        Raises:
            OutputError: There is no space for it.
        """
        digest = self.digest()
        return Artifact(self._pile.stored(), digest, self._annotation, self._seen, self._codecs)

    def digest(self) -> str:
        """Write the rest, and return the digest."""
        self._write_rows()
        self._write_frames()
        if self._empty is not None and not self._mark:
            self._write_batch(self._empty)
        label = _encode(
            {
                "layout": LAYOUT,
                "type": type_text(self._annotation),
                "view": self._seen.view.value,
                "mark": self._mark,
                "parts": self._pile.sizes,
                "rows": self._count,
            }
        )
        self._pile.end(label + len(label).to_bytes(_COUNT, "big"))
        return self._pile.hash.hexdigest()

    def close(self) -> None:
        """Drop what was written."""
        self._pile.close()

    def _set(self, value: Any) -> Any:
        """Write a set in an order that is the same in every process."""
        try:
            items = sorted(value)
        except TypeError:
            items = sorted(value, key=repr)
        mark = encode_port(iter(items), self._annotation, self._seen, self._pile, self._where, self._codecs)
        mark[MARK]["as"] = "set" if isinstance(value, set) else "frozenset"
        return mark

    # -- streams ------------------------------------------------------------------------------------------------

    def _put_rows(self, rows: list[Any]) -> None:
        if not self._rows and len(rows) == BATCH_ROWS:
            self._write_list(rows)
            return
        self._rows += rows
        at = 0
        while len(self._rows) - at >= BATCH_ROWS:
            self._write_list(self._rows[at : at + BATCH_ROWS])
            at += BATCH_ROWS
        if at:
            del self._rows[:at]

    def _write_rows(self) -> None:
        rows, self._rows = self._rows, []
        if rows:
            self._write_list(rows)

    def _write_list(self, rows: list[Any]) -> None:
        assert self._packer is not None
        try:
            codecs = self._codecs
            written = codecs.write_rows(rows, self._pile, self._where) if codecs is not None else None
            if written is None:
                form, data = self._packer.pack(rows, self._pile, self._where, self._done)
                written = form, self._pile.add(data)
        except DataError as error:
            raise _worded(error) from None
        self._mark.append(written)
        self._done += len(rows)

    def _put_frame(self, frame: Any) -> None:
        if not len(frame):
            self._empty = frame if self._empty is None else self._empty
            return
        if self._frames and not _alike(self._frames[0], frame):
            self._write_frames()
        at = 0
        while len(frame) - at >= (room := _ROWS - self._waiting):
            self._frames.append(frame[at : at + room])
            self._write_frames()
            at += room
        if at < len(frame):
            self._frames.append(frame[at:])
            self._waiting += len(frame) - at
            if len(self._frames) == 1 and frame.estimated_size() >= _LARGE:
                self._write_frames()

    def _write_frames(self) -> None:
        if not self._frames:
            return
        frames, self._frames, self._waiting = self._frames, [], 0
        if len(frames) == 1:
            self._write_batch(frames[0].rechunk())
            return
        import polars as pl

        self._write_batch(pl.concat(frames, rechunk=True))

    def _write_batch(self, frame: Any) -> None:
        try:
            piece = encode_batch(frame, self._pile, self._where)
        except DataError as error:
            raise _worded(error) from None
        assert piece is not None
        self._mark.append(piece)
        self._done += len(frame)


def digest_of(value: Any, annotation: Any, seen: Seen, codecs: Codecs | None = None) -> str:
    """Return the digest that an artifact of a value would have, without keeping it.

    Args:
        value: The value; of a stream, its pieces, which are read to their end.
        annotation: The annotation of the port, or MISSING.
        seen: The view in which it flows.
        codecs: Those of plugins; None where none take part.

    Raises:
        DataError: It cannot be written.
    """
    making = Making(None, annotation, seen, where="the value", keep=False, codecs=codecs)
    if seen.view.streams:
        for piece in value:
            making.put(piece)
    else:
        making.value(value)
    return making.digest()


def open_artifact(
    source: Any, size: int, digest: str, annotation: Any, seen: Seen, codecs: Codecs | None = None
) -> Artifact | None:
    """Return the artifact of bytes that a store gave, or None where they are not those of the digest.

    Args:
        source: Bytes, or a file that is open for reading, which the artifact closes.
        size: How many bytes of it are the artifact's.
        digest: What its digest must be.
        annotation: The annotation of the output port, or MISSING.
        seen: The view in which the output flows.
        codecs: Those of plugins; None where none take part.
    """
    stored = Stored(source, size)
    ahead = _read_ahead(stored) if annotation is bytes else None
    try:
        if stored.size == size and stored.digest() == digest:
            found = Artifact(stored, digest, annotation, seen, codecs)
            if found.fits:
                found._ahead = ahead
                return found
    except (WireError, OSError, LookupError, ValueError, TypeError):
        pass
    if ahead is not None:
        ahead.take()
    stored.close()
    return None


def _read_ahead(stored: Stored) -> Ahead | None:
    """Begin to read a large value of bytes, in msgpack's form, beside the hashing: half of the time is either."""
    if not stored.is_file or stored.size < _AHEAD:
        return None
    head = stored.read(0, _BIN_HEAD)
    count = int.from_bytes(head[1:], "big")
    return Ahead(stored, _BIN_HEAD, count) if head[:1] == _BIN and count < stored.size else None


def _label(stored: Stored) -> dict[str, Any]:
    count = int.from_bytes(stored.read(stored.size - _COUNT, _COUNT), "big")
    if stored.size < count + _COUNT:
        raise WireError("the stored value has no label")
    found: dict[str, Any] = msgspec.json.decode(stored.read(stored.size - _COUNT - count, count))
    if found["layout"] != LAYOUT:
        raise WireError("the stored value is of another version of Petal")
    return found


def _rows_packer(seen: Seen) -> Any:
    return packer_of(list[Any] if seen.element is MISSING else list[seen.element])  # type: ignore[name-defined]


def _alike(one: Any, other: Any) -> bool:
    """Whether two batches can be glued together."""
    if type(one) is not type(other):
        return False
    schemas = [f.schema if hasattr(f, "schema") else (f.name, f.dtype) for f in (one, other)]
    return bool(schemas[0] == schemas[1])


def _worded(error: DataError) -> DataError:
    """Say of a value that is to be kept what is said of one that is to be sent."""
    message = error.message.replace("cannot go to another process", "cannot be kept")
    return type(error)(message, hint=error.hint)
