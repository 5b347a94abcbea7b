"""Look at the frame of an Arrow IPC stream before a library reads it: that it claims no more than is there."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from petal.data.limits import Limits
from petal.errors import WireError

_GOES_ON = b"\xff\xff\xff\xff"
#: Kinds of messages in a stream: their numbers in Arrow's ``MessageHeader``.
_DICTIONARY, _RECORDS = 2, 3
#: Numbers of fields in Arrow's tables.
_HEADER_TYPE, _HEADER, _BODY_LENGTH = 1, 2, 3
_DICTIONARY_DATA = 1
_LENGTH, _NODES, _BUFFERS, _COMPRESSION, _VARIADIC = range(5)


def check_arrow(data: memoryview, limits: Limits) -> None:
    """Check the messages of a stream: their lengths, their rows, and that none is compressed.

    A compressed message says itself how long it becomes, and Petal never writes any.

    Args:
        data: The stream.
        limits: What it may be.

    Raises:
        WireError: It is damaged, compressed, or claims more rows than its bytes can hold.
    """
    try:
        for kind, table, body in _messages(data):
            if kind == _DICTIONARY:
                inner = table.follow(_DICTIONARY_DATA)
                if inner is None:
                    raise WireError("an Arrow dictionary has no values")
                table = inner
            elif kind != _RECORDS:
                continue
            _check_records(table, body, max(limits.items, 8 * data.nbytes))
    except struct.error:
        raise WireError("an Arrow stream is damaged") from None


def _check_records(table: _Table, body: int, most: int) -> None:
    """Check a batch: a library allocates what it claims before it looks whether that is there.

    Args:
        table: Its description.
        body: The bytes of its values.
        most: Rows that it may have.
    """
    if table.place(_COMPRESSION):
        raise WireError("an Arrow stream is compressed, which is not read: it may become any size")
    rows, nodes = table.long(_LENGTH), table.longs(_NODES, 2)
    if not all(0 <= n <= most for n in (rows, *nodes)):
        raise WireError("an Arrow stream claims more rows than its bytes can hold")
    buffers = table.longs(_BUFFERS, 2)
    for start, size in zip(buffers[::2], buffers[1::2], strict=True):
        if start < 0 or size < 0 or start + size > body:
            raise WireError("an Arrow stream claims more bytes than it has")
    if not all(0 <= n <= len(buffers) // 2 for n in table.longs(_VARIADIC, 1)):
        raise WireError("an Arrow stream claims more buffers than it has")


def _messages(data: memoryview) -> Iterator[tuple[int, _Table, int]]:
    """Give the kind, the header and the length of the body of each message, and see that the body is there."""
    at = 0
    while at < data.nbytes:
        if data[at : at + 4] == _GOES_ON:
            at += 4
        (size,) = struct.unpack_from("<i", data, at)
        at += 4
        if size == 0:  # the end of the stream
            return
        if not 0 < size <= data.nbytes - at:
            raise WireError("an Arrow stream ends early")
        text = data[at : at + size]
        message = _Table(text, struct.unpack_from("<I", text, 0)[0])
        body = message.long(_BODY_LENGTH)
        at += size
        if not 0 <= body <= data.nbytes - at:
            raise WireError("an Arrow stream ends early")
        at += body
        header = message.follow(_HEADER)
        if header is None:
            raise WireError("an Arrow message has no header")
        place = message.place(_HEADER_TYPE)
        yield (text[place] if 0 < place < size else 0), header, body


class _Table:
    """A table of FlatBuffers: where its fields are stands in front of it."""

    __slots__ = ("_at", "_data", "_fields", "_size")

    def __init__(self, data: memoryview, at: int) -> None:
        self._data = data
        self._at = at
        (back,) = struct.unpack_from("<i", data, at)
        self._fields = at - back
        if self._fields < 0:
            raise WireError("an Arrow stream is damaged")
        (self._size,) = struct.unpack_from("<H", data, self._fields)

    def place(self, number: int) -> int:
        """Return where a field is, 0 where it is not set."""
        entry = 4 + 2 * number
        if entry + 2 > self._size:
            return 0
        (offset,) = struct.unpack_from("<H", self._data, self._fields + entry)
        return self._at + int(offset) if offset else 0

    def long(self, number: int) -> int:
        """Return a field that is a 64-bit number."""
        place = self.place(number)
        return int(struct.unpack_from("<q", self._data, place)[0]) if place else 0

    def longs(self, number: int, width: int) -> tuple[int, ...]:
        """Return a field that is a vector of 64-bit numbers, or of structs of so many of them."""
        place = self.place(number)
        if not place:
            return ()
        place += struct.unpack_from("<I", self._data, place)[0]
        (count,) = struct.unpack_from("<I", self._data, place)
        if count * width * 8 > self._data.nbytes:
            raise WireError("an Arrow stream is damaged")
        return struct.unpack_from(f"<{count * width}q", self._data, place + 4)

    def follow(self, number: int) -> _Table | None:
        """Return a field that is a table."""
        place = self.place(number)
        if not place:
            return None
        return _Table(self._data, place + struct.unpack_from("<I", self._data, place)[0])
