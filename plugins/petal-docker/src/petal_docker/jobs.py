"""A task on its way: whether it is still wanted, and how long it may take."""

from __future__ import annotations

import time

from petal import Task, TaskLost, TimedOut


class Job:
    """One task, looked after by the thread that does it.

    Args:
        task: The task.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self._stopped = False
        self._until: float | None = None

    def stop(self) -> None:
        """Say that nobody wants it any more."""
        self._stopped = True

    def begin(self) -> None:
        """Let its time run: what it takes to start a container is not the task's."""
        if self.task.timeout is not None:
            self._until = time.monotonic() + self.task.timeout

    def check(self) -> None:
        """See whether it may go on.

        Raises:
            TimedOut: Its time is over.
            TaskLost: It is not wanted any more.
        """
        if self._stopped:
            raise TaskLost("it was stopped, with its container")
        if self._until is not None and time.monotonic() > self._until:
            raise TimedOut(
                f"it took longer than its timeout of {self.task.timeout:g}s, and was stopped with its container",
                hint="give it more time (`timeout`), or less to do",
            )
