"""Threads made on demand: the engine's own thread works too, and others help only while it is held up (S5.1).

Trivial nodes never leave the engine's thread, so they cost no hand-over. As soon as one holds it up for longer than
``PATIENCE``, helpers take what else is ready, each waking the next: 64 nodes that wait finish together.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

#: Seconds that the engine's thread may be busy with one unit before helpers take over what is ready.
PATIENCE = 0.002
#: Seconds between two looks at most.
LONGEST = 0.016


class Workers:
    """Runs jobs on the calling thread and on up to ``limit - 1`` helpers; ``run_alone`` jobs get their own threads."""

    def __init__(self, run: Callable[[int], None], limit: int) -> None:
        self._run = run
        self._limit = max(1, limit)
        self._lock = lock = threading.Lock()
        self._changed = threading.Condition(lock)  # for the calling thread
        self._called = threading.Condition(lock)  # for idle helpers
        self._ready: deque[int] = deque()
        self._helpers = 0
        self._idle = 0
        self._alone: set[threading.Thread] = set()
        self._busy_since = 0.0
        self._closed = False
        self._waiting_main = False
        self._watcher: threading.Thread | None = None
        self._over = threading.Event()  # for the watcher
        self._finished = False  # whether a helper has finished a unit since the watcher looked
        self._spread = False  # whether each helper wakes the next: nothing seems to end soon

    def add(self, units: tuple[int, ...]) -> None:
        """Queue units for whoever is free."""
        with self._lock:
            self._ready.extend(units)
            if self._watcher is None and (len(self._ready) > 1 or self._busy_since):
                self._watcher = threading.Thread(target=self._watch, name="petal-watch", daemon=True)
                self._watcher.start()
            if self._waiting_main:
                self._changed.notify_all()

    def add_alone(self, unit: int) -> None:
        """Start a unit on a thread of its own, outside the limit (stages: S4.1)."""
        thread = threading.Thread(
            target=self._run_alone, args=(unit,), name=f"petal-stage-{unit}", daemon=True
        )
        with self._changed:
            self._alone.add(thread)
        thread.start()

    def work(self, done: Callable[[], bool]) -> None:
        """Work on the calling thread until ``done`` says so."""
        ready = self._ready
        while True:
            self._busy_since = (
                time.monotonic()
            )  # before it takes one: who adds another then knows to call a helper
            try:
                unit = ready.popleft()
            except IndexError:
                self._busy_since = 0.0
                with self._changed:
                    self._waiting_main = True
                    try:
                        while not ready and not done():
                            self._changed.wait(0.1)
                    finally:
                        self._waiting_main = False
                    if done():
                        return
                continue
            try:
                self._run(unit)
            finally:
                self._busy_since = 0.0

    def wake(self) -> None:
        """Let the calling thread of :meth:`work` look at ``done`` again."""
        with self._changed:
            self._changed.notify_all()

    def close(self, grace: float) -> bool:
        """Let helpers go and wait for the threads; False if some still run after ``grace`` seconds."""
        with self._changed:
            self._closed = True
            self._ready.clear()
            self._called.notify_all()
            threads = list(self._alone)
        self._over.set()
        deadline = time.monotonic() + grace
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            while self._helpers and time.monotonic() < deadline:
                self._changed.wait(deadline - time.monotonic())
            held_up = self._helpers > 0
        if self._watcher is not None:
            self._watcher.join(1)
        stopped = not held_up and not any(t.is_alive() for t in threads)
        if stopped:
            del self._run  # a method of the engine, which holds this: without the cycle all is freed at once
        return stopped

    def _run_alone(self, unit: int) -> None:
        try:
            self._run(unit)
        finally:
            with self._changed:
                self._alone.discard(threading.current_thread())

    def _watch(self) -> None:
        """Call helpers while the engine's thread is held up and more is ready.

        Each look takes the interpreter from that thread, so where nothing holds it up the looks become rarer.
        """
        pause = PATIENCE
        while not self._over.wait(pause):
            with self._changed:
                if self._ready and self._held_up():
                    self._spread, self._finished = not self._finished, False
                    self._call_helper()
                    pause = PATIENCE
                else:
                    pause = min(2 * pause, LONGEST)

    def _held_up(self) -> bool:
        """Whether the engine's thread has been at one unit for so long that others should take over what is ready."""
        since = self._busy_since
        return bool(since) and time.monotonic() - since >= PATIENCE

    def _call_helper(self) -> None:
        """With the lock held: wake an idle helper, or make one while the limit allows."""
        if self._idle:
            self._called.notify()
        elif self._helpers < self._limit - 1:
            self._helpers += 1
            threading.Thread(target=self._help, name="petal-worker", daemon=True).start()

    def _help(self) -> None:
        took_long = False
        while True:
            with self._called:
                # Where units are trivial and the engine's thread is at them again, a hand-over costs more than it
                # gains; helpers that went on would keep that thread from running, and so take it for held up.
                while not self._closed and not (self._ready and (took_long or self._held_up())):
                    took_long = False
                    if not self._rest():
                        return
                if self._closed:
                    self._leave()
                    return
                unit = self._ready.popleft()
                if self._ready and self._spread:
                    self._call_helper()
            began = time.monotonic()
            self._run(unit)
            took_long = time.monotonic() - began >= PATIENCE
            self._finished = True
            if not took_long:
                self._spread = False

    def _rest(self) -> bool:
        """With the lock held: wait to be called; False when nobody called for a while and the helper has left."""
        self._idle += 1
        try:
            called = self._called.wait(0.5)
        finally:
            self._idle -= 1
        if called or self._ready or self._closed:
            return True
        self._leave()
        return False

    def _leave(self) -> None:
        self._helpers -= 1
        self._changed.notify_all()
