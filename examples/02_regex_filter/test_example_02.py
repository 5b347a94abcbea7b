"""Example 02: the brief's case 2, word for word."""

from pathlib import Path

import pytest

from tests.config.samples import CASE_2
from tests.examples import Example

EXPECTED = b"".join(
    line
    for line in Path(__file__).with_name("input.txt").read_bytes().splitlines(keepends=True)
    if line[:5] == b"ERROR"
)


@pytest.mark.parametrize("file", ["pipeline.yaml", "pipeline.py"])
def test_the_lines_that_match_are_written(example: Example, file: str) -> None:
    assert example.run(file) == {"output.txt": EXPECTED}


def test_the_file_is_the_briefs_own() -> None:
    assert Path(__file__).with_name("pipeline.yaml").read_text() == CASE_2


def test_the_readme_is_true(example: Example, tmp_path: Path) -> None:
    assert example.readme_mistakes(tmp_path) == []
