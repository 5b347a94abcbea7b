"""`petal run --refresh`: cached outputs are made again, whatever is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
