"""Whose containers these are: labels that say which process started one, and a sweep of those whose process is gone."""

from __future__ import annotations

import json
import os
import socket
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petal import PetalError
from petal_docker.engine import asking, is_local

if TYPE_CHECKING:
    from docker import APIClient

#: Labels of every container that Petal starts.
RUN, KEY, DEADLINE, OWNER = "petal.run", "petal.key", "petal.deadline", "petal.owner"
#: Seconds after its deadline at which a container of an owner that cannot be looked for is taken for forgotten.
_AFTER = 60.0


@cache
def _here() -> dict[str, str]:
    """Return what tells this machine, its present start, and this view of its processes from all others."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        space = str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:  # no Linux
        boot = space = ""
    return {"host": socket.gethostname(), "boot": boot, "space": space}


def owner() -> str:
    """Return the label by which this process is found again: machine, process and when that was started."""
    return json.dumps({**_here(), "pid": os.getpid(), "start": _start(os.getpid())})


def labels(run: str, key: str, deadline: float | None) -> dict[str, str]:
    """Return the labels of a container.

    Args:
        run: The run's id.
        key: The task's idempotency key, "" for a container that does many tasks.
        deadline: When it must have ended, in seconds since 1970; None for a container that does many tasks.
    """
    until = "" if deadline is None else f"{deadline:.0f}"
    return {RUN: run, KEY: key, DEADLINE: until, OWNER: owner()}


def sweep(client: APIClient) -> list[str]:
    """Remove the containers that dead processes have left, and return their names; those of the living are left alone.

    What cannot be removed is left to the next sweep.
    """
    with asking("list containers"):
        found = client.containers(all=True, filters={"label": RUN})
    gone = []
    for container in found:
        if not _is_forgotten(container.get("Labels") or {}):
            continue
        try:
            with asking("remove a container"):
                client.remove_container(container["Id"], v=True, force=True)
        except PetalError:  # another process sweeps as well
            continue
        gone.append(container["Names"][0].lstrip("/") if container.get("Names") else container["Id"][:12])
    return gone


def _is_forgotten(found: dict[str, str]) -> bool:
    """Whether nobody waits for a container any more."""
    try:
        said = json.loads(found.get(OWNER, ""))
        alive = _is_alive(said)
    except (ValueError, TypeError, KeyError):
        alive = None
    if alive is None:
        until = found.get(DEADLINE, "")
        return until.isdigit() and time.time() > float(until) + _AFTER
    return not alive


def _is_alive(said: dict[str, Any]) -> bool | None:
    """Whether a process lives; None where it cannot be seen from here."""
    here = _here()
    if said["host"] != here["host"]:
        return None
    if (
        said["boot"] != here["boot"]
    ):  # this machine before its last start; or, of an engine elsewhere, a namesake
        return False if is_local() else None
    if said["space"] != here["space"]:
        return None
    start = _start(int(said["pid"]))
    return start != "" and start == said["start"]


def _start(pid: int) -> str:
    """Return when a process was started, in a form that only that of the same process equals; "" if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return "" if fields[0] in (b"Z", b"X") else fields[19].decode()
    except OSError:
        pass
    if os.path.exists("/proc/self/stat"):
        return ""
    try:  # no Linux: only whether there is one
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "alive"
