"""The loop of a worker process: take a task, call the handler, send its reply.

It imports next to nothing, so that a worker is ready as soon as its handler is.
"""

from __future__ import annotations

import importlib
import os
import select
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from petal.execution.pool_frames import (
    EVENT,
    INLINE,
    LAST_WORDS,
    READY,
    REPLY,
    Frame,
    Reader,
    frame,
    send,
)
from petal.spec.redaction import redact
from petal.spec.veil import veil_standard_streams

#: How often it is looked whether there is another task already: to sleep and be woken takes longer than a short task.
_SPINS = 100


class Attachments(Protocol):
    """What a handler returns beside the header: ``petal.data.wire.Spool`` is such."""

    @property
    def parts(self) -> Sequence[memoryview]:
        """The attachments."""
        ...

    @property
    def path(self) -> str | None:
        """The file that holds them one after the other, where they are in one."""
        ...

    def close(self) -> None:
        """Remove the file."""
        ...


#: What is called for each task: with the header, the attachments, a folder for large replies, and what to call to
#: tell something before the end. It returns the reply's header and attachments.
Handler = Callable[[bytes, Sequence[memoryview], str, Callable[[bytes], None]], tuple[bytes, Attachments]]


class Worker:
    """The worker's side of the socket.

    Args:
        sock: The socket, one that waits.
        folder: Where handlers put large attachments.
        measures: Whether replies say how much memory this process has.
    """

    def __init__(self, sock: socket.socket, folder: str, measures: bool) -> None:
        self._socket = sock
        self._reader = Reader(sock)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._folder = folder
        self._measures = measures
        self._lock = threading.Lock()
        self._tasks = 0

    def serve(self, handler: Handler) -> None:
        """Do one task after the other, until the driver has no more."""
        self._send(frame(READY, number=os.getpid()))
        while (found := self._next()) is not None:
            self._do(handler, found)
            del found  # an idle worker keeps no task's data

    def last_words(self, error: BaseException) -> None:
        """Say by which exception this process ends."""
        text = redact(f"{type(error).__name__}: {error}")[:1_000].encode(errors="replace")
        self._send(frame(LAST_WORDS, text, number=isinstance(error, MemoryError)))

    def _next(self) -> Frame | None:
        while (found := self._reader.next()) is None:
            if not any(self._poll.poll(0) for _ in range(_SPINS)):
                self._poll.poll()
            if not self._reader.feed():
                return None
        return found

    def _do(self, handler: Handler, task: Frame) -> None:
        self._tasks += 1
        number = self._tasks

        def emit(data: bytes) -> None:
            with self._lock:
                if number == self._tasks:  # else its task is over: a thread that it left behind
                    self._send_whole(frame(EVENT, data))

        header, attachments = handler(task.header, task.parts, self._folder, emit)
        try:
            flush()
            parts = attachments.parts
            large = sum([part.nbytes for part in parts]) > INLINE
            memory = _resident() if self._measures else 0
            reply = frame(REPLY, header, parts, memory, in_file=large)
            file = _opened(attachments, parts, self._folder) if large else None
        finally:
            attachments.close()  # before anybody has the reply: it has no file that has a name
        try:
            self._send(reply, file, last=True)
        finally:
            if file is not None:
                os.close(file)

    def _send(self, data: bytes, file: int | None = None, *, last: bool = False) -> None:
        with self._lock:
            if last:
                self._tasks += 1
            self._send_whole(data, file)

    def _send_whole(self, data: bytes, file: int | None = None) -> None:
        left = send(self._socket, memoryview(data), file)
        while left:
            left = send(self._socket, left, None)


def _opened(attachments: Attachments, parts: Sequence[memoryview], folder: str) -> int:
    if attachments.path is not None:
        return os.open(attachments.path, os.O_RDONLY)
    from petal.execution.pool_files import nameless

    return nameless(parts, folder)


def run(sock: socket.socket, handler: str, folder: str, measures: bool) -> int:
    """Be a worker until the driver has no more tasks, and return the exit code."""
    worker = Worker(sock, folder, measures)
    veil_standard_streams()
    try:
        module, _, name = handler.partition(":")
        worker.serve(getattr(importlib.import_module(module), name))
    except SystemExit as end:
        return _code(end)
    except BaseException as error:
        _die(worker, error)
        return 1
    return 0


def _die(worker: Worker, error: BaseException) -> None:
    try:
        worker.last_words(error)
        import traceback

        traceback.print_exception(error)
    except Exception:
        return  # neither the driver listens nor stderr takes it: the exit code says enough


def _code(end: SystemExit) -> int:
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    print(end.code, file=sys.stderr)
    return 1


def flush() -> None:
    """Write what Python and C hold back of stdout and stderr."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            continue  # the task has closed or replaced it
    library = _library()
    if library is not None:
        library.fflush(None)


_found: list[Any] = []


def _library() -> Any:
    """Return the C library where ctypes finds it in this process."""
    if not _found:
        try:
            import ctypes

            _found.append(ctypes.CDLL(None, use_errno=True))
        except (ImportError, OSError, TypeError):
            _found.append(None)
    return _found[0]


def process_control(option: int, value: int) -> None:
    """Call Linux's ``prctl``; elsewhere do nothing."""
    library = _library() if sys.platform == "linux" else None
    if library is not None:
        library.prctl(option, value, 0, 0, 0)


def _resident() -> int:
    """Return the memory of this process in bytes; where Linux does not tell, the most it ever had."""
    try:
        with open("/proc/self/statm", "rb", 0) as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
