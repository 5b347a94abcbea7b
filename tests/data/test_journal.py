"""The journal: whole records in order, torn tails cut, damage found, one fsync for many (F04, G16, S9.5)."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from petal.data import journal as journals
from petal.data.journal import JournalFile, lives, next_number, number_of, remove_journal
from petal.data.journal_lines import end_of_records, lines_for, lines_of
from petal.errors import JournalError
from petal.metadata.history import records
from petal.spec import redaction
from petal.spec.event import (
    AttemptFailed,
    AttemptSubmitted,
    Event,
    NodeFinished,
    NodeStored,
    PlannedNode,
    RunFinished,
    RunPlanned,
    Status,
    Target,
)
from tests.execution.conftest import settles

RUN = "20261123T120000Z-0badcafe"
EVENTS: list[Event] = [
    RunPlanned(
        RUN, 1.0, 7, "p", "p.yaml", "/w", {"params": {"a": 1, "b": [True, None]}},
        (PlannedNode("a", "A"), PlannedNode("b", "B", "docker", ("a",), ("a",), "once", "c0de", "c0ff")),
    ),
    AttemptSubmitted(RUN, 2.0, "b", 1, "docker", "key"),
    AttemptFailed(RUN, 3.0, "b", 1, "docker", "infrastructure", "no daemon", 0.5, True),
    NodeFinished(RUN, 4.0, "b", "B", Status.SUCCEEDED, 0.5, 2, rows=3, rows_in={"x": 9}, inputs={"x": "é\n\u2028"}),
    NodeStored(RUN, 5.0, "b", targets=(Target("/x/ü", "sha256:00", 5),), rows=3),
    RunFinished(RUN, 6.0, Status.SUCCEEDED, 5.0, {"succeeded": 2}),
]  # fmt: skip


def finished(number: int, run: str = RUN) -> NodeFinished:
    return NodeFinished(run, float(number), f"n{number}", "T", Status.SUCCEEDED, 0.25)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / f"{RUN}.jsonl"


def written(path: Path, events: list[Event]) -> bytes:
    journal = JournalFile(path)
    for event in events:
        journal.append(event)
    journal.close()
    return path.read_bytes()


# -- whole -------------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_back_in_order(path):
    """DESIGN 6: every kind of record, one line of JSON each, checksum first; the file is the user's alone."""
    data = written(path, EVENTS)
    assert records(path) == (EVENTS, [])
    lines = data.decode().split("\n")[:-1]
    assert [list(json.loads(line))[:2] for line in lines] == [["crc", "event"]] * len(EVENTS)
    assert path.stat().st_mode & 0o777 == 0o600
    assert number_of(path) == 7


@given(
    st.lists(
        st.builds(
            NodeFinished,
            run=st.text(max_size=8),
            at=st.floats(0, 4e9),
            node=st.text(max_size=8),
            type=st.text(max_size=8),
            status=st.sampled_from(Status),
            rows=st.none() | st.integers(0, 1 << 60),
            error=st.none() | st.text(),
            inputs=st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3),
        ),
        max_size=20,
    )
)
def test_any_record_makes_the_round_trip(tmp_path_factory, events):
    """DESIGN 6: whatever text is in it, a record is one line and comes back equal."""
    path = tmp_path_factory.mktemp("journal") / "run.jsonl"
    written(path, events)
    assert records(path) == (events, [])
    path.unlink()


class Odd(Struct, tag_field="event", tag="odd"):
    value: Any


@pytest.mark.parametrize(
    "value",
    [
        "\ud800 lone",
        1 << 200,
        {3: object()},
        {1, 2},
        float("nan"),
        b"\xff",
        Path("/x"),
        [[[["deep"]]]],
        Status.FAILED,
    ],
    ids=lambda v: type(v).__name__,
)
def test_a_value_that_json_has_no_form_for_never_stops_a_run(value):
    """S9.5: what cannot be recorded as it is, is recorded as something that can."""
    [line] = lines_of(lines_for([Odd(value)]))
    assert line.body is not None
    assert json.loads(line.body)["event"] == "odd"
    deep: Any = []
    for _ in range(3_000):
        deep = [deep]
    assert next(lines_of(lines_for([Odd(deep)]))).body is not None


