"""The pool of worker processes: each with a socket of its own, killed with all it has started, replaced when it dies."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Self

from petal.errors import TimedOut, WorkerDied
from petal.execution.pool_files import Folder
from petal.execution.pool_loop import Loop, Setup
from petal.execution.pool_member import Answer, Job
from petal.execution.pool_tasks import Tasks
from petal.interfaces.backend import Payload

__all__ = ["Answer", "Pool", "TimedOut", "WorkerDied"]


class Pool:
    """Worker processes that are started when there are tasks for them, and that take one task after the other.

    A worker that dies takes only its own task with it. Nothing that a worker starts outlives the pool, and nothing of
    the pool outlives this process.

    Args:
        handler: What workers call, ``module:name``; see :data:`petal.execution.pool_worker.Handler`.
        size: Workers at most.
        recycle_after: Tasks after which a worker is replaced, None for never.
        memory_limit: Bytes of memory above which a worker is replaced when its task has ended, None for no limit.
        preload: Modules that are imported once for all workers. Those that start threads save no time.
        folder: Where large messages may lie, None for the temporary folder.
        environment: Variables of the workers, beside those of this process.
    """

    def __init__(
        self,
        handler: str = "petal.worker.pooled:handle",
        *,
        size: int,
        recycle_after: int | None = None,
        memory_limit: int | None = None,
        preload: Sequence[str] = (),
        folder: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._setup = Setup(
            handler, max(1, size), recycle_after, memory_limit, tuple(preload), dict(environment or {})
        )
        self._folder = folder
        self._owner = os.getpid()
        self._lock = threading.Lock()  # of the first task, and of the end
        self._closed = False
        self._tasks: Tasks | None = None
        self._loop: Loop | None = None

    def submit(
        self,
        payload: Payload,
        *,
        timeout: float | None = None,
        on_event: Callable[[bytes], None] | None = None,
    ) -> Future[Answer]:
        """Give a task to a worker, or queue it until there is one. Any thread may call this.

        Args:
            payload: The message, which must stay as it is until the future is done.
            timeout: Seconds that the task may run, after which it is killed.
            on_event: Called with what the task tells before its reply, in order, from any thread.

        Returns:
            The future of the reply. It fails with :class:`WorkerDied` or :class:`TimedOut`.

        Raises:
            RuntimeError: The pool is closed, or this process was forked from the pool's.
        """
        if os.getpid() != self._owner:
            raise RuntimeError("the pool belongs to another process")
        tasks = self._tasks or self._open()
        assert self._loop is not None
        job = Job(self._loop, payload, timeout, on_event)
        try:
            tasks.submit(job)
        except BaseException:
            tasks.suspects.append(job)
            tasks.wake()
            raise
        return job

    def cancel(self, future: Future[Any]) -> None:
        """Take a task from the queue, or kill the worker that has it: its future fails with `TaskLost` then."""
        assert isinstance(future, Job)
        assert self._tasks is not None
        self._tasks.cancel(future)

    def drop_queued(self) -> None:
        """Take back the tasks that no worker has: who is being stopped begins nothing more."""
        if self._tasks is not None:
            self._tasks.drop_queued("it was stopped before it had begun")

    def close(self, grace: float = 3.0) -> None:
        """Kill what runs, end all workers, and free everything that is held.

        Args:
            grace: Seconds after which nothing is waited for any more.
        """
        if os.getpid() != self._owner:
            return
        with self._lock:
            self._closed = True
        if self._tasks is None or self._loop is None:
            return
        self._tasks.close(time.monotonic() + grace)
        self._tasks.wake()
        if self._loop.thread is not threading.current_thread():
            self._loop.thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> Tasks:
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool is closed")
            if self._tasks is None:
                tasks = Tasks(Folder(self._folder))
                self._loop = Loop(self._setup, tasks)
                self._loop.thread.start()
                self._tasks = tasks
            return self._tasks
