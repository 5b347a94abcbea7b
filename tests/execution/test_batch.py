"""Batches on local threads (S4.6): a node's stream is cut into calls, and their rows come out as one stream."""

import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petal import Batches, Context, Pipeline, batch, node, operator
from petal.spec.policy import Batch


@operator
def numbers(*, count: int = 10) -> Iterator[int]:
    yield from range(count)


@operator
def as_list(numbers: list[int]) -> list[int]:
    return [n * 10 for n in numbers]


@operator
def as_items(numbers: Iterable[int]) -> Iterator[int]:
    for n in numbers:
        yield n * 10


@operator
async def as_async(numbers: AsyncIterator[int]) -> AsyncIterator[int]:
    async for n in numbers:
        yield n * 10


@operator
def as_batches(numbers: Batches[int]) -> Batches[int]:
    for column in numbers:
        yield column * 10


@operator
def as_column(numbers: pl.Series) -> pl.Series:
    return numbers * 10


VIEWS = [as_list, as_items, as_async, as_batches, as_column]


def rows_of(operator_: Any, policy: Any, count: int) -> list[int]:
    made = node(operator_, id="times", policies={"batch": policy}, inputs={"numbers": "numbers"})
    result = Pipeline.of(numbers, made, name="p").run(params={"numbers.count": count})
    found = result.check().outputs["times"]
    return found.to_list() if isinstance(found, pl.Series) else list(found)


@settings(max_examples=40, deadline=None)
@given(
    view=st.sampled_from(VIEWS),
    count=st.integers(0, 60),
    size=st.integers(1, 20),
    in_flight=st.integers(1, 4),
    max_bytes=st.none() | st.integers(1, 200),
)
def test_rows_are_those_of_one_call_in_order(
    view: Any, count: int, size: int, in_flight: int, max_bytes: int | None
) -> None:
    """S4.6: whatever the view, size and number of calls at a time, the rows are those of one call, in order."""
    policy: dict[str, Any] = {"size": size, "in_flight": in_flight}
    if max_bytes is not None:
        policy["max_bytes"] = max_bytes
    assert rows_of(view, policy, count) == [n * 10 for n in range(count)]


@pytest.mark.parametrize("frames", [False, True])
def test_a_call_gets_size_rows_and_no_more(frames: bool) -> None:
    """S4.6: every call but the last gets `size` rows, of items and of batches alike."""
    seen: list[int] = []

    @operator
    def items(numbers: list[int]) -> list[int]:
        seen.append(len(numbers))
        return numbers

    @operator
    def columns(numbers: pl.Series) -> pl.Series:
        seen.append(len(numbers))
        return numbers

    rows_of(columns if frames else items, 4, 10)
    assert seen == [4, 4, 2]


def test_bytes_bound_a_call() -> None:
    """S4.6: with `max_bytes` a call ends before it would be larger; a row that is larger goes alone."""
    seen: list[list[str]] = []

    @operator
    def words() -> list[str]:
        return ["aa", "bb", "cccc", "dddddddd", "e"]

    @operator
    def keep(words: list[str]) -> list[str]:
        seen.append(words)
        return words

    policy = {"size": 100, "max_bytes": 4}
    Pipeline.of(words, node(keep, policies={"batch": policy}), name="p").run().check()
    assert seen == [["aa", "bb"], ["cccc"], ["dddddddd"], ["e"]]


def test_calls_run_at_the_same_time() -> None:
    """`in_flight` calls meet at one barrier; one call at a time would wait there for ever."""
    barrier = threading.Barrier(3, timeout=20)

    @operator
    @batch(size=2, in_flight=3)
    def meet(numbers: list[int]) -> list[int]:
        barrier.wait()
        return numbers

    result = Pipeline.of(numbers, meet, name="p").run(params={"numbers.count": 6})
    assert result.check().outputs["meet"] == [0, 1, 2, 3, 4, 5]