def test_secrets_are_hidden_and_names_stay(path, monkeypatch):
    """FAULTS 3.5: no text of a record holds a secret, plain or encoded; a secret that looks like JSON breaks no line."""
    monkeypatch.setattr(redaction, "_hidden", [])
    for secret in ("hunter2hunter2", "true", '","at"', "nodefinished"):
        redaction.hide(secret)
    event = NodeFinished(
        RUN, 1.0, "true", "T", Status.FAILED, error='no: hunter2hunter2 "true"', inputs={"true": "68756e7465723268756e74657232"}
    )  # fmt: skip
    planned = RunPlanned(RUN, 1.0, request={"params": {"hunter2hunter2": ["hunter2hunter2"]}})
    data = written(path, [planned, event])
    assert b"hunter2" not in data
    assert b"68756e74" not in data
    found, problems = records(path)
    assert problems == []
    assert isinstance(found[1], NodeFinished)
    assert found[1].node == "true"
    assert found[1].error == 'no: *** "***"'


# -- torn and damaged --------------------------------------------------------------------------------------------


def test_cut_at_any_byte_the_whole_records_are_kept_and_more_can_follow(path, monkeypatch):
    """F04: for every length of the file, reading keeps what is whole, and resuming cuts the rest off before it appends."""
    monkeypatch.setattr(os, "fsync", lambda file: None)  # some thousand of them, which prove nothing here
    data = written(path, EVENTS)
    ends = [line.end for line in lines_of(data)]
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        whole = sum(end <= length for end in ends)
        assert records(path) == (EVENTS[:whole], [])
        journal = JournalFile(path, resume=True)
        assert path.stat().st_size == end_of_records(data[:length]) == ([0, *ends][whole])
        journal.append(EVENTS[0], durable=True)
        journal.close()
        assert records(path) == ([*EVENTS[:whole], EVENTS[0]], [])


@pytest.mark.parametrize(
    "tail", [b"\0" * 5_000, b'{"crc":"00000000","event":"x"}\n', b"\n\n", os.urandom(3_000)]
)
def test_whatever_a_tail_holds_it_is_cut_off(path, tail):
    """F04: after a power loss a tail may be zeros, or garbage with line ends."""
    data = written(path, EVENTS)
    path.write_bytes(data + tail)
    assert records(path)[0] == EVENTS
    JournalFile(path, resume=True).close()
    assert path.read_bytes() == data


def test_one_damaged_record_in_a_thousand_is_named_and_no_other_is_lost(path):
    """G16: whichever byte changes in the middle, its record is named, and all others are read."""
    events: list[Event] = [finished(i) for i in range(1_000)]
    data = written(path, events)
    lines = list(lines_of(data))
    chance = random.Random(7)
    for _ in range(60):
        line = lines[chance.randrange(999)]
        at = chance.randrange(line.start, line.end - 1)
        byte = chance.choice([b for b in range(256) if b not in (data[at], 10)])
        path.write_bytes(data[:at] + bytes([byte]) + data[at + 1 :])
        found, problems = records(path)
        assert problems == [
            f"record {line.number} (bytes {line.start:,} to {line.end:,} of '{path}') is not as it was written"
        ]
        assert found == events[: line.number - 1] + events[line.number :]
    JournalFile(path, resume=True).close()
    assert len(path.read_bytes()) == len(data), "damage in the middle is evidence, and stays"


def test_a_record_of_a_newer_petal_is_named_not_fatal(path):
    """G16: what this Petal does not know is said, and the rest is read; an unknown field is passed over."""

    class Later(Event, frozen=True):
        what: str

    data = written(path, [EVENTS[0], Later(RUN, 2.0, "x"), EVENTS[-1]])
    found, problems = records(path)
    assert found == [EVENTS[0], EVENTS[-1]]
    assert len(problems) == 1
    assert "record 2" in problems[0]
    assert end_of_records(data) == len(data)


# -- in time, and durable ------------------------------------------------------------------------------------------


def test_a_record_is_on_disk_soon_after_though_nothing_follows(path):
    """Seam A: a run that waits for hours in its second node has its first one in the journal."""
    journal = JournalFile(path)
    journal.append(EVENTS[0])
    assert settles(lambda: len(records(path)[0]) == 1)
    journal.append(EVENTS[1])
    assert settles(lambda: len(records(path)[0]) == 2)
    journal.close()


def test_many_records_are_written_without_waiting(path, monkeypatch):
    """Seam A: a burst is written by size, so that little is held in memory."""
    monkeypatch.setattr(journals, "_PATIENCE", 3_600.0)
    journal = JournalFile(path)
    for i in range(1_000):
        journal.append(finished(i))
    assert len(records(path)[0]) >= 800
    journal.close()
    assert len(records(path)[0]) == 1_000


