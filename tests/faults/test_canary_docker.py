"""A secret that is used in a container is in nothing that comes out of it, nor in what the engine tells (F82)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.console import environment, run
from tests.faults.canaries import PLACES, VAULT, Canary, Scenario, traces, write
from tests.faults.warm import Warm, warm

pytestmark = [pytest.mark.docker, pytest.mark.slow]

IMAGE = "petal-test/canary"
WAYS = ("raises", "chained", "logs", "prints", "opens", "hangs")


class World(NamedTuple):
    """A secret in a file that containers read, a process that runs command lines, and the engine."""

    canary: Canary
    vault: Path
    process: Warm
    engine: Any


@pytest.fixture(scope="module")
def world(docker_engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """What the scenarios meet; the image is made of one of them, for all have the same code."""
    from petal_docker.engine import connect

    from tests.services.docker_engine import image

    folder = tmp_path_factory.mktemp("world")
    folder.chmod(0o755)
    canary, vault = Canary(), folder / "vault"
    vault.write_text(canary.text)
    vault.chmod(0o644)
    write(scenario("raises", vault), folder / "project", [])
    command = f"petal docker build pipeline.json --base {image()}"
    [said] = run([command], folder / "project", environment(folder / "bin"))
    assert IMAGE in said.splitlines(), said
    client = connect()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(VAULT, raising=False)  # only the container knows where it is
        with warm(folder / "tmp") as process:
            yield World(canary, vault, process, client)
    client.remove_image(IMAGE, force=True)
    client.close()


def scenario(way: str, vault: Path) -> Scenario:
    """Return a pipeline whose step fails in a container, with a secret that is looked up there."""
    execution = {
        "backend": "docker",
        "image": IMAGE,
        "env": {VAULT: "/vault"},
        "mounts": [f"{vault}:/vault"],
    }
    place = PLACES["vault" if WAYS.index(way) % 2 else "asked-vault"]
    node: dict[str, Any] = {
        "id": "it",
        "type": "Fails",
        "params": {"how": way, **place},
        "execution": execution,
    }
    if way == "hangs":
        node["timeout"] = "5s"
    return Scenario(way, [node], ("--debug",), of_environment=False)


@pytest.mark.parametrize("way", WAYS)
def test_a_secret_leaves_no_trace(way: str, world: World, tmp_path: Path) -> None:
    """The engine is asked, while the step runs, for all that it tells of the container."""
    folder, told, over = tmp_path / "project", list[str](), threading.Event()
    write(scenario(way, world.vault), folder, [])

    def watch() -> None:
        while not over.wait(0.2):
            for found in world.engine.containers(filters={"label": "petal.run"}):
                try:
                    told.append(json.dumps(world.engine.inspect_container(found["Id"])))
                    told.append(json.dumps(world.engine.top(found["Id"])))
                except Exception as error:  # it has ended meanwhile
                    told.append(str(error))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        ran = world.process.run(["run", "pipeline.json", "--debug"], folder)
    finally:
        over.set()
        watcher.join()
    assert ran.code == 1, ran.said
    assert way == "hangs" or "***" in ran.said, ran.said  # what was printed is lost with the container
    said = {"petal run": ran.said, "docker inspect": "\n".join(told)}
    for question in (("show", "last"), ("plan", "pipeline.json")):
        said[f"petal {' '.join(question)}"] = world.process.run(question, folder).said
    assert traces([world.canary], folder, said) == {}
