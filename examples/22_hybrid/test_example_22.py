"""Example 22: one pipeline whose steps run here, in containers, in AWS Lambda, in a worker process, and here again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from petal_docker.build import build

from petal import Pipeline
from tests.console import environment, run
from tests.examples import Example, Functions

pytestmark = [pytest.mark.docker, pytest.mark.aws]

PLACES = {"reader": "local", "sign": "docker", "pairs": "aws_lambda", "groups": "process", "writer": "local"}


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    """Forget the example's own modules: another test has a copy of its own."""
    yield
    for name in ("operators", "minhash"):
        sys.modules.pop(name, None)


@pytest.fixture
def deployed(functions: Functions, example: Example, tmp_path: Path) -> None:
    """AWS Lambda with the pipeline's function, from the zip that Petal makes of its file."""
    command = f"petal lambda package pipeline.yaml --output {tmp_path}/pairs.zip"
    run([command], example.folder, environment(tmp_path / "bin"))
    functions.deploy("petal-near-duplicates", tmp_path / "pairs.zip", handler="petal_lambda.handler.handler")


@pytest.mark.parametrize("file", ["pipeline.yaml", "pipeline.py"])
def test_each_step_runs_in_its_place(
    example: Example, images: None, deployed: None, tmp_path: Path, file: str
) -> None:
    """What is written is, byte for byte, what the same steps give when all of them run here."""
    build(file)
    result = Pipeline.from_file(file).run().check()
    assert {name: node.backend for name, node in result.nodes.items()} == PLACES
    hybrid = Path("groups.csv").read_bytes()
    Path("groups.csv").unlink()
    run([f"petal run {file} --backend local"], example.folder, environment(tmp_path / "bin"))
    assert Path("groups.csv").read_bytes() == hybrid
    assert hybrid.count(b"\n") == 10


@pytest.mark.slow
@pytest.mark.timeout(300)  # many commands, and a machine that others may use
def test_the_readme_is_true(example: Example, images: None, deployed: None, tmp_path: Path) -> None:
    assert example.readme_mistakes(tmp_path) == []
