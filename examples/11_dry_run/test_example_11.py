"""Example 11: a dry run prints the picture and does nothing else."""

import os
from pathlib import Path

import pytest

from petal import Pipeline
from tests.console import environment, run
from tests.examples import Example

PICTURE = "Pipeline: extract_logs\n[reader] ──▶ [filter] ──▶ [sink]\n"


@pytest.mark.parametrize("file", ["pipeline.yaml", "pipeline.py"])
def test_run_dry_prints_the_picture(example: Example, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(os.walk("."))
    Pipeline.from_file(file).run(dry=True)
    assert capsys.readouterr().out == PICTURE
    assert sorted(os.walk(".")) == before


@pytest.mark.parametrize(
    "command", ["petal run pipeline.yaml --dry-run", "petal run --dry-run pipeline.py", "python pipeline.py"]
)
def test_the_command_line_prints_the_same(example: Example, command: str, tmp_path: Path) -> None:
    before = sorted(os.walk("."))
    env = environment(tmp_path / "bin")
    assert run([command + " 2>/dev/null"], example.folder, env) == [PICTURE]
    assert sorted(os.walk(".")) == before


def test_the_readme_is_true(example: Example, tmp_path: Path) -> None:
    assert example.readme_mistakes(tmp_path) == []
