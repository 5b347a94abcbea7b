"""The examples' fixture: a copy of the example's own folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples import Example
from tests.examples import example as copied

#: A package of its own, whose tests need it to be installed; test_example_05.py runs them.
collect_ignore = ["05_custom_operator/petal-timestamp"]


@pytest.fixture
def example(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Example:
    """A copy of the folder of the test's example, which is the current folder."""
    return copied(str(request.path), tmp_path, monkeypatch)
