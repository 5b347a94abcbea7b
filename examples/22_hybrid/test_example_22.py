"""Example 22: one pipeline whose steps run here, in containers, in a worker process, and here again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from petal_docker.build import build

from petal import Pipeline
from tests.console import environment, run
from tests.examples import Example

pytestmark = pytest.mark.docker

PLACES = {"reader": "local", "sign": "docker", "pairs": "process", "writer": "local"}


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    """Forget the example's own modules: another test has a copy of its own."""
    yield
    for name in ("operators", "minhash"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("file", ["pipeline.yaml", "pipeline.py"])
def test_each_step_runs_in_its_place(example: Example, images: None, tmp_path: Path, file: str) -> None:
    """What is written is, byte for byte, what the same steps give when all of them run here."""
    build(file)
    result = Pipeline.from_file(file).run().check()
    assert {name: node.backend for name, node in result.nodes.items()} == PLACES
    hybrid = Path("pairs.csv").read_bytes()
    Path("pairs.csv").unlink()
    run([f"petal run {file} --backend local"], example.folder, environment(tmp_path / "bin"))
    assert Path("pairs.csv").read_bytes() == hybrid
    assert hybrid.count(b"\n") == 7


@pytest.mark.slow
def test_the_readme_is_true(example: Example, images: None, tmp_path: Path) -> None:
    assert example.readme_mistakes(tmp_path) == []
