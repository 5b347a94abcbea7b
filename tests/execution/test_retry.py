"""Nodes that are tried again, through the front door: what an attempt gets, what others see of it, and what is told."""

from __future__ import annotations

import os
import signal
import textwrap
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from petal import Batches, Context, Pipeline, Session, Status, node, open_output, operator, retry
from petal.data.home import Home
from petal.errors import DataError, NodeFailed, RemoteError
from petal.metadata.history import History, records
from petal.spec.event import AttemptFailed, NodeFinished, NodeStarted
from petal.testing import FakeBackend

ROWS = 20_000
NOW = {"max_attempts": 3, "delay": 0}


class Flaky:
    """Fails a number of times, each time as it is told to."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= len(self.errors):
            raise self.errors[self.calls - 1]
        return self.calls


def flaky(*errors: BaseException, **policies: Any) -> tuple[Any, Flaky]:
    """Make a node that fails so, and what counts its calls."""
    counter = Flaky(*errors)

    def fetch() -> int:
        return counter()

    return node(fetch, policies={"retry": NOW, **policies}), counter


def tried(*errors: BaseException, **more: Any) -> tuple[Any, int]:
    """Run a node that fails so, and return the result and the number of calls."""
    one, counter = flaky(*errors, retry={**NOW, **more})
    return Pipeline.of(one).run(), counter.calls


# -- what is told -------------------------------------------------------------------------------------------------


def test_attempts_are_in_events_journal_and_result(tmp_path: Path) -> None:
    """Two attempts fail and the third succeeds: events, the journal and the result say so alike."""
    one, _ = flaky(ConnectionError("first"), OSError("second"))
    told: list[Any] = []
    result = Pipeline.of(one).run(on_event=told.append, home=tmp_path / "home").check()
    assert result.outputs["fetch"] == 3
    found = result.nodes["fetch"]
    assert (found.status, found.attempts, found.error) == (Status.SUCCEEDED, 3, None)

    started = [e.attempt for e in told if isinstance(e, NodeStarted)]
    failed = [(e.attempt, e.error, e.kind, e.unknown) for e in told if isinstance(e, AttemptFailed)]
    ended = [(e.status, e.attempt) for e in told if isinstance(e, NodeFinished)]
    assert started == [1, 2, 3]
    assert failed == [
        (1, "ConnectionError: first", "user", False),
        (2, "OSError: second", "user", False),
    ]
    assert ended == [("succeeded", 3)]

    history = History(Home(tmp_path / "home"))
    written, problems = records(history.path(result.run_id))
    assert problems == []
    assert [e for e in written if isinstance(e, AttemptFailed)] == [
        e for e in told if isinstance(e, AttemptFailed)
    ]
    [shown] = history.read(result.run_id).nodes
    assert [(a.number, a.status, a.error) for a in shown.attempts] == [
        (1, "failed", "ConnectionError: first"),
        (2, "failed", "OSError: second"),
        (3, "succeeded", None),
    ]


def test_the_last_error_is_the_nodes(tmp_path: Path) -> None:
    """When all attempts fail, the node has failed of the last one, and its result has them all."""
    result, calls = tried(*[ValueError(str(n)) for n in range(9)])
    assert (result.status, calls) == (Status.FAILED, 3)
    found = result.nodes["fetch"]
    assert (found.error.attempt, found.error.message) == (3, "ValueError: 2")
    assert [a.error for a in found.history] == ["ValueError: 0", "ValueError: 1", "ValueError: 2"]
    with pytest.raises(NodeFailed, match="ValueError: 2"):
        result.check()


def test_without_retry_there_is_one_attempt() -> None:
    """S5.5: the default is one."""
    one, counter = flaky(ValueError("x"), retry=False)
    assert Pipeline.of(one).run().nodes["fetch"].attempts == counter.calls == 1


# -- which errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "error", "calls"),
    [
        ({}, ConnectionResetError(), 2),
        ({"retry_on": [ConnectionResetError]}, ConnectionResetError(), 2),
        ({"retry_on": ["ConnectionResetError"]}, ConnectionResetError(), 2),
        ({"retry_on": ["OSError"]}, ConnectionResetError(), 2),
        ({"retry_on": ["user"]}, ConnectionResetError(), 2),
        ({"retry_on": ["KeyError"]}, ConnectionResetError(), 1),
        ({"retry_on": ["timeout", "infrastructure"]}, ConnectionResetError(), 1),
        ({"abort_on": ["OSError"]}, ConnectionResetError(), 1),
        ({"abort_on": ["KeyError"]}, ConnectionResetError(), 2),
        ({"retry_on": ["OSError"], "abort_on": ["ConnectionError"]}, ConnectionResetError(), 1),
        ({}, MemoryError(), 1),
        ({"retry_on": ["Exception"]}, MemoryError(), 1),
        ({"retry_on": ["out_of_memory"]}, MemoryError(), 2),
        ({}, DataError("no"), 1),
        ({"retry_on": ["Exception"]}, DataError("no"), 1),
        ({"retry_on": ["DataError"]}, DataError("no"), 2),
        ({}, SystemExit(3), 2),
    ],
)
def test_which_errors_are_tried_again(more: dict[str, Any], error: BaseException, calls: int) -> None:
    """S5.5: any exception of user code, or what `retry_on` names by class, base or kind; `abort_on` is stronger."""
    counter = Flaky(error)

    def fetch() -> int:
        return counter()

    # The decorator takes classes, a file's block takes names.
    decorated = operator(retry(**{**NOW, **more})(fetch))
    result = Pipeline.of(decorated).run()
    assert counter.calls == calls
    assert result.status == ("succeeded" if calls == 2 else "failed")


# -- what an attempt gets, and what others see of it -----------------------------------------------------------------


@pytest.mark.parametrize("view", ["items", "batches", "list", "set"])
def test_each_attempt_reads_all_of_its_input(view: str) -> None:
    """S4.3: a stream is held, so that each attempt reads it from its beginning, in the view that it asks for."""
    seen: list[int] = []

    def numbers() -> Iterator[int]:
        yield from range(ROWS)

    def take(rows: Any) -> int:
        found = [n for piece in rows for n in piece] if view == "batches" else list(rows)
        seen.append(len(found))
        if len(seen) < 3:
            raise ValueError(len(seen))
        return sum(found)

    views = {
        "items": Iterable[int],
        "batches": Batches[int],
        "list": list[int],
        "set": set[int],
    }

    def total(numbers: Any) -> int:
        return take(numbers)

    total.__annotations__["numbers"] = views[view]
    told: list[Any] = []
    result = Pipeline.of(numbers, node(total, policies={"retry": NOW})).run(on_event=told.append).check()
    assert seen == [ROWS] * 3
    assert [e.rows_in for e in told if isinstance(e, NodeFinished)] == [None, {"numbers": ROWS}]
    assert result.outputs["total"] == sum(range(ROWS))


def test_an_attempt_that_stops_in_the_middle_leaves_the_whole_input_to_the_next() -> None:
    """What a failed attempt has read is read again."""
    firsts: list[list[int]] = []

    def numbers() -> Iterator[int]:
        yield from range(ROWS)

    def some(numbers: Iterable[int]) -> Iterator[int]:
        firsts.append([])
        for n in numbers:
            firsts[-1].append(n)
            yield n
            if n == 5_000 and len(firsts) == 1:
                raise ValueError(n)

    result = Pipeline.of(numbers, node(some, policies={"retry": NOW})).run().check()
    assert [len(f) for f in firsts] == [5_001, ROWS]
    assert result.outputs["some"] == list(range(ROWS))


def test_a_large_input_is_held_on_disk(tmp_path: Path, nothing_leaks: Path) -> None:
    """A held input that exceeds memory is spilled, and nothing of it is left at the end."""
    seen: list[int] = []
    on_disk: list[int] = []

    def lines() -> Iterator[str]:
        yield from (f"{n:0>50}" for n in range(600_000))

    def count(lines: Iterable[str]) -> int:
        seen.append(sum(len(line) for line in lines))
        # The spill has no name: it is found among the open files.
        for entry in Path("/proc/self/fd").iterdir():
            try:
                if "spills" in os.readlink(entry):
                    on_disk.append(entry.stat().st_size)
            except OSError:
                continue
        if len(seen) < 2:
            raise ValueError("again")
        return seen[-1]

    result = Pipeline.of(lines, node(count, policies={"retry": NOW})).run().check()
    assert result.outputs["count"] == 30_000_000
    assert seen == [30_000_000] * 2
    assert max(on_disk) > 1_000_000


def test_nothing_of_a_failed_attempt_is_seen() -> None:
    """S4.3: consumers of a stream see the rows of the attempt that succeeded, and none before."""
    attempts: list[int] = []
    read: list[str] = []

    def rows(*, context: Context) -> Iterator[str]:
        attempts.append(context.attempt)
        for n in range(3_000):
            yield f"{context.attempt}-{n}"
            if n == 2_000 and context.attempt < 3:
                assert read == []
                raise ValueError(n)

    def one(rows: Iterable[str]) -> int:
        read.extend(rows)
        return len(read)

    def two(rows: list[str]) -> set[str]:
        return {row.partition("-")[0] for row in rows}

    result = Pipeline.of(node(rows, policies={"retry": NOW}), one, two).run().check()
    assert attempts == [1, 2, 3]
    assert result.outputs == {"one": 3_000, "two": {"3"}}
    assert all(row.startswith("3-") for row in read)


@pytest.mark.parametrize("attempts", [2, 9])
def test_a_sink_publishes_nothing_of_a_failed_attempt(tmp_path: Path, attempts: int) -> None:
    """S4.5: what a failed attempt wrote is dropped; its file appears when an attempt has succeeded, or not at all."""
    target = tmp_path / "out.txt"
    target.write_text("old")

    def rows() -> Iterator[int]:
        yield from range(10)

    def sink(rows: Iterable[int], *, context: Context) -> None:
        with open_output(target, context) as file:
            for row in rows:
                file.write(b"%d-%d " % (context.attempt, row))
        assert target.read_text() == "old"
        if context.attempt < attempts:
            raise ValueError("after all was written")

    result = Pipeline.of(rows, node(sink, policies={"retry": NOW, "effects": "idempotent"})).run()
    wanted = " ".join(f"2-{n}" for n in range(10)) + " " if attempts == 2 else "old"
    assert target.read_text() == wanted
    assert result.status == ("succeeded" if attempts == 2 else "failed")
    assert list(tmp_path.iterdir()) == [target]


def test_idempotency_keys_and_run_ids_are_those_of_the_node() -> None:
    """All attempts of a node have one key, and other nodes have others."""
    keys: list[tuple[str, str]] = []

    def one(*, context: Context) -> int:
        keys.append((context.idempotency_key, context.run_id))
        if context.attempt < 3:
            raise ValueError("again")
        return 1

    def other(one: int, *, context: Context) -> int:
        keys.append((context.idempotency_key, context.run_id))
        return one

    Pipeline.of(node(one, policies={"retry": NOW}), other).run().check()
    assert len(keys) == 4
    assert len(set(keys[:3])) == 1
    assert keys[3][0] != keys[0][0]
    assert keys[3][1] == keys[0][1]


# -- waits, workers, budget ---------------------------------------------------------------------------------------


def test_a_wait_holds_no_worker() -> None:
    """64 nodes wait a second each with one worker: they wait at the same time, and others run meanwhile."""
    order: list[str] = []

    def waiting(name: str) -> Any:
        def fetch(*, context: Context) -> int:
            order.append(f"{name}.{context.attempt}")
            if context.attempt == 1:
                raise ConnectionError(name)
            return 1

        return node(
            fetch, id=name, policies={"retry": {"max_attempts": 2, "delay": "300ms", "jitter": False}}
        )

    names = [f"n{k}" for k in range(64)]
    began = time.perf_counter()
    result = Pipeline.of(*[waiting(name) for name in names]).run(workers=1).check()
    assert all(result.nodes[name].attempts == 2 for name in names)
    # Every first attempt was made before any second one: nobody waited with the only worker.
    assert {o.partition(".")[2] for o in order[:64]} == {"1"}
    assert time.perf_counter() - began < 64 * 0.3


def test_waits_grow_by_backoff_and_stay_below_their_limit() -> None:
    """Without jitter the waits are delay, delay x backoff, ..., `max_delay` at most."""
    one, _ = flaky(
        *[ValueError("x")] * 4,
        retry={
            "max_attempts": 5,
            "delay": "10ms",
            "backoff": 2,
            "max_delay": "30ms",
            "jitter": False,
        },
    )
    told: list[Any] = []
    Pipeline.of(one).run(on_event=told.append).check()
    waits = [e.wait for e in told if isinstance(e, AttemptFailed)]
    assert waits == pytest.approx([0.01, 0.02, 0.03, 0.03], abs=0.005)


def test_a_run_has_a_budget_of_attempts() -> None:
    """A run in which everything fails stops trying: fewer attempts than its nodes may have, and the error says why."""
    calls: list[str] = []

    def failing(name: str) -> Any:
        def fetch() -> int:
            calls.append(name)
            raise ConnectionError("the service is down")

        return node(fetch, id=name, policies={"retry": {"max_attempts": 10, "delay": 0}})

    result = Pipeline.of(*[failing(f"n{k}") for k in range(40)]).run()
    assert (
        len(calls) == 40 + 100
    )  # all 40 first attempts, and those of the budget, of 400 that the rules allow
    hints = {n.error.hint for n in result.nodes.values() if n.error is not None and n.error.hint}
    assert any("again" in hint for hint in hints), hints


def test_a_stop_ends_a_wait() -> None:
    """A run that is stopped during a wait ends at once: the node is cancelled, with the attempt that it had."""
    session, began = Session(), time.perf_counter()

    def fetch() -> int:
        raise ConnectionError("down")

    def watch(event: Any) -> None:
        if isinstance(event, AttemptFailed):
            os.kill(os.getpid(), signal.SIGINT)

    one = node(fetch, policies={"retry": {"max_attempts": 2, "delay": "60s", "jitter": False}})
    told: list[Any] = []
    with pytest.raises(KeyboardInterrupt):
        Pipeline.of(one, session=session).run(on_event=lambda e: (told.append(e), watch(e)))
    assert time.perf_counter() - began < 30
    [ended] = [e for e in told if isinstance(e, NodeFinished)]
    assert (ended.status, ended.attempt) == (Status.CANCELLED, 1)


def test_fail_fast_does_not_stop_for_a_failure_that_is_tried_again() -> None:
    """Only a final failure stops the others; a node that waits then is cancelled."""
    one, counter = flaky(ValueError("first"))
    assert Pipeline.of(one).run(fail_fast=True).status == "succeeded"
    assert counter.calls == 2

    waits = threading.Event()

    def patient(*, context: Context) -> int:
        waits.set()
        raise ConnectionError("down")

    def hasty() -> int:
        assert waits.wait(20)
        time.sleep(0.05)
        raise KeyError("final")

    began = time.perf_counter()
    result = Pipeline.of(
        node(patient, policies={"retry": {"max_attempts": 2, "delay": "60s", "jitter": False}}), hasty
    ).run(fail_fast=True)
    assert time.perf_counter() - began < 30
    assert {n: str(r.status) for n, r in result.nodes.items()} == {"patient": "cancelled", "hasty": "failed"}
    assert result.nodes["patient"].attempts == 1


def test_what_is_behind_a_final_failure_is_skipped() -> None:
    """Consumers start once, after the last attempt: they run, or are skipped."""
    one, _ = flaky(*[ValueError("x")] * 5)
    ran: list[int] = []

    def after(fetch: int) -> int:
        ran.append(fetch)
        return fetch

    result = Pipeline.of(one, after).run()
    assert (str(result.nodes["after"].status), ran) == ("skipped", [])


# -- batches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_flight", [1, 3])
def test_each_call_of_a_batch_is_tried_by_itself(tmp_path: Path, in_flight: int) -> None:
    """S4.6: a call that fails is made again with its own rows, the others are not, and the event says which it was."""
    calls: list[tuple[int, int]] = []

    def numbers() -> Iterator[int]:
        yield from range(10)

    def double(numbers: list[int], *, context: Context) -> list[int]:
        calls.append((numbers[0], context.attempt))
        if numbers[0] in (4, 8) and context.attempt == 1:
            raise ConnectionError("reset")
        return [2 * n for n in numbers]

    told: list[Any] = []
    one = node(double, policies={"retry": NOW, "batch": {"size": 2, "in_flight": in_flight}})
    result = Pipeline.of(numbers, one).run(on_event=told.append).check()
    assert result.outputs["double"] == [2 * n for n in range(10)]
    assert sorted(calls) == [(0, 1), (2, 1), (4, 1), (4, 2), (6, 1), (8, 1), (8, 2)]
    errors = sorted(e.error for e in told if isinstance(e, AttemptFailed))
    assert errors == [
        "in rows 5 to 6 of `numbers`: ConnectionError: reset",
        "in rows 9 to 10 of `numbers`: ConnectionError: reset",
    ]


def test_a_call_of_a_batch_that_keeps_failing_fails_the_node() -> None:
    """After its attempts the node has failed, and names the rows."""
    calls: list[int] = []

    def numbers() -> Iterator[int]:
        yield from range(6)

    def double(numbers: list[int]) -> list[int]:
        calls.append(numbers[0])
        if numbers[0] == 2:
            raise ConnectionError("reset")
        return numbers

    result = Pipeline.of(numbers, node(double, policies={"retry": NOW, "batch": {"size": 2}})).run()
    assert calls == [0, 2, 2, 2]
    assert result.nodes["double"].error.message == "in rows 3 to 4 of `numbers`: ConnectionError: reset"


# -- other places -------------------------------------------------------------------------------------------------

OPERATORS = """
import os, signal, time
from collections.abc import Iterable, Iterator
from pathlib import Path
from petal import Context, open_output, operator

