"""`petal run --resume`: what is stored is used again, the rest runs, and the bytes are those of an undisturbed run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petal import Pipeline
from petal.errors import ResumeError
from tests.cli.conftest import ENVIRONMENT, PETAL, Ran
from tests.cli.resumable import OPERATORS, calls, go_on, make_pipeline, stop_at, written

Petal = Callable[..., Ran]

SMALL = """\
plugins: [./ops.py]
nodes:
  - {id: first, type: make}
  - {id: paid, type: charge, inputs: {xs: [first]}}
  - {id: mail, type: send, inputs: {xs: paid}, after: [more]}
  - {id: more, type: keep, inputs: {xs: [paid]}}
  - {id: last, type: add, inputs: {xs: [more]}, after: [mail]}
  - {id: out, type: write, inputs: {xs: last}, params: {path: out.txt}}
"""
#: The calls of SMALL, in order.
FIRST, PAID, MORE, MAIL, LAST, OUT = range(1, 7)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder with the pipeline SMALL, whose nodes run one after the other."""
    (tmp_path / "ops.py").write_text(OPERATORS)
    (tmp_path / "p.yaml").write_text(SMALL)
    return tmp_path


def killed(folder: Path, number: int, *args: str) -> None:
    """Run a pipeline that is killed at a call."""
    stop_at(folder, "kill", number)
    ran = subprocess.run(
        [*PETAL, "run", "p.yaml", "-q", *args], check=False, cwd=folder, env=ENVIRONMENT, capture_output=True
    )
    assert ran.returncode == -9, ran.stderr.decode()
    go_on(folder)


def nodes_of(petal: Petal) -> dict[str, Any]:
    """Return what `petal show` says of the last run's nodes."""
    return {node["id"]: node for node in petal("show", "last", "--json").data["nodes"]}


# -- what runs again, and what does not ---------------------------------------------------------------------------


def test_what_is_stored_does_not_run_again(small: Path, petal: Petal) -> None:
    """A run that is killed goes on under its id: stored outputs, committed files and finished effects are kept."""
    killed(small, LAST)
    ran = petal("run", "p.yaml", "--resume", "--json")
    assert ran.code == 0, ran.err
    assert calls(small) == {"first": 1, "paid": 1, "more": 1, "mail": 1, "last": 2, "out": 1}
    run = petal("show", "last", "--json").data
    assert (run["run"], run["resumed"], run["status"]) == (ran.data["run_id"], 1, "succeeded")
    assert f"resuming run {run['run']}: 4 of 6 nodes are done" in ran.err


def test_what_a_killed_run_was_at(small: Path, petal: Petal) -> None:
    """`petal show` tells what was cut off from what had not begun, and an effect of which nobody knows from both."""
    killed(small, LAST)
    told = {name: node["status"] for name, node in nodes_of(petal).items()}
    assert told == {
        "first": "succeeded",
        "paid": "succeeded",
        "more": "succeeded",
        "mail": "succeeded",
        "last": "interrupted",
        "out": "pending",
    }
    assert "1 interrupted" in petal("runs").out


def test_an_effect_that_a_killed_run_was_at(small: Path, petal: Petal) -> None:
    """Nobody knows what it did: `petal show` says so, and how to go on."""
    killed(small, PAID)
    assert nodes_of(petal)["paid"]["status"] == "unknown"
    assert "--rerun paid" in petal("show", "last").out


def test_the_result_shows_all_nodes(small: Path, petal: Petal) -> None:
    """Nodes that are used again are `succeeded`, `cached`, without an attempt; those that ran are as always."""
    killed(small, LAST)
    nodes = petal("run", "p.yaml", "--resume", "--json").data["nodes"]
    assert list(nodes) == ["first", "paid", "more", "mail", "last", "out"]
    told = {name: (node["status"], node["cached"], node["attempts"]) for name, node in nodes.items()}
    assert told == {
        **dict.fromkeys(["first", "paid", "more", "mail"], ("succeeded", True, 0)),
        **dict.fromkeys(["last", "out"], ("succeeded", False, 1)),
    }
    assert nodes["more"]["rows"] == 5


