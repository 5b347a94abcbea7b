"""Wait for sockets and pipes: what one thread waits for, another may take out and put back meanwhile."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable
from contextlib import suppress

READ, WRITE = select.POLLIN, select.POLLOUT
#: Whether other threads may change what is waited for. Each change is one call of the kernel, done or not done.
SHARED = sys.platform == "linux"


class Watch:
    """Open files, and what is called when there is something to do for them."""

    def __init__(self) -> None:
        if sys.platform == "linux":
            self._poll = select.epoll()
        else:
            self._poll = select.poll()
        self._called: dict[int, Callable[[int], object]] = {}

    def add(self, file: int, call: Callable[[int], object]) -> None:
        """Wait for a file to be readable; ``call`` is given what it is ready for."""
        self._called[file] = call
        self._poll.register(file, READ)

    def change(self, file: int, events: int) -> None:
        """Wait for a file to be readable, writable, both or neither; of no effect once it is removed."""
        with suppress(OSError):
            self._poll.modify(file, events)

    def remove(self, file: int) -> None:
        """Wait for a file no longer."""
        if self._called.pop(file, None) is not None:
            with suppress(OSError):
                self._poll.unregister(file)

    def wait(self, seconds: float | None) -> None:
        """Wait until there is something to do, and do it; no longer than so many seconds."""
        scale = 1 if SHARED else 1_000
        for file, events in self._poll.poll(None if seconds is None else seconds * scale):
            call = self._called.get(file)
            if call is not None:
                call(events)

    def close(self) -> None:
        """Close what is open."""
        if sys.platform == "linux":
            self._poll.close()
