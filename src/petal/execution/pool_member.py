"""One worker as the driver knows it: its socket, its task, and what that prints."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Protocol

from msgspec import Struct

from petal.execution.pool_files import nameless
from petal.execution.pool_frames import INLINE, TASK, Frame, Reader, frame, send
from petal.interfaces.backend import Payload

#: Bytes of a task's output that are kept: of its beginning, and of its end.
KEPT = 1 << 16
#: Seconds in which a worker must be ready, and in which one that is not needed any more must have ended.
STARTS, RETIRES = 60.0, 1.0
#: Looks at a socket before its reader sleeps: a short task is done sooner than a sleeper is woken.
_SPINS = 20
#: Bytes that a pipe holds: what a task wrote before its reply is in there, at most.
_PIPE = 1 << 16


class Answer(Struct, frozen=True):
    """A reply.

    Attributes:
        header: Its header.
        parts: Its attachments, valid as long as they are held.
        output: What the task wrote to stdout and stderr, at most ``KEPT`` bytes of its beginning and of its end.
        pid: The worker's process id.
    """

    header: bytes
    parts: tuple[memoryview, ...]
    output: str
    pid: int


class Waits(Protocol):
    """What reads replies: :class:`petal.execution.pool_loop.Loop`."""

    def wait_for(self, job: Job, until: float | None) -> None:
        """Read what a task's worker says, until its reply is there, or nothing is to be waited for."""
        ...

    def suspect(self, job: Job) -> None:
        """Look whether a task is lost."""
        ...


