"""`petal replay`: one recorded node runs again, here, with what it was given."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import ENVIRONMENT, PETAL, Ran
from tests.cli.resumable import OPERATORS, calls, go_on, stop_at

Petal = Callable[..., Ran]

PIPELINE = """\
plugins: [./ops.py]
nodes:
  - {id: first, type: make}
  - {id: paid, type: charge, inputs: {xs: [first]}}
  - {id: sum, type: add, inputs: {xs: [paid]}, retry: {max_attempts: 2, delay: 0.01}}
  - {id: last, type: add, inputs: {xs: [sum, paid]}, after: [mail]}
  - {id: mail, type: send, inputs: {xs: paid}, after: [sum]}
  - {id: out, type: write, inputs: {xs: last}, params: {path: out.txt}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a pipeline of counted operators."""
    (tmp_path / "ops.py").write_text(OPERATORS)
    (tmp_path / "p.yaml").write_text(PIPELINE)
    return tmp_path


def test_a_node_runs_with_its_recorded_input(folder: Path, petal: Petal) -> None:
    """The node alone runs, with the output that was stored; it gives what it gave, and nothing is recorded."""
    assert petal("run", "p.yaml").code == 0
    before, journals = calls(folder), sorted((folder / ".petal/runs").iterdir())
    texts = [journal.read_bytes() for journal in journals]
    ran = petal("replay", "last", "sum")
    assert ran.code == 0
    assert ran.out.count(",") == 4
    assert "recorded output is used of: paid" in ran.err
    assert calls(folder) - before == {"sum": 1}
    assert [journal.read_bytes() for journal in sorted((folder / ".petal/runs").iterdir())] == texts


def test_what_is_not_stored_is_made_first(folder: Path, petal: Petal) -> None:
    """Where an input is not stored its ancestors run first, and replay says so; what only comes before does not run."""
    assert petal("run", "p.yaml").code == 0
    before = calls(folder)
    ran = petal("replay", "last", "last")
    assert ran.code == 0
    assert "runs first, as its output is not stored: sum" in ran.err
    assert calls(folder) - before == {"sum": 1, "last": 1}


def test_a_failing_node_fails_in_one_attempt(folder: Path, petal: Petal) -> None:
    """Replay is not retried: it shows the failure again; the run's own message gives the command for it."""
    stop_at(folder, "fail", 3)
    (folder / "p.yaml").write_text(PIPELINE.replace(", retry: {max_attempts: 2, delay: 0.01}", ""))
    ran = petal("run", "p.yaml")
    assert ran.code == 1
    run = petal("runs", "--json").data[0]["run"]
    assert f"  replay: petal replay {run} sum\n" in ran.err
    stop_at(folder, "fail", 4)
    ran = petal("replay", run, "sum")
    assert (ran.code, calls(folder)["sum"]) == (1, 2)
    assert "ValueError: stopped on purpose" in ran.err
    go_on(folder)
    assert petal("replay", run, "sum").code == 0


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        ("paid", "it must not run twice (`effects: once`)"),
        ("mail", "it must not run twice (`effects: once`)"),
        ("out", "out.txt` again"),
    ],
)
def test_effects_need_force(folder: Path, petal: Petal, node: str, reason: str) -> None:
    """A node that must not run twice, or that writes files, runs again only with --force."""
    assert petal("run", "p.yaml").code == 0
    before = calls(folder)
    ran = petal("replay", "last", node)
    assert (ran.code, calls(folder)) == (1, before)
    assert reason in ran.err
    (folder / "out.txt").write_text("old")
    ran = petal("replay", "last", node, "--force")
    assert ran.code == 0
    assert calls(folder)[node] == before[node] + 1
    if node == "out":
        assert f"is written again: {folder / 'out.txt'}" in ran.err
        assert (folder / "out.txt").read_text() != "old"


def test_an_ancestor_that_must_not_run_twice(folder: Path, petal: Petal) -> None:
    """An ancestor with effects whose output is gone keeps a node from being replayed."""
    assert petal("run", "p.yaml").code == 0
    petal("cache", "clear")
    ran = petal("replay", "last", "sum")
    assert ran.code == 1
    assert "`paid`, whose output is not stored, must not run twice" in ran.err


def test_changed_code_runs_and_is_told(folder: Path, petal: Petal) -> None:
    """What has changed since the run is said, and runs as it is now: that is what a replay is for."""
    assert petal("run", "p.yaml").code == 0
    before = petal("replay", "last", "sum")
    assert "has changed" not in before.err
    (folder / "ops.py").write_text(OPERATORS.replace("return [sum(column)", "return [0 * sum(column)"))
    ran = petal("replay", "last", "sum")
    assert "since then, `sum` has changed: it has other code" in ran.err
    assert ran.out.startswith("[0, 0, 0")


def test_a_python_file_is_found_again(folder: Path, petal: Petal) -> None:
    """The run of a pipeline in a Python file, one of several, is replayed from that file."""
    (folder / "two.py").write_text(
        "from petal import Pipeline, node\nimport ops\n"
        "one = Pipeline.of(node(ops.make, id='first'), node(ops.add, id='sum', inputs={'xs': ['first']}))\n"
        "other = Pipeline.of(node(ops.make, id='first'))\n"
    )
    assert petal("run", "two.py:one").code == 0
    ran = petal("replay", "last", "sum")
    assert ran.code == 0, ran.err
    assert calls(folder) == {"first": 2, "sum": 2}


def test_what_cannot_be_replayed(folder: Path, petal: Petal) -> None:
    """No such run, no such node: a usage error."""
    assert petal("run", "p.yaml").code == 0
    assert petal("replay", "last", "smu").code == 2
    assert "there is no run `2001`" in petal("replay", "2001", "sum").err


def test_the_debugger_opens_in_the_users_frame(folder: Path) -> None:
    """`--pdb` shows the line of the user's own code that failed, with its variables, whatever it called."""
    (folder / "ops.py").write_text(
        OPERATORS.replace("return [sum(column)", "import json\n    json.loads('{')\n    return [sum(column)")
    )
    environment = {**ENVIRONMENT, "PETAL_DISABLE_PLUGIN_AUTOLOAD": "1"}
    subprocess.run([*PETAL, "run", "p.yaml"], check=False, cwd=folder, env=environment, capture_output=True)
    ran = subprocess.run(
        [*PETAL, "replay", "last", "sum", "--pdb"],
        cwd=folder,
        env=environment,
        check=False,
        input="p len(xs[0])\nq\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 1
    assert "-> json.loads('{')" in ran.stdout
    assert "(Pdb) 5\n" in ran.stdout


def test_a_program_runs_where_it_ran(petal: Petal, tmp_path: Path) -> None:
    """S6.3: what speaks plain JSON has no operator here, so replay starts the program again where the node is placed."""
    (tmp_path / "ops.py").write_text(
        "from petal import hookimpl\nfrom petal.testing import FakeBackend\n\n\n"
        "@hookimpl\ndef petal_backends():\n    return [FakeBackend()]\n"
    )
    (tmp_path / "p.yaml").write_text(
        "plugins: [./ops.py]\nnodes:\n"
        "  - { id: one, type: Unheard, execution: { backend: fake, command: [echo, '[1, 2]'] } }\n"
        "  - { id: it, type: Unheard, inputs: { rows: one }, execution: { backend: fake, command: [cat] } }\n"
    )
    assert petal("run", "p.yaml").code == 0
    ran = petal("replay", "last", "it", "--force")
    assert (ran.code, ran.out) == (0, "[[1, 2]]\n")
