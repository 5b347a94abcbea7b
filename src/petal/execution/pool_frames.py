"""Frames: what the driver and a worker say to each other over their socket, large attachments as open files."""

from __future__ import annotations

import mmap
import os
import socket
import struct
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

#: Bytes of attachments up to which they are sent through the socket.
INLINE = 1 << 20
#: What a frame says: a task; what a task tells; its reply; a worker is ready; why a worker ends by an exception.
TASK, EVENT, REPLY, READY, LAST_WORDS = range(1, 6)

#: Kind, whether the attachments are in a file, their number, the header's bytes, and a number whose meaning is the kind's.
_HEAD = struct.Struct("<BBxxIQQ")
#: Bytes that are read at once: few where nothing is known, as making room for many takes longer than to read a few.
_FIRST, _MORE = 1 << 13, 1 << 18
_FILE = struct.calcsize("i")
_CONTROL = socket.CMSG_SPACE(_FILE)


class Frame(NamedTuple):
    """One message.

    Attributes:
        kind: What it says.
        header: Its bytes.
        parts: Its attachments, which keep alive what they are views of.
        number: Of READY, the process id; of REPLY, the worker's memory in bytes, 0 where nobody asked; of LAST_WORDS, 1
            if memory ran out.
    """

    kind: int
    header: bytes
    parts: tuple[memoryview, ...]
    number: int


def frame(
    kind: int,
    header: bytes = b"",
    parts: Sequence[memoryview] = (),
    number: int = 0,
    *,
    in_file: bool = False,
) -> bytes:
    """Return the bytes of a frame; with ``in_file``, its attachments are in a file that goes with it."""
    if not parts:
        return _HEAD.pack(kind, False, 0, len(header), number) + header
    sizes = [part.nbytes for part in parts]
    start = _HEAD.pack(kind, in_file, len(sizes), len(header), number)
    table = struct.pack(f"<{len(sizes)}Q", *sizes)
    return b"".join((start, table, header, *(() if in_file else parts)))


def send(sock: socket.socket, data: memoryview, file: int | None) -> memoryview:
    """Send what can be sent now; an open file goes with the first byte.

    Returns:
        What is left.

    Raises:
        BlockingIOError: Nothing could be sent.
    """
    if file is None:
        return data[sock.send(data) :]
    control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", file))]
    return data[sock.sendmsg([data], control) :]


class Reader:
    """Takes frames off a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._chunks: list[bytes] = []
        self._held = 0
        self._wanted = _HEAD.size
        self._files: deque[int] = deque()

    def feed(self) -> bool:
        """Read what there is, once.

        Returns:
            Whether the other side can still say something.

        Raises:
            BlockingIOError: There is nothing now, and the socket does not wait.
            ConnectionResetError: The other side ended without reading all that it was sent.
        """
        data, control, _, _ = self._socket.recvmsg(_MORE if self._held else _FIRST, _CONTROL)
        for _, _, found in control:
            self._files.append(struct.unpack("i", found[:_FILE])[0])
        if not data:
            return False
        self._chunks.append(data)
        self._held += len(data)
        return True

    def next(self) -> Frame | None:
        """Return the next frame, None while it is not complete."""
        if self._held < self._wanted:
            return None
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks = [data]
        kind, in_file, count, length, number = _HEAD.unpack_from(data)
        table = _HEAD.size + 8 * count
        if self._held < table:
            self._wanted = table
            return None
        sizes = struct.unpack_from(f"<{count}Q", data, _HEAD.size)
        body = table + length
        end = body if in_file else body + sum(sizes)
        if self._held < end:
            self._wanted = end
            return None
        self._held -= end
        self._wanted = _HEAD.size
        self._chunks = [data[end:]] if self._held else []
        view = _mapped(self._files.popleft()) if in_file else memoryview(data)
        return Frame(kind, data[table:body], _cut(view, 0 if in_file else body, sizes), number)

    def close(self) -> None:
        """Close the files of frames that nobody has read."""
        while self._files:
            os.close(self._files.popleft())


def _mapped(file: int) -> memoryview:
    try:
        return memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_READ))
    finally:
        os.close(file)


def _cut(view: memoryview, start: int, sizes: Sequence[int]) -> tuple[memoryview, ...]:
    found = []
    for size in sizes:
        found.append(view[start : start + size])
        start += size
    return tuple(found)
