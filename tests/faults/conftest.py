"""A warm process for the tests that run many command lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.warm import Warm, warm


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Warm]:
    """A process that forks command lines; their temporary folder is `tmp` in the test's own."""
    with warm(tmp_path / "tmp") as process:
        yield process


@pytest.fixture
def tracer(runner: Warm) -> Warm:
    """The same, where this machine lets it trace; elsewhere the test is not run, which is not passed."""
    if not runner.can_trace():
        pytest.skip("not run: this machine lets no process be traced (ptrace and seccomp on Linux)")
    return runner
