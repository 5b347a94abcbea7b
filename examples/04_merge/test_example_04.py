"""Example 04: two sources, one sink."""

from pathlib import Path

import pytest

from tests.examples import Example

HERE = Path(__file__).parent


@pytest.mark.parametrize("file", ["pipeline.yaml", "pipeline.py"])
def test_the_files_are_joined_as_cat_joins_them(example: Example, file: str) -> None:
    expected = (HERE / "file_a.txt").read_bytes() + (HERE / "file_b.txt").read_bytes()
    assert example.run(file) == {"merged.txt": expected}


def test_the_readme_is_true(example: Example, tmp_path: Path) -> None:
    assert example.readme_mistakes(tmp_path) == []
