"""A task on its way to a function: its message as bytes, its future, and whether it is still wanted."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from petal import RemoteError, Reply, Task


class Job:
    """One task, looked after by the thread that sends it.

    Args:
        task: The task.
        data: Its message, as it is sent.
    """

    def __init__(self, task: Task, data: bytes) -> None:
        self.task = task
        self.data = data
        self.future: Future[Reply] = Future()
        self._stopped = threading.Event()

    @property
    def is_plain(self) -> bool:
        """Whether the function speaks plain JSON, and knows nothing of deadlines."""
        return self.task.payload.plain is not None

    def stop(self) -> None:
        """Say that nobody wants it any more."""
        self._stopped.set()

    def check(self) -> None:
        """See whether it is still wanted, before it is sent.

        Raises:
            RemoteError: It is not; it has not run.
        """
        if self._stopped.is_set():
            raise RemoteError("it was stopped before AWS had it", kind="infrastructure")

    def wait(self, seconds: float) -> None:
        """Wait before it is sent again.

        Raises:
            RemoteError: It is not wanted any more.
        """
        self._stopped.wait(seconds)
        self.check()