def test_a_committed_file_is_not_written_again(small: Path, petal: Petal) -> None:
    """Of two sinks, the one that has published its file before the kill is left alone, unless its file has changed."""
    with (small / "p.yaml").open("a") as file:
        file.write("  - {id: two, type: write, inputs: {xs: last}, params: {path: two.txt}, after: [out]}\n")
    killed(small, OUT + 1)
    before = (small / "out.txt").stat()
    assert petal("run", "p.yaml", "--resume").code == 0
    assert (small / "out.txt").stat().st_ino == before.st_ino
    assert calls(small)["out"] == 1
    for folder in (".petal", "calls.txt"):
        shutil.rmtree(small / folder) if folder == ".petal" else (small / folder).unlink()
    killed(small, OUT + 1)
    (small / "out.txt").write_text("somebody else's")
    assert petal("run", "p.yaml", "--resume").code == 0
    assert (small / "out.txt").read_bytes() == (small / "two.txt").read_bytes()


@pytest.mark.parametrize("lost", ["more", None])
def test_an_output_that_is_gone_is_made_again(small: Path, petal: Petal, lost: str | None) -> None:
    """A pure node whose output is not there any more runs again; one that must not run twice is asked about."""
    killed(small, LAST)
    assert petal("cache", "clear", *([lost] if lost else [])).code == 0
    ran = petal("run", "p.yaml", "--resume")
    if lost:
        assert ran.code == 0
        assert (calls(small)["paid"], calls(small)["more"]) == (1, 2)
    else:
        assert ran.code == 1
        assert "`paid` has run, but its output, which `more` needs, is not stored" in ran.err


def test_a_failed_run_goes_on_once_its_cause_is_gone(small: Path, petal: Petal) -> None:
    """A node that failed runs again, as often as the run is resumed; what came before it does not."""
    stop_at(small, "fail", MORE)
    first = petal("run", "p.yaml")
    assert first.code == 1
    stop_at(small, "fail", MORE + 1)
    assert petal("run", "p.yaml", "--resume").code == 1
    go_on(small)
    assert petal("run", "p.yaml", "--resume").code == 0
    assert calls(small) == {"first": 1, "paid": 1, "more": 3, "mail": 1, "last": 1, "out": 1}


@pytest.mark.slow
def test_recovery_is_idempotent(small: Path, petal: Petal) -> None:
    """A resume that is killed is resumed in turn, any number of times (F18)."""
    killed(small, MORE)
    killed(small, MORE + 1, "--resume")
    killed(small, MORE + 2, "--resume")
    assert petal("run", "p.yaml", "--resume").code == 0
    assert calls(small) == {"first": 1, "paid": 1, "more": 4, "mail": 1, "last": 1, "out": 1}