def note(path, text):
    with open(path, "a") as file:
        file.write(text + "\\n")

@operator
def call(*, path: str, context: Context) -> int:
    note(path, f"{context.attempt} {context.idempotency_key}")
    return context.attempt

@operator
def numbers(*, count: int = 5) -> Iterator[int]:
    yield from range(count)

@operator
def dies(numbers: list[int], *, path: str, context: Context) -> int:
    note(path, str(context.attempt))
    if context.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return sum(numbers)

@operator
def slow(numbers: Iterable[int], *, path: str, seconds: float = 0.4, context: Context) -> int:
    note(path, str(context.attempt))
    time.sleep(seconds if context.attempt == 1 else 60 if context.attempt == 2 else seconds)
    if context.attempt == 1:
        raise ConnectionError("after a while")
    return sum(numbers)

@operator
def written(numbers: Iterable[int], *, file_path: Path, path: str, context: Context) -> None:
    note(path, str(context.attempt))
    with open_output(file_path, context) as file:
        for n in numbers:
            file.write(f"{context.attempt}-{n} ".encode())
    if context.attempt == 1:
        raise ConnectionError("after all was written")
"""


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Runs a pipeline file with the operators above; returns the result and the lines that were noted."""
    (tmp_path / "ops.py").write_text(OPERATORS)

    def run(nodes: str, session: Session | None = None, **more: Any) -> tuple[Any, list[str]]:
        file, noted = tmp_path / "p.yaml", tmp_path / "noted"
        file.write_text(f"plugins: [./ops.py]\nnodes:\n{textwrap.dedent(nodes)}".replace("NOTED", str(noted)))
        result = Pipeline.from_file(file, session=session).run(**more)
        return result, noted.read_text().splitlines() if noted.exists() else []

    return run