def test_a_durable_record_takes_those_before_it_along(path, monkeypatch):
    """S9.3: after the append returns, it and all before it are written and synced."""
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(path.stat().st_size), real(file))[1])
    journal = JournalFile(path)
    journal.append(EVENTS[0])
    journal.append(EVENTS[1], durable=True)
    assert records(path)[0] == EVENTS[:2]
    assert synced[0] == path.stat().st_size
    journal.close()


def test_threads_that_wait_share_an_fsync(path, monkeypatch):
    """Seam A: group commit; and no thread returns before an fsync that began after its record was written."""
    real, safe, violations, waiting, gate = os.fsync, [0], [], [], threading.Event()

    def slow(file: int) -> None:
        size = os.fstat(file).st_size
        gate.wait(10)
        real(file)
        safe.append(size)

    journal = JournalFile(path)
    journal.append(EVENTS[0], durable=True)
    monkeypatch.setattr(os, "fsync", slow)

    def work(worker: int) -> None:
        waiting.append(worker)
        journal.append(finished(worker), durable=True)
        if f'"n{worker}"'.encode() not in path.read_bytes()[: max(safe)]:
            violations.append(worker)

    threads = [threading.Thread(target=work, args=(w,)) for w in range(30)]
    for thread in threads:
        thread.start()
    assert settles(lambda: len(waiting) == 30)
    time.sleep(0.2)  # until all wait for the first one's fsync
    gate.set()
    for thread in threads:
        thread.join()
    monkeypatch.setattr(os, "fsync", real)
    journal.close()
    assert violations == []
    assert len(records(path)[0]) == 31
    assert len(safe) - 1 < 10, "30 durable records, two fsyncs or few more"


def test_what_was_written_without_fsync_is_synced_by_who_wants_it_durable(path, monkeypatch):
    """G2: another thread may write a record while its own waits for its turn; that alone makes it not durable."""
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(os.fstat(file).st_size), real(file))[1])
    journal = JournalFile(path)
    stop = threading.Event()

    def chatter() -> None:
        number = 0
        while not stop.is_set():
            journal.append(finished(number := number + 1))
            time.sleep(0.0001)

    thread = threading.Thread(target=chatter)
    thread.start()
    try:
        for i in range(200):
            journal.append(finished(1_000_000 + i), durable=True)
            assert f'"n{1_000_000 + i}"'.encode() in path.read_bytes()[: max(synced)]
    finally:
        stop.set()
        thread.join()
        journal.close()


