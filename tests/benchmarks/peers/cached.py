"""What the cache scripts share: functions whose calls are counted, and a folder that another process has filled."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

#: How many small outputs there are; of large ones there is one.
SMALL = 1000
SIZE = 100 << 20
#: Calls of the functions: none, where everything is found.
CALLS: list[int] = []


def small(i: int) -> str:
    """Return 100 bytes."""
    CALLS.append(i)
    return f"{i:10d}" * 10


def large(i: int) -> bytes:
    """Return 100 MiB."""
    CALLS.append(i)
    return bytes(range(256)) * (SIZE // 256)


def count(kind: str) -> int:
    """Return how many outputs there are of a kind."""
    return SMALL if kind == "small" else 1


@contextmanager
def filled(kind: str) -> Iterator[str]:
    """Give a folder in which another process has cached the outputs, so that nothing of them is warm in this one."""
    folder = tempfile.mkdtemp()
    try:
        command = [sys.executable, sys.argv[0], "fill", kind, folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        yield folder
        if CALLS:
            raise SystemExit(f"{len(CALLS)} outputs were not found")
    finally:
        shutil.rmtree(folder)
