"""Example 21: a run is killed half-way, goes on, and nothing happens twice."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.console import environment
from tests.examples import Example

COMMANDS = (["petal", "run", "pipeline.yaml"], ["petal", "run", "pipeline.py"], ["python", "pipeline.py"])
FILES = ("bank.txt", "receipts.txt", "invoices.txt")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_killed_half_way_and_resumed(example: Example, tmp_path: Path, command: list[str]) -> None:
    """The files are those of an undisturbed run, byte for byte: nobody is charged twice, no file is written twice."""
    env, whole = environment(tmp_path / "bin"), tmp_path / "undisturbed"
    shutil.copytree(example.folder, whole)
    subprocess.run(command, cwd=whole, env=env, check=True, capture_output=True)
    killed = subprocess.run(command, env={**env, "POWER_CUT": "1"}, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    receipts = Path("receipts.txt").stat()
    assert not Path("invoices.txt").exists()

    subprocess.run([*command, "--resume"], env=env, check=True, capture_output=True)
    for name in FILES:
        assert Path(name).read_bytes() == (whole / name).read_bytes()
    assert Path("receipts.txt").stat().st_ino == receipts.st_ino


def test_run_afresh_it_charges_twice(example: Example, tmp_path: Path) -> None:
    """The control: without --resume the bank is asked again."""
    env = environment(tmp_path / "bin")
    for extra in ({"POWER_CUT": "1"}, {}):
        subprocess.run(COMMANDS[0], env={**env, **extra}, check=False, capture_output=True)
    assert len(Path("bank.txt").read_text().splitlines()) == 2 * len(
        Path("orders.txt").read_text().splitlines()
    )


def test_the_readme_is_true(example: Example, tmp_path: Path) -> None:
    assert example.readme_mistakes(tmp_path) == []
