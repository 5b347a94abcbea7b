"""A program of the user's own, in a container for one task: its input as JSON, its output as JSON (`protocol: json`)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from petal import EnvironmentNotReady, PetalError, RemoteError, Reply, TaskLost, WireError
from petal.interfaces.backend import Plain
from petal_docker.attachment import Closed
from petal_docker.container import Container, Wanted
from petal_docker.endings import failed, unstarted
from petal_docker.guard import GUARD
from petal_docker.jobs import Job
from petal_docker.lockdown import environment
from petal_docker.owners import labels
from petal_docker.printed import Printed
from petal_docker.settings import LARGEST, DockerSettings

if TYPE_CHECKING:
    from docker import APIClient

#: Bytes that Linux lets one environment variable have.
_VARIABLE = 128 << 10


class Program:
    """A container that does one task.

    Args:
        client: The engine.
        settings: The settings.
        wanted: What the container is made of.
        name: Its name.
        job: The task.

    Raises:
        EnvironmentNotReady: It cannot be started; nothing has run.
        RemoteError: The engine does not answer; nothing has run.
    """

    def __init__(
        self, client: APIClient, settings: DockerSettings, wanted: Wanted, name: str, job: Job
    ) -> None:
        task = job.task
        assert task.payload.plain is not None
        self._plain: Plain = task.payload.plain
        for variable, value in self._plain.environment.items():
            if len(variable) + len(value) + 2 > _VARIABLE:
                raise WireError(
                    f"the parameters of `{task.node}` have {len(value):,} bytes as JSON, but a program gets them in an "
                    f"environment variable, which may have {_VARIABLE:,}",
                    hint="give what is large as an input",
                )
        self._settings = settings
        self._output, self._errors = bytearray(), Printed()
        self._too_much = False
        until = None if task.timeout is None else time.time() + task.timeout
        GUARD.watch(name)
        self.container = Container(
            client,
            wanted,
            name,
            labels(task.run, task.key, until),
            environment(settings, self._plain.environment),
        )
        if not self.container.attachment.can_end_input:
            self.container.remove()
            raise EnvironmentNotReady(
                "a program's input cannot be ended over TLS, so it would wait for more without end",
                hint="use the engine's socket, or `protocol: petal` with an image of `petal docker build`",
            )

    def run(self, job: Job) -> Reply:
        """Give it its input, and wait for its end.

        Raises:
            RemoteError: It ended with another exit code than 0.
            WorkerDied: It was killed.
            TaskLost: The engine is gone, and nobody knows what the program has done.
        """
        job.begin()
        try:
            self._feed(job)
            ending = self.container.wait(job.check)
        except TaskLost as error:
            error.output = self._errors.text()
            raise
        except PetalError as error:
            raise TaskLost(
                f"the connection to its container was lost: {error.message}",
                output=self._errors.text(),
                hint=error.hint,
            ) from error
        said = self._errors.text()
        what = self._what()
        if (never := unstarted(ending, said, self._settings.image)) is not None:
            raise never
        if (why := failed(ending, self._settings.mem_limit, said, what)) is not None:
            raise why
        if self._too_much:
            raise RemoteError(
                f"{what} wrote more than {LARGEST >> 20} MiB to standard output, which is its reply",
                traceback=bytes(self._output[:200]).decode("utf-8", "replace"),
                hint="let it write what is no reply to standard error, and give it less at a time (`batch`)",
            )
        return job.task.payload.answered(bytes(self._output), said)

    def _feed(self, job: Job) -> None:
        """Write its input and read until it closes its output."""
        given, container = memoryview(self._plain.stdin), self.container
        written = 0
        try:
            while written < len(given):
                job.check()
                written += max(
                    0, container.attachment.pump(given[written:], self._take, self._errors.add, 0.1)
                )
            container.attachment.end_input()
            container.talk(memoryview(b""), self._take, self._errors.add, lambda: False, job.check)
        except Closed:
            return

    def _take(self, piece: memoryview) -> None:
        if len(self._output) + len(piece) > LARGEST:
            self._too_much = True
        else:
            self._output += piece

    def _what(self) -> str:
        program = [*(self.container.wanted.entrypoint or ()), *(self.container.wanted.command or ())]
        return f"`{' '.join(program) or self._settings.image}`"
