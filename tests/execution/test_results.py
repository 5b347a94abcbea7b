"""What a run gives back (S5.2, S5.3, S5.8)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from enum import StrEnum

import polars as pl
import pytest

from petal import Batches, NodeFailed, Pipeline, RunInterrupted, Status, UsageError, node, operator


def src() -> Iterator[int]:
    yield from range(5)


def total(src: Iterable[int]) -> int:
    return sum(src)


def bad(total: int) -> int:
    raise ValueError("no")


def behind(bad: int) -> int:
    return bad


def test_outputs_are_by_default_what_nobody_consumes():
    """S5.3: a leaf's output is kept, others are asked for by targets."""
    result = Pipeline.of(src, total).run()
    assert result.check() is result
    assert dict(result.outputs) == {"total": 10}
    assert "src" not in result.outputs
    with pytest.raises(UsageError) as error:
        result.outputs["src"]
    assert "targets=['src']" in (error.value.hint or "")
    with pytest.raises(KeyError):
        result.outputs["nobody"]
    assert result.outputs.get("nobody") is None


def test_reading_the_output_of_a_failed_node_raises_its_error():
    """S5.2: run() does not raise; reading and check() do, with the user's error as the cause."""
    result = Pipeline.of(src, total, bad, node(lambda total: total + 1, id="fine")).run()
    assert result.status == "failed"
    assert "bad" in result.outputs
    assert result.outputs["fine"] == 11
    for read in (lambda: result.outputs["bad"], result.check):
        with pytest.raises(NodeFailed, match="ValueError: no") as error:
            read()
        assert error.value is result.nodes["bad"].error
        assert isinstance(error.value.__cause__, ValueError)


def test_reading_the_output_of_a_skipped_node_says_so():
    """S5.2: a node that was skipped has no output and no error of its own."""
    result = Pipeline.of(src, total, bad, behind).run()
    assert result.nodes["behind"].error is None
    with pytest.raises(NodeFailed, match="`behind` was skipped"):
        result.outputs["behind"]


def test_statuses_are_text():
    """S5.2: statuses are StrEnums with exactly five values."""
    assert issubclass(Status, StrEnum)
    assert [str(s) for s in Status] == ["succeeded", "failed", "unknown", "skipped", "cancelled"]
    result = Pipeline.of(src, total).run()
    assert result.status == "succeeded"
    assert result.nodes["total"].status == "succeeded"
    assert result.nodes["total"].cached is False


def test_a_leaf_stream_is_loaded_by_its_view():
    """S5.3: a list for items, a Series or DataFrame for batches; empty streams too."""

    def items() -> Iterator[str]:
        yield "a"

    def series() -> Batches[int]:
        yield pl.Series([1])
        yield pl.Series([2])

    def frame() -> Batches[dict]:
        yield pl.DataFrame({"a": [1]})

    def no_items() -> Iterator[str]:
        yield from ()

    def no_series() -> Batches[int]:
        yield from ()

    def no_frame() -> Batches[dict]:
        yield from ()

    outputs = Pipeline.of(items, series, frame, no_items, no_series, no_frame).run().check().outputs
    assert outputs["items"] == ["a"]
    assert outputs["series"].to_list() == [1, 2]
    assert outputs["frame"].to_dicts() == [{"a": 1}]
    assert outputs["no_items"] == []
    assert outputs["no_series"].to_list() == []
    assert outputs["no_frame"].height == 0


def test_rows_and_attempts_are_counted():
    """S5.3: rows of streams, lists and frames; None for a single value and a sink; no attempts for what never ran."""

    def listed() -> list[int]:
        return [1, 2]

    def frame() -> pl.DataFrame:
        return pl.DataFrame({"a": [1, 2, 3]})

    def batches() -> Batches[int]:
        yield pl.Series([1, 2])
        yield pl.Series([3, 4])

    def sink(src: Iterable[int]) -> None:
        list(src)

    nodes = Pipeline.of(src, total, bad, behind, listed, frame, batches, sink).run().nodes
    assert {n: r.rows for n, r in nodes.items()} == {
        "src": 5, "total": None, "bad": None, "behind": None, "listed": 2, "frame": 3, "batches": 4, "sink": None,
    }  # fmt: skip
    assert {n: r.attempts for n, r in nodes.items() if r.attempts != 1} == {"behind": 0}
    assert all(r.seconds >= 0 and r.backend == "local" for r in nodes.values())