@pytest.mark.parametrize(
    ("effects", "status", "calls"),
    [("pure", "failed", 3), ("idempotent", "failed", 3), ("once", "unknown", 1)],
)
def test_an_outcome_that_is_not_known(run: Any, effects: str, status: str, calls: int) -> None:
    """S5.4, S5.5: the reply is lost. What may happen twice is called again with the same key; `once` is not."""
    fake, session = FakeBackend(loses=["call"]), Session()
    session.register(fake)
    told: list[Any] = []
    nodes = """
      - id: call
        type: Call
        params: { path: NOTED }
        retry: { max_attempts: 3, delay: 0 }
        effects: EFFECTS
        execution: { backend: fake }
    """
    result, noted = run(nodes.replace("EFFECTS", effects), session, on_event=told.append)
    assert str(result.nodes["call"].status) == status
    assert result.nodes["call"].attempts == len(fake.sent) == calls
    assert [line.partition(" ")[0] for line in noted] == [str(n + 1) for n in range(calls)]
    assert len({line.partition(" ")[2] for line in noted} | {s.key for s in fake.sent}) == 1
    assert [e.unknown for e in told if isinstance(e, AttemptFailed)] == [True] * (calls - 1)
    assert result.status == "failed"
    with pytest.raises(NodeFailed, match="lost on purpose"):
        result.check()


