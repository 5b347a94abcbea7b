"""Example 10: a module that is used twice, and has a module inside."""

from pathlib import Path

import pytest

from petal import Pipeline
from tests.examples import Example

LINES = Path(__file__).with_name("input.txt").read_bytes().splitlines(keepends=True)
EXPECTED = {
    "errors.txt": b"".join(line for line in LINES if line.startswith(b"ERROR ")),
    "warnings.txt": b"".join(line for line in LINES if line.startswith(b"WARN ")),
}


@pytest.mark.parametrize("file", ["pipeline.yaml", "pipeline.py"])
def test_each_use_of_the_module_has_its_own_parameter(example: Example, file: str) -> None:
    assert all(EXPECTED.values())
    assert example.run(file) == EXPECTED


def test_the_nodes_of_a_module_are_named_by_their_way(example: Example) -> None:
    ids = [n.id for n in Pipeline.from_file("pipeline.yaml").plan().nodes]
    assert {"errors/level", "errors/clean/filled", "warnings/clean/said"} <= set(ids)


def test_a_parameter_deep_inside_can_be_set(example: Example) -> None:
    pipeline = Pipeline.from_file("pipeline.yaml")
    pipeline.run(params={"errors.level": "INFO", "warnings/clean/said.pattern": "nearly"}).check()
    assert Path("errors.txt").read_bytes() == b"".join(line for line in LINES if line.startswith(b"INFO "))
    assert b"nearly" not in Path("warnings.txt").read_bytes()


def test_a_module_is_a_pipeline_of_its_own(example: Example) -> None:
    clean = Pipeline.from_file("cleaning/cleaning.yaml")
    result = clean.run(inputs={"lines": ["a", "", "# b", "c"]}).check()
    assert list(result.outputs["said"]) == ["a", "c"]


def test_the_readme_is_true(example: Example, tmp_path: Path) -> None:
    assert example.readme_mistakes(tmp_path) == []
