"""A warm container: Petal's worker runs in it and does one task after the other (`protocol: petal`)."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from petal import EnvironmentNotReady, PetalError, RemoteError, Reply, TaskLost, WireError
from petal_docker.attachment import Closed
from petal_docker.container import Container, Wanted
from petal_docker.endings import died, unstarted
from petal_docker.jobs import Job
from petal_docker.lockdown import environment
from petal_docker.owners import labels
from petal_docker.printed import Printed
from petal_docker.settings import LARGEST, DockerSettings

if TYPE_CHECKING:
    from docker import APIClient

#: Bytes that say how long a message is.
_LENGTH = 4
#: Seconds that a worker may take until it is ready.
_START = 60.0
#: Seconds that a reply waits for the end of what its task has printed: a task may have closed that.
_LATE = 0.5


class Worker:
    """A container whose worker is ready.

    Args:
        client: The engine.
        settings: The settings.
        wanted: What the container is made of.
        name: Its name.
        run: The run's id.
        job: The task for which it is started.

    Raises:
        EnvironmentNotReady: It cannot be started, or holds no worker; nothing has run.
        RemoteError: The engine does not answer; nothing has run.
    """

    def __init__(
        self, client: APIClient, settings: DockerSettings, wanted: Wanted, name: str, run: str, job: Job
    ) -> None:
        self._settings = settings
        self._mark = f"petal {os.urandom(16).hex()}".encode()
        self._printed, self._rest, self._is_marked = Printed(), b"", False
        self._reply = bytearray()
        more = {"PETAL_WORKER_MARK": self._mark.decode()}
        self.container = Container(client, wanted, name, labels(run, "", None), environment(settings, more))
        try:
            self._wait_until_ready(job)
        except BaseException:
            self.container.remove()
            raise

    def ask(self, data: bytes, job: Job) -> Reply:
        """Have a task done.

        Args:
            data: The task's message.
            job: The task.

        Raises:
            WorkerDied: The container ended first.
            TaskLost: The engine is gone, and nobody knows what the task has done.
        """
        self._reply.clear()
        self._is_marked = False
        self._printed.clear()
        job.begin()
        given = memoryview(len(data).to_bytes(_LENGTH, "big") + data)
        try:
            self.container.talk(given, self._take, self._hear, self._is_done, job.check)
            self._hear_the_end()
        except Closed:
            raise self._died(job) from None
        except TaskLost as error:
            error.output = self._said()
            raise
        except PetalError as error:  # the engine does not answer
            raise _lost(error, self._said()) from error
        return job.task.payload.answered(bytes(self._reply[_LENGTH:]), self._printed.text())

    def is_alive(self) -> bool:
        """Whether it can be given another task."""
        try:
            self.container.attachment.pump(memoryview(b""), self._take, self._hear, 0.0)
        except Closed:
            return False
        return True

    # -- inside -----------------------------------------------------------------------------------------------

    def _wait_until_ready(self, job: Job) -> None:
        until = time.monotonic() + _START

        def check() -> None:
            job.check()
            if time.monotonic() > until:
                raise RemoteError(
                    f"the worker in the image `{self._settings.image}` was not ready within {_START:g}s",
                    kind="infrastructure",
                    code="docker",
                    traceback=self._said(),
                )

        try:
            self.container.talk(memoryview(b""), self._take, self._hear, lambda: self._is_marked, check)
        except Closed:
            ending = self.container.wait(check)
            said = self._said().strip() or bytes(self._reply).decode("utf-8", "replace").strip()
            if ending.out_of_memory:
                raise EnvironmentNotReady(
                    f"the worker in the image `{self._settings.image}` does not start with {self._settings.mem_limit} "
                    "of memory",
                    hint="give it more (`mem_limit`)",
                ) from None
            if (never := unstarted(ending, said, self._settings.image)) is not None:
                raise never from None
            raise EnvironmentNotReady(
                f"the image `{self._settings.image}` holds no worker of Petal that starts: it ended with exit code "
                f"{ending.code}{': ' + said.splitlines()[-1] if said else ''}",
                hint="`petal docker build FILE` makes an image that does; a program of your own takes `entrypoint` or "
                "`command`, and speaks `protocol: json`",
                code="no-worker",
            ) from None
        self._reply.clear()

    def _take(self, piece: memoryview) -> None:
        self._reply += piece
        if len(self._reply) >= _LENGTH and self._length() > LARGEST:
            raise WireError(
                "what the container wrote is no reply of a worker of Petal: "
                + repr(bytes(self._reply[:60]))[2:-1],
                hint="its standard output belongs to the worker: let what else runs in it write to standard error",
            )

    def _hear(self, piece: memoryview) -> None:
        data = self._rest + piece
        at = data.find(self._mark)
        if at >= 0:
            self._printed.add(data[:at])
            self._is_marked, self._rest = True, data[at + len(self._mark) :]
        else:
            keep = len(data) - len(self._mark) + 1
            self._printed.add(data[: max(keep, 0)])
            self._rest = data[max(keep, 0) :]

    def _length(self) -> int:
        return int.from_bytes(self._reply[:_LENGTH], "big")

    def _is_done(self) -> bool:
        return len(self._reply) >= _LENGTH and len(self._reply) >= _LENGTH + self._length()

    def _hear_the_end(self) -> None:
        """Wait for the end of what the task has printed: it comes another way than the reply."""
        if len(self._reply) > _LENGTH + self._length():
            raise WireError(
                "the container wrote more than a reply", hint="its standard output is the worker's"
            )
        until = time.monotonic() + _LATE
        while not self._is_marked and time.monotonic() < until:
            self.container.attachment.pump(memoryview(b""), self._take, self._hear, _LATE)

    def _said(self) -> str:
        self._printed.add(self._rest)
        self._rest = b""
        return self._printed.text()

    def _died(self, job: Job) -> PetalError:
        """Return why the container ended."""
        try:
            ending = self.container.wait(job.check)
        except PetalError as error:
            return _lost(error, self._said())
        return died(ending, self._settings.mem_limit, self._said())


def _lost(error: PetalError, output: str) -> TaskLost:
    """Return the error of a task that was sent, and of which nothing more can be learned."""
    if isinstance(error, TaskLost | WireError):
        found = (
            error
            if isinstance(error, TaskLost)
            else TaskLost(error.message, hint=error.hint, code=error.code)
        )
        found.output = output
        return found
    return TaskLost(
        f"the connection to its container was lost: {error.message}", output=output, hint=error.hint
    )
