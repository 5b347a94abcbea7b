"""Example 03: a reader with three consumers."""

from pathlib import Path

import pytest

from petal import Pipeline
from tests.examples import Example

LINES = Path(__file__).with_name("input.txt").read_bytes().splitlines(keepends=True)
EXPECTED = {
    "upgraded.txt": b"".join(line for line in LINES if b" upgrade " in line),
    "configured.txt": b"".join(line for line in LINES if b" configure " in line),
    "installed.txt": b"".join(line for line in LINES if b" status installed " in line),
}


@pytest.mark.parametrize("file", ["pipeline.yaml", "pipeline.toml", "pipeline.py"])
def test_each_filter_has_its_own_file(example: Example, file: str) -> None:
    assert all(EXPECTED.values())
    assert example.run(file) == EXPECTED


def test_the_toml_file_says_the_same_as_the_yaml_file(example: Example) -> None:
    assert Pipeline.from_file("pipeline.toml").spec == Pipeline.from_file("pipeline.yaml").spec


def test_the_readme_is_true(example: Example, tmp_path: Path) -> None:
    assert example.readme_mistakes(tmp_path) == []
