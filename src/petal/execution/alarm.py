"""Call somebody at a time, from one thread made on demand: what waits for its next attempt holds no worker (S5.5)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter


class Alarm:
    """Calls ``ring`` when a time has come.

    Args:
        ring: Does what is due, and returns the next time to be called at, by ``perf_counter()``; None for never.
    """

    def __init__(self, ring: Callable[[], float | None]) -> None:
        self._ring = ring
        self._at: float | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def set(self, at: float) -> None:
        """Ring at a time, or earlier where an earlier one was set."""
        with self._changed:
            if self._closed:
                return
            if self._at is None or at < self._at:
                self._at = at
                self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._wait, name="petal-alarm", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Ring no more."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _wait(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (self._at is None or self._at > perf_counter()):
                    self._changed.wait(None if self._at is None else self._at - perf_counter())
                if self._closed:
                    return
                self._at = None
            following = self._ring()
            if following is not None:
                self.set(following)
