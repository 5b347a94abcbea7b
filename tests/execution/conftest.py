"""Nothing that a run starts or opens may outlive it: threads, files, names in the temporary folder."""

from __future__ import annotations

import gc
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


def _open_files() -> set[str]:
    found = set()
    for entry in os.scandir("/proc/self/fd"):
        try:
            target = os.readlink(entry.path)
        except OSError:
            continue
        if target.startswith("/") and not target.startswith(("/dev", "/proc")):
            found.add(target)
    return found


def settles(check: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Wait until ``check`` holds."""
    until = time.monotonic() + seconds
    while not check():
        if time.monotonic() > until:
            return False
        time.sleep(0.002)
    return True


@pytest.fixture(autouse=True)
def nothing_leaks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Fail a test after which a thread still runs, a file is open, or the temporary folder is not empty."""
    folder = tmp_path_factory.mktemp("spills")
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    threads, files = set(threading.enumerate()), _open_files()
    try:
        yield folder
    finally:
        tempfile.tempdir = before
    gc.collect(1)
    assert settles(lambda: set(threading.enumerate()) <= threads), set(threading.enumerate()) - threads
    assert not list(folder.iterdir())
    assert settles(lambda: not {f for f in _open_files() - files if "spills" in f or "petal" in f}, 1.0)