class Job(Future[Answer]):
    """A task, and the future of its answer. Who waits for it reads its worker's socket, which spares a change of threads.

    Args:
        loop: What reads.
        payload: The message.
        timeout: Seconds that it may run, None for as long as it takes.
        on_event: Called with what it tells.
    """

    def __init__(
        self, loop: Waits, payload: Payload, timeout: float | None, on_event: Callable[[bytes], None] | None
    ) -> None:
        super().__init__()
        self._loop = loop
        self.payload: Payload | None = payload
        self.timeout = timeout
        self.on_event = on_event
        self.member: Member | None = None
        self.sent = False
        self.tries = 0
        self.seat = [None]  # taken by the one thread that reads for it

    def result(self, timeout: float | None = None) -> Answer:
        """Return the answer, or raise why there is none."""
        if not self.done():
            timeout = self._waited(timeout)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return why there is no answer, None when there is one."""
        if not self.done():
            timeout = self._waited(timeout)
        return super().exception(timeout)

    def end(self, outcome: Answer | BaseException) -> None:
        """Say what became of it, and let go of what it needed."""
        self.payload = self.on_event = self.member = None
        if isinstance(outcome, Answer):
            self.set_result(outcome)
        else:
            self.set_exception(outcome)

    def _waited(self, timeout: float | None) -> float | None:
        until = None if timeout is None else time.monotonic() + timeout
        try:
            self._loop.wait_for(self, until)
        except BaseException:
            self._loop.suspect(self)
            raise
        return None if until is None else max(0.0, until - time.monotonic())


class Member:
    """A worker. Whoever holds ``reading`` may read its socket; the rest belongs to the pool and its lock.

    Args:
        number: Its number in its pool.
        sock: The driver's end of its socket.
        pipe: The end of the pipe that its output is read from.
    """

    def __init__(self, number: int, sock: socket.socket, pipe: int) -> None:
        self.number = number
        self.socket = sock
        self.file = sock.fileno()
        self.output = Output(pipe)
        self.reader = Reader(sock)
        self.reading = threading.Lock()
        self.pid = 0
        self.ready = False
        self.since = time.monotonic()  # of its start, or of its task's
        self.job: Job | None = None
        self.jobs = 0
        self.ending: Exception | None = None  # why its task is being stopped
        self.worn = False  # whether it is to be replaced when its task has ended
        self.retired = False  # whether it has been told that there are no more tasks
        self.stopping = False  # whether its end has been asked for
        self.unread = False  # whether it ended without having read its task
        self.watched = True  # whether nobody but the pool's thread waits for its socket
        self.torn = False  # whether a reader was interrupted, and may have lost what it had read
        self.words = ""
        self.starved = False
        self._left: memoryview | None = None
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    @property
    def deadline(self) -> float | None:
        """When it is to be stopped: its task takes too long, its start does, its end does."""
        if self.stopping:
            return None
        if self.retired:
            return self.since + RETIRES
        if not self.ready:
            return self.since + STARTS
        return None if self.job is None or self.job.timeout is None else self.since + self.job.timeout

    def send(self, job: Job, folder: str) -> bool:
        """Send a task, at least a part of it.

        Returns:
            Whether all of it is sent; else :meth:`send_rest` is to be called when the socket takes more.

        Raises:
            OSError: The worker is gone, or the task cannot be put in a file.
        """
        payload = job.payload
        assert payload is not None
        parts = payload.parts
        file = None
        if sum([part.nbytes for part in parts]) > INLINE:
            path = payload.path
            file = nameless(parts, folder) if path is None else os.open(path, os.O_RDONLY)
        try:
            data = frame(TASK, payload.header, parts, in_file=file is not None)
            self._left = send(self.socket, memoryview(data), file)
        finally:
            if file is not None:
                os.close(file)
        return self._all_sent(job)

    def send_rest(self) -> bool:
        """Send more of the task; return whether all of it is sent now."""
        if self._left is None or self.job is None:
            return True
        try:
            self._left = send(self.socket, self._left, None)
        except BlockingIOError:
            return False
        except OSError:
            return True  # it is gone, and that is told by its end
        return self._all_sent(self.job)

    def _all_sent(self, job: Job) -> bool:
        if self._left:
            return False
        self._left = None
        job.sent = True
        return True

    def wait(self, until: float | None) -> bool:
        """Wait for the socket to have something; False if it has nothing by then."""
        poll = self._poll.poll
        for _ in range(_SPINS):
            if poll(0):
                return True
        left = None if until is None else max(0.0, until - time.monotonic()) * 1_000
        return bool(poll(left))

    def read(self) -> tuple[list[Frame], bool]:
        """Read what the worker has said; also, whether it can say more."""
        self.torn = alive = True
        try:
            alive = self.reader.feed()
        except BlockingIOError:
            pass
        except OSError:
            self.unread, alive = True, False
        found = []
        while (one := self.reader.next()) is not None:
            found.append(one)
        return found, alive

    def end(self) -> None:
        """Let it end by itself: there are no more tasks."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def hang_up(self) -> None:
        """Wake whoever waits for its socket; what it has said can still be read."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def kill(self) -> None:
        """Kill its process group, where nobody is left who does it better."""
        if self.pid:
            with suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close what is open."""
        self.reader.close()
        self.socket.close()
        self.output.close()


class Output:
    """What a worker writes to stdout and stderr, however much it is: the beginning and the end are kept.

    Args:
        pipe: The end of the pipe that it is read from.
    """

    def __init__(self, pipe: int) -> None:
        os.set_blocking(pipe, False)
        self.pipe = pipe
        self._lock = threading.Lock()
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def read(self) -> bool:
        """Read what is there, at most as much as a pipe holds; False when nobody can write any more."""
        with self._lock:
            left = _PIPE
            while left > 0 and self.pipe >= 0:
                try:
                    data = os.read(self.pipe, _PIPE)
                except BlockingIOError:
                    return True
                if not data:
                    return False
                self._keep(data)
                left -= len(data)
            return True

    def take(self) -> str:
        """Return what was written since the last time, and forget it."""
        self.read()
        if not self._head:
            return ""
        with self._lock:
            note = b"\n[... %d bytes left out ...]\n" % self._dropped if self._dropped else b""
            found = bytes(self._head) + note + bytes(self._tail)
            self._head, self._tail, self._dropped = bytearray(), bytearray(), 0
        return found.decode(errors="replace")

    def close(self) -> None:
        """Close the pipe."""
        with self._lock:
            if self.pipe >= 0:
                os.close(self.pipe)
                self.pipe = -1

    def _keep(self, data: bytes) -> None:
        room = KEPT - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        over = len(self._tail) - KEPT
        if over > 0:
            del self._tail[:over]
            self._dropped += over
