"""Who failed, who is skipped, who is cancelled, and what of it can be seen (S4.4, S4.5, F28)."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from petal import Context, Pipeline, Status, node, open_output

ROWS = 20_000


class Row(msgspec.Struct):
    n: int


def statuses(result: Any) -> dict[str, str]:
    return {name: str(n.status) for name, n in result.nodes.items()}


def write(rows: Iterable[int], *, path: str, context: Context) -> None:
    with open_output(path, context) as file:
        for row in rows:
            file.write(b"%d\n" % row)


def test_the_third_of_five_nodes_fails():
    """S4.4: what raised is failed, upstream is cancelled, downstream skipped."""

    def one() -> Iterator[int]:
        yield from range(ROWS)

    def two(one: Iterable[int]) -> Iterator[int]:
        yield from one

    def three(two: Iterable[int]) -> Iterator[int]:
        for x in two:
            if x == 100:
                raise ValueError("row 100")
            yield x

    def four(three: Iterable[int]) -> Iterator[int]:
        yield from three

    def five(four: Iterable[int]) -> int:
        return sum(four)

    result = Pipeline.of(one, two, three, four, five).run()
    assert statuses(result) == {
        "one": "cancelled",
        "two": "cancelled",
        "three": "failed",
        "four": "skipped",
        "five": "skipped",
    }
    assert result.status is Status.FAILED
    error = result.nodes["three"].error
    assert (error.node, error.attempt, error.kind, error.message) == (
        "three",
        1,
        "user",
        "ValueError: row 100",
    )
    assert isinstance(error.__cause__, ValueError)
    assert "raise ValueError" in error.traceback
    assert "petal/execution" not in error.traceback


def test_the_third_of_five_values_fails():
    """S4.4: with values, what ran before has succeeded, and what needs the failure never starts."""
    ran = []

    def one() -> int:
        return 1

    def two(one: int) -> int:
        return one

    def three(two: int) -> int:
        raise KeyError("gone")

    def four(three: int) -> int:
        ran.append("four")
        return three

    def five(four: int, one: int) -> None:
        ran.append("five")

    result = Pipeline.of(one, two, three, four, five).run()
    assert statuses(result) == {
        "one": "succeeded",
        "two": "succeeded",
        "three": "failed",
        "four": "skipped",
        "five": "skipped",
    }
    assert ran == []
    assert result.nodes["four"].attempts == 0
    assert result.nodes["three"].attempts == 1


@pytest.mark.parametrize("swallower", ["sink", "middle"])
@pytest.mark.parametrize("apart", [False, True])
def test_a_sink_aborts_even_if_its_code_swallows_the_error(tmp_path, swallower, apart):
    """S4.4: swallowing an upstream error and returning commits nothing; a sibling branch is skipped as well."""
    target = tmp_path / "out.txt"
    target.write_text("old")

    def src() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("upstream")

    def middle(src: Iterable[int]) -> Iterator[int]:
        try:
            yield from src
        except Exception:
            if swallower != "middle":
                raise

    def sink(middle: Iterable[int], *, context: Context) -> None:
        with open_output(target, context) as file:
            try:
                for row in middle:
                    file.write(b"%d\n" % row)
            except Exception:
                if swallower != "sink":
                    raise

    def other(src: Iterable[int]) -> int:
        try:
            return sum(src)
        except Exception:
            return 0

    result = Pipeline.of(src, middle, sink, *([other] if apart else [])).run()
    expected = {"src": "failed", "middle": "skipped", "sink": "skipped"}
    assert statuses(result) == expected | ({"other": "skipped"} if apart else {})
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_sibling_branches_finish_and_commit(tmp_path):
    """S4.4: a failed branch is drained; its siblings get every row and publish; unrelated nodes go on."""

    def src() -> Iterator[int]:
        yield from range(ROWS)

    def bad(src: Iterable[int]) -> None:
        for x in src:
            if x == 10:
                raise ValueError("bad")

    def sibling(src: Iterable[int]) -> int:
        return sum(src)

    def unrelated() -> int:
        time.sleep(0.05)
        return 5

    out = tmp_path / "out.txt"
    result = Pipeline.of(
        src, bad, sibling, node(write, id="file", inputs={"rows": "src"}, path=str(out)), unrelated
    ).run()
    assert statuses(result) == {
        "src": "succeeded",
        "bad": "failed",
        "sibling": "succeeded",
        "file": "succeeded",
        "unrelated": "succeeded",
    }
    assert result.outputs["sibling"] == sum(range(ROWS))
    assert out.read_text() == "".join(f"{i}\n" for i in range(ROWS))
    assert result.status == "failed"


def test_a_stream_whose_consumers_have_all_failed_is_cancelled():
    """S4.4: upstream is cancelled unless another branch still reads."""
    made = []

    def src() -> Iterator[int]:
        for i in range(10_000_000):
            made.append(i)
            yield i

    def bad(src: Iterable[int]) -> None:
        next(iter(src))
        raise ValueError

    result = Pipeline.of(src, node(bad, id="a"), node(bad, id="b")).run()
    assert statuses(result) == {"src": "cancelled", "a": "failed", "b": "failed"}
    assert len(made) < 1_000_000


def chain(fail: str, row: int, log: list[str], out: Path, early: bool = False) -> Pipeline:
    """Four nodes in a line: the one named raises at the row; every one logs when its generator is closed."""

    def steps(name: str, rows: Iterable[int]) -> Iterator[int]:
        ended = "closed"
        try:
            for x in rows:
                if name == fail and x == row:
                    ended = "raised"
                    raise ValueError(f"{name} at {row}")
                yield x
            ended = "ended"
        except ValueError as error:
            ended = "raised" if name in str(error) else "saw"
            raise
        finally:
            log.append(f"{name} {ended}")

    def src() -> Iterator[int]:
        yield from steps("src", range(50))

    def one(src: Iterable[int]) -> Iterator[int]:
        yield from steps("one", src)

    def two(one: Iterable[int]) -> Iterator[int]:
        yield from steps("two", one)

    def sink(two: Iterable[int], *, context: Context) -> None:
        with open_output(out, context) as file:
            for x in steps("sink", two):
                file.write(b"%d\n" % x)
                if early and x == row:
                    return

    return Pipeline.of(src, one, two, sink)


@pytest.mark.parametrize("fail", ["src", "one", "two", "sink"])
def test_an_error_at_any_row_in_any_position(tmp_path, fail):
    """F28, S4.4: generators are closed in order, the sink aborts, and nothing half-written shows."""
    order = ["src", "one", "two", "sink"]
    at = order.index(fail)
    out = tmp_path / "out"
    for row in (0, 1, 2, 3, 7, 24, 48, 49):
        log: list[str] = []
        result = chain(fail, row, log, out).run()
        expected = ["cancelled"] * at + ["failed"] + ["skipped"] * (3 - at)
        assert list(statuses(result).values()) == expected, row
        assert result.nodes[fail].error.message == f"ValueError: {fail} at {row}"
        raised = [f"{fail} raised"]
        above = [f"{n} closed" for n in reversed(order[:at])]
        below = [f"{n} saw" for n in order[at + 1 :]]
        assert sorted(log) == sorted(raised + above + below)
        assert [x for x in log if x in above] == above  # the nearest upstream generator first
        assert [x for x in log if x in raised + below] == raised + below
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fail", ["src", "one", "two", "sink"])
def test_an_error_at_any_row_with_branches(tmp_path, fail):
    """F28: the same with a second consumer at each joint; the healthy branch has all rows or is skipped."""
    order = ["src", "one", "two", "sink"]
    out = tmp_path / "out"
    for row in (0, 3, 49):
        log: list[str] = []
        for joint in order[:3]:

            def count(rows: Iterable[int]) -> int:
                return sum(1 for _ in rows)

            both = Pipeline.of(*pieces(fail, row, log, out), node(count, id="extra", inputs={"rows": joint}))
            result = both.run()
            at = order.index(fail)
            assert result.nodes[fail].status == "failed"
            healthy = order.index(joint) < at
            assert result.nodes["extra"].status == ("succeeded" if healthy else "skipped"), (joint, row)
            if healthy:
                assert result.outputs["extra"] == 50
            assert list(tmp_path.iterdir()) == []


def pieces(fail: str, row: int, log: list[str], out: Path) -> list[Callable[..., Any]]:
    made = chain(fail, row, log, out)
    return [made.part.names.find(n.type).target for n in made.spec.nodes]  # type: ignore[union-attr]


def test_an_early_stop_closes_the_stream_and_commits(tmp_path):
    """S4.5, F28: a sink that has read enough returns; everything upstream is closed and has succeeded."""
    log: list[str] = []
    out = tmp_path / "out"
    result = chain("nobody", 3, log, out, early=True).run().check()
    assert set(statuses(result).values()) == {"succeeded"}
    assert out.read_text() == "0\n1\n2\n3\n"
    assert log == ["sink closed", "two closed", "one closed", "src closed"]


@pytest.mark.parametrize("consumers", [1, 2, 3])
def test_three_rows_of_an_infinite_stream(consumers):
    """S4.1: consumers that read three rows of an infinite generator finish, and the generator is closed."""
    closed = []

    def endless() -> Iterator[int]:
        n = 0
        try:
            while True:
                yield n
                n += 1
        finally:
            closed.append(n)

    def three(rows: Iterable[int]) -> list[int]:
        return [x for _, x in zip(range(3), rows)]

    result = (
        Pipeline.of(endless, *(node(three, id=f"c{k}", inputs={"rows": "endless"}) for k in range(consumers)))
        .run()
        .check()
    )
    assert set(statuses(result).values()) == {"succeeded"}
    assert list(result.outputs.values()) == [[0, 1, 2]] * consumers
    assert len(closed) == 1


def test_an_input_that_fails_before_its_branch_is_read_does_not_hold_up_the_stream():
    """S4.2: a consumer that fails before it reads is drained like any other."""

    def src() -> Iterator[int]:
        yield from range(200_000)

    def bad() -> Iterator[int]:
        raise ValueError("before the first row")

    def nothing() -> list[int]:
        return None  # type: ignore[return-value]

    def reads(bad: Iterable[int], src: Iterable[int]) -> None:
        raise AssertionError

    def takes(nothing: Iterable[int], src: Iterable[int]) -> None:
        raise AssertionError

    def other(src: Iterable[int]) -> int:
        return sum(src)

    result = Pipeline.of(src, bad, nothing, reads, takes, other).run()
    assert statuses(result) == {
        "src": "succeeded", "bad": "failed", "nothing": "succeeded", "reads": "skipped", "takes": "failed", "other": "succeeded",
    }  # fmt: skip


@pytest.mark.parametrize(
    "error",
    [
        SystemExit(3),
        SystemExit,
        StopIteration("x"),
        RecursionError,
        MemoryError,
        AssertionError,
        BaseException("odd"),
    ],
)
@pytest.mark.parametrize("kind", ["value", "stream", "sink", "class"])
def test_whatever_a_node_raises_is_its_failure(error, kind):
    """S5.2: run() raises only for an invalid pipeline or a bug of Petal; a node that exits has failed."""

    def value() -> int:
        raise error

    def stream() -> Iterator[int]:
        yield 1
        raise error

    def sink() -> None:
        raise error

    class Class:
        def process(self) -> int:
            raise error

    operators: dict[str, Any] = {"value": value, "stream": stream, "sink": sink, "class": Class}
    result = Pipeline.of(node(operators[kind], id="bad"), node(lambda: 1, id="good")).run()
    assert statuses(result) == {"bad": "failed", "good": "succeeded"}
    assert result.nodes["bad"].error.kind == ("out_of_memory" if error is MemoryError else "user")


@pytest.mark.parametrize("threads", [1, 8])
def test_fail_fast_stops_everything_else(threads, tmp_path):
    """S4.4: with fail_fast, siblings abort, what waits never starts, and the failure is named."""
    out = tmp_path / "out"

    def src() -> Iterator[int]:
        for i in range(100_000):
            time.sleep(0.0005)
            yield i

    def bad() -> int:
        time.sleep(0.05)
        raise ValueError("first")

    def after_all() -> int:
        raise AssertionError

    began = time.monotonic()
    result = Pipeline.of(
        src,
        node(write, id="file", inputs={"rows": "src"}, path=str(out), policies={"effects": "idempotent"}),
        node(write, id="effect", inputs={"rows": "src"}, path=str(tmp_path / "effect")),
        bad,
        node(after_all, after=["file"]),
    ).run(fail_fast=True, workers=threads)
    assert time.monotonic() - began < 5
    found = statuses(result)
    assert found["bad"] == "failed"
    assert found["file"] == "cancelled"
    assert found["effect"] == "unknown"  # S5.4: what gives nothing must not run twice
    assert found["after_all"] in ("skipped", "cancelled")
    assert result.status == "failed"
    assert not list(tmp_path.iterdir())


def test_without_fail_fast_unrelated_nodes_go_on():
    """S4.4: a failure stops nothing that does not need it."""

    def bad() -> int:
        raise ValueError

    def slow(*, k: int) -> int:
        time.sleep(0.02)
        return k

    result = Pipeline.of(bad, *(node(slow, id=f"n{k}", k=k) for k in range(20))).run()
    assert {n: result.outputs[n] for n in result.outputs if n != "bad"} == {f"n{k}": k for k in range(20)}


def test_a_failed_commit_is_the_sinks_failure(tmp_path):
    """S4.5: where publishing fails, the node has failed, its siblings have not."""
    folder = tmp_path / "gone"
    folder.mkdir()

    def src() -> Iterator[int]:
        yield from range(10)

    def removes(rows: Iterable[int], *, context: Context) -> None:
        with open_output(folder / "out", context) as file:
            file.write(b"x")
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()

    good = tmp_path / "good"
    result = Pipeline.of(
        src,
        node(removes, inputs={"rows": "src"}),
        node(write, id="good", inputs={"rows": "src"}, path=str(good)),
    ).run()
    assert statuses(result) == {"src": "succeeded", "removes": "failed", "good": "succeeded"}
    assert result.nodes["removes"].error.code == "output"
    assert good.exists()


def test_a_failed_commit_upstream_keeps_what_is_behind_it_from_publishing(tmp_path):
    """S4.4: a streaming node that also writes a file and cannot publish it takes its sink with it."""
    folder = tmp_path / "gone"
    folder.mkdir()

    def tee(src: Iterable[int], context: Context) -> Iterator[int]:
        with open_output(folder / "copy", context) as file:
            for x in src:
                file.write(b"x")
                yield x
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()

    def src() -> Iterator[int]:
        yield from range(10)

    result = Pipeline.of(
        src, tee, node(write, id="file", inputs={"rows": "tee"}, path=str(tmp_path / "out"))
    ).run()
    assert statuses(result) == {"src": "succeeded", "tee": "failed", "file": "skipped"}
    assert list(tmp_path.iterdir()) == []


def test_the_first_error_counts():
    """S4.4: the node whose own code raised first is the failed one, whatever others raise because of it."""

    def src() -> Iterator[int]:
        yield 1
        raise ValueError("first")

    def middle(src: Iterable[int]) -> Iterator[int]:
        try:
            yield from src
        except ValueError as error:
            raise RuntimeError("second") from error

    def sink(middle: Iterable[int]) -> None:
        try:
            list(middle)
        finally:
            raise KeyError("third")

    result = Pipeline.of(src, middle, sink).run()
    assert statuses(result) == {"src": "failed", "middle": "skipped", "sink": "skipped"}
    assert result.nodes["src"].error.message == "ValueError: first"


def test_a_branch_that_wraps_the_news_is_not_to_blame():
    """S4.4: an error raised because a stream from another thread broke is not that node's own."""

    def src() -> Iterator[int]:
        yield from range(10)
        raise ValueError("first")

    def wraps(src: Iterable[int]) -> int:
        try:
            return sum(src)
        except Exception as error:
            raise RuntimeError("wrapped") from error

    def in_a_generator(src: Iterable[int]) -> Iterator[int]:
        yield from (x for x in src)

    def end(in_a_generator: list[int]) -> int:
        return 1

    result = Pipeline.of(src, wraps, in_a_generator, end).run()
    assert statuses(result) == {
        "src": "failed",
        "wraps": "skipped",
        "in_a_generator": "skipped",
        "end": "skipped",
    }


def test_threads_end_with_the_run():
    """S5.1: no thread of a run outlives it, also when nodes fail on many threads."""

    def src() -> Iterator[int]:
        yield from range(ROWS)

    def sometimes(rows: Iterable[int], *, at: int) -> int:
        for x in rows:
            if x == at:
                raise ValueError(at)
        return at

    before = threading.active_count()
    result = Pipeline.of(
        src, *(node(sometimes, id=f"n{k}", inputs={"rows": "src"}, at=k * 3000) for k in range(10))
    ).run()
    assert list(statuses(result).values()).count("failed") == 7
    assert threading.active_count() <= before + 1


def test_a_row_that_does_not_fit_fails_the_node_even_if_its_code_swallows_the_error():
    """S4.4: half of the rows are no result, whoever caught the error."""

    def rows() -> Iterator[dict[str, Any]]:
        yield from ({"n": 1}, {"n": "two"}, {"n": 3})

    def counted(rows: Iterable[Row]) -> int:
        count = 0
        with contextlib.suppress(Exception):
            for _ in rows:
                count += 1
        return count

    result = Pipeline.of(rows, counted).run()
    assert result.nodes["counted"].status == "failed"
    assert "row 2, field `n`" in str(result.nodes["counted"].error)