def test_many_threads_append_and_nothing_is_lost_or_mixed(path):
    """Seam A: each thread's records are all there, in its order."""
    journal = JournalFile(path)

    def work(worker: int) -> None:
        for i in range(2_000):
            journal.append(finished(worker * 10_000 + i), durable=i % 500 == 0)

    threads = [threading.Thread(target=work, args=(w,)) for w in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    found, problems = records(path)
    assert problems == []
    for worker in range(8):
        mine = [int(e.at) for e in found if int(e.at) // 10_000 == worker]
        assert mine == [worker * 10_000 + i for i in range(2_000)]


KILLED = """
import os, sys, threading
from petal.data.journal import JournalFile
from petal.spec.event import NodeFinished, Status
journal = JournalFile(sys.argv[1])
def work(worker):
    for i in range(100_000):
        journal.append(NodeFinished("r", 0.0, f"{worker}-{i}", "T", Status.SUCCEEDED), durable=True)
        os.write(1, f"{worker}-{i}\\n".encode())
for worker in range(4):
    threading.Thread(target=work, args=(worker,)).start()
"""


@pytest.mark.slow
def test_killed_at_any_time_no_record_that_was_told_is_lost(path):
    """G2: after kill -9 at random times, every record whose append had returned is in the journal, and it can go on."""
    chance = random.Random(3)
    for _ in range(15):
        path.unlink(missing_ok=True)
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        head = process.stdout.readline()
        time.sleep(chance.random() * 0.05)
        process.kill()
        told = (head + process.stdout.read()).decode().split()
        process.stdout.close()
        process.wait()
        assert lives(path) is False
        found, problems = records(path)
        nodes = {e.node for e in found if isinstance(e, NodeFinished)}
        assert problems == []
        assert set(told[:-1]) <= nodes  # the last line may be torn itself
        JournalFile(path, resume=True).close()
        assert records(path)[0] == found


# -- what cannot be -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_after_a_failure_nothing_more_is_taken(path, monkeypatch, call):
    """S9.5: the append that meets it, every later one and the close raise; nothing is written behind a hole."""
    journal = JournalFile(path)
    journal.append(EVENTS[0], durable=True)
    real, fails = getattr(os, call), [True]

    def broken(*args: Any) -> Any:
        if fails[0]:
            raise OSError(5, "Input/output error")
        return real(*args)

    monkeypatch.setattr(os, call, broken)
    with pytest.raises(JournalError, match="Input/output error") as error:
        journal.append(EVENTS[1], durable=True)
    assert error.value.code == "journal"
    assert "--home" in (error.value.hint or "")
    fails[0] = False
    size = path.stat().st_size
    for durable in (False, True):
        with pytest.raises(JournalError):
            journal.append(EVENTS[2], durable=durable)
    with pytest.raises(JournalError):
        journal.close()
    journal.close()
    assert path.stat().st_size == size


def test_a_failure_of_the_thread_behind_reaches_the_run(path, monkeypatch):
    """S9.5: a record that was only buffered fails later, and the next append says so."""
    journal = JournalFile(path)
    real = os.write

    def full(file: int, data: bytes) -> int:
        raise OSError(28, "No space left on device") if file == journal._file else AssertionError

    monkeypatch.setattr(os, "write", full)
    journal.append(EVENTS[0])
    assert settles(lambda: journal._failure is not None)
    with pytest.raises(JournalError, match="No space left") as error:
        journal.append(EVENTS[1])
    assert "free some space" in (error.value.hint or "")
    monkeypatch.setattr(os, "write", real)
    with pytest.raises(JournalError):
        journal.close()


def test_after_its_end_a_journal_takes_nothing(path):
    """S9.5: a thread that goes on after its run is told so."""
    journal = JournalFile(path)
    journal.close()
    journal.close()
    for durable in (False, True):
        with pytest.raises(JournalError, match="has ended"):
            journal.append(EVENTS[0], durable=durable)


def test_a_journal_is_made_once_and_resumed_only_where_it_is(path):
    """S5.8: no run writes into another's journal."""
    written(path, EVENTS)
    with pytest.raises(JournalError, match="File exists"):
        JournalFile(path)
    with pytest.raises(JournalError, match="No such file"):
        JournalFile(path.with_name("other.jsonl"), resume=True)


def test_a_run_that_lives_cannot_be_resumed_or_removed(path):
    """Seam A: its journal is locked; a look at whether it lives does not disturb, and the end unlocks it."""
    journal = JournalFile(path)
    assert lives(path) is True
    with pytest.raises(JournalError, match="has not ended"):
        JournalFile(path, resume=True)
    assert remove_journal(path) is False
    journal.append(EVENTS[0], durable=True)
    journal.close()
    assert lives(path) is False
    assert remove_journal(path) is True
    assert remove_journal(path) is False


def test_a_look_does_not_keep_a_run_from_being_resumed(path):
    """Seam A: `petal runs` in a loop beside resumes."""
    written(path, EVENTS)
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            lives(path)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for _ in range(50):
            JournalFile(path, resume=True).close()
    finally:
        stop.set()
        looker.join()


# -- order --------------------------------------------------------------------------------------------------------

NUMBERS = "import sys; from pathlib import Path; from petal.data.journal import next_number\nfor _ in range(100): print(next_number(Path(sys.argv[1])))"


def test_two_processes_never_get_the_same_number(tmp_path):
    """S5.8: the order of runs does not depend on the clock; numbers are unique between processes."""
    runs = [
        subprocess.Popen([sys.executable, "-c", NUMBERS, str(tmp_path)], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    found = [int(n) for p in runs for n in p.communicate()[0].split()]
    assert sorted(found) == list(range(1, 201))


@pytest.mark.parametrize("damage", [b"", b"garbage", None], ids=["empty", "garbage", "gone"])
def test_a_lost_counter_goes_on_behind_the_last_run(tmp_path, damage):
    """F18: the numbers are in the journals; the counter is only the quick way to the next."""
    written(tmp_path / f"{RUN}.jsonl", EVENTS)
    counter = tmp_path / ".number"
    counter.unlink(missing_ok=True)
    if damage is not None:
        counter.write_bytes(damage)
    assert next_number(tmp_path) == 8
    assert next_number(tmp_path) == 9


def test_the_engine_sees_a_journal_by_its_protocol(path):
    """S9.5: the file is one of the things that can be a journal."""
    from petal.interfaces.journal import Journal

    journal: Journal = (file := JournalFile(path))
    journal.append(EVENTS[0], durable=True)
    file.close()
    assert msgspec.json.decode(path.read_bytes())["event"] == "runplanned"
