"""What a container may do: nothing, except what its settings name (the defaults are those of OWASP's rules)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from petal import EnvironmentNotReady
from petal_docker.engine import host, is_local
from petal_docker.settings import DockerSettings, mounted, size, told

#: What a worker of Petal in an image is started with, unless the settings name something else.
WORKER = ("python3", "-m", "petal", "worker")
#: Files that a process may have open.
_FILES = 1024
_BILLION = 1_000_000_000


def host_settings(settings: DockerSettings) -> dict[str, Any]:
    """Return the engine's `HostConfig` of a container, in the words of docker-py's `create_host_config`.

    Raises:
        EnvironmentNotReady: What is to be mounted is not there, or gives away the engine.
    """
    memory = size(settings.mem_limit, "mem_limit")
    return {
        "network_mode": settings.network,
        "read_only": not settings.writable,
        "cap_drop": ["ALL"],
        "cap_add": list(settings.cap_add),
        "security_opt": ["no-new-privileges:true"],
        "pids_limit": settings.pids_limit,
        "mem_limit": memory,
        "memswap_limit": memory,
        "nano_cpus": int(settings.cpus * _BILLION),
        "init": True,
        "tmpfs": {
            "/tmp": f"rw,noexec,nosuid,nodev,mode=1777,size={size(settings.tmp_size, 'tmp_size')}",
        },
        "ulimits": [{"Name": "nofile", "Soft": _FILES, "Hard": _FILES}],
        # What passes here is data, and may be noise without end: the engine would keep all of it on its disk.
        "log_config": {"Type": "none", "Config": {}},
        "mounts": [_mount(text) for text in settings.mounts],
    }


def environment(settings: DockerSettings, more: Mapping[str, str]) -> dict[str, str]:
    """Return all environment variables that a container is given beside its image's."""
    return {"HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1", **told(settings), **more}


def _mount(text: str) -> dict[str, Any]:
    mount = mounted(text)
    source = str(Path(mount.source).expanduser().absolute())
    if is_local():
        if not os.path.exists(source):
            raise EnvironmentNotReady(
                f"`mounts` names {mount.source}, which is not there",
                hint=f"it is looked for as {source}, on the machine of the Docker Engine",
            )
        socket = os.path.realpath(host().partition("://")[2])
        if socket == os.path.realpath(source) or socket.startswith(
            os.path.realpath(source).rstrip("/") + "/"
        ):
            raise EnvironmentNotReady(
                f"`mounts` names {mount.source}, with which the container could command the Docker Engine",
                hint="mount only what the program reads; whoever has the engine's socket has the machine",
            )
    return {"Type": "bind", "Source": source, "Target": mount.target, "ReadOnly": not mount.writable}