def test_a_record_has_the_same_keys_and_is_plain_data():
    """S5.3: --json has the same keys as the objects."""
    result = Pipeline.of(src, total, bad, behind, node(lambda src: list(src), id="leaf")).run()
    record = json.loads(json.dumps(result.as_record()))
    assert set(record) == {"run_id", "status", "seconds", "error", "nodes", "outputs"}
    for name, one in record["nodes"].items():
        assert set(one) == {
            "status", "cached", "attempts", "error", "backend", "rows", "seconds", "own_seconds", "batches",
        }  # fmt: skip
        assert one["status"] == result.nodes[name].status
    assert record["nodes"]["bad"]["error"] == {
        "kind": "user",
        "code": "node-failed",
        "message": "ValueError: no",
    }
    assert set(record["outputs"]) == {"leaf"}


def test_run_ids_are_time_and_chance():
    """S5.8: UTC time and 8 random characters."""
    ids = {Pipeline.of(src, total).run().run_id for _ in range(20)}
    assert len(ids) == 20
    assert all(re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{8}", i) for i in ids)


def test_the_representation_is_short():
    """S5.9: a result's repr shows no data."""
    result = Pipeline.of(src, total).run()
    assert repr(result) == f"<run {result.run_id}: succeeded, 2 nodes>"
    assert repr(result.outputs) == "<outputs of total>"


def test_nodes_are_in_the_order_of_the_plan():
    """S5.3: one record per node that was planned, in plan order."""
    p = Pipeline.of(total, src, bad)
    assert list(p.run().nodes) == [n.id for n in p.plan().nodes] == ["src", "total", "bad"]


def test_the_pipeline_may_be_run_again_and_from_a_thread():
    """S5.2: a pipeline holds nothing of its runs; from another thread signals are simply not handled."""
    import threading

    p = Pipeline.of(src, total)
    found = []
    thread = threading.Thread(target=lambda: found.append(p.run().check().outputs["total"]))
    thread.start()
    thread.join()
    assert [*found, p.run().check().outputs["total"], p.run().outputs["total"]] == [10, 10, 10]


def test_check_raises_for_a_run_that_was_stopped():
    """S5.2: a cancelled run has no failed node, and check() says that it was stopped."""
    from petal.execution.result import NodeResult, RunResult

    result = RunResult("id", Status.CANCELLED, {"a": NodeResult(Status.CANCELLED, attempts=0)}, {}, 0.1)
    with pytest.raises(RunInterrupted):
        result.check()


def test_events_come_in_order():
    """DESIGN 7: one start and one end per node, the run's own around them."""
    events = []
    Pipeline.of(src, total, bad, behind).run(on_event=events.append)
    kinds = [type(e).__name__ for e in events]
    assert (kinds[0], kinds[-1]) == ("RunStarted", "RunFinished")
    ended = {e.node: str(e.status) for e in events if type(e).__name__ == "NodeFinished"}
    assert ended == {"src": "succeeded", "total": "succeeded", "bad": "failed", "behind": "skipped"}
    assert [e.node for e in events if type(e).__name__ == "NodeStarted"] == ["src", "total", "bad"]
    assert events[-1].counts == {"succeeded": 2, "failed": 1, "skipped": 1}


@pytest.mark.parametrize("count", [40, 400])
@pytest.mark.slow
def test_own_time_leaves_out_what_a_node_pulls_from(count: int) -> None:
    """A slow source counts for itself, not for the quick node that streams from it nor for the one that waits."""

    @operator
    def slow() -> Iterator[int]:
        for n in range(count):
            time.sleep(0.001)
            yield n

    @operator
    def quick(slow: Iterable[int]) -> Iterator[int]:
        yield from slow

    @operator
    def total(quick: Iterable[int]) -> int:
        return sum(quick)

    @operator
    def beside(slow: Iterable[int]) -> int:
        return sum(slow)

    for functions in ([slow, quick, total], [slow, quick, total, beside]):
        nodes = Pipeline.of(*functions, name="p").run().check().nodes
        assert nodes["slow"].own_seconds > 0.6 * 0.001 * count
        for name in ("quick", "total"):
            assert nodes[name].own_seconds < 0.5 * nodes["slow"].own_seconds
            assert nodes[name].seconds >= nodes[name].own_seconds


def test_batches_are_counted() -> None:
    """A node that gives batches says how many; one that gives items or a value says nothing."""

    @operator
    def three() -> Batches[int]:
        for n in range(3):
            yield pl.Series([n] * 5)

    @operator
    def total(three: Iterable[int]) -> int:
        return sum(three)

    nodes = Pipeline.of(three, total, name="p").run().check().nodes
    assert (nodes["three"].batches, nodes["three"].rows) == (3, 15)
    assert nodes["total"].batches is None
