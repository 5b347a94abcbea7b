"""What runs have left is read back: how each ended, its attempts, and which are kept (S5.8, G16)."""

from __future__ import annotations

import os
import time

import msgspec
import pytest

from petal.data.home import Home
from petal.data.journal import JournalFile, next_number
from petal.errors import UsageError
from petal.metadata.history import History, RunRecord
from petal.spec.event import (
    AttemptFailed,
    AttemptSubmitted,
    Event,
    NodeFinished,
    NodeStarted,
    NodeStored,
    PlannedNode,
    RunFinished,
    RunPlanned,
    RunStarted,
    Status,
    Target,
)

NODES = (PlannedNode("a", "A"), PlannedNode("b", "B", "docker", effects="once"), PlannedNode("c", "C"))


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path / ".petal").create()


def planned(run: str, at: float = 10.0, **more) -> RunPlanned:
    return RunPlanned(run, at, pipeline="p", file="p.yaml", nodes=NODES, pid=os.getpid(), host="h", **more)


def journalled(home: Home, run: str, *events: Event, close: bool = True) -> JournalFile:
    path = home.runs / f"{run}.jsonl"
    journal = JournalFile(path, resume=path.exists())
    for event in events:
        journal.append(event)
    if close:
        journal.close()
    return journal


def read(home: Home, *events: Event) -> RunRecord:
    journalled(home, "r", *events)
    return History(home).read("r")


def test_a_run_that_ended_says_how(home):
    """Seam A: status, times, nodes with rows and attempts, and what was stored."""
    target = Target("/x", "sha256:00", 5)
    run = read(
        home,
        planned("r", request={"params": {"a": 1}}),
        RunStarted("r", 10.0, "p", 3),
        NodeStarted("r", 10.0, "a", "A"),
        NodeFinished("r", 10.5, "a", "A", Status.SUCCEEDED, 0.5, rows=7, cached=True),
        NodeFinished("r", 11.0, "b", "B", Status.SUCCEEDED, 0.5),
        NodeStored("r", 11.0, "b", targets=(target,)),
        NodeFinished("r", 12.0, "c", "C", Status.FAILED, 0.5, error="boom", kind="user"),
        RunFinished("r", 12.0, Status.FAILED, 2.0, {}),
    )
    a, b, c = run.nodes
    assert (run.status, run.started, run.seconds, run.resumed) == ("failed", 10.0, 2.0, 0)
    assert run.counts == {"succeeded": 2, "failed": 1}
    assert run.request == {"params": {"a": 1}}
    assert (a.rows, a.cached, a.attempts) == (7, True, [])
    assert (b.stored, b.targets) == (True, [target])
    assert (c.error, c.kind, c.attempts[0].error) == ("boom", "user", "boom")


def test_each_attempt_is_told_with_where_it_ran(home):
    """DESIGN 5: backends, errors, kinds and waits of all attempts; the last is the node's."""
    run = read(
        home,
        planned("r"),
        AttemptSubmitted("r", 1.0, "b", 1, "docker", "k"),
        AttemptFailed("r", 2.0, "b", 1, "docker", "infrastructure", "no daemon", 0.5),
        AttemptSubmitted("r", 3.0, "b", 2, "local", "k"),
        AttemptFailed("r", 4.0, "b", 2, "local", "user", "boom", None),
        NodeFinished("r", 4.0, "b", "B", Status.FAILED, 2.0, 2, "local", error="boom", kind="user"),
    )
    attempts = run.nodes[1].attempts
    assert [(a.number, a.backend, a.status, a.kind, a.wait) for a in attempts] == [
        (1, "docker", "failed", "infrastructure", 0.5),
        (2, "local", "failed", "user", None),
    ]


def test_a_run_without_an_end_runs_or_died(home):
    """Seam A: running as long as its journal is locked; after that what it left open is told for what it is."""
    journal = journalled(
        home,
        "r",
        planned("r"),
        NodeStarted("r", 1.0, "a", "A"),
        AttemptSubmitted("r", 1.0, "b", 1, "docker", "k"),
        close=False,
    )
    journal.append(NodeStarted("r", 11.0, "c", "C"), durable=True)
    running = History(home).read("r")
    assert (running.status, running.counts) == ("running", {"running": 3})
    journal.close()
    died = History(home).read("r")
    assert died.status == "died"
    assert {n.id: n.status for n in died.nodes} == {
        "a": "interrupted",
        "b": "unknown",
        "c": "interrupted",
    }


def test_what_a_run_died_on_is_interrupted(home):
    """A node that has no end, and waited for nothing any more, is `interrupted`; what is behind it is `pending`."""
    nodes = (
        PlannedNode("a", "A"),
        PlannedNode("b", "B", inputs=("a",)),
        PlannedNode("c", "C", inputs=("b.rows",)),
        PlannedNode("d", "D", after=("a",)),
        PlannedNode("e", "E", inputs=("a", "d")),
        PlannedNode("f", "F", inputs=("a",), effects="once"),
    )
    plan = msgspec.structs.replace(planned("r"), nodes=nodes)
    journalled(home, "r", plan, NodeFinished("r", 1.0, "a", "A", Status.SUCCEEDED, 1.0, 1, "local"))
    died = History(home).read("r")
    assert {n.id: n.status for n in died.nodes} == {
        "a": "succeeded",
        "b": "interrupted",
        "c": "pending",
        "d": "interrupted",
        "e": "pending",
        "f": "pending",  # its beginning would be on record
    }


