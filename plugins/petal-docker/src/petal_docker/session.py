"""The containers of one run and one `execution` block: kept warm, lent to one task at a time, removed at the end."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING

from petal import Capabilities, PetalError, Reply, Task
from petal_docker.container import NAMES, Container, Wanted, remove
from petal_docker.engine import asking, connect
from petal_docker.guard import GUARD
from petal_docker.images import checked
from petal_docker.jobs import Job
from petal_docker.lockdown import WORKER, host_settings
from petal_docker.owners import sweep
from petal_docker.pool import Pool
from petal_docker.program import Program
from petal_docker.settings import LARGEST, DockerSettings, words
from petal_docker.worker import Worker

if TYPE_CHECKING:
    from docker import APIClient

_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")
#: Seconds for which an engine that is being started again is waited for, before a container is asked of it.
_RETURN = 20.0


class DockerSession:
    """The engine, open for one run.

    Args:
        settings: The settings.
        capabilities: What the backend can do.

    Raises:
        EnvironmentNotReady: There is no engine, or not the image that is meant.
    """

    def __init__(self, settings: DockerSettings, capabilities: Capabilities) -> None:
        self.capabilities = capabilities
        self._settings = settings
        self._client: APIClient = connect()
        try:
            sweep(self._client)
            self._wanted = self._what(checked(self._client, settings))
        except BaseException:
            self._client.close()
            raise
        self._pool = Pool(settings.containers, self._worker)
        self._threads = ThreadPoolExecutor(settings.containers, thread_name_prefix="petal-docker")
        self._lock = threading.Lock()
        self._jobs: dict[Future[Reply], Job] = {}
        #: Containers that could not be removed: they go before another is started.
        self._lost: set[str] = set()
        self._is_closed = False

    def submit(self, task: Task) -> Future[Reply]:
        """Start a task; its message is taken as bytes at once, since its parts may not outlive this call."""
        job = Job(task)
        future: Future[Reply]
        try:
            data = b"" if task.payload.plain is not None else task.payload.packed(LARGEST)
        except PetalError as error:
            future = Future()
            future.set_exception(error)
            return future
        with self._lock:
            if task.payload.plain is not None:
                future = self._threads.submit(self._run_program, job)
            else:
                future = self._threads.submit(self._ask_worker, job, data)
            self._jobs[future] = job
        future.add_done_callback(self._forget)
        return future

    def cancel(self, future: Future[Reply]) -> None:
        """Keep a task from starting, or kill the container that does it."""
        if future.cancel():
            return
        with self._lock:
            job = self._jobs.get(future)
        if job is not None:
            job.stop()
            self._pool.wake()

    def close(self, grace: float) -> None:
        """Kill and remove all containers; what cannot be removed in time, the next run's sweep removes."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            jobs = dict(self._jobs)
        self._threads.shutdown(wait=False, cancel_futures=True)
        for future, job in jobs.items():
            future.cancel()
            job.stop()
        self._pool.wake()
        removers = [
            threading.Thread(target=self._remove, args=(worker.container,), daemon=True)
            for worker in self._pool.drain()
        ]
        for thread in removers:
            thread.start()
        until = time.monotonic() + max(grace, 1.0)
        for thread in removers:
            thread.join(max(0.0, until - time.monotonic()))
        while self._jobs and time.monotonic() < until:
            time.sleep(0.01)
        for name in list(self._lost):
            self._remove_lost(name)
        GUARD.close()
        self._client.close()

    # -- inside -----------------------------------------------------------------------------------------------

    def _what(self, image: str) -> Wanted:
        settings = self._settings
        return Wanted(
            image,
            settings.image,
            settings.platform,
            str(settings.user),
            host_settings(settings),
            words(settings.entrypoint, "entrypoint"),
            words(settings.command, "command"),
        )

    def _ask_worker(self, job: Job, data: bytes) -> Reply:
        worker = self._pool.take(job)
        try:
            reply = worker.ask(data, job)
        except BaseException:
            self._pool.drop()
            self._remove(worker.container)
            raise
        self._pool.give(worker)
        return reply

    def _worker(self, job: Job) -> Worker:
        """Start a warm container."""
        self._ready(job)
        run = job.task.run
        name = NAMES.take(_name(run, "worker"))
        wanted = self._wanted
        if wanted.entrypoint is None and wanted.command is None:
            wanted = Wanted(
                wanted.image, wanted.called, wanted.platform, wanted.user, wanted.host, WORKER, ()
            )
        try:
            return Worker(self._client, self._settings, wanted, name, run, job)
        except BaseException:
            self._remove_lost(name)
            raise

    def _run_program(self, job: Job) -> Reply:
        self._ready(job)
        task = job.task
        digest = sha256(f"{task.key} {task.attempt}".encode()).hexdigest()[:8]
        name = NAMES.take(_name(task.run, task.node, digest))
        try:
            program = Program(self._client, self._settings, self._wanted, name, job)
        except BaseException:
            self._remove_lost(name)
            raise
        try:
            return program.run(job)
        finally:
            self._remove(program.container)

    def _ready(self, job: Job) -> None:
        """Remove what could not be removed before, and wait for an engine that is being started again.

        Raises:
            RemoteError: It does not answer.
        """
        job.check()
        until = time.monotonic() + _RETURN
        while self._lost:
            for name in list(self._lost):
                self._remove_lost(name)
            if self._lost and time.monotonic() > until:
                with asking("remove the container of an attempt before"):
                    self._client.ping()
            if self._lost:
                job.check()
                time.sleep(0.2)

    def _remove(self, container: Container) -> None:
        container.attachment.close()
        self._remove_lost(container.name)

    def _remove_lost(self, name: str) -> None:
        """Remove a container, or keep it in mind."""
        try:
            remove(self._client, name)
        except PetalError:
            with self._lock:
                self._lost.add(name)
            return
        with self._lock:
            self._lost.discard(name)
        GUARD.forget(name)
        NAMES.free(name)

    def _forget(self, future: Future[Reply]) -> None:
        with self._lock:
            self._jobs.pop(future, None)


def _name(*parts: str) -> str:
    """Return the name of a container, which is the same whenever it is made of the same parts."""
    return "-".join(["petal", *(_UNFIT.sub("-", part)[:60] for part in parts)])
