"""The thread of a pool: it starts workers, hears what they say, stops those that take too long, and buries the dead."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from concurrent.futures import InvalidStateError
from contextlib import suppress
from functools import partial

from msgspec import Struct

from petal.errors import TaskLost, TimedOut, WorkerDied
from petal.execution.pool_deaths import OutOfMemory, died
from petal.execution.pool_frames import EVENT, LAST_WORDS, READY, REPLY, Frame
from petal.execution.pool_member import Answer, Job, Member
from petal.execution.pool_start import FAILED, Forkserver, News
from petal.execution.pool_tasks import Tasks
from petal.execution.pool_watch import READ, SHARED, WRITE, Watch
from petal.spec.policy import duration_text

__all__ = ["Loop", "Setup"]

#: A task that has ended, with its answer or error.
_Ended = tuple[Job, Answer | BaseException]


class Setup(Struct, frozen=True):
    """What a pool was told: see :class:`petal.execution.pool.Pool`."""

    handler: str
    size: int
    recycle_after: int | None
    memory_limit: int | None
    preload: tuple[str, ...]
    environment: dict[str, str]


class Loop:
    """What happens in a pool once there is a task.

    Args:
        setup: What the pool was told.
        tasks: What it has to do.
    """

    def __init__(self, setup: Setup, tasks: Tasks) -> None:
        self._setup = setup
        self._tasks = tasks
        self._judge = OutOfMemory(setup.memory_limit)
        self._started = 0
        self._watch = Watch()
        self._watch.add(tasks.woken, self._on_wake)
        self.thread = threading.Thread(target=self._run, name="petal-pool", daemon=True)

    def wait_for(self, job: Job, until: float | None) -> None:
        """Read what a task's worker says, on the calling thread, as long as nobody else does; return early if so.

        The caller may be interrupted anywhere by an exception from a signal handler, and calls :meth:`suspect` then.
        """
        member = job.member
        if member is None or not job.sent or member.reading.locked() or not SHARED:
            return
        try:
            job.seat.pop()
        except IndexError:
            return  # somebody else waits for it, and reads
        ended: list[_Ended] = []
        # no exception comes between `with` and its body, so that the lock is released whatever happens
        with member.reading:
            if member.job is job and member.watched:
                member.watched = False
                self._watch.change(member.file, 0)
                try:
                    while member.wait(until) and self._read(member, ended) and not ended:
                        pass
                finally:
                    self._watch.change(member.file, READ)
                    member.watched = True
        job.seat.append(None)
        if ended:
            self._tasks.release(member)
            _tell(ended)

    def suspect(self, job: Job) -> None:
        """Have the pool's thread look whether a task is lost: the thread that handled it was interrupted."""
        self._tasks.suspects.append(job)
        self._tasks.wake()

    # -- what workers say ------------------------------------------------------------------------------------------

    def _read(self, member: Member, ended: list[_Ended]) -> bool:
        """Read from a worker, and do what follows; ``reading`` is held. Return whether it can say more."""
        frames, alive = member.read()
        for frame in frames:
            self._hear(member, frame, ended)
        member.torn = False
        return alive

    def _hear(self, member: Member, frame: Frame, ended: list[_Ended]) -> None:
        job = member.job
        if frame.kind == READY:
            member.pid, member.ready = frame.number, True
        elif frame.kind == LAST_WORDS:
            member.words, member.starved = frame.header.decode(errors="replace"), bool(frame.number)
        elif job is None:
            return  # it has been taken from it
        elif frame.kind == EVENT and job.on_event is not None and not member.stopping:
            try:
                job.on_event(frame.header)
            except Exception:
                logging.getLogger(__name__).exception("what listens to a task's events failed")
        elif frame.kind == REPLY:
            answer = Answer(frame.header, frame.parts, member.output.take(), member.pid)
            with self._tasks.lock:
                if member.ending is not None:
                    return
                member.job = None
                member.jobs += 1
                member.worn = member.jobs == self._setup.recycle_after or (
                    self._setup.memory_limit is not None and frame.number > self._setup.memory_limit
                )
            ended.append((job, answer))

    def _on_socket(self, member: Member, events: int) -> None:
        if member.number not in self._tasks.members or not member.reading.acquire(blocking=False):
            return  # it has been buried just now, or whoever waits for its task is reading
        ended: list[_Ended] = []
        was_ready = member.ready
        try:
            if events & WRITE and member.send_rest():
                self._watch.change(member.file, READ)
            if not self._read(member, ended):
                self._watch.remove(member.file)
        finally:
            member.reading.release()
        if ended or (member.ready and not was_ready):
            self._tasks.free(member)
        _tell(ended)

    def _on_output(self, member: Member, _: int) -> None:
        if not member.output.read():
            self._watch.remove(member.output.pipe)

    # -- the pool's thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._goes_on():
                self._watch.wait(self._patience())
                self._stop_late()
                self._start_needed()
        finally:
            self._clean()

    def _goes_on(self) -> bool:
        with self._tasks.lock:
            if self._tasks.closed_at is None:
                return True
            members = list(self._tasks.members.values())
            for member in members:
                if member.job is not None or not member.ready:
                    self._tasks.stop(member, TaskLost("the pool was closed"))
            idle, self._tasks.idle = self._tasks.idle, []
        for member in idle:
            self._tasks.free(member)
        return bool(members) and time.monotonic() < self._tasks.closed_at

    def _patience(self) -> float | None:
        """Return for how many seconds nothing is to be done."""
        with self._tasks.lock:
            times = [at for m in self._tasks.members.values() if (at := m.deadline) is not None]
            if self._tasks.closed_at is not None:
                times.append(self._tasks.closed_at)
            self._tasks.asleep_until = min(times, default=float("inf"))
        return max(0.0, self._tasks.asleep_until - time.monotonic()) if times else None

    def _stop_late(self) -> None:
        now = time.monotonic()
        with self._tasks.lock:
            for member in list(self._tasks.members.values()):
                if (at := member.deadline) is None or at > now:
                    continue
                job = member.job
                self._tasks.stop(member, None if job is None or job.timeout is None else _late(job.timeout))

    def _start_needed(self) -> None:
        """Start workers, as many as there are tasks for, and room."""
        self._tasks.match()
        while True:
            with self._tasks.lock:
                coming = sum([not m.ready for m in self._tasks.members.values()])
                if len(self._tasks.queue) <= coming or len(self._tasks.members) >= self._setup.size:
                    return
            try:
                self._start()
            except ConnectionError:
                return  # the forkserver is gone, as is told soon; there will be another
            except OSError as error:
                self._not_started(error)

    def _start(self) -> None:
        if self._tasks.server is None:
            self._tasks.server = Forkserver(
                self._setup.handler,
                self._tasks.folder.path,
                measures=self._setup.memory_limit is not None,
                preload=self._setup.preload,
                environment=self._setup.environment,
            )
            self._watch.add(self._tasks.server.socket.fileno(), self._on_news)
        self._started += 1
        ours, theirs = socket.socketpair()
        pipe, output = os.pipe()
        member = Member(self._started, ours, pipe)
        try:
            self._tasks.server.spawn(member.number, theirs, output)
        except BaseException:
            member.close()
            raise
        finally:
            theirs.close()
            os.close(output)
        ours.setblocking(False)
        self._watch.add(member.file, partial(self._on_socket, member))
        self._watch.add(pipe, partial(self._on_output, member))
        with self._tasks.lock:
            self._tasks.members[member.number] = member

    def _not_started(self, error: OSError) -> None:
        with self._tasks.lock:
            job = self._tasks.take()
        if job is not None:
            job.end(WorkerDied(f"no worker process could be started: {error.strerror or error}"))

    def _on_wake(self, _: int) -> None:
        os.read(self._tasks.woken, 1 << 12)
        with self._tasks.lock:
            unsent, self._tasks.unsent = self._tasks.unsent, []
        for member in unsent:
            with member.reading:
                self._watch.change(member.file, READ | WRITE)

        while self._tasks.suspects:
            self._rescue(self._tasks.suspects.pop())
        while self._tasks.released:
            self._tasks.free(self._tasks.released.pop())

    def _rescue(self, job: Job) -> None:
        """End a task that nobody would end any more, and its worker with it."""
        member = job.member
        if member is None or member.number not in self._tasks.members:
            return
        with member.reading:
            pass  # whoever waits for it beside the one that was interrupted has read
        with self._tasks.lock:
            is_its = member.job is job
            if not member.torn and (
                job.sent and member.watched if is_its else job.done() or member.job is not None
            ):
                return
            lost = not job.done()
            self._tasks.stop(member, None)
            if is_its:
                member.job = None
        if lost:
            with suppress(InvalidStateError):
                job.end(TaskLost("whoever waited for it was interrupted"))

    def _on_news(self, _: int) -> None:
        assert self._tasks.server is not None
        news = self._tasks.server.news()
        if news is None:
            self._lose_server()
            return
        for one in news:
            if (member := self._tasks.members.get(one.worker)) is not None:
                self._bury(member, one)

    def _lose_server(self) -> None:
        """The forkserver is gone, and its workers go with it: forget them; the next task gets a new one."""
        assert self._tasks.server is not None
        self._watch.remove(self._tasks.server.socket.fileno())
        code = self._tasks.server.close(0.0)
        with self._tasks.lock:
            self._tasks.server = None
        for member in list(self._tasks.members.values()):
            member.kill()
            self._bury(member, News(b"", member.number, code, 0))

    def _bury(self, member: Member, news: News) -> None:
        """A worker has ended: hear its last words, and say what became of its task."""
        ended: list[_Ended] = []
        member.hang_up()  # whoever reads stops
        held = member.reading.acquire(timeout=1.0)
        while self._read(member, ended):
            pass
        self._watch.remove(member.file)
        self._watch.remove(member.output.pipe)
        output = member.output.take()
        with self._tasks.lock:
            del self._tasks.members[member.number]
            if member in self._tasks.idle:
                self._tasks.idle.remove(member)
            job = member.job
            unread = member.unread or (job is not None and not job.sent)  # so it was not begun
            if job is not None and member.ending is None and unread and not job.tries:
                job.tries, job.member, job.sent = 1, None, False
                self._tasks.queue.appendleft(job)
            elif job is None and not member.ready:
                job = self._tasks.take()
            member.job = None
        if job is not None and (job.member is member or not member.ready):
            ended.append((job, self._death(member, news, output)))
        member.close()
        if held:
            member.reading.release()
        _tell(ended)

    def _death(self, member: Member, news: News, output: str) -> BaseException:
        if member.ending is not None:
            if isinstance(member.ending, TaskLost):
                member.ending.output = output
            return member.ending
        if news.what == FAILED:
            return WorkerDied(f"no worker process could be started: {os.strerror(news.value)}")
        return died(
            news.value,
            words=member.words,
            starved=member.starved,
            memory=news.memory,
            judge=self._judge,
            output=output,
            started=member.ready,
        )

    def _clean(self) -> None:
        """End the forkserver, which kills what is left, and free everything."""
        tasks = self._tasks
        tasks.close(0.0)
        with tasks.lock:
            server, tasks.server = tasks.server, None
        if server is not None:
            server.close(1.0)
        for member in list(tasks.members.values()):
            member.ending = member.ending or TaskLost("the pool was closed")
            self._bury(member, News(b"", member.number, 0, 0))
        self._watch.close()
        tasks.free_all()


def _late(seconds: float) -> TimedOut:
    return TimedOut(
        f"it took longer than its timeout of {duration_text(seconds)}, and was stopped",
        hint="give it more time (`timeout`), or less to do",
    )


def _tell(ended: list[_Ended]) -> None:
    for job, outcome in ended:
        job.end(outcome)