def test_no_more_than_in_flight_at_a_time() -> None:
    """A slow operator never has more calls at a time than `in_flight`, and input is read no further than they need."""
    lock, running, most, read = threading.Lock(), [0], [0], [0]

    @operator
    def source() -> Iterator[int]:
        for n in range(60):
            read[0] = n + 1
            yield n

    @operator
    @batch(size=2, in_flight=2)
    def slow(source: list[int]) -> list[int]:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
            ahead = read[0] - source[-1]
        time.sleep(0.002)
        with lock:
            running[0] -= 1
        return [ahead]

    ahead = Pipeline.of(source, slow, name="p").run().check().outputs["slow"]
    assert most[0] <= 2
    assert max(ahead) <= 6


def test_unordered_rows_come_as_they_are_ready() -> None:
    """With `ordered: false` a call that waits for a later one's rows to pass does not hold them up."""
    later = threading.Event()

    @operator
    @batch(size=1, in_flight=2, ordered=False)
    def first_waits(numbers: list[int]) -> list[int]:
        if numbers == [0]:
            assert later.wait(20)
        return numbers

    @operator
    def passed(first_waits: Iterable[int]) -> list[int]:
        found = []
        for n in first_waits:
            found.append(n)
            later.set()
        return found

    result = Pipeline.of(numbers, first_waits, passed, name="p").run(params={"numbers.count": 5})
    found = result.check().outputs["passed"]
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert found[0] != 0


@pytest.mark.parametrize("in_flight", [1, 3])
def test_a_failed_batch_is_named_by_its_rows(in_flight: int) -> None:
    """S4.6: the error says which rows the failed call had, and what is downstream is skipped."""

    @operator
    def check(numbers: list[int]) -> list[int]:
        if 7 in numbers:
            raise ValueError("seven")
        return numbers

    @operator
    def total(check: list[int]) -> int:
        return sum(check)

    made = node(check, policies={"batch": {"size": 3, "in_flight": in_flight}})
    result = Pipeline.of(numbers, made, total, name="p").run()
    assert result.nodes["check"].status == "failed"
    assert "in rows 7 to 9 of `numbers`: ValueError: seven" in str(result.nodes["check"].error)
    assert result.nodes["total"].status == "skipped"
    assert "in check" in result.nodes["check"].error.traceback


def test_no_call_outlives_a_failed_node() -> None:
    """A call that is running when another fails comes to its end before the run does."""
    ended = threading.Event()
    began = threading.Event()

    @operator
    @batch(size=1, in_flight=2)
    def one_fails(numbers: list[int]) -> list[int]:
        if numbers == [0]:
            assert began.wait(20)
            raise ValueError("no")
        began.set()
        time.sleep(0.05)
        ended.set()
        return numbers

    result = Pipeline.of(numbers, one_fails, name="p").run(params={"numbers.count": 2})
    assert result.status == "failed"
    assert ended.is_set()


def test_other_inputs_go_whole_with_each_call() -> None:
    """S4.6: an input that is not cut is there in full for every call, streams as well."""

    @operator
    def words() -> Iterator[str]:
        yield from ["a", "b"]

    @operator
    @batch(size=2, over="numbers")
    def pairs(numbers: Iterable[int], words: Iterable[str]) -> list[str]:
        known = list(words)
        return [f"{n}{w}" for n in numbers for w in known]

    result = Pipeline.of(numbers, words, pairs, name="p").run(params={"numbers.count": 3})
    assert result.check().outputs["pairs"] == ["0a", "0b", "1a", "1b", "2a", "2b"]


def test_one_instance_serves_one_thread_at_a_time() -> None:
    """S1.3: a class operator has no more instances than calls at a time, each is closed, none is used by two."""
    made: list[Any] = []
    closed: list[Any] = []

    @operator
    class Model:
        def __init__(self) -> None:
            self.busy = False
            made.append(self)

        def process(self, numbers: list[int]) -> list[int]:
            assert not self.busy
            self.busy = True
            time.sleep(0.001)
            self.busy = False
            return numbers

        def close(self) -> None:
            closed.append(self)

    policy = {"size": 1, "in_flight": 3}
    Pipeline.of(
        numbers, node(Model, id="m", policies={"batch": policy}, inputs={"numbers": "numbers"}), name="p"
    ).run(params={"numbers.count": 30}).check()
    assert 1 <= len(made) <= 3
    assert sorted(map(id, made)) == sorted(map(id, closed))


