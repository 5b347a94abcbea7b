"""Start the forkserver of a pool, and talk to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from petal.execution.pool_forkserver import ENDED, FAILED, NEWS, ORDER, SPAWN, STOP

__all__ = ["ENDED", "FAILED", "Forkserver", "News"]

#: The program: what can be imported here can be imported there, and the user's `__main__` is not among it.
_PROGRAM = (
    "import json, sys; options = json.loads(sys.argv[1]); path = options['path']; "
    "sys.path[:] = [*path, *[p for p in sys.path[1:] if p not in path]]; "
    "from petal.execution.pool_forkserver import main; main(options)"
)


class News(NamedTuple):
    """What the forkserver tells of a worker.

    Attributes:
        what: FAILED (it could not be started) or ENDED.
        worker: The worker's number.
        value: An errno, or its exit code (the negative number of a signal that killed it).
        memory: The most bytes that it had, where it has ended.
    """

    what: bytes
    worker: int
    value: int
    memory: int


class Forkserver:
    """The process that forks workers.

    The thread that makes it must live as long as it is needed: Linux takes that thread's end for its parent's.

    Args:
        handler: What workers call, ``module:name``; its module is imported before the first fork.
        folder: Where workers put large attachments.
        measures: Whether they say how much memory they have.
        preload: Further modules to import before the first fork.
        environment: Variables beside those of this process.
    """

    def __init__(
        self,
        handler: str,
        folder: str,
        *,
        measures: bool,
        preload: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:
        self.socket, theirs = socket.socketpair()
        options: dict[str, Any] = {
            "control": theirs.fileno(),
            "parent": os.getpid(),
            "handler": handler,
            "folder": folder,
            "measures": measures,
            "preload": [handler.partition(":")[0], *preload],
            "path": sys.path,
        }
        flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, *flags, "-c", _PROGRAM, json.dumps(options)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env={**os.environ, **environment},
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        except BaseException:
            self.socket.close()
            raise
        self._rest = b""

    def spawn(self, worker: int, sock: socket.socket, output: int) -> None:
        """Ask for a worker.

        Args:
            worker: Its number.
            sock: Its socket.
            output: Where its stdout and stderr go.

        Raises:
            OSError: The forkserver is gone.
        """
        socket.send_fds(self.socket, [ORDER.pack(SPAWN, worker)], [sock.fileno(), output])

    def stop(self, worker: int) -> None:
        """Ask for a worker's end: SIGTERM to its process group, and soon after that SIGKILL."""
        with suppress(OSError):  # then the forkserver is gone, and its workers with it
            self.socket.sendall(ORDER.pack(STOP, worker))

    def news(self) -> list[News] | None:
        """Read what it tells; None when it is gone."""
        try:
            data = self.socket.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            return None
        data = self._rest + data
        whole = len(data) - len(data) % NEWS.size
        self._rest = data[whole:]
        return [News(*found) for found in NEWS.iter_unpack(data[:whole])]

    def close(self, seconds: float) -> int:
        """End it, and with it what is left of its workers; killed after so many seconds. Return its exit code."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        self.socket.close()
        return self._process.returncode