def test_a_run_that_was_resumed_is_one_run(home):
    """S5.8: its id stays; the last end counts, and the attempts of both times are told."""
    journalled(home, "r", planned("r", number=3), AttemptSubmitted("r", 11.0, "a", 1, "docker", "k"))
    run = read(
        home,
        planned("r", 100.0, number=9, resumed=True),
        AttemptSubmitted("r", 101.0, "a", 1, "docker", "k"),
        NodeFinished("r", 102.0, "a", "A", Status.SUCCEEDED, 1.0, 1, "docker"),
        RunFinished("r", 102.0, Status.SUCCEEDED, 2.0, {}),
    )
    assert (run.status, run.resumed, run.number, run.started) == ("succeeded", 1, 3, 10.0)
    assert [(a.number, a.status) for a in run.nodes[0].attempts] == [(1, "submitted"), (1, "succeeded")]


def test_damage_is_told_with_the_run(home):
    """G16: what could not be read is among the record's problems."""
    journalled(home, "r", planned("r"), RunFinished("r", 1.0, Status.SUCCEEDED, 1.0, {}))
    path = home.runs / "r.jsonl"
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"file":"p.yaml"', b'"file":"q.yaml"', 1))
    run = History(home).read("r")
    assert run.status == "succeeded"
    end = data.index(b"\n") + 1
    assert run.problems == [f"record 1 (bytes 0 to {end:,} of '{path}') is not as it was written"]


def test_an_empty_journal_is_a_run_that_died(home):
    """F04: killed before its first record."""
    (home.runs / "r.jsonl").touch()
    assert [(r.run, r.status, r.nodes) for r in History(home).runs()] == [("r", "died", [])]


# -- which, and in what order ----------------------------------------------------------------------------------------


def test_the_order_is_that_of_the_runs_not_of_the_clock(home):
    """S5.8, F17: a clock that was set back neither reorders the list nor what `last` means."""
    for run in ("20261123T12-a", "20250101T00-b", "20271231T23-c", "20240101T00-d"):
        journalled(home, run, planned(run, at=hash(run) % 1000, number=next_number(home.runs)))
    history = History(home)
    assert history.ids() == ["20240101T00-d", "20271231T23-c", "20250101T00-b", "20261123T12-a"]
    assert history.find("last") == "20240101T00-d"
    assert [r.run for r in history.runs(2)] == history.ids()[:2]


def test_a_prefix_names_a_run_where_it_is_unique(home):
    """S5.8: a whole id, a unique prefix or `last`; otherwise an error that lists what could be meant."""
    history = History(home)
    with pytest.raises(UsageError, match="there is no run `last`") as error:
        history.find("last")
    assert "no run is recorded" in (error.value.hint or "")
    for run in ("ab", "abc", "b"):
        journalled(home, run, planned(run))
    assert history.find("ab") == "ab"
    assert history.find("abc") == history.find("abc") == "abc"
    assert history.find("b") == "b"
    with pytest.raises(UsageError, match=r"2 runs begin with `a`: abc, ab") as error:
        history.find("a")
    assert error.value.code == "unknown-run"
    for prefix in ("x", "", "../r"):
        with pytest.raises(UsageError, match="there is no run"):
            history.find(prefix)


def test_a_home_without_runs_has_no_history(tmp_path):
    """S8.2: nothing is made by looking."""
    assert History(Home(tmp_path / "none")).runs() == []
    assert list(tmp_path.iterdir()) == []


# -- pruning ---------------------------------------------------------------------------------------------------------


def runs(home: Home, count: int) -> list[str]:
    """Make runs, the first the oldest by a day each."""
    found = [f"r{i:02}" for i in range(count)]
    for i, run in enumerate(found):
        journalled(home, run, planned(run, number=next_number(home.runs)))
        days = count - i
        os.utime(home.runs / f"{run}.jsonl", (time.time() - days * 86_400,) * 2)
    return found


def test_the_last_runs_are_kept(home):
    """Seam A: pruning by count removes the oldest, by age those that nobody wrote to for longer."""
    made = runs(home, 10)
    history = History(home)
    assert sorted(history.prune(keep=7)) == made[:3]
    assert sorted(history.prune(keep=100, older_than=4.5 * 86_400)) == made[3:6]
    assert sorted(history.ids()) == made[6:]
    assert history.prune() == []


def test_a_living_run_is_never_pruned(home):
    """Seam A: neither by count nor by age."""
    journal = journalled(home, "r", planned("r"), close=False)
    os.utime(home.runs / "r.jsonl", (0, 0))
    history = History(home)
    assert history.prune(keep=0, older_than=0) == []
    journal.close()
    assert history.prune(keep=0) == ["r"]


def test_a_run_in_many_prunes_at_its_end(home, monkeypatch):
    """Seam A: the cheap way to keep the folder small."""
    from petal import Pipeline
    from petal.app import recording
    from petal.metadata import history as histories

    pruned: list[int] = []
    monkeypatch.setattr(histories.History, "prune", lambda self: pruned.append(1))
    numbers = iter((31, 32, 33, 64))
    monkeypatch.setattr(recording, "next_number", lambda _: next(numbers))
    for _ in range(4):
        Pipeline.of(lambda: 1).run(home=home.path)
    assert len(pruned) == 2
