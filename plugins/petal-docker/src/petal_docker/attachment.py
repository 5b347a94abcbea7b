"""The connection to one container's standard streams: bytes in, and out of the engine's frames of 8 bytes and content."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any

_HEADER = struct.Struct(">BxxxL")
_STDOUT = 1
#: Bytes that are read, and written, at a time.
_PIECE = 1 << 18
_LATER = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

Take = Callable[[memoryview], object]


class Closed(Exception):
    """The engine has closed the connection: the container has ended, or the engine has."""


class Attachment:
    """Standard input, output and error of one container, read and written by one thread at a time.

    docker-py's own readers are not used: one takes a pause of a minute for the end, and each copies every byte twice.

    Args:
        held: What `APIClient.attach_socket` gave; it is held, since what it belongs to closes the connection.
    """

    def __init__(self, held: Any) -> None:
        self._held = held
        self._socket: socket.socket = getattr(held, "_sock", held)
        self._socket.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._writes = False
        self._start = bytearray()
        self._left = 0
        self._is_output = False
        self._buffer = memoryview(bytearray(_PIECE))

    @property
    def can_end_input(self) -> bool:
        """Whether input can be ended while output is still read: TLS has no word for it that Python speaks."""
        return not isinstance(self._socket, ssl.SSLSocket)

    def end_input(self) -> None:
        """Say that there is no more input."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def pump(self, given: memoryview, output: Take, errors: Take, seconds: float) -> int:
        """Wait a while for what the container writes, hand it on, and write what it takes.

        Args:
            given: What is to be written.
            output: Takes what came of standard output.
            errors: Takes what came of standard error.
            seconds: How long to wait at most until anything happens.

        Returns:
            How many bytes were written; -1 if nothing happened.

        Raises:
            Closed: There is nothing more to come.
        """
        if self._writes is not bool(given):
            self._writes = bool(given)
            self._poll.modify(self._socket, select.POLLIN | (select.POLLOUT if given else 0))
        happened = self._poll.poll(seconds * 1000)
        if not happened:
            return -1
        written = self._write(given) if given and happened[0][1] & select.POLLOUT else 0
        if happened[0][1] & ~select.POLLOUT:
            self._read(output, errors)
        return written

    def close(self) -> None:
        """Let go of the connection."""
        with contextlib.suppress(OSError):
            self._socket.close()
        with contextlib.suppress(Exception):
            self._held.close()
        response = getattr(self._held, "_response", None)
        if response is not None:
            with contextlib.suppress(Exception):
                response.close()

    def _write(self, given: memoryview) -> int:
        try:
            return self._socket.send(given[:_PIECE])
        except _LATER:
            return 0
        except OSError:  # what the container has written before it ended is still to be read
            return len(given)

    def _read(self, output: Take, errors: Take) -> None:
        try:
            count = self._socket.recv_into(self._buffer)
        except _LATER:
            return
        except OSError as error:
            raise Closed(str(error)) from error
        if not count:
            raise Closed("it was closed")
        self._feed(self._buffer[:count], output, errors)
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            self._read(output, errors)

    def _feed(self, data: memoryview, output: Take, errors: Take) -> None:
        """Take the engine's frames apart, wherever they are cut."""
        while data:
            if self._left:
                piece, data = data[: self._left], data[self._left :]
                self._left -= len(piece)
                (output if self._is_output else errors)(piece)
                continue
            needed = _HEADER.size - len(self._start)
            self._start += data[:needed]
            data = data[needed:]
            if len(self._start) == _HEADER.size:
                stream, self._left = _HEADER.unpack(self._start)
                self._is_output = stream == _STDOUT
                self._start.clear()
