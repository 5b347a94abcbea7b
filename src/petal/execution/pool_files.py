"""The files of a pool: its folder, which does not outlive it, and files without a name for large attachments."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Sequence

_PREFIX = "petal-pool-"


class Folder:
    """A folder of one pool, locked as long as its owner lives, so that others can tell what is left over.

    Args:
        parent: Where it is made, None for the temporary folder. Left-over folders of dead owners there are removed.
    """

    def __init__(self, parent: str | None) -> None:
        parent = parent or tempfile.gettempdir()
        sweep(parent)
        self._lock: int | None = None
        while self._lock is None:
            self.path = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
            self._lock = _locked(self.path, wait=True)  # None: a sweep was quicker than the lock

    def close(self) -> None:
        """Remove it."""
        if self._lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = None


def sweep(parent: str) -> None:
    """Remove the folders of pools whose owner died before it could."""
    try:
        with os.scandir(parent) as entries:
            paths = [entry.path for entry in entries if entry.name.startswith(_PREFIX)]
    except OSError:
        return
    for path in paths:
        lock = _locked(path, wait=False)
        if lock is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def _locked(path: str, *, wait: bool) -> int | None:
    """Lock a folder of this user's; None where somebody else holds it or it is gone."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if os.fstat(file).st_uid == os.geteuid() and os.path.exists(path):
            return file
    os.close(file)
    return None


def nameless(parts: Sequence[memoryview], folder: str) -> int:
    """Write attachments one after the other to a file that has no name, and return it open."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for part in parts:
            left = part.cast("B") if part.nbytes else part
            while left.nbytes:
                left = left[file.write(left) :]
        return os.dup(file.fileno())
