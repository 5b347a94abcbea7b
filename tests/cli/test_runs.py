"""`petal runs` and `petal show`: what is recorded, as text and as JSON, from a folder below as well (S8.2)."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from petal.data.home import Home
from petal.data.journal import JournalFile, next_number
from petal.spec import redaction
from petal.spec.event import (
    AttemptFailed,
    AttemptSubmitted,
    NodeFinished,
    NodeStored,
    PlannedNode,
    RunFinished,
    RunPlanned,
    Status,
    Target,
)

RUNS = ("20261123T120000Z-0badcafe", "20261123T120500Z-00c0ffee", "20261124T000000Z-5eedbed5")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Three runs: one that succeeded, one that failed after two attempts, one that died."""
    home = Home(tmp_path / ".petal").create()
    for at, run in enumerate(RUNS):
        journal = JournalFile(home.runs / f"{run}.jsonl")
        nodes = (PlannedNode("load", "FileReader"), PlannedNode("score", "Score", "docker", inputs=("load",)))
        journal.append(
            RunPlanned(
                run, 1_795_000_000.0 + at, next_number(home.runs), "scores", "scores.yaml", "/data",
                {"params": {"limit": 5}, "targets": []}, nodes, "0.1", "3.11.7", os.getpid(), "box",
            )
        )  # fmt: skip
        journal.append(
            NodeFinished(run, time.time(), "load", "FileReader", Status.SUCCEEDED, 0.25, rows=1_234)
        )
        journal.append(AttemptSubmitted(run, time.time(), "score", 1, "docker", "k"))
        if at == 1:
            failed = AttemptFailed(run, time.time(), "score", 1, "docker", "infrastructure", "no daemon", 1.5)
            journal.append(failed)
            journal.append(
                NodeFinished(
                    run, time.time(), "score", "Score", Status.FAILED, 2.0, 2, "local", error="bad row\x1b[2J", kind="user"
                )
            )  # fmt: skip
            journal.append(RunFinished(run, time.time(), Status.FAILED, 2.5, {}))
        if at == 0:
            journal.append(
                NodeFinished(run, time.time(), "score", "Score", Status.SUCCEEDED, 1.0, 1, "docker")
            )
            journal.append(
                NodeStored(run, time.time(), "score", targets=(Target("/out/x.csv", "sha256:ab", 5_000),))
            )
            journal.append(RunFinished(run, time.time(), Status.SUCCEEDED, 1.5, {}))
        journal.close()
    return home


def test_the_runs_are_listed_the_last_first(petal, home):
    """Seam A: id, status, time, pipeline and nodes of each, on stdout."""
    ran = petal("runs")
    lines = ran.out.splitlines()
    assert (ran.code, ran.err) == (0, "")
    assert [line.split()[:2] for line in lines[1:]] == [
        [RUNS[2], "died"],
        [RUNS[1], "failed"],
        [RUNS[0], "succeeded"],
    ]
    assert "2 succeeded" in lines[3]
    assert lines[3].split()[4:6] == ["1.50s", "scores"]


def test_a_limit_says_what_it_leaves_out(petal, home):
    """Seam A: data to stdout, the remark to stderr."""
    ran = petal("runs", "--limit", "1")
    assert len(ran.out.splitlines()) == 2
    assert "2 older" in ran.err


def test_they_are_found_from_below_and_by_name(petal, home, tmp_path, monkeypatch):
    """S8.2: commands search upward, or take --home or $PETAL_HOME."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert len(petal("runs", "--json").data) == 3
    monkeypatch.chdir("/")
    ran = petal("runs")
    assert ran.code == 2
    assert "there is no `.petal` folder here or above" in ran.err
    assert "--home" in ran.err
    assert len(petal("runs", "--home", str(home.path), "--json").data) == 3
    monkeypatch.setenv("PETAL_HOME", str(home.path))
    assert len(petal("runs", "--json").data) == 3
    assert petal("runs", "--home", str(tmp_path / "none")).code == 2


def test_json_has_the_same_facts(petal, home):
    """DESIGN 9: --json wherever something is printed."""
    listed = petal("runs", "--json").data
    assert [r["run"] for r in listed] == list(reversed(RUNS))
    assert "nodes" not in listed[0]
    shown = petal("show", "--json", RUNS[1]).data
    assert (shown["status"], shown["counts"], shown["request"]) == (
        "failed",
        {"succeeded": 1, "failed": 1},
        {"params": {"limit": 5}, "targets": []},
    )
    attempts = shown["nodes"][1]["attempts"]
    assert [(a["backend"], a["status"], a["kind"], a["wait"]) for a in attempts] == [
        ("docker", "failed", "infrastructure", 1.5),
        ("local", "failed", "user", None),
    ]


def test_a_run_is_shown_with_attempts_errors_and_files(petal, home):
    """Seam A: where each attempt ran, rows, durations, errors; control characters cannot steer the terminal."""
    failed = petal("show", "20261123T1205").out
    assert f"{RUNS[1]}  failed after 2.50s" in failed
    assert "params: limit=5" in failed
    assert "1,234" in failed
    assert "attempt 1 on docker: failed (infrastructure): no daemon; the next one 1.5s later" in failed
    assert "attempt 2 on local: failed (user): bad row" in failed
    assert "\x1b" not in failed
    succeeded = petal("show", RUNS[0]).out
    assert "wrote /out/x.csv  5,000 bytes  sha256:ab" in succeeded
    died = petal("show", "last").out
    assert f"{RUNS[2]}  died" in died


def test_a_run_that_is_not_there_is_a_clear_error(petal, home):
    """S5.8: none, or more than one; exit code 2."""
    for wanted, says in (("nope", "there is no run `nope`"), ("20261123", f"{RUNS[1]}, {RUNS[0]}")):
        ran = petal("show", wanted)
        assert ran.code == 2
        assert says in ran.err
        assert "hint" in ran.err


def test_a_secret_in_an_old_journal_is_hidden_on_showing(petal, home, monkeypatch):
    """FAULTS 3.5: what was no secret when it was recorded is hidden where it is shown as text."""
    monkeypatch.setattr(redaction, "_hidden", [])
    redaction.hide("no daemon")
    assert "no daemon" not in petal("show", RUNS[1]).out


def test_pruning_takes_a_count_or_an_age(petal, home):
    """Seam A: it says how many went; without either nothing goes."""
    assert petal("runs", "prune").code == 2
    assert petal("runs", "prune", "--older-than", "soon").code == 2
    assert petal("runs", "prune", "--older-than", "30d").out == "0 runs removed\n"
    assert petal("runs", "prune", "--keep", "2", "--json").data == [RUNS[0]]
    assert petal("runs", "--home", str(home.path), "prune", "--older-than", "0").out == "2 runs removed\n"
    assert petal("runs").out == "no run is recorded yet\n"


def test_another_users_folder_is_not_read(petal, home):
    """F81: what others may have planted is refused with exit code 4."""
    home.path.chmod(0o777)
    ran = petal("runs")
    assert ran.code == 4
    assert "chmod 700" in ran.err
