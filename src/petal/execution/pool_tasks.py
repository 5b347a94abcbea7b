"""What a pool has to do and who does it: the queue, the workers, and how the one gets to the other."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from contextlib import suppress

from petal.errors import PetalError, TaskLost
from petal.execution.pool_files import Folder
from petal.execution.pool_member import Job, Member
from petal.execution.pool_start import Forkserver

__all__ = ["Tasks"]


class Tasks:
    """The state of a pool, shared by its thread and those that submit and wait; ``lock`` guards it.

    Args:
        folder: Where large attachments may lie.

    Attributes:
        queue: Tasks that no worker has.
        members: All workers, by number; only the pool's thread adds and removes some.
        idle: Those that are ready and have no task.
        unsent: Those whose task is not sent completely.
        released: Those whose task has ended, and that may get another or must go.
        suspects: Tasks that may be lost, as the thread that handled them was interrupted.
        closed_at: When everything must be closed, None while the pool is open.
        asleep_until: When the pool's thread wakes by itself.
        server: What stops workers, None before the first.
        woken: A pipe that wakes the pool's thread.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.lock = threading.Lock()
        self.queue: deque[Job] = deque()
        self.members: dict[int, Member] = {}
        self.idle: list[Member] = []
        self.unsent: list[Member] = []
        self.released: list[Member] = []
        self.suspects: list[Job] = []
        self.closed_at: float | None = None
        self.asleep_until = 0.0
        self.server: Forkserver | None = None
        self.woken, self._waker = os.pipe()
        os.set_blocking(self.woken, False)
        os.set_blocking(self._waker, False)

    def submit(self, job: Job) -> None:
        """Give a task to a worker that waits for one, or queue it.

        Raises:
            RuntimeError: The pool is closed.
        """
        with self.lock:
            if self.closed_at is not None:
                raise RuntimeError("the pool is closed")
            member = self.idle[-1] if self.idle and not self.queue else None
            if member is None:
                self.queue.append(job)
                wake = True
            else:
                job.set_running_or_notify_cancel()
                wake = self.assign(member, job)
                self.idle.pop()
        if member is not None:
            self.send(member, job)
        if wake:
            self.wake()

    def cancel(self, job: Job) -> None:
        """Take a task from the queue, or have the worker killed that has it."""
        with self.lock:
            member = job.member
            if member is not None and member.job is job:
                self.stop(member, TaskLost("it was stopped before its end"))
                return
            if job not in self.queue:
                return
            self.queue.remove(job)
        drop(job, "it was stopped before its end")

    def close(self, at: float) -> None:
        """Take no tasks any more, drop those that no worker has, and say until when everything must be closed."""
        with self.lock:
            if self.closed_at is None:
                self.closed_at = at
        self.drop_queued("the pool was closed")

    def drop_queued(self, why: str) -> None:
        """Drop the tasks that no worker has."""
        with self.lock:
            queued = list(self.queue)
            self.queue.clear()
        for job in queued:
            drop(job, why)

    def wake(self) -> None:
        """Wake the pool's thread."""
        with self.lock, suppress(BlockingIOError):  # a full pipe wakes as well
            if self._waker >= 0:
                os.write(self._waker, b"\0")

    def assign(self, member: Member, job: Job) -> bool:
        """Give a worker a task, under the lock; return whether the pool's thread sleeps too long for it."""
        member.job, job.member = job, member
        member.since = time.monotonic()
        return job.timeout is not None and member.since + job.timeout < self.asleep_until

    def take(self) -> Job | None:
        """Take the next task off the queue, under the lock."""
        while self.queue:
            job = self.queue.popleft()
            if job.tries or job.set_running_or_notify_cancel():
                return job
        return None

    def match(self) -> None:
        """Give tasks that came back to the queue to workers that wait."""
        while True:
            with self.lock:
                job = self.take() if self.idle else None
                if job is None:
                    return
                member = self.idle.pop()
                self.assign(member, job)
            self.send(member, job)

    def send(self, member: Member, job: Job) -> None:
        """Send a worker the task that it was given."""
        try:
            if member.send(job, self.folder.path):
                return
        except (ConnectionError, BlockingIOError):
            member.unread = True  # it is gone; its end is told soon, and another gets the task
            with self.lock:
                self.stop(member, None)
            return
        except Exception as error:  # the attachments cannot be read, or written to a file
            with self.lock:
                if member.number not in self.members:
                    return  # it is gone, and closed: another has the task already
                member.job = None
            self.released.append(member)
            self.wake()
            job.end(error)
            return
        with self.lock:
            self.unsent.append(member)
        self.wake()

    def release(self, member: Member) -> None:
        """Let a worker wait for its next task; what is more than that is left to the pool's thread."""
        with self.lock:
            if not (self.queue or member.worn or member.stopping or self.closed_at is not None):
                self.idle.append(member)
                return
        self.released.append(member)
        self.wake()

    def free(self, member: Member) -> None:
        """Give a worker that has no task the next one, let it wait for one, or let it go."""
        wake = False
        with self.lock:
            if member.stopping or member.number not in self.members:
                return
            worn = member.worn or self.closed_at is not None
            job = None if worn else self.take()
            if worn:
                member.retired, member.since = True, time.monotonic()
                member.end()
            elif job is None:
                self.idle.append(member)
            else:
                wake = self.assign(member, job)
        if job is not None:
            self.send(member, job)
        if wake or worn:
            self.wake()

    def stop(self, member: Member, why: PetalError | None) -> None:
        """Have a worker killed, under the lock; ``why`` is what its task fails with."""
        if member.ending is None:
            member.ending = why
        if not member.stopping:
            member.stopping = True
            if member in self.idle:
                self.idle.remove(member)
            if self.server is not None:
                self.server.stop(member.number)

    def free_all(self) -> None:
        """Close the pipe, and remove the folder."""
        with self.lock:
            os.close(self.woken)
            os.close(self._waker)
            self._waker = -1
        self.folder.close()


def drop(job: Job, why: str) -> None:
    """End a task that no worker has."""
    if not job.cancel():  # it had a worker, which died before it read the task
        job.end(TaskLost(why))
