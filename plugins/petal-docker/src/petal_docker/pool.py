"""Lend warm containers: one that is free goes to whoever waits, and another is started only where none is."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from petal_docker.jobs import Job
from petal_docker.worker import Worker

#: Seconds between two looks at whether a task that waits is still wanted.
_TICK = 0.2
#: Containers that are started at the same time: starting takes a core each, and one may become free meanwhile.
_STARTS = max(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)


class Pool:
    """The warm containers of one `execution` block.

    Args:
        limit: How many there are at most.
        start: Starts one.
    """

    def __init__(self, limit: int, start: Callable[[Job], Worker]) -> None:
        self._limit = limit
        self._start = start
        self._changed = threading.Condition()
        self._idle: list[Worker] = []
        self._count = 0
        self._starting = 0

    def take(self, job: Job) -> Worker:
        """Lend a container, which is to be given back or dropped.

        Raises:
            PetalError: The task is not wanted any more, or no container can be started.
        """
        while True:
            worker = self._found(job)
            if worker is None:
                return self._started(job)
            if worker.is_alive():
                return worker
            worker.container.attachment.close()
            self.drop()

    def give(self, worker: Worker) -> None:
        """Take one back."""
        with self._changed:
            self._idle.append(worker)
            self._changed.notify()

    def drop(self) -> None:
        """Say that one that was lent is gone."""
        with self._changed:
            self._count -= 1
            self._changed.notify()

    def wake(self) -> None:
        """Let those who wait see whether their tasks are still wanted."""
        with self._changed:
            self._changed.notify_all()

    def drain(self) -> list[Worker]:
        """Return all that are idle, and lend none of them again."""
        with self._changed:
            found, self._idle = self._idle, []
            self._count -= len(found)
            return found

    def _found(self, job: Job) -> Worker | None:
        """Wait for one that is free; None if another is to be started."""
        with self._changed:
            while True:
                job.check()
                if self._idle:
                    return self._idle.pop()
                if self._count < self._limit and self._starting < _STARTS:
                    self._count += 1
                    self._starting += 1
                    return None
                self._changed.wait(_TICK)

    def _started(self, job: Job) -> Worker:
        try:
            worker = self._start(job)
        except BaseException:
            self.drop()
            raise
        finally:
            with self._changed:
                self._starting -= 1
                self._changed.notify()
        return worker
