"""Reach the Docker Engine, and say in Petal's words what goes wrong there."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from petal import EnvironmentNotReady, RemoteError

if TYPE_CHECKING:
    from docker import APIClient

#: Seconds that one request to the engine may take.
_PATIENCE = 60
#: Where the engine listens, unless `$DOCKER_HOST` says otherwise.
_DEFAULT = "unix:///var/run/docker.sock"


def host() -> str:
    """Return the address of the engine that is used: `$DOCKER_HOST`, else the usual socket."""
    return os.environ.get("DOCKER_HOST") or _DEFAULT


def is_local() -> bool:
    """Whether the engine listens on a socket of this machine, and so sees its files."""
    return host().startswith("unix:")


def connect(timeout: float = _PATIENCE) -> APIClient:
    """Connect to the engine.

    Args:
        timeout: Seconds that one request may take.

    Raises:
        EnvironmentNotReady: There is none, or it does not answer.
    """
    if host().startswith("ssh:"):
        raise EnvironmentNotReady(
            f"an engine over ssh ({host()}) cannot be used: its connection cannot be shared by input and output",
            hint="forward its socket, `ssh -nNT -L /tmp/engine.sock:/var/run/docker.sock HOST`, and set "
            "DOCKER_HOST=unix:///tmp/engine.sock",
            code="no-docker",
        )
    try:
        from docker import APIClient  # 0.2 s, which only runs that use containers pay
        from docker.errors import DockerException
        from docker.utils import kwargs_from_env
    except ImportError as error:
        raise EnvironmentNotReady(
            f"the docker SDK cannot be imported: {error}",
            hint="`pip install --upgrade petal-docker` installs it",
        ) from error
    try:
        _knock()
        return APIClient(version="auto", timeout=timeout, **kwargs_from_env())
    except (DockerException, OSError, ValueError) as error:
        raise EnvironmentNotReady(
            f"there is no Docker Engine at {host()}: {_reason(error)}",
            hint="start it (`systemctl start docker`, Docker Desktop), let this user use its socket, or set "
            "DOCKER_HOST to where it listens",
            code="no-docker",
        ) from error


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Turn what the engine or the connection to it raises into an error of Petal's: what was asked did not happen.

    Args:
        what: What is done, for the message: ``start a container of `image```.

    Raises:
        EnvironmentNotReady: The engine refuses it, and would again.
        RemoteError: The engine fails, or does not answer; of the kind ``infrastructure``.
    """
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException

    try:
        _knock()
        yield
    except APIError as error:
        text = f"cannot {what}: {error.explanation or error}"
        if error.is_client_error():
            raise EnvironmentNotReady(text, code="docker") from error
        raise RemoteError(text, kind="infrastructure", code="docker") from error
    except (DockerException, RequestException, OSError) as error:
        raise RemoteError(
            f"cannot {what}: Docker Engine at {host()} does not answer: {_reason(error)}",
            kind="infrastructure",
            code="docker",
            hint="see whether it runs: `docker version`",
        ) from error


def _knock() -> None:
    """See whether somebody is there: docker-py leaks a socket each time that nobody is.

    Raises:
        OSError: Nobody is.
    """
    if is_local():
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(_PATIENCE)
            door.connect(host().partition("://")[2])


def _reason(error: BaseException) -> str:
    """Return the innermost cause of a connection's error in words: what wraps it says little."""
    seen: BaseException | None = error
    found = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            found = seen
        seen = seen.__cause__ or seen.__context__
    if isinstance(found, OSError) and found.strerror:
        return found.strerror
    return str(error) or type(error).__name__