def test_a_known_failure_of_what_happens_once_is_tried_again(run: Any) -> None:
    """S5.5: where the call is known not to have happened, `once` and `retry` together mean another attempt."""
    fake, session = FakeBackend(fails={"call": RemoteError("refused", kind="infrastructure")}), Session()
    session.register(fake)
    nodes = """
      - id: call
        type: Call
        params: { path: NOTED }
        retry: { max_attempts: 3, delay: 0 }
        effects: once
        execution: { backend: fake }
    """
    result, noted = run(nodes, session)
    assert (str(result.nodes["call"].status), len(fake.sent), noted) == ("failed", 3, [])


def test_a_worker_that_dies_is_replaced(run: Any) -> None:
    """An attempt whose worker is killed is of kind `infrastructure`; the next one has the input again."""
    told: list[Any] = []
    nodes = """
      - { id: numbers, type: Numbers }
      - id: dies
        type: Dies
        params: { path: NOTED }
        inputs: { numbers: numbers }
        retry: { max_attempts: 2, delay: 0, retry_on: [infrastructure] }
        execution: { backend: process }
    """
    result, noted = run(nodes, on_event=told.append)
    assert (result.check().outputs["dies"], noted) == (10, ["1", "2"])
    [failed] = [e for e in told if isinstance(e, AttemptFailed)]
    assert (failed.kind, failed.backend, failed.unknown) == ("infrastructure", "process", True)
    assert "SIGKILL" in failed.error


