"""What a service that was killed leaves on the machine: processes, mounts, control groups, a bridge; and their end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.services.packages import find

#: The programs that an engine starts on the machine itself; others belong to a container's control group.
PROGRAMS = {"dockerd", "containerd", "containerd-shim", "containerd-shim-runc-v2", "runc", "ctr"}


def processes(folder: Path, group: str) -> list[int]:
    """Return the live processes of an engine and of its containers.

    Args:
        folder: The folder of the engine's sockets, which each of its programs has in its arguments.
        group: The control group above those of the engine's containers, which nothing else has in its name.
    """
    return [pid for pid in _pids() if _alive(pid) and _is_of(pid, str(folder), group)]


def with_arguments(*arguments: str) -> list[int]:
    """Return the live processes that have all of these among the arguments they were started with."""
    return [pid for pid in _pids() if _alive(pid) and set(arguments) <= set(_arguments(pid))]


def kill(pids: list[int], number: int, seconds: float) -> bool:
    """Send a signal to processes; return whether all are gone after so many seconds."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
    until = time.monotonic() + seconds
    while any(_alive(pid) for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def kill_all(folder: Path, group: str) -> None:
    """Kill what is left of an engine and of its containers."""
    for _ in range(10):  # a shim may start a process while it dies
        if not (found := processes(folder, group)):
            return
        kill(found, signal.SIGKILL, 5)


def mounts(folder: Path) -> list[Path]:
    """Return what is mounted beneath a folder, the innermost first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        path = Path(line.split()[4].encode().decode("unicode_escape"))
        if path.is_relative_to(folder) and path != folder:
            found.append(path)
    return found[::-1]


def unmount(path: Path) -> None:
    """Take a mount away, at the latest when its last user is gone."""
    subprocess.run([find("umount") or "umount", "-l", str(path)], capture_output=True, check=False)


def remove(folder: Path) -> None:
    """Remove a folder with what is mounted beneath; one whose mounts stay is left, never emptied through them."""
    for path in mounts(folder):
        unmount(path)
    if not mounts(folder):
        shutil.rmtree(folder, ignore_errors=True)


def shim_sockets(folder: Path) -> list[Path]:
    """Return the sockets of containerd's shims, which lie in a folder of the machine's and outlive a killed shim."""
    tasks = "exec/containerd/daemon/io.containerd.runtime.v2.task/*/*/address"
    addresses = [file.read_text(encoding="utf-8").strip() for file in folder.glob(tasks)]
    found = (Path(address.removeprefix("unix://")) for address in addresses)
    return [path for path in found if path.is_socket()]


def groups(name: str) -> list[Path]:
    """Return the control groups of that name and those below, the innermost first."""
    top = Path("/sys/fs/cgroup")
    tops = [p / name for p in [top, *top.glob("*")] if (p / name).is_dir() and not p.is_symlink()]
    return [
        Path(folder) for found in tops for folder, _, _ in os.walk(found, topdown=False, followlinks=False)
    ]


def remove_groups(name: str) -> None:
    """Remove control groups in which no process is left."""
    for folder in groups(name):
        try:
            folder.rmdir()
        except OSError:
            continue


def bridge(name: str, number: int) -> None:
    """Make a bridge of the engine's own, without a way out: no rule of the firewall, no forwarding is touched.

    Args:
        name: The bridge's, at most 15 characters.
        number: The network to begin with, 0 to 255; the first of ``10.213.N.0/24`` that the machine does not use.
    """
    if Path("/sys/class/net", name).exists():
        return
    used = _ip("-4", "-o", "address")
    free = next(n % 256 for n in range(number, number + 256) if f" 10.213.{n % 256}." not in used)
    _ip("link", "add", "name", name, "type", "bridge")
    _ip("address", "add", f"10.213.{free}.1/24", "dev", name)
    _ip("link", "set", name, "up")


def remove_bridge(name: str) -> None:
    """Remove the bridge, if it is there."""
    if Path("/sys/class/net", name).exists():
        _ip("link", "delete", name)


def _ip(*arguments: str) -> str:
    done = subprocess.run([find("ip") or "ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"`ip {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return done.stdout


def program(pid: int) -> str:
    """Return the name of a process's program; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _pids() -> Iterator[int]:
    yield from (int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid())


def _is_of(pid: int, folder: str, group: str) -> bool:
    arguments = _arguments(pid)
    try:
        if f"/{group}/" in Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8"):
            return True
    except OSError:
        return False
    return Path(arguments[0]).name in PROGRAMS and any(f"{folder}/" in a for a in arguments)


def _arguments(pid: int) -> list[str]:
    """Return what a process was started with, its program first; one empty text when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return [""]


def _alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and is waited for by its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in (b"Z", b"X")