def test_killed_between_its_last_node_and_its_end(small: Path, petal: Petal) -> None:
    """A run whose nodes are all done, but not its record, ends well without running any."""
    killed(small, LAST)
    assert petal("run", "p.yaml", "--resume").code == 0
    (journal,) = (small / ".petal/runs").glob("*.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    assert b'"runfinished"' in lines[-1]
    journal.write_bytes(b"".join(lines[:-1]))
    before = calls(small)
    ran = petal("run", "p.yaml", "--resume")
    assert (ran.code, calls(small)) == (0, before), ran.err
    assert nodes_of(petal)["out"]["status"] == "succeeded"


# -- nodes that must not run twice --------------------------------------------------------------------------------


def test_an_unknown_effect_stops_the_resume(small: Path, petal: Petal) -> None:
    """Killed inside a `once` node: nothing runs before somebody says what became of it, and it says how."""
    killed(small, MAIL)
    before = calls(small)
    ran = petal("run", "p.yaml", "--resume")
    assert (ran.code, calls(small)) == (1, before)
    assert re.search(
        r"`mail` was started at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC; whether it did its work is not", ran.err
    )
    assert "`--rerun mail`" in ran.err
    assert "`--assume-done mail`" in ran.err


@pytest.mark.parametrize(("option", "sent"), [("--rerun", 2), ("--assume-done", 1)])
def test_an_unknown_effect_is_settled_by_its_owner(small: Path, petal: Petal, option: str, sent: int) -> None:
    """`--rerun` makes the effect again, `--assume-done` does not; either way the rest of the run goes on."""
    killed(small, MAIL)
    assert petal("run", "p.yaml", "--resume", option, "mail").code == 0
    assert len((small / "sent.txt").read_text().splitlines()) == sent
    assert (small / "out.txt").exists()


def test_what_was_assumed_is_remembered(small: Path, petal: Petal) -> None:
    """What was said of a node holds for the next resume as well."""
    killed(small, MAIL)
    killed(small, MAIL + 1, "--resume", "--assume-done", "mail")
    assert petal("run", "p.yaml", "--resume").code == 0
    assert calls(small)["mail"] == 1


def test_a_node_whose_output_is_needed_cannot_be_assumed_done(small: Path, petal: Petal) -> None:
    """A `once` node that others take something from can only run again."""
    killed(small, PAID)
    ran = petal("run", "p.yaml", "--resume")
    assert "`--rerun paid`" in ran.err
    assert "--assume-done" not in ran.err
    ran = petal("run", "p.yaml", "--resume", "--assume-done", "paid")
    assert ran.code == 1
    assert "`paid` is assumed to be done, but its output, which `more` needs, is not stored" in ran.err
    assert petal("run", "p.yaml", "--resume", "--rerun", "paid").code == 0


def test_an_effect_is_not_repeated_because_something_before_it_is(small: Path, petal: Petal) -> None:
    """`--rerun` of a node before a finished effect is refused until somebody says what is to become of the effect."""
    killed(small, LAST)
    before = calls(small)
    ran = petal("run", "p.yaml", "--resume", "--rerun", "more")
    assert (ran.code, calls(small)) == (1, before)
    assert "`mail` has run or may have" in ran.err
    ran = petal("run", "p.yaml", "--resume", "--rerun", "more", "--assume-done", "mail")
    assert ran.code == 0
    assert (calls(small)["more"], calls(small)["mail"]) == (2, 1)


def test_an_output_that_cannot_be_stored(tmp_path: Path, petal: Petal) -> None:
    """What no codec takes is not stored: the run warns of it, and the resume names the node."""
    (tmp_path / "ops.py").write_text(
        OPERATORS + "\n\nclass Thing:\n    n = 1\n\n\n"
        '@operator(effects="once")\ndef thing(context: Context) -> Thing:\n    step("thing")\n    return Thing()\n\n\n'
        '@operator\ndef look(context: Context, x: Thing) -> list[int]:\n    step("look")\n    return [x.n]\n'
    )
    (tmp_path / "p.yaml").write_text(
        "plugins: [./ops.py]\nnodes:\n  - {id: thing, type: thing}\n  - {id: look, type: look, inputs: {x: thing}}\n"
        "  - {id: out, type: write, inputs: {xs: look}, params: {path: out.txt}}\n"
    )
    stop_at(tmp_path, "fail", 2)
    assert "its output is not stored" in petal("run", "p.yaml").err
    go_on(tmp_path)
    ran = petal("run", "p.yaml", "--resume")
    assert ran.code == 1
    assert "`thing` has run, but its output, which `look` needs, is not stored" in ran.err
    assert petal("run", "p.yaml", "--resume", "--rerun", "thing").code == 0


# -- refusals -----------------------------------------------------------------------------------------------------


def test_changed_code_is_refused(small: Path, petal: Petal) -> None:
    """Code that has changed since is named, with its file; `--force` runs it again, and keeps what is not behind it."""
    stop_at(small, "fail", MORE)
    petal("run", "p.yaml")
    go_on(small)
    ops = small / "ops.py"
    ops.write_text(OPERATORS.replace("2 * x", "20 * x"))
    before = calls(small)
    ran = petal("run", "p.yaml", "--resume")
    assert (ran.code, calls(small)) == (1, before)
    assert "`more` has other code" in ran.err
    assert f"{ops} has changed" in ran.err
    assert "`paid`" not in ran.err
    ops.write_text(OPERATORS.replace("2 * x", "20 * x").replace("x + 1", "x + 2"))
    assert petal("run", "p.yaml", "--resume", "--force").code == 1  # `paid` must not run twice
    assert petal("run", "p.yaml", "--resume", "--force", "--rerun", "paid").code == 0
    assert calls(small)["paid"] == 2


def test_changed_configuration_is_refused(small: Path, petal: Petal) -> None:
    """A parameter that has changed since is named; with `--force` its node and what is behind it run with the new one."""
    stop_at(small, "fail", OUT)
    petal("run", "p.yaml")
    go_on(small)
    (small / "p.yaml").write_text(SMALL.replace("out.txt", "out9.txt"))
    ran = petal("run", "p.yaml", "--resume")
    assert ran.code == 1
    assert "`out` has other parameters or policies" in ran.err
    assert "`last`" not in ran.err
    assert petal("run", "p.yaml", "--resume", "--force").code == 0
    assert list(written(small)) == ["out9.txt"]
    assert (calls(small)["paid"], calls(small)["mail"]) == (1, 1)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("{xs: [more]}", "{xs: [more, more]}", "`last` has other inputs"),
        ("{id: last, type: add", "{id: last, type: keep", "`last` was a `Add` and is a `Keep`"),
        ("{id: out, ", "{id: sink, ", "`out` is gone"),
    ],
)
def test_a_changed_pipeline_is_refused(small: Path, petal: Petal, old: str, new: str, told: str) -> None:
    """Nodes that came, went, or take something else are named."""
    stop_at(small, "fail", LAST)
    petal("run", "p.yaml")
    assert old in SMALL
    (small / "p.yaml").write_text(SMALL.replace(old, new))
    ran = petal("run", "p.yaml", "--resume")
    assert ran.code == 1
    assert told in ran.err


