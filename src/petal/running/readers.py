"""Threads for what coroutines hand over; imported when the first coroutine comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

_Job = tuple["Future[Any]", Callable[[], Any]]


class Readers(ThreadPoolExecutor):
    """An executor with as many threads as are needed, since each may wait for another.

    They are daemons, unlike those of the standard library, so that none of them holds up the exit.
    """

    def __init__(self) -> None:
        super().__init__(1)
        self._changed = threading.Lock()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._free = 0
        self._all: list[threading.Thread] = []
        self._ended = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a function on a free thread, or on a new one."""
        future: Future[Any] = Future()
        with self._changed:
            if self._ended:
                raise RuntimeError("the run has ended")
            self._jobs.put((future, lambda: fn(*args, **kwargs)))
            if self._free:
                self._free -= 1
            else:
                self._all.append(threading.Thread(target=self._work, name="petal-read", daemon=True))
                self._all[-1].start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        """Let all threads go."""
        self.end(float("inf") if wait else 0.0)

    def end(self, until: float) -> None:
        """Let all threads go, and wait for them until a time of ``time.monotonic()``."""
        with self._changed:
            self._ended = True
            threads, self._all = self._all, []
        for _ in threads:
            self._jobs.put(None)
        for thread in threads:
            left = until - time.monotonic()
            thread.join(None if left == float("inf") else max(0.0, left))

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, call = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:
                    future.set_exception(error)
            del job, future, call
            with self._changed:
                self._free += 1
