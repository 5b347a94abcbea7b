"""A disk that is full, broken, or without power: every call may be the one that fails (F03, F05, F06, G1, G2)."""

from __future__ import annotations

import os
import random
import time
from itertools import count
from pathlib import Path

import pytest

from petal import OutputError
from petal.data.files import Outputs
from petal.data.journal import JournalFile
from petal.errors import JournalError
from petal.metadata.history import records
from petal.spec.event import NodeFinished, NodeStored, RunFinished, RunPlanned, Status
from tests.data.disk import FAULTS, Disk, after_power_loss

RUN = "20261123T120000Z-0badcafe"
OLD = {"data": b"old data", "manifest": b"old manifest"}
NEW = {"data": b"new data " * 300_000, "manifest": b"new manifest"}


@pytest.fixture
def folder(tmp_path):
    """Two targets with old content, and a folder for the journal."""
    (tmp_path / "out").mkdir()
    (tmp_path / "runs").mkdir()
    for name, content in OLD.items():
        (tmp_path / "out" / name).write_bytes(content)
    return tmp_path


def a_run(folder: Path, disk: Disk) -> None:
    """Write two files and a journal, as a run does with a sink; what is done is told to the disk."""
    journal = JournalFile(folder / "runs" / f"{RUN}.jsonl")
    outputs = Outputs(f"{RUN}-1", run=RUN, describe=True)
    try:
        journal.append(RunPlanned(RUN, time.time(), number=1), durable=True)
        disk.told("planned")
        for name, content in NEW.items():
            with outputs.open(folder / "out" / name) as file:
                for at in range(0, len(content), 900_000):
                    file.write(content[at : at + 900_000])
        targets = outputs.commit()
        disk.told("published")
        journal.append(NodeStored(RUN, time.time(), "sink", targets=tuple(targets)), durable=True)
        disk.told("stored")
        for at in range(3):
            journal.append(NodeFinished(RUN, time.time(), f"n{at}", "T", Status.SUCCEEDED), durable=True)
        journal.append(RunFinished(RUN, time.time(), Status.SUCCEEDED, 1.0, {}), durable=True)
        disk.told("finished")
    finally:
        outputs.abort()
        journal.close()


def a_naive_run(folder: Path, disk: Disk) -> None:
    """Write the files in place: the positive control."""
    for name, content in NEW.items():
        descriptor = disk.open(str(folder / "out" / name), os.O_WRONLY | os.O_TRUNC)
        try:
            disk.write(descriptor, content)
            disk.fsync(descriptor)
        finally:
            disk.close(descriptor)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "out" / name).read_bytes() for name in OLD}


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def torn(found: dict[str, bytes]) -> bool:
    """Whether a target is neither old nor new, or the manifest is new and names data that are not there."""
    halves = any(found[name] not in (OLD[name], NEW[name]) for name in OLD)
    return halves or (found["manifest"] == NEW["manifest"] and found["data"] != NEW["data"])


