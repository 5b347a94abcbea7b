"""The examples' fixture: a copy of the example's own folder."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.examples import Example, Functions
from tests.examples import example as copied
from tests.services.docker_engine import cache, image
from tests.services.locks import alone

#: A package of its own, whose tests need it to be installed; test_example_05.py runs them.
collect_ignore = ["05_custom_operator/petal-timestamp"]


@pytest.fixture
def example(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Example:
    """A copy of the folder of the test's example, which is the current folder."""
    return copied(str(request.path), tmp_path, monkeypatch)


@pytest.fixture
def images(docker_engine: str, request: pytest.FixtureRequest) -> Iterator[None]:
    """Docker Engine, where Python's official image is that of the tests; nobody else makes the example's images now."""
    from petal_docker.engine import connect

    with alone(cache() / f"{Path(str(request.path)).stem}.lock"):
        client = connect()
        try:
            version = f"{sys.version_info[0]}.{sys.version_info[1]}"
            for tag in {f"{version}-slim", "3.11-slim"}:
                client.tag(image(), "python", tag)
        finally:
            client.close()
        yield


@pytest.fixture
def functions(lambda_emulator: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Functions]:
    """AWS Lambda, on which functions can be put; it is where this process and its children look for it."""
    found = Functions(lambda_emulator)
    # at this machine alone, and with nobody's account
    for name, value in {
        "AWS_ENDPOINT_URL_LAMBDA": found.url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with contextlib.closing(found):
        yield found
