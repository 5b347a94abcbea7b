"""The steps of the one writer: make a temporary file, publish it, sync its folder, sweep what dead owners left."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import sys
from pathlib import Path
from typing import IO, Final

from petal.errors import OutputError

_TEMPORARY: Final = re.compile(r"\..*\.petal-[0-9A-Za-z-]+\.tmp", re.DOTALL)
_HINTS: Final = {
    errno.ENOENT: "create the folder first, or correct the path",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EACCES: "check the permissions of the folder",
    errno.EROFS: "the file system is mounted read-only: choose another folder",
    errno.ENOSPC: "free some space on that disk; the target is as it was",
}


def temporary_of(target: Path, mark: str) -> Path:
    """Return the name of a temporary file beside its target, not too long whatever the target's name."""
    short = os.fsencode(target.name)[:160].decode(errors="ignore")
    return target.with_name(f".{short}.petal-{mark}.tmp")


def create(path: Path) -> int:
    """Make a temporary file, locked as long as its owner lives."""
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with contextlib.suppress(OSError):  # a file system without locks: then nobody sweeps either
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # swept away before it was locked


def sweep(folder: str) -> None:
    """Remove temporary files whose owners were killed: those that nobody holds a lock on (FAULTS F01)."""
    with contextlib.suppress(OSError):
        stale = [e.path for e in os.scandir(folder) if ".petal-" in e.name and _TEMPORARY.fullmatch(e.name)]
        for path in stale:
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(path)  # noqa: PTH108
                finally:
                    os.close(descriptor)


def is_special(path: Path) -> bool:
    """Whether the target is a device, pipe or terminal, which cannot be replaced.

    Raises:
        OutputError: It is a folder.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise
        return False
    if stat.S_ISDIR(mode):
        raise OutputError(
            f"cannot write {str(path)!r}: it is a folder", hint="name a file inside it", code="output"
        )
    return not stat.S_ISREG(mode)


def standard_stream(path: str | os.PathLike[str]) -> IO[bytes] | None:
    """Return stdout or stderr for ``-`` and their device names: what they lead to is written, never replaced."""
    stream = {"-": sys.stdout, "/dev/stdout": sys.stdout, "/dev/fd/1": sys.stdout}.get(os.fspath(path))
    if os.fspath(path) in ("/dev/stderr", "/dev/fd/2"):
        stream = sys.stderr
    elif stream is None and os.fspath(path) not in ("-", "/dev/stdout", "/dev/fd/1"):
        return None
    if stream is None:
        raise OutputError("cannot write to stdout: it is closed", hint="name a file")
    return getattr(stream, "buffer", None)


def publish(temporary: Path, target: Path) -> None:
    """Put a file that is stored under its name: a reader sees the old one or the new one, also after a power loss."""
    _keep_mode(target, temporary)
    os.replace(temporary, target)
    sync_folder(target.parent)


def _keep_mode(target: Path, temporary: Path) -> None:
    try:
        mode = stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return
    os.chmod(temporary, mode)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; on a file system that cannot, there is nothing to be done."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def failure(target: Path, error: OSError) -> OutputError:
    """Return the error that says which target could not be written, and why."""
    if isinstance(error, OutputError):
        return error
    reason = os.strerror(error.errno) if error.errno else str(error)
    return OutputError(f"cannot write {str(target)!r}: {reason}", hint=_HINTS.get(error.errno or 0))
