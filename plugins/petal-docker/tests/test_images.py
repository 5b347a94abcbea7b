"""F62: an image that is missing, another one, or made for other machines is found before the first node runs."""

from __future__ import annotations

import io
import json
import tarfile
from hashlib import sha256
from typing import Any

import pytest

from petal import EnvironmentNotReady, Pipeline, node

pytestmark = pytest.mark.docker


def _refused(image: str, **settings: Any) -> EnvironmentNotReady:
    """Run a pipeline whose second node needs an image, and return why it was refused; the first must not have run."""
    ran: list[int] = []

    def first() -> int:
        ran.append(1)
        return 1

    execution = {"backend": "docker", "image": image, "entrypoint": "it.py", **settings}
    pipeline = Pipeline.of(
        node(first, id="first"),
        node("It", id="it", inputs={"value": "first"}, policies={"execution": execution}),
    )
    with pytest.raises(EnvironmentNotReady) as found:
        pipeline.run()
    assert not ran
    return found.value


def test_a_missing_image_is_named_with_what_to_do() -> None:
    """Nothing is fetched unless the block says so."""
    error = _refused("petal-test/no-such-image")
    assert error.code == "no-image"
    assert "petal docker build" in (error.hint or "")
    assert "pull: missing" in (error.hint or "")


def test_an_image_that_cannot_be_fetched_says_why() -> None:
    """There is no such registry."""
    error = _refused("localhost:1/no-such-image", pull="missing")
    assert "cannot fetch" in error.message


def test_a_digest_holds(answer: Any, engine: Any, program_image: str) -> None:
    """The image that is meant is taken by its id; another one of its name is refused."""
    digest = engine.inspect_image(program_image)["Id"]
    assert answer("answer = 1", image=f"{program_image}@{digest}") == 1
    error = _refused(f"{program_image}@sha256:{'0' * 64}")
    assert "another one" in error.message
    assert digest in error.message


def test_an_image_for_other_machines_is_refused(engine: Any) -> None:
    """What the engine would only emulate, or fail to start, needs a word of the user's."""
    engine.load_image(_image("petal-test/foreign:latest", "s390x"))
    try:
        error = _refused("petal-test/foreign")
    finally:
        engine.remove_image("petal-test/foreign")
    assert error.code == "wrong-platform"
    assert "linux/s390x" in error.message
    assert "platform: linux/s390x" in (error.hint or "")


def _image(name: str, architecture: str) -> bytes:
    """Return an empty image as `docker save` writes one."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w"):
        pass
    layers = [f"sha256:{sha256(layer.getvalue()).hexdigest()}"]
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": layers},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = {
        "config.json": json.dumps(config).encode(),
        "manifest.json": json.dumps(manifest).encode(),
        "layer.tar": layer.getvalue(),
    }
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return archive.getvalue()
