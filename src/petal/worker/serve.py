"""Serve tasks over stdin and stdout: ``petal worker`` in a container, over ssh, or beneath any other program.

A frame is a length (4 bytes, big-endian) and a packed message. Each request gets its reply before the next is read.

Who starts a worker may set ``$PETAL_WORKER_MARK``. The worker then writes this text to stderr when it is ready, and behind
what each task has printed, before its reply; and it ends at once when its stdin does, even within a task: nobody waits.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from io import FileIO
from typing import IO

from petal.data.limits import LIMITS, Limits
from petal.data.sealed import keyring
from petal.errors import ClaimLost, WireError
from petal.spec.veil import veil_standard_streams
from petal.worker.exchange import Exchange
from petal.worker.execute import Worker
from petal.worker.logs import listen

_LENGTH = 4
#: Bytes that a frame may have.
_LARGEST = (1 << 8 * _LENGTH) - 1
#: The environment variable that says how a worker marks what it writes to stderr.
MARK = "PETAL_WORKER_MARK"


def serve_standard_streams(limits: Limits = LIMITS) -> None:
    """Serve until stdin ends.

    The two streams are taken away from the operators: stdout becomes stderr and stdin is empty, for their prints, for
    C code and for processes that they start, so that nothing but replies comes out, and nothing reads a request.

    Raises:
        WireError: stdin ends within a frame, or holds something else.
    """
    sys.stdout.flush()
    requests, replies = os.dup(0), os.dup(1)  # neither is inherited by processes that operators start
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    veil_standard_streams()
    listen()
    mark = os.environ.pop(MARK, "").encode()
    if mark:
        threading.Thread(target=_end_with, args=(requests,), name="petal-stdin", daemon=True).start()
    with os.fdopen(requests, "rb") as reader, FileIO(replies, "w") as writer:
        serve(reader, writer, limits, mark)


def serve(reader: IO[bytes], writer: IO[bytes], limits: Limits = LIMITS, mark: bytes = b"") -> None:
    """Answer the requests of one stream on another, until the first ends.

    Args:
        reader: Gives frames.
        writer: Takes frames, unbuffered: a process that an operator forks must not write anything a second time.
        limits: What a request may be at most.
        mark: What is written to stderr when the worker is ready and when a task has ended, nothing if empty.

    Raises:
        WireError: The stream ends within a frame, or holds something else.
    """
    worker, ring = Worker(limits=limits), keyring()
    _write(2, mark)
    try:
        while (data := read_frame(reader, limits)) is not None:
            exchange = Exchange(data, ring, limit=limits.bytes or _LARGEST)
            try:
                message = exchange.request(limits)
            except ClaimLost as error:  # it lies elsewhere, and what comes next may be there
                packed = exchange.refused(error)
            else:
                with worker.answer(message) as reply:
                    packed = exchange.reply(reply.packed())
            _flush()
            _write(2, mark)
            write_frame(writer, packed)
    finally:
        worker.close()


def read_frame(reader: IO[bytes], limits: Limits = LIMITS) -> bytes | None:
    """Read one frame; None at the end of the stream.

    Raises:
        WireError: The stream ends within the frame, or the frame is too long.
    """
    start = reader.read(_LENGTH)
    if not start:
        return None
    length = int.from_bytes(start, "big")
    if len(start) == _LENGTH and limits.bytes is not None and length > limits.bytes:
        raise WireError(
            f"a frame says that it has {length:,} bytes, but at most {limits.bytes:,} are read",
            hint="a frame is a length of 4 bytes, big-endian, and a message of Petal",
        )
    data = reader.read(length) if len(start) == _LENGTH else b""
    if len(start) < _LENGTH or len(data) < length:
        raise WireError(
            "the requests end in the middle of a frame", hint="the program that sent them may have ended"
        )
    return data


def write_frame(writer: IO[bytes], data: bytes) -> None:
    """Write one frame, all of it."""
    for piece in (len(data).to_bytes(_LENGTH, "big"), data):
        view = memoryview(piece)
        while view:
            view = view[writer.write(view) :]


def _flush() -> None:
    """Let out what a task has printed before its reply goes."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # closed, by the task perhaps
            continue


def _write(descriptor: int, data: bytes) -> None:
    """Write all of it, where that can still be written to: a task may have closed it."""
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        pass


def _end_with(requests: int) -> None:
    """End the process when the other end of a pipe is closed."""
    watch = select.poll()
    watch.register(requests, 0)  # only its end, not what comes through it
    watch.poll()
    os._exit(1)
