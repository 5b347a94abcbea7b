"""One container: made, attached to, started, listened to, and removed; how it ended is asked of the engine."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from petal import EnvironmentNotReady, PetalError
from petal_docker.attachment import Attachment, Closed, Take
from petal_docker.engine import asking
from petal_docker.owners import OWNER, RUN, owner, sweep

if TYPE_CHECKING:
    from docker import APIClient

#: Seconds between two looks at whether a task is still wanted.
_TICK = 0.1
#: Seconds of silence after which the engine is asked whether the container still runs: a connection can end unseen.
_SILENCE = 5.0
#: Seconds for which a container that the engine calls running may be so although its connection was closed.
_LAG = 0.02


class Wanted(Struct, frozen=True):
    """What a container is made of.

    Attributes:
        image: The image's id, so that a tag that moves during a run changes nothing.
        called: What the settings call the image, for messages.
        platform: Its platform, where that is not the engine's.
        user: User and group.
        host: What it may do: see `lockdown.host_settings`.
        entrypoint: The program, None for the image's.
        command: Its arguments, None for the image's.
    """

    image: str
    called: str
    platform: str | None
    user: str
    host: Mapping[str, Any]
    entrypoint: Sequence[str] | None
    command: Sequence[str] | None


class Ending(Struct, frozen=True):
    """How a container ended.

    Attributes:
        code: Its exit code; 128 and a signal's number where it was killed.
        out_of_memory: Whether the kernel killed something in it because its memory was used up.
        error: What the engine says of it, "" for nothing.
    """

    code: int
    out_of_memory: bool
    error: str


class Names:
    """The names of this process's containers: a name that is in use is not given twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used: set[str] = set()

    def take(self, name: str) -> str:
        """Return a name, with the first number that is free behind it."""
        with self._lock:
            number = next(n for n in range(len(self._used) + 1) if f"{name}-{n}" not in self._used)
            self._used.add(f"{name}-{number}")
            return f"{name}-{number}"

    def free(self, name: str) -> None:
        """Let a name be taken again."""
        with self._lock:
            self._used.discard(name)


NAMES = Names()


class Container:
    """A container that has been started.

    Args:
        client: The engine.
        wanted: What it is made of.
        name: Its name, which is free in this process.
        labels: Its labels.
        environment: Its environment variables.

    Raises:
        EnvironmentNotReady: The engine refuses to make or start it.
        RemoteError: The engine does not answer; nothing has run.
    """

    def __init__(
        self,
        client: APIClient,
        wanted: Wanted,
        name: str,
        labels: Mapping[str, str],
        environment: Mapping[str, str],
    ) -> None:
        self.name = name
        self.wanted = wanted
        self._client = client
        self._attachment: Attachment | None = None
        try:
            self._make(labels, environment)
            with asking(f"attach to a container of `{wanted.called}`"):
                held = client.attach_socket(
                    name, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1, "logs": 0}
                )
            self._attachment = Attachment(held)
            with asking(f"start a container of `{wanted.called}`"):
                client.start(name)
        except PetalError:
            with contextlib.suppress(PetalError):
                self.remove()
            raise

    @property
    def attachment(self) -> Attachment:
        """The connection to its streams."""
        assert self._attachment is not None
        return self._attachment

    def talk(
        self,
        given: memoryview,
        output: Take,
        errors: Take,
        done: Callable[[], bool],
        check: Callable[[], object],
    ) -> None:
        """Write to it and read from it until there is enough.

        Args:
            given: What is written to its standard input.
            output: Takes its standard output.
            errors: Takes its standard error.
            done: Says whether that was enough.
            check: Called now and then; raises if it was too long, or is not wanted any more.

        Raises:
            Closed: It ended, or the engine has.
        """
        silent = time.monotonic() + _SILENCE
        while not done():
            check()
            written = self.attachment.pump(given, output, errors, _TICK)
            if written >= 0:
                given = given[written:]
                silent = time.monotonic() + _SILENCE
            elif time.monotonic() > silent:
                if self.ending() is not None:
                    self._drain(output, errors)
                    raise Closed("it has ended")
                silent = time.monotonic() + _SILENCE

    def wait(self, check: Callable[[], object]) -> Ending:
        """Wait for its end, and return it: the end of its streams says nothing of its own.

        Raises:
            PetalError: The engine does not answer, or `check` raised.
        """
        pause = _LAG
        while (ending := self.ending()) is None:
            check()
            time.sleep(pause)
            pause = min(1.5 * pause, 1.0)
        return ending

    def ending(self) -> Ending | None:
        """Return how it ended, None while it runs.

        Raises:
            PetalError: The engine does not answer, or does not know it any more.
        """
        with asking(f"look at a container of `{self.wanted.called}`"):
            state = self._client.inspect_container(self.name)["State"]
        if state["Status"] in ("created", "running", "paused", "restarting"):
            return None
        return Ending(int(state["ExitCode"]), bool(state["OOMKilled"]), str(state["Error"] or ""))

    def remove(self) -> None:
        """Kill it with all that runs in it, and remove it.

        Raises:
            PetalError: The engine does not answer: it may still be there.
        """
        if self._attachment is not None:
            self._attachment.close()
        remove(self._client, self.name)

    def _make(self, labels: Mapping[str, str], environment: Mapping[str, str]) -> None:
        wanted = self.wanted
        text = f"make a container of `{wanted.called}`"
        with asking(text):
            host = self._client.create_host_config(**wanted.host)
        for last in (False, True):
            try:
                with asking(text):
                    self._client.create_container(
                        wanted.image,
                        name=self.name,
                        labels=dict(labels),
                        environment=dict(environment),
                        entrypoint=list(wanted.entrypoint) if wanted.entrypoint is not None else None,
                        command=list(wanted.command) if wanted.command is not None else None,
                        user=wanted.user,
                        stdin_open=True,
                        host_config=host,
                        platform=wanted.platform,
                        use_config_proxy=False,  # else the proxies of this machine's user, with their passwords
                    )
            except EnvironmentNotReady as error:
                status = getattr(getattr(error.__cause__, "response", None), "status_code", None)
                if last or status != 409 or not _is_left(self._client, self.name):
                    raise
            else:
                return

    def _drain(self, output: Take, errors: Take) -> None:
        with contextlib.suppress(Closed):
            while self.attachment.pump(memoryview(b""), output, errors, 0.0) >= 0:
                pass


def remove(client: APIClient, name: str) -> None:
    """Remove a container, if there is one of that name.

    Raises:
        PetalError: The engine does not answer.
    """
    from docker.errors import APIError

    with asking("remove a container"):
        try:
            client.remove_container(name, v=True, force=True)
        except APIError as error:
            # 404: it is gone; 409: it is being removed already
            if error.response is None or error.response.status_code not in (404, 409):
                raise


def _is_left(client: APIClient, name: str) -> bool:
    """Remove a container that has our name if it is this process's, or nobody's any more, and say so."""
    with asking("look at a container"):
        found = client.inspect_container(name)["Config"]["Labels"] or {}
    if RUN in found and found.get(OWNER) == owner():
        remove(client, name)
        return True
    return name in sweep(client)