@pytest.mark.parametrize("always", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("fault", FAULTS)
def test_whichever_call_fails_it_is_a_clear_error_and_no_target_is_torn(folder, monkeypatch, fault, always):
    """F05, F06: a typed error or none at all; both targets old or new, the manifest last; the journal readable."""
    before = open_files()
    for at in count(1):
        for name, content in OLD.items():
            (folder / "out" / name).write_bytes(content)
        disk = Disk(FAULTS[fault], at, always=always)
        with disk.mounted(monkeypatch):
            try:
                a_run(folder, disk)
                error = None
            except (OutputError, JournalError) as raised:
                error = raised
        found, journal = contents(folder), folder / "runs" / f"{RUN}.jsonl"
        told = {what for kind, what, *_ in disk.log if kind == "told"}
        assert not torn(found), at
        events, problems = records(journal) if journal.exists() else ([], [])
        assert problems == []
        if error is None:
            assert found == NEW
            assert [type(e).__name__ for e in events][-1] == "RunFinished"
        else:
            assert error.code in ("output", "journal")
            assert os.strerror(FAULTS[fault]) in str(error)
        if "published" in told:
            assert found == NEW
        assert ("planned" in told) <= (len(events) >= 1)
        assert ("stored" in told) <= (len(events) >= 2)
        if not always:
            assert len(os.listdir(folder / "out")) <= 3, "a temporary whose removal failed may stay, no other"
        assert open_files() == before
        journal.unlink(missing_ok=True)
        for rest in (folder / "out").glob(".*.tmp"):
            rest.unlink()
        if not disk.failed:
            break
    assert at > 20, "every call of the run was made to fail"


def test_a_naive_writer_tears_under_the_same_faults(folder, monkeypatch):
    """The positive control of the test above."""
    damaged = 0
    for at in range(1, 7):
        for name, content in OLD.items():
            (folder / "out" / name).write_bytes(content)
        disk = Disk(FAULTS["full"], at)
        disk.holds(folder / "out" / "data")
        disk.holds(folder / "out" / "manifest")
        try:
            a_naive_run(folder, disk)
        except OSError:
            damaged += torn(contents(folder))
    assert damaged >= 2


def lost(folder: Path, log: list[tuple], chance: random.Random) -> list[str]:
    """Return what is wrong with what the disk holds after the power went: torn files, and losses of what was told."""
    held = after_power_loss(log, chance)
    found = {name: held.get(str(folder / "out" / name), b"") for name in OLD}
    told = {entry[1] for entry in log if entry[0] == "told"}
    wrong = ["torn"] if torn(found) else []
    if "published" in told and found != NEW:
        wrong.append("a published file is lost")
    path = folder / "after.jsonl"
    path.write_bytes(held.get(str(folder / "runs" / f"{RUN}.jsonl"), b""))
    events, _ = records(path)
    kinds = [type(e).__name__ for e in events]
    for what, kind in (("planned", "RunPlanned"), ("stored", "NodeStored"), ("finished", "RunFinished")):
        if what in told and kind not in kinds:
            wrong.append(f"{what} is lost")
    JournalFile(path, resume=True).close()
    if records(path)[0] != events:
        wrong.append("resuming loses records")
    path.unlink()
    return wrong


def power_losses(folder: Path, disk: Disk, states: int, seed: int) -> list[tuple[int, list[str]]]:
    """Cut the power at random points of a run, and return the seeds of the states that are wrong."""
    first = next(i for i, entry in enumerate(disk.log) if entry[0] == "told" and entry[1] == "begun") + 1
    found = []
    for number in range(seed, seed + states):
        chance = random.Random(number)
        wrong = lost(folder, disk.log[: chance.randint(first, len(disk.log))], chance)
        if wrong:
            found.append((number, wrong))
    return found


def recorded(folder: Path, monkeypatch: pytest.MonkeyPatch, disk: Disk) -> Disk:
    for name in OLD:
        disk.holds(folder / "out" / name)
    if not disk._syncs or not disk._syncs_folders:
        disk.log += [("sync", n) for n in (0, 1)] + [("sync folder", str(folder / "out"))]
    disk.told("begun")
    with disk.mounted(monkeypatch):
        a_run(folder, disk)
    return disk


def test_a_power_loss_leaves_old_or_new_and_loses_nothing_that_was_told(folder, monkeypatch):
    """F03, G2: 500 states of the disk after a cut at any point; each has whole files and every record that was durable."""
    disk = recorded(folder, monkeypatch, Disk())
    assert power_losses(folder, disk, 500, seed=1) == []


@pytest.mark.parametrize("control", ["syncs", "syncs_folders"])
def test_without_fsync_a_power_loss_tears_and_loses(folder, monkeypatch, control):
    """The positive control: without fsync of files, or of folders, some of the same states are wrong."""
    disk = recorded(folder, monkeypatch, Disk(**{control: False}))
    assert len(power_losses(folder, disk, 100, seed=1)) > 10
