"""The backend `process`: worker processes on this machine, killable, replaced when they die (DESIGN.md §5)."""

from __future__ import annotations

import os
from concurrent.futures import Future
from typing import Any

from msgspec import Struct

from petal.execution.pool import Pool
from petal.interfaces.backend import Capabilities, Reply, Task


class ProcessSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The ``execution`` block of ``process``.

    Attributes:
        workers: Processes at most, by default as many as this machine has cores.
        recycle_after: Tasks after which a process is replaced by a new one.
        memory_limit: Bytes of memory above which a process is replaced when its task has ended.
    """

    workers: int | None = None
    recycle_after: int | None = None
    memory_limit: int | None = None


class Process:
    """Runs calls in worker processes on this machine."""

    name = "process"
    capabilities = Capabilities(kills=True, shares_files=True, has_code=True)
    settings = ProcessSettings

    def open(self, settings: ProcessSettings, folder: str | None) -> ProcessSession:
        """Make a pool, which starts no worker before it has a task."""
        return ProcessSession(settings, folder)


class ProcessSession:
    """One run's worker processes."""

    capabilities = Process.capabilities

    def __init__(self, settings: ProcessSettings, folder: str | None) -> None:
        self._pool = Pool(
            "petal.execution.inside:handle",
            size=settings.workers or len(os.sched_getaffinity(0)),
            recycle_after=settings.recycle_after,
            memory_limit=settings.memory_limit,
            folder=folder,
        )

    def submit(self, task: Task) -> Future[Reply]:
        """Hand a task to a worker."""
        answer: Future[Any] = self._pool.submit(task.payload, timeout=task.timeout, on_event=task.on_event)
        return answer

    def cancel(self, future: Future[Reply]) -> None:
        """Kill the worker that has the task."""
        self._pool.cancel(future)

    def drop_queued(self) -> None:
        """Take back the tasks that no worker has."""
        self._pool.drop_queued()

    def close(self, grace: float) -> None:
        """Stop the workers."""
        self._pool.close(grace)
