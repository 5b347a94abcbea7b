"""A small process that outlives this one: when this one is killed, it removes the programs' containers.

A worker of Petal ends by itself when its standard input does. A program of the user's own has read its input to the end
and knows nothing of whoever waits for its reply, so somebody else must.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from typing import IO

#: Seconds for which the guard tries, and for which it looks again: a container may be in the making when its maker dies.
_PATIENCE = 10.0
_SETTLED = 2.0


class Guard:
    """Knows which containers are to be removed when this process ends without a word."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._names: set[str] = set()

    def watch(self, name: str) -> None:
        """Have a container removed when this process dies; it need not be there yet."""
        with self._lock:
            self._names.add(name)
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", "from petal_docker.guard import main; main()"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is for this process
                )
            self._say(f"+{name}\n")

    def forget(self, name: str) -> None:
        """Say that a container is gone."""
        with self._lock:
            self._names.discard(name)
            self._say(f"-{name}\n")

    def close(self) -> None:
        """Let the guard end, unless there is something to guard."""
        with self._lock:
            if self._names or self._process is None:
                return
            process, self._process = self._process, None
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5.0)

    def _say(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # somebody has killed it: the next run's sweep remains
                self._process.stdin.write(line.encode())
                self._process.stdin.flush()


GUARD = Guard()


def main() -> None:
    """Listen until the process that says which containers there are ends, and remove those that are left."""
    left = names(sys.stdin.buffer)
    if left:
        reap(left)


def names(lines: IO[bytes]) -> set[str]:
    """Return the names that were said and not taken back, when nobody says any more."""
    found: set[str] = set()
    for line in lines:
        name = line[1:].decode().rstrip("\n")
        if line[:1] == b"+":
            found.add(name)
        else:
            found.discard(name)
    return found


def reap(left: set[str]) -> None:
    """Remove containers; one that is not there may still come."""
    from petal import PetalError
    from petal_docker.container import remove
    from petal_docker.engine import connect

    began = time.monotonic()
    while time.monotonic() - began < _PATIENCE:
        try:
            client = connect()
            while True:
                for name in left:
                    remove(client, name)
                if time.monotonic() - began > _SETTLED:
                    return
                time.sleep(0.2)
        except PetalError:
            time.sleep(0.5)
