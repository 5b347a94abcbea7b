"""Let one thread of all processes compute what belongs under a key of the cache, while the others wait for it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_FIRST_WAIT, _LONGEST_WAIT = 0.001, 0.05


@contextlib.contextmanager
def alone(path: Path, usable: Callable[[], bool], stop: Callable[[], bool]) -> Iterator[bool]:
    """Hold a lock.

    Args:
        path: The file that is locked; it is removed at the end.
        usable: Whether the folder of locks can be used; where it cannot, nobody waits.
        stop: Asked while waiting; when it says yes, waiting ends without the lock.

    Yields:
        Whether another one was waited for: then what it computed is there now, most likely.
    """
    descriptor, waited = -1, False
    try:
        descriptor, waited = _locked(path, usable, stop)
        yield waited
    finally:
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                path.unlink()  # while it is locked: who has opened it meanwhile finds it gone, and makes another
            os.close(descriptor)


def _locked(path: Path, usable: Callable[[], bool], stop: Callable[[], bool]) -> tuple[int, bool]:
    """Return the number of the locked file, -1 where it cannot be locked, and whether another one had it."""
    waited, wait = False, _FIRST_WAIT
    while usable():
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(path, flags, 0o600)
        except OSError:
            return -1, waited
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return descriptor, waited
        except BlockingIOError:
            waited = True
        except OSError:  # a file system without locks: then several may compute the same
            os.close(descriptor)
            return -1, waited
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if stop():
            break
        if waited:
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)
    return -1, waited
