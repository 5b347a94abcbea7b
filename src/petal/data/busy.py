"""Hold a target while a run writes it, so that a second run is refused and a dead one never blocks (F14, S8.2)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from pathlib import Path
from typing import Final

from petal.errors import OutputError

#: Seconds for which a lock may be held by who removes it, or what a dead run has left.
_GLANCE: Final = 0.25
_swept: set[str] = set()


class Held:
    """A target that this process, or another process of the same run, holds.

    Args:
        path: The lock.
        file: The lock's descriptor, None where another process of the run has it.
        run: The run.
    """

    def __init__(self, path: str, file: int | None, run: str) -> None:
        self._path = path
        self._file = file
        self._run = run

    def release(self) -> None:
        """Let the target go; nothing of the lock stays. Twice is fine, and safe in a signal handler."""
        file, self._file = self._file, None
        with contextlib.suppress(OSError):
            if file is not None:
                if _is_at(file, self._path):  # while it is locked nobody else can have it
                    os.unlink(self._path)  # noqa: PTH108
            elif self._run and _owner(self._path)[0] == self._run:
                os.unlink(self._path)  # noqa: PTH108
        self._run = ""
        if file is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)  # also for processes that were forked meanwhile
            os.close(file)


def hold(target: Path | str, run: str) -> Held | None:
    """Hold a target for a run.

    Args:
        target: The file, absolute, links followed; or its URL.
        run: The run's id.

    Returns:
        What lets it go; None where this machine has no place for locks.

    Raises:
        OutputError: Another run holds it (code ``target-busy``).
    """
    path = lock_of(target)
    if path is None:
        return None
    _sweep_once(os.path.dirname(path))
    until = time.monotonic() + _GLANCE
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, path):
                if os.fstat(
                    file
                ).st_size:  # of a dead owner's; ext4 syncs what is truncated, which takes 0.2 ms
                    os.ftruncate(file, 0)
                os.pwrite(file, f"{run} {os.getpid()}\n".encode(), 0)
                return Held(path, file, run)
        except BlockingIOError:
            owner, process = _owner(path)
            if owner == run:
                os.close(file)
                return Held(path, None, run)
            if time.monotonic() > until:
                os.close(file)
                raise _busy(target, owner, process) from None
            time.sleep(0.01)
        except OSError:
            os.close(file)
            return None
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # removed before it was locked


def lock_of(target: Path | str) -> str | None:
    """Return where the lock of a target is, while a run holds it; None where this machine has no place for locks."""
    import hashlib  # with OpenSSL: a run that writes no file does without

    folder = lock_folder()
    return os.path.join(folder, hashlib.sha256(os.fsencode(target)).hexdigest()[:32]) if folder else None


def lock_folder() -> str | None:
    """Return the user's own folder for locks: the same for every run of the user's on this machine.

    It is not $TMPDIR's or $XDG_RUNTIME_DIR's where /tmp can be used: two runs may differ in those.
    """
    name = f"petal-{os.geteuid()}"
    for place in ("/tmp", os.environ.get("XDG_RUNTIME_DIR"), os.environ.get("TMPDIR")):
        if not place:
            continue
        folder = os.path.join(place, name)
        try:
            os.mkdir(folder, 0o700)  # noqa: PTH102
        except FileExistsError:
            pass
        except OSError:
            continue
        if _is_own(folder):
            return folder
    return None


def _is_own(folder: str) -> bool:
    """Whether nobody else could have put a lock there, or keep one from being put there."""
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    mode = found.st_mode
    return stat.S_ISDIR(mode) and found.st_uid == os.geteuid() and not mode & 0o077


def _is_at(file: int, path: str) -> bool:
    """Whether a lock that is open is still the one of that name."""
    try:
        return os.fstat(file).st_ino == os.stat(path).st_ino  # noqa: PTH116
    except FileNotFoundError:
        return False


def _owner(path: str) -> tuple[str, str]:
    """Return the run and the process that a lock names, empty where it has just been made or removed."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            run, _, process = file.read(200).strip().partition(" ")
    except OSError:
        return "", ""
    return run, process


def _busy(target: Path | str, run: str, process: str) -> OutputError:
    who = f"run {run} (process {process}) is" if run else "another run is"
    return OutputError(
        f"cannot write {str(target)!r}: {who} writing it",
        hint="wait until that run has ended, or stop it",
        code="target-busy",
    )


def _sweep_once(folder: str) -> None:
    """Remove the locks that killed processes have left, once in each process."""
    if folder in _swept:
        return
    _swept.add(folder)
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            with contextlib.suppress(OSError):
                file = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if _is_at(file, entry.path):
                        os.unlink(entry.path)  # noqa: PTH108
                finally:
                    os.close(file)
