"""Example 01: the smallest pipeline that has all three kinds of node."""

from pathlib import Path

import pytest

from petal import Pipeline
from tests.examples import Example


@pytest.mark.parametrize("file", ["pipeline.yaml", "pipeline.py"])
def test_every_node_runs_and_nothing_is_written(example: Example, file: str) -> None:
    result = Pipeline.from_file(file).run().check()
    assert [(id, str(n.status), n.rows) for id, n in result.nodes.items()] == [
        ("source", "succeeded", 0),
        ("same", "succeeded", 0),
        ("sink", "succeeded", None),
    ]
    assert example.run(file) == {}


@pytest.mark.parametrize("file", ["pipeline.yaml", "pipeline.py"])
def test_it_is_valid(example: Example, file: str) -> None:
    assert Pipeline.from_file(file).validate() == []


def test_the_readme_is_true(example: Example, tmp_path: Path) -> None:
    assert example.readme_mistakes(tmp_path) == []
