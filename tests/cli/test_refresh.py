"""`petal run --refresh`: cached outputs are made again, whatever is there."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import ENVIRONMENT, PETAL

ETL = """
from petal import cache, operator

@operator
def numbers() -> list[int]:
    return [1, 2]

@cache(version="1")
@operator
def doubled(numbers: list[int]) -> list[int]:
    with open("calls", "a") as file:
        file.write("d")
    return [2 * n for n in numbers]

@cache(version="1")
@operator
def total(doubled: list[int]) -> int:
    with open("calls", "a") as file:
        file.write("t")
    return sum(doubled)
"""


@pytest.fixture
def run(petal: Callable[..., Any], tmp_path: Path) -> Callable[..., str]:
    """Run the pipeline once, and then with arguments; return what the functions of the second run noted."""
    (tmp_path / "etl.py").write_text(ETL)
    calls = tmp_path / "calls"

    def run(*args: str) -> str:
        assert petal("run", "etl.py", "--json").code == 0
        calls.write_text("")
        ran = petal("run", "etl.py", "--json", *args)
        assert ran.code == 0, ran.err
        made = {name[0] for name, node in ran.data["nodes"].items() if not node["cached"]} - {"n"}
        assert made == set(calls.read_text())
        return calls.read_text()

    return run


@pytest.mark.parametrize(
    ("args", "made"),
    [
        ((), ""),
        (("--refresh",), "dt"),
        (("--refresh", "doubled"), "d"),
        (("--refresh", "total"), "t"),
        (("--refresh", "doubled", "--refresh", "total"), "dt"),
        (("--refresh", "numbers"), ""),
    ],
)
def test_what_is_made_again(run: Callable[..., str], args: tuple[str, ...], made: str) -> None:
    """All nodes, or those that are named; what lies behind them finds its output, if they give what they gave."""
    assert run(*args) == made


def test_what_was_made_again_is_kept(run: Callable[..., str]) -> None:
    """The next run finds it."""
    assert run("--refresh") == "dt"
    assert run() == ""


def test_a_node_that_is_none(petal: Callable[..., Any], tmp_path: Path) -> None:
    """A name that no node has is wrong usage, with what was meant."""
    (tmp_path / "etl.py").write_text(ETL)
    ran = petal("run", "etl.py", "--refresh", "doubld")
    assert ran.code == 2
    assert "`doubled`" in ran.err


SLOW = """
import os
import time

from petal import cache, operator

@cache(version="1")
@operator
def slow() -> int:
    with open("calls", "a") as file:
        file.write("s")
    for _ in range(3000):
        if os.path.exists("go"):
            break
        time.sleep(0.01)
    return 7
"""


def test_two_runs_that_make_outputs_again_do_not_wait_for_each_other(
    petal: Callable[..., Any], tmp_path: Path
) -> None:
    """What another run has begun before is of no use to one that refreshes: both make it, and both are right."""
    (tmp_path / "etl.py").write_text(SLOW)
    (tmp_path / "go").touch()
    assert petal("run", "etl.py").code == 0
    (tmp_path / "go").unlink()
    with subprocess.Popen(
        [*PETAL, "run", "etl.py", "--refresh", "--json"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        try:
            while (tmp_path / "calls").read_text() != "ss":
                assert first.poll() is None
                time.sleep(0.01)
            (tmp_path / "etl.py").write_text(SLOW.replace('os.path.exists("go")', "True"))
            second = petal(
                "run", "etl.py", "--refresh", "--json"
            )  # would wait for the first one, which waits for us
            assert first.poll() is None
            (tmp_path / "go").touch()
            out, _ = first.communicate(timeout=30)
        finally:
            first.kill()
    for found in (second.data, json.loads(out)):
        assert (found["status"], found["nodes"]["slow"]["cached"]) == ("succeeded", False)
    assert petal("run", "etl.py", "--json").data["nodes"]["slow"]["cached"]
    assert (tmp_path / "calls").read_text() == "sss"
