"""Locks between processes, which the kernel gives back when their holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the only one in here; others wait."""
    held = _open(path)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


class Hold:
    """One of many that use something; the last one to let go can know it."""

    def __init__(self, path: Path) -> None:
        self._file = _open(path)
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def let_go(self) -> bool:
        """Give the hold back; True when nobody else has one."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(self._file)
        return True


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