def test_each_call_has_its_own_idempotency_key() -> None:
    """Two calls of one node never share an idempotency key."""

    @operator
    @batch(size=2)
    def keys(numbers: list[int], context: Context) -> list[str]:
        return [context.idempotency_key]

    found = Pipeline.of(numbers, keys, name="p").run().check().outputs["keys"]
    assert len(found) == len(set(found)) == 5


def test_a_limit_downstream_stops_the_calls() -> None:
    """A consumer that needs a few rows only lets few calls begin."""
    calls: list[int] = []

    @operator
    @batch(size=1, in_flight=2)
    def count_calls(numbers: list[int]) -> list[int]:
        calls.append(numbers[0])
        return numbers

    @operator
    def first(count_calls: Iterable[int]) -> int:
        return next(iter(count_calls))

    result = Pipeline.of(numbers, count_calls, first, name="p").run(params={"numbers.count": 1000})
    assert result.check().outputs["first"] == 0
    assert len(calls) < 10


def test_defaults_leave_out_what_cannot_be_cut(tmp_path: Path) -> None:
    """`defaults: {batch: ...}` is for the nodes that can; a sink or a source runs as ever, and the plan shows it."""
    file = tmp_path / "p.yaml"
    file.write_text(
        """
defaults: { batch: { size: 2 } }
nodes:
  - { id: reader, type: FileReader, params: { file_path: in.txt } }
  - { id: kept, type: RegexFilter, params: { pattern: a } }
  - { id: writer, type: FileWriter, params: { file_path: out.txt } }
edges: [[reader, kept], [kept, writer]]
"""
    )
    (tmp_path / "in.txt").write_text("a\nb\nca\na\n")
    pipeline = Pipeline.from_file(file)
    batches = {n.id: n.policies.batch for n in pipeline.plan().nodes}
    assert batches == {"reader": None, "kept": Batch(2), "writer": None}
    pipeline.run().check()
    assert (tmp_path / "out.txt").read_text() == "a\nca\na\n"


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ("value", "gives one value"),
        ("sink", "a sink writes its whole input at once"),
        ("rowwise", "looks at all rows together"),
        ("none", "takes no stream that could be cut"),
        ("several", "takes several streams"),
    ],
)
def test_what_cannot_be_cut_is_refused(shape: str, words: str) -> None:
    """S4.6: a scalar result, a sink, a `rowwise=False` operator or an unclear input is a diagnostic with a remedy."""

    @operator
    def value(numbers: list[int]) -> int:
        return 1

    @operator
    def sink(numbers: list[int]) -> None:
        return None

    @operator(rowwise=False)
    def rowwise(numbers: list[int]) -> list[int]:
        return numbers

    @operator
    def none(numbers: int = 1) -> list[int]:
        return [numbers]

    @operator
    def several(numbers: Iterable[int], others: Iterable[int]) -> list[int]:
        return list(numbers)

    made = {"value": value, "sink": sink, "rowwise": rowwise, "none": none, "several": several}[shape]

    @operator
    def others() -> list[int]:
        return [1]

    if shape == "none":
        pipeline = Pipeline.of(node(made, policies={"batch": 2}), name="p")
    else:
        pipeline = Pipeline.of(numbers, others, node(made, policies={"batch": 2}), name="p")
    found = [d for d in pipeline.validate() if d.code == "bad-batch"]
    assert len(found) == 1
    assert words in found[0].message
    assert found[0].hint


@pytest.mark.parametrize("rows", [None, [1, 2, 3]])
def test_an_input_left_to_its_default_needs_no_cutting(tmp_path: Path, rows: list[int] | None) -> None:
    """Without an edge the operator is called with its own default, in batches or at once, and never fails of that."""
    (tmp_path / "ops.py").write_text(
        "from petal import operator\n@operator\ndef doubled(rows: list[int] = [7]) -> list[int]:\n    return [r * 2 for r in rows]\n"
    )
    given = "" if rows is None else f", params: {{ rows: {rows} }}"
    file = tmp_path / "p.yaml"
    file.write_text(f"plugins: [./ops.py]\nnodes:\n  - {{ id: d, type: Doubled, batch: 2{given} }}\n")
    found = Pipeline.from_file(file).run().check().outputs["d"]
    assert list(found) == [r * 2 for r in rows or [7]]