@pytest.mark.slow
def test_each_attempt_has_the_whole_time(run: Any) -> None:
    """A time-out stops one attempt in its worker and counts anew for the next: three of 0.4 s fit into 1 s each."""
    told: list[Any] = []
    nodes = """
      - { id: numbers, type: Numbers }
      - id: slow
        type: Slow
        params: { path: NOTED }
        inputs: { numbers: numbers }
        retry: { max_attempts: 3, delay: 0 }
        timeout: 1500ms
    """
    result, noted = run(nodes, on_event=told.append)
    assert (result.check().outputs["slow"], noted) == (10, ["1", "2", "3"])
    assert [e.kind for e in told if isinstance(e, AttemptFailed)] == ["user", "timeout"]


def test_a_sink_in_a_worker_publishes_once(run: Any, tmp_path: Path) -> None:
    """What an attempt in a worker has written is dropped when it fails."""
    nodes = f"""
      - {{ id: numbers, type: Numbers, params: {{ count: 3 }} }}
      - id: written
        type: Written
        params: {{ file_path: {tmp_path / "out.txt"}, path: NOTED }}
        inputs: {{ numbers: numbers }}
        retry: {{ max_attempts: 2, delay: 0 }}
        effects: idempotent
        execution: {{ backend: process }}
    """
    result, noted = run(nodes)
    assert (str(result.check().status), noted) == ("succeeded", ["1", "2"])
    assert (tmp_path / "out.txt").read_text() == "2-0 2-1 2-2 "
    assert not [p for p in tmp_path.iterdir() if ".tmp" in p.name or p.name.startswith(".out")]


@pytest.mark.parametrize(
    "policies", [{}, {"cache": True}, {"effects": "once"}], ids=["plain", "cached", "once"]
)
def test_a_call_of_a_batch_that_succeeded_is_never_made_again(
    policies: dict[str, Any], tmp_path: Path
) -> None:
    """Only the call that failed is tried again, also where the node's output is stored; then the node has failed."""
    made = []

    def numbers() -> Iterator[int]:
        yield from range(6)

    def posted(numbers: list[int], context: Context) -> list[int]:
        made.append((numbers[0], context.attempt))
        if numbers[0] == 4:
            raise ConnectionError("down")
        return numbers

    said = {"batch": 2, "retry": {"max_attempts": 3, "delay": 0.001}, **policies}
    result = Pipeline.of(numbers, node(posted, policies=said)).run(home=tmp_path / "home")
    assert result.nodes["posted"].status == "failed"
    assert made == [(0, 1), (2, 1), (4, 1), (4, 2), (4, 3)]
