"""One function of AWS Lambda, open for one run: tasks go to it, several at a time, and their replies come back."""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future

from petal import Capabilities, Claims, PetalError, Reply, Task
from petal_lambda.clients import Clients, check
from petal_lambda.endings import failure_of, plain, printed
from petal_lambda.envelope import body_of, room, wrapped
from petal_lambda.invoke import Function
from petal_lambda.jobs import Job
from petal_lambda.limiter import Limiters
from petal_lambda.settings import LambdaSettings, called

#: Seconds for which threads are waited for that have nothing to do any more.
_LEAVE = 1.0


class LambdaSession:
    """Calls a function, as often at a time as its settings say.

    Its threads are daemons: what AWS has begun, nobody can stop, so a run that ends does not wait for it.

    Args:
        settings: The settings.
        limiters: The limiters of functions.

    Raises:
        EnvironmentNotReady: There are no credentials, no region, or no such function.
    """

    def __init__(self, settings: LambdaSettings, limiters: Limiters) -> None:
        self._settings = settings
        self._claims = Claims(settings.claims) if settings.claims else None
        self._clients = Clients(settings)
        try:
            check(self._clients, settings)
        except BaseException:
            self._clients.close()
            raise
        self._room = room(settings.payload_limit)
        self.capabilities = Capabilities(limit=self._room, protocols=("petal", "json"))
        limiter = limiters.of(settings.endpoint_url or "", self._clients.region, called(settings))
        self._function = Function(settings, self._clients, limiter)
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._jobs: dict[Future[Reply], Job] = {}
        self._is_closed = False

    def submit(self, task: Task) -> Future[Reply]:
        """Start a task; its message is taken as bytes at once, since its parts may not outlive this call."""
        try:
            job = Job(task, self._message(task))
        except PetalError as error:
            failed: Future[Reply] = Future()
            failed.set_exception(error)
            return failed
        with self._lock:
            self._jobs[job.future] = job
            if len(self._threads) < min(len(self._jobs), self._settings.in_flight):
                thread = threading.Thread(target=self._serve, name="petal-lambda", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._queue.put(job)
        return job.future

    def cancel(self, future: Future[Reply]) -> None:
        """Keep a task from being sent; one that was sent goes on at AWS, and its reply is dropped."""
        future.cancel()
        with self._lock:
            job = self._jobs.get(future)
        if job is not None:
            job.stop()

    def close(self, grace: float) -> None:
        """Send nothing more, and let go of connections; replies that have not come yet are not waited for."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            jobs = dict(self._jobs)
        for future, job in jobs.items():
            future.cancel()
            job.stop()
        for _ in self._threads:
            self._queue.put(None)
        if all(future.done() for future in jobs):  # else a thread waits for AWS, and ends when that replies
            self._end_threads(min(max(grace, 0.1), _LEAVE))
        self._clients.close()
        if self._claims is not None:
            self._claims.close()

    # -- inside -----------------------------------------------------------------------------------------------

    def _end_threads(self, within: float) -> None:
        until = time.monotonic() + within
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _message(self, task: Task) -> bytes:
        """Return a task's message as it is sent.

        Raises:
            RemoteError: It is too large, or cannot be put into the store; nothing was sent.
        """
        if task.payload.plain is not None:
            return task.payload.packed(self._settings.payload_limit)
        return wrapped(task.payload.packed(self._room, self._claims))

    def _serve(self) -> None:
        """Do tasks until the session is closed."""
        while (job := self._queue.get()) is not None:
            try:
                if job.future.set_running_or_notify_cancel():
                    self._do(job)
            finally:
                with self._lock:
                    del self._jobs[job.future]

    def _do(self, job: Job) -> None:
        try:
            reply = self._reply(job)
        except BaseException as error:
            job.future.set_exception(error)
        else:
            job.future.set_result(reply)

    def _reply(self, job: Job) -> Reply:
        ending = self._function.ask(job)
        failure = failure_of(ending, self._settings, speaks_json=job.is_plain)
        if failure is not None:
            raise failure
        data = ending.data if job.is_plain else body_of(plain(ending.data))
        return job.task.payload.answered(data, printed(ending.log), None if job.is_plain else self._claims)