def test_a_run_that_succeeded_is_not_resumed(small: Path, petal: Petal) -> None:
    """There is nothing to resume in a run that has ended well."""
    assert petal("run", "p.yaml").code == 0
    ran = petal("run", "p.yaml", "--resume")
    assert ran.code == 1
    assert "has succeeded: there is nothing left to do" in ran.err


def test_a_run_that_lives_is_not_resumed(small: Path, petal: Petal) -> None:
    """Two processes never go on with one run."""
    (small / "ops.py").write_text(
        OPERATORS.replace("    return [sum(", "    import time\n\n    time.sleep(60)\n    return [sum(")
    )
    with subprocess.Popen(
        [*PETAL, "run", "p.yaml"], cwd=small, env=ENVIRONMENT, stderr=subprocess.PIPE
    ) as running:
        try:
            while calls(small)["last"] == 0:
                assert running.poll() is None
            ran = petal("run", "p.yaml", "--resume")
            assert ran.code == 1
            assert "has not ended" in ran.err
        finally:
            running.kill()


def test_there_is_no_run_to_resume(small: Path, petal: Petal) -> None:
    """Without a run of this file there is nothing to resume, also where other files have one."""
    ran = petal("run", "p.yaml", "--resume")
    assert ran.code == 2
    assert "no run of 'p.yaml' is recorded" in ran.err
    (small / "q.yaml").write_text(SMALL)
    stop_at(small, "fail", FIRST)
    petal("run", "q.yaml")
    assert petal("run", "p.yaml", "--resume").code == 2
    other = petal("runs", "--json").data[0]["run"]
    ran = petal("run", "p.yaml", "--resume", other)
    assert ran.code == 1
    assert f"run {other} is one of" in ran.err


