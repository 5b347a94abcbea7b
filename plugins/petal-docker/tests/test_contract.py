"""The backend keeps what Petal asks of every backend, on a real Docker Engine."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from petal.testing import BackendContract

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.mark.usefixtures("worker_image")
class TestDockerBackend(BackendContract):
    """Each type of value, each error, each end, in containers and here."""

    backend = "docker"
    settings: ClassVar[dict[str, Any]] = {"image": "petal-test/worker"}
    program: ClassVar[dict[str, Any]] = {
        "image": "petal-test/worker",
        "entrypoint": ["python3", "-m", "petal.testing.echo"],
    }
