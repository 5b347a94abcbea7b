"""A command line in this process, and one in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import petal as package
from petal.cli.main import invoke

PETAL = [sys.executable, "-m", "petal"]
#: Finds this very Petal from any folder, whether it is installed or not.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1])}


@dataclass(frozen=True)
class Ran:
    """What a command line printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The JSON on stdout."""
        return json.loads(self.out)


@pytest.fixture
def petal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ran]:
    """Run a command line in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PETAL_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(*args: str) -> Ran:
        capsys.readouterr()
        code = invoke(args)
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return run


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command line in a process of its own, in a folder of its own."""

    def run(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PETAL, *args],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**ENVIRONMENT, **environment},
            timeout=30,
            check=False,
        )

    return run


CHAIN = """\
nodes:
  - {id: reader, type: FileReader, params: {file_path: input.txt}}
  - {id: filter, type: RegexFilter, params: {pattern: '^ERROR'}}
  - {id: writer, type: FileWriter, params: {file_path: output.txt}}
edges: [[reader, filter], [filter, writer]]
"""


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """A pipeline of three nodes with its input."""
    (tmp_path / "input.txt").write_text("ERROR one\nfine\nERROR two\n")
    (tmp_path / "chain.yaml").write_text(CHAIN)
    return tmp_path


ETL = '''\
from collections.abc import Iterable, Iterator

from petal import operator


@operator
def numbers(*, count: int = 5) -> Iterator[int]:
    """Count from zero.

    Args:
        count: How far.
    """
    yield from range(count)


@operator
def checked(numbers: Iterable[int], *, limit: int = 100, label: str = "x") -> Iterator[int]:
    for number in numbers:
        if number == limit:
            raise ValueError(f"{number} is too much")
        yield number


@operator
def total(checked: Iterable[int]) -> int:
    print("summing")
    return sum(checked)
'''


@pytest.fixture
def etl(tmp_path: Path) -> Path:
    """A pipeline written in Python: numbers, checked, total."""
    (tmp_path / "etl.py").write_text(ETL)
    return tmp_path