def test_options_that_need_a_resumed_run(small: Path, petal: Petal) -> None:
    """What only a resumed run can be told is refused elsewhere."""
    for args in (["--rerun", "mail"], ["--assume-done", "mail"], ["--force"], ["--resume", "--dry-run"]):
        ran = petal("run", "p.yaml", *args)
        assert ran.code == 2, args
    assert calls(small) == {}
    stop_at(small, "fail", FIRST)
    petal("run", "p.yaml")
    ran = petal("run", "p.yaml", "--resume", "--rerun", "mial")
    assert ran.code == 2
    assert "did you mean `mail`?" in ran.err


# -- what was asked for -------------------------------------------------------------------------------------------

ASKING = """\
plugins: [./ops.py]
params: {name: out.txt}
nodes:
  - {id: first, type: make}
  - {id: last, type: add, inputs: {xs: [first]}}
  - {id: out, type: write, inputs: {xs: last}, params: {path: "${params.name}"}}
  - {id: other, type: write, inputs: {xs: last}, params: {path: out2.txt}}
"""


def test_what_was_asked_for_is_asked_for_again(
    small: Path, petal: Petal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parameters and targets of the first run hold, wherever the resume is started; other ones are refused."""
    (small / "p.yaml").write_text(ASKING)
    stop_at(small, "fail", 2)
    assert petal("run", "p.yaml", "--param", "name=out7.txt", "--target", "out").code == 1
    go_on(small)
    ran = petal("run", "p.yaml", "--resume", "--param", "name=out8.txt")
    assert ran.code == 1
    assert "the run was not asked for this: param `name`" in ran.err
    (small / "elsewhere").mkdir()
    monkeypatch.chdir(small / "elsewhere")
    assert petal("run", "../p.yaml", "--resume", "--param", "name=out7.txt").code == 0
    assert list(written(small)) == ["out7.txt"]


def test_a_damaged_journal_is_not_trusted(small: Path, petal: Petal) -> None:
    """Where a record is damaged, nobody knows what it said: the resume is refused, unless it is forced."""
    killed(small, LAST)
    (journal,) = (small / ".petal/runs").glob("*.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if b'"nodefinished"' in line and b'"first"' in line)
    lines[at] = lines[at].replace(b"succeeded", b"SUCCEEDED")
    journal.write_bytes(b"".join(lines))
    ran = petal("run", "p.yaml", "--resume")
    assert ran.code == 1
    assert f"record {at + 1} (bytes" in ran.err
    assert petal("run", "p.yaml", "--resume", "--force").code == 0


def test_the_worker_of_an_effect_dies(small: Path, petal: Petal) -> None:
    """A `once` node in a worker process that is killed is unknown, and the resume asks about it."""
    (small / "p.yaml").write_text(
        SMALL.replace("inputs: {xs: paid}, after", "timeout: 60s, inputs: {xs: paid}, after")
    )
    stop_at(small, "kill", MAIL)
    ran = petal("run", "p.yaml", "--json")
    assert ran.data["nodes"]["mail"]["status"] == "unknown"
    go_on(small)
    assert "`mail` was started at" in petal("run", "p.yaml", "--resume").err
    assert petal("run", "p.yaml", "--resume", "--assume-done", "mail").code == 0
    assert calls(small)["mail"] == 1


# -- Python ---------------------------------------------------------------------------------------------------------


def test_resume_in_python(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run(resume=...)` gives the outputs of all targets, those that are stored included."""
    monkeypatch.chdir(small)
    (small / "p.yaml").write_text(
        SMALL + "  - {id: leaf, type: keep, inputs: {xs: [paid]}, params: {salt: 1}}\n"
    )
    whole = Pipeline.from_file("p.yaml").run(home="other").check().outputs["leaf"]
    (small / "calls.txt").unlink()
    stop_at(small, "fail", OUT + 1)
    first = Pipeline.from_file("p.yaml").run()
    assert first.status == "failed"
    go_on(small)
    result = Pipeline.from_file("p.yaml").run(resume=first.run_id[:20]).check()
    assert result.run_id == first.run_id
    assert result.outputs["leaf"] == whole
    with pytest.raises(ResumeError, match="has succeeded"):
        Pipeline.from_file("p.yaml").run(resume="last")


GIVEN = """\
plugins: [./ops.py]
inputs: [numbers]
nodes:
  - {id: first, type: make}
  - {id: last, type: add, inputs: {xs: [numbers, first]}}
  - {id: out, type: write, inputs: {xs: last}, params: {path: out.txt}}
"""


def test_values_that_are_not_recorded(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was given as an object of Python has to be given again, and so has an override."""
    monkeypatch.chdir(small)
    (small / "p.yaml").write_text(GIVEN)
    inputs, overrides = {"numbers": (1, 2)}, {"first": [7, 8]}
    stop_at(small, "fail", 2)
    assert Pipeline.from_file("p.yaml").run(inputs=inputs, overrides=overrides).status == "failed"
    go_on(small)
    with pytest.raises(ResumeError, match="`numbers` is not recorded"):
        Pipeline.from_file("p.yaml").run(resume="last", overrides=overrides)
    with pytest.raises(ResumeError, match="not asked for this: overrides"):
        Pipeline.from_file("p.yaml").run(resume="last", inputs=inputs)
    Pipeline.from_file("p.yaml").run(resume="last", inputs=inputs, overrides=overrides).check()
    assert (small / "out.txt").read_text() == "8\n10\n"


# -- everything at once -------------------------------------------------------------------------------------------


def _settle(folder: Path, *, limit: int = 12) -> None:
    """Resume a run until it has ended, saying of each node that is asked about that it is to run again."""
    said: list[str] = []
    for _ in range(limit):
        ran = subprocess.run(
            [*PETAL, "run", "p.yaml", "-q", "--resume", *said],
            check=False,
            cwd=folder,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
        )
        if ran.returncode == 0:
            return
        asked = re.findall(r"--rerun (\w+)", ran.stderr)
        assert asked, ran.stderr
        said += [text for name in asked for text in ("--rerun", name)]
    raise AssertionError("the run does not come to its end")


def _stored(folder: Path) -> set[str]:
    """Return the nodes of which something is stored."""
    shown = subprocess.run(
        [*PETAL, "show", "last", "--json"], check=True, cwd=folder, env=ENVIRONMENT, capture_output=True
    )
    return {node["id"] for node in json.loads(shown.stdout)["nodes"] if node["stored"]}


@pytest.mark.parametrize(
    "seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 24))]
)
def test_killed_at_a_random_node(seed: int, tmp_path: Path) -> None:
    """Killed at a node of a random pipeline and resumed: the bytes are the same, and what was stored ran once (G3, G9)."""
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    make_pipeline(seed, whole)
    make_pipeline(seed, folder)
    subprocess.run([*PETAL, "run", "p.yaml", "-q"], cwd=whole, env=ENVIRONMENT, check=True)
    killed(folder, 1 + (seed * 7) % sum(calls(whole).values()))
    stored, before = _stored(folder), calls(folder)
    _settle(folder)
    assert written(folder) == written(whole)
    assert {name: calls(folder)[name] for name in stored} == {name: before[name] for name in stored}
    assert all(calls(folder)[name] >= 1 for name in calls(whole) if name not in stored)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), stops=st.lists(st.integers(1, 8), min_size=1, max_size=3))
@pytest.mark.slow
def test_failing_again_and_again(
    seed: int, stops: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A run that fails at any node, and at any node of its resumes, ends with the bytes of an undisturbed one."""
    folder = tmp_path_factory.mktemp("run")
    whole = tmp_path_factory.mktemp("whole")
    count = make_pipeline(seed, folder)
    make_pipeline(seed, whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(whole)
        Pipeline.from_file("p.yaml").run().check()
        patch.chdir(folder)
        resume = None
        for number in stops:
            stop_at(folder, "fail", sum(calls(folder).values()) + number)
            result = Pipeline.from_file("p.yaml").run(resume=resume)
            if result.status == "succeeded":
                break
            resume = "last"
        else:
            go_on(folder)
            result = Pipeline.from_file("p.yaml").run(resume="last").check()
    assert written(folder) == written(whole)
    assert len(result.nodes) == count
    shutil.rmtree(folder)
    shutil.rmtree(whole)
