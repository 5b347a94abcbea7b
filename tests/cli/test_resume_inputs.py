"""`petal run --resume` after something that the run depends on has changed: its input files, its code, what is cached."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import ENVIRONMENT, PETAL, Ran
from tests.cli.resumable import OPERATORS, calls, go_on, stop_at

Petal = Callable[..., Ran]

READER = (
    OPERATORS
    + """

from typing import Annotated

from petal import READS


@operator
def load(context: Context, *, path: Annotated[Path, READS]) -> list[int]:
    step(context.node_id)
    return [int(line) for line in path.read_text().split()]


@cache
def load_cached(context: Context, *, path: Annotated[Path, READS], version: int = 0) -> list[int]:
    step(context.node_id)
    return [int(line) for line in path.read_text().split()]
"""
)
TWO_SINKS = """\
plugins: [./ops.py]
nodes:
  - {id: src, type: load, params: {path: in.txt}}
  - {id: w1, type: write, inputs: {xs: src}, params: {path: out1.txt}}
  - {id: w2, type: write, inputs: {xs: src}, params: {path: out2.txt}, after: [w1]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a pipeline that reads one file and writes two, one after the other."""
    (tmp_path / "ops.py").write_text(READER)
    (tmp_path / "p.yaml").write_text(TWO_SINKS)
    (tmp_path / "in.txt").write_text("1\n2\n")
    return tmp_path


def killed(folder: Path, number: int, *args: str) -> None:
    """Run a pipeline that is killed at a call."""
    stop_at(folder, "kill", number)
    ran = subprocess.run(
        [*PETAL, "run", "p.yaml", "-q", *args], check=False, cwd=folder, env=ENVIRONMENT, capture_output=True
    )
    assert ran.returncode == -9, ran.stderr.decode()
    go_on(folder)


# -- files --------------------------------------------------------------------------------------------------------


def test_old_and_new_input_are_not_mixed(folder: Path, petal: Petal) -> None:
    """A file that changed after a sink was written from it is named; `--force` writes all from what it is now."""
    killed(folder, 3)
    assert (folder / "out1.txt").read_text() == "1\n2\n"
    (folder / "in.txt").write_text("10\n20\n")
    ran = petal("run", "p.yaml", "--resume")
    assert (ran.code, (folder / "out2.txt").exists()) == (1, False)
    assert f"`src` reads {folder / 'in.txt'}, which changed" in ran.err
    assert petal("run", "p.yaml", "--resume", "--force").code == 0
    assert [(folder / f"out{i}.txt").read_text() for i in (1, 2)] == ["10\n20\n"] * 2


def test_an_input_that_is_as_it_was(folder: Path, petal: Petal) -> None:
    """Where no file has changed, the resume goes on as always."""
    killed(folder, 3)
    assert petal("run", "p.yaml", "--resume").code == 0
    assert calls(folder)["w1"] == 1


def test_an_input_that_nothing_was_made_of(folder: Path, petal: Petal) -> None:
    """A bad file is mended and the run goes on: nothing was made of it, so nothing can be mixed."""
    (folder / "in.txt").write_text("1\nx\n")
    assert petal("run", "p.yaml").code == 1
    (folder / "in.txt").write_text("1\n2\n")
    assert petal("run", "p.yaml", "--resume").code == 0
    assert (folder / "out2.txt").read_text() == "1\n2\n"


def test_a_file_that_the_run_writes_itself(folder: Path, petal: Petal) -> None:
    """A file that one node writes and another reads changes with the run, which goes on all the same."""
    (folder / "out1.txt").write_text("of a run before\n")
    (folder / "p.yaml").write_text(
        "plugins: [./ops.py]\nnodes:\n"
        "  - {id: src, type: load, params: {path: in.txt}}\n"
        "  - {id: w1, type: write, inputs: {xs: src}, params: {path: out1.txt}}\n"
        "  - {id: again, type: load, params: {path: out1.txt}, after: [w1]}\n"
        "  - {id: w2, type: write, inputs: {xs: again}, params: {path: out2.txt}}\n"
    )
    killed(folder, 4)
    assert petal("run", "p.yaml", "--resume").code == 0
    assert calls(folder)["w1"] == 1


# -- what is cached -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [["--refresh", "src"], ["--refresh", ""]])
def test_refresh_is_remembered(folder: Path, petal: Petal, which: list[str]) -> None:
    """A run that was told not to use what is cached does not use it after a resume either, nor after a second."""
    (folder / "p.yaml").write_text(TWO_SINKS.replace("type: load,", "type: load_cached,"))
    assert petal("run", "p.yaml").code == 0
    killed(folder, 4, *which)
    killed(folder, 5, "--resume")
    assert petal("run", "p.yaml", "--resume").code == 0
    assert calls(folder)["src"] == 4


def test_what_was_refreshed_already_is_used(folder: Path, petal: Petal) -> None:
    """An output that was made again before the run was stopped is not made a third time."""
    (folder / "p.yaml").write_text(TWO_SINKS.replace("type: load,", "type: load_cached,"))
    assert petal("run", "p.yaml").code == 0
    killed(folder, 6, "--refresh", "src")
    assert petal("run", "p.yaml", "--resume").code == 0
    assert calls(folder)["src"] == 2


# -- code ---------------------------------------------------------------------------------------------------------

CODE = (
    READER
    + """

FACTOR = 2


def helper(x: int) -> int:
    return FACTOR * x


@cache
def double(context: Context, xs: list[int]) -> list[int]:
    step(context.node_id)
    return [helper(x) for x in xs]
"""
)
WITH_CODE = """\
plugins: [./ops.py]
nodes:
  - {id: src, type: load_cached, params: {path: in.txt}}
  - {id: mail, type: send, inputs: {xs: src}}
  - {id: twice, type: double, inputs: {xs: src}, after: [mail]}
  - {id: out, type: write, inputs: {xs: twice}, params: {path: out1.txt}}
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[helper(x) for", "[helper(x + 1) for"),
        ("FACTOR * x", "FACTOR * x + 1"),
        ("FACTOR = 2", "FACTOR = 3"),
    ],
)
def test_only_what_a_change_reaches_has_other_code(folder: Path, petal: Petal, old: str, new: str) -> None:
    """Of the operators of one file, those are named and run again that what changed belongs to or is used by."""
    (folder / "ops.py").write_text(CODE)
    (folder / "p.yaml").write_text(WITH_CODE)
    killed(folder, 4)
    assert old in CODE
    (folder / "ops.py").write_text(CODE.replace(old, new))
    ran = petal("run", "p.yaml", "--resume")
    assert ran.code == 1
    assert "`twice` has other code" in ran.err
    assert not any(f"`{name}` has" in ran.err for name in ("src", "mail", "out"))
    assert "`--force`" in ran.err
    killed(folder, 6, "--resume", "--force")
    assert petal("run", "p.yaml", "--resume").code == 0
    assert (calls(folder)["src"], calls(folder)["mail"], calls(folder)["twice"]) == (1, 1, 2)
    assert (folder / "out1.txt").read_text() != "2\n4\n"


def test_comments_change_nothing(folder: Path, petal: Petal) -> None:
    """A file in which only comments, docstrings and unused functions have changed keeps no run from going on."""
    (folder / "ops.py").write_text(CODE)
    (folder / "p.yaml").write_text(WITH_CODE)
    killed(folder, 4)
    (folder / "ops.py").write_text(
        '"""Changed."""\n# and this\n' + CODE.partition("\n")[2] + "\ndef more(): ...\n"
    )
    assert petal("run", "p.yaml", "--resume").code == 0
    assert calls(folder)["src"] == 1


def test_only_a_pipeline_s_own_python_is_recorded(folder: Path, petal: Petal) -> None:
    """What this process has loaded for another pipeline is no part of the record of a run, however large it is."""
    other = folder / "other"
    other.mkdir()
    (other / "ops.py").write_text(CODE + f"\nPADDING = {'x' * 300_000!r}\n")
    (other / "p.yaml").write_text(
        "plugins: [./ops.py]\nnodes:\n  - {id: src, type: load, params: {path: ../in.txt}}\n"
    )
    mine = folder / "mine"
    mine.mkdir()
    (mine / "ops.py").write_text(CODE)
    (mine / "p.yaml").write_text(WITH_CODE.replace("in.txt", "../in.txt"))
    assert petal("run", "other/p.yaml").code == 0
    assert petal("run", "mine/p.yaml").code == 0
    (journal,) = (mine / ".petal" / "runs").glob("*.jsonl")
    request = json.loads(journal.read_text().splitlines()[0])["request"]
    assert list(request["code"]) == list(request["sources"]) == [str(mine / "ops.py")]


def test_what_a_file_does_by_itself_counts_for_all(folder: Path, petal: Petal) -> None:
    """A statement that defines no name may change anything, so every operator of the files counts as changed."""
    (folder / "ops.py").write_text(CODE)
    (folder / "p.yaml").write_text(WITH_CODE)
    killed(folder, 4)
    (folder / "ops.py").write_text(CODE + "\nif FACTOR:\n    FACTOR += 1\n")
    ran = petal("run", "p.yaml", "--resume")
    assert all(f"`{name}` has other code" in ran.err for name in ("src", "mail", "twice", "out"))


def test_an_operator_that_is_wrapped(folder: Path, petal: Petal) -> None:
    """What wraps a function counts for it, though the operator goes by the function's own name."""
    wrapped = READER + (
        "\n\nfrom functools import wraps\n\n\ndef wrap(f):\n    @wraps(f)\n    def g(context: Context, xs: list[int]) -> list[int]:\n"
        "        return [x + 0 for x in f(context, xs)]\n\n    return g\n\n\n"
        "def quiet(context: Context, xs: list[int]) -> list[int]:\n    step(context.node_id)\n    return xs\n\n\n"
        "loud = cache(wrap(quiet))\n"
    )
    (folder / "ops.py").write_text(wrapped)
    (folder / "p.yaml").write_text(
        "plugins: [./ops.py]\nnodes:\n  - {id: src, type: load_cached, params: {path: in.txt}}\n  - {id: same, type: quiet, inputs: {xs: src}}\n"
        "  - {id: w1, type: write, inputs: {xs: same}, params: {path: out1.txt}}\n"
    )
    killed(folder, 3)
    (folder / "ops.py").write_text(wrapped.replace("x + 0", "x + 5"))
    assert "`same` has other code" in petal("run", "p.yaml", "--resume").err
    assert petal("run", "p.yaml", "--resume", "--force").code == 0
    assert (folder / "out1.txt").read_text() == "6\n7\n"
