"""Cached nodes, through the front door: what comes from the cache is what a run would have given, in every view."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import os
import random
import shutil
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import msgspec
import polars as pl
import pyarrow as pa
import pytest

from petal import Batches, Context, Pipeline, node, split
from petal.errors import InvalidPipeline

ROWS = 20_000
#: A source may be cached if it has a version, which then stands for its code as well.
KEEP = {"cache": {"version": "1"}}


class Row(msgspec.Struct):
    n: int
    when: dt.datetime | None = None


@dataclass
class Person:
    name: str
    tags: tuple[str, ...] = ()


class Pair(NamedTuple):
    left: int
    right: list[str]


class Named(TypedDict):
    first: int
    second: str


class Sides(NamedTuple):
    even: Iterator[int]
    odd: Iterator[int]


def ran(result: Any) -> dict[str, bool]:
    """Say of each node whether it ran; all succeeded."""
    result.check()
    return {name: not found.cached for name, found in result.nodes.items()}


# -- every view ---------------------------------------------------------------------------------------------------


def whole_number() -> int:
    return 2**70


def text() -> str:
    return "naïve \x00 café"


def not_a_number() -> float:
    return float("nan")


def data() -> bytes:
    return bytes(range(256)) * 2_000


def nothing() -> int | None:
    return None


def moment() -> dt.datetime:
    return dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def numbers() -> list[int]:
    return list(range(ROWS))


def no_numbers() -> list[int]:
    return []


def few() -> tuple[int, str]:
    return 1, "a"


def many() -> set[int]:
    return {3, 1, 2}


def table() -> dict[str, list[float]]:
    return {"a": [1.5], "b": []}


def person() -> Person:
    return Person("Ada", ("x", "y"))


def pair() -> Pair:
    return Pair(1, ["a"])


def named() -> Named:
    return {"first": 1, "second": "b"}


def stream() -> Iterator[str]:
    yield from (f"line {n}" for n in range(ROWS))


def no_stream() -> Iterator[str]:
    yield from ()


def rows() -> Iterator[Row]:
    yield from (Row(n, dt.datetime(2026, 1, 1) if n % 2 else None) for n in range(ROWS))


async def later() -> AsyncIterator[int]:
    for n in range(10):
        await asyncio.sleep(0)
        yield n


def series() -> Batches[int]:
    for n in range(3):
        yield pl.Series("n", [n, n + 1])


def frames() -> Batches[dict[str, Any]]:
    for n in range(3):
        yield pl.DataFrame({"n": [n], "t": ["x"]}, schema={"n": pl.UInt8, "t": pl.Categorical})


def no_frames() -> Batches[dict[str, Any]]:
    yield pl.DataFrame(schema={"n": pl.UInt8, "t": pl.String})


def frame() -> pl.DataFrame:
    return pl.DataFrame({"n": range(ROWS), "t": [["a"]] * ROWS}, schema_overrides={"n": pl.Int16})


def lazy() -> pl.LazyFrame:
    return pl.LazyFrame({"n": [1, 2, 3]})


def arrow() -> pa.Table:
    return pa.table({"n": pa.array([1, 2, None], pa.int8())})


MAKERS = [
    whole_number, text, not_a_number, data, nothing, moment, numbers, no_numbers, few, many, table, person, pair, named,
    stream, no_stream, rows, later, series, frames, no_frames, frame, lazy, arrow,
]  # fmt: skip


def shown(value: Any) -> Any:
    """Return what tells a value and the types in it from others; a stream is read."""
    if isinstance(value, pl.LazyFrame):
        return "lazy", shown(value.collect())
    if isinstance(value, pl.DataFrame):
        return "frame", value.schema, value.to_dict(as_series=False)
    if isinstance(value, pl.Series):
        return "series", value.dtype, value.to_list()
    if isinstance(value, pa.Table):
        return "arrow", value.schema, value.to_pydict()
    if isinstance(value, Iterator):
        found = [shown(piece) for piece in value]
        # How a stream is cut into batches is not part of it.
        batches = [f for f in found if type(f) is tuple and f[0] in ("frame", "series")]
        return Counter(map(repr, found)) if not batches else pieces(batches)
    return type(value), repr(value)


def pieces(batches: list[tuple[Any, ...]]) -> Any:
    """Return the rows of batches, and their types."""
    found: list[Any] = []
    for _, _, values in batches:
        found += zip(*values.values(), strict=True) if isinstance(values, dict) else values
    return [repr(kind) for _, kind, _ in batches][:1], found


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
def test_what_is_cached_is_what_a_run_gives(tmp_path: Path, maker: Callable[..., Any]) -> None:
    """Uncached, at the miss and at the hit: a consumer of the same annotation and the result get the same."""
    seen: list[Any] = []

    def look(made: Any) -> int:
        seen.append(shown(made))
        return 1

    kind = maker.__annotations__["return"]
    look.__annotations__["made"] = "Iterator[int]" if "Async" in kind else kind
    found = []
    for policies in ({}, KEEP, KEEP):
        pipeline = Pipeline.of(node(maker, id="made", policies=policies), look)
        result = pipeline.run(home=tmp_path, targets=["made", "look"])
        found.append((ran(result), result.nodes["made"].rows, shown(result.outputs["made"])))
    plain, miss, hit = found
    assert [f[0] for f in found] == [
        {"made": True, "look": True},
        {"made": True, "look": True},
        {"made": False, "look": True},
    ]
    assert plain[1:] == miss[1:] == hit[1:]
    assert seen[0] == seen[1] == seen[2]
    assert result.nodes["made"].attempts == 0


def test_types_are_those_that_are_declared(tmp_path: Path) -> None:
    """A whole number of a function that declares a float is one at the miss as well, so that both runs go alike."""

    def price() -> float:
        return 3

    def shares() -> Iterator[float]:
        yield from (1, 2)

    def look(price: float, shares: list[float]) -> list[str]:
        return [repr(x) for x in (price, *shares)]

    for expected in (True, False):
        result = Pipeline.of(node(price, policies=KEEP), node(shares, policies=KEEP), look).run(home=tmp_path)
        assert ran(result) == {"price": expected, "shares": expected, "look": True}
        assert result.outputs["look"] == ["3.0", "1.0", "2.0"]


def test_outputs_are_there_when_the_run_is_over(tmp_path: Path) -> None:
    """A result reads large cached streams when it is asked, even if the cache was removed meanwhile; nothing stays open."""

    def lines() -> Iterator[str]:
        yield from (f"{n:0>30}" for n in range(100_000))

    def blocks() -> Batches[dict[str, Any]]:
        for at in range(0, 100_000, 10_000):
            yield pl.DataFrame({"n": range(at, at + 10_000)})

    pipeline = Pipeline.of(node(lines, policies=KEEP), node(blocks, policies=KEEP))
    for expected in (True, False):
        result = pipeline.run(home=tmp_path)
        assert ran(result) == {"lines": expected, "blocks": expected}
        if not expected:
            shutil.rmtree(tmp_path / "cache")
        assert result.outputs["lines"][-1] == f"{99_999:0>30}"
        assert result.outputs["blocks"]["n"].to_list() == list(range(100_000))
        result.outputs.close()
        del result
    gc.collect()
    opened = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    assert [name for name in opened if name.startswith(str(tmp_path))] == []


VIEWS = {
    "items": Iterable[int],
    "iterator": Iterator[int],
    "list": list[int],
    "set": set[int],
    "batches": Batches[int],
    "series": pl.Series,
}


@pytest.mark.parametrize("kind", ["items", "batches", "list"])
def test_one_cached_output_feeds_every_view_at_once(tmp_path: Path, kind: str) -> None:
    """Several consumers, each in its own view: the sums are those of a run without a cache."""

    def items() -> Iterator[int]:
        yield from range(ROWS)

    def batches() -> Batches[int]:
        for at in range(0, ROWS, 3_000):
            yield pl.Series("n", range(at, min(at + 3_000, ROWS)))

    def collected() -> list[int]:
        return list(range(ROWS))

    def consumer(view: str) -> Any:
        def total(made: Any) -> int:
            if view == "batches":
                return int(sum(int(batch.sum()) for batch in made))
            return int(sum(made))

        total.__annotations__["made"] = VIEWS[view]
        return node(total, id=view)

    maker = {"items": items, "batches": batches, "list": collected}[kind]
    for expected in (True, False):
        nodes = [node(maker, id="made", policies=KEEP), *map(consumer, VIEWS)]
        result = Pipeline.of(*nodes).run(home=tmp_path)
        assert ran(result) == {"made": expected} | dict.fromkeys(VIEWS, True)
        assert set(result.outputs.values()) == {sum(range(ROWS))}


def test_ports_of_a_cached_node(tmp_path: Path) -> None:
    """The fields of a NamedTuple and of a TypedDict are ports, on a hit as on a miss."""

    def left(n: int) -> int:
        return n + 1

    def right(words: list[str]) -> str:
        return ",".join(words)

    def second(word: str) -> str:
        return word * 2

    for expected in (True, False):
        result = Pipeline.of(
            node(pair, policies=KEEP),
            node(named, policies=KEEP),
            node(left, inputs={"n": "pair.left"}),
            node(right, inputs={"words": "pair.right"}),
            node(second, inputs={"word": "named.second"}),
        ).run(home=tmp_path)
        assert (ran(result)["pair"], ran(result)["named"]) == (expected, expected)
        assert dict(result.outputs.items()) == {"left": 2, "right": "a", "second": "bb"}


def test_several_streams_at_once_are_not_cached(tmp_path: Path) -> None:
    """What `split` gives flows; to ask for its caching is a finding, and its consumers may be cached."""

    def sides(numbers: Iterable[int]) -> Sides:
        return split(numbers, Sides, by=lambda n: "odd" if n % 2 else "even")

    def total(even: Iterable[int]) -> int:
        return sum(even)

    def count(odd: list[int]) -> int:
        return len(odd)

    def pipeline(**policies: Any) -> Pipeline:
        return Pipeline.of(
            node(numbers, policies=KEEP),
            node(sides, policies=policies),
            node(total, inputs={"even": "sides.even"}, policies={"cache": True}),
            node(count, inputs={"odd": "sides.odd"}, policies={"cache": True}),
        )

    assert [d.code for d in pipeline(cache=True).validate()] == ["cannot-cache"]
    for expected in (True, False):
        result = pipeline().run(home=tmp_path)
        assert ran(result) == dict.fromkeys(("numbers", "total", "count"), expected) | {"sides": True}
        assert dict(result.outputs.items()) == {"total": sum(range(0, ROWS, 2)), "count": ROWS // 2}


# -- keys ---------------------------------------------------------------------------------------------------------


def keyed(tmp_path: Path, **more: Any) -> dict[str, bool]:
    """Run a source and two nodes that are cached, one behind the other."""

    def source(*, n: int = 3) -> list[int]:
        return [abs(n)] * 2

    def middle(source: list[int], *, by: int = 2) -> list[int]:
        return [by * x for x in source]

    def end(middle: list[int]) -> int:
        return sum(middle)

    cached = {"cache": True}
    pipeline = Pipeline.of(source, node(middle, policies=cached), node(end, policies=cached), name="keyed")
    return ran(pipeline.run(home=tmp_path, **more))


def test_what_is_in_a_key(tmp_path: Path) -> None:
    """Parameters and the values of inputs count; where a value came from, and what it was called, do not."""
    fresh, found = (
        {"source": True, "middle": True, "end": True},
        {"source": True, "middle": False, "end": False},
    )
    assert keyed(tmp_path) == fresh
    assert keyed(tmp_path) == found
    assert keyed(tmp_path, params={"middle.by": 3}) == fresh
    assert keyed(tmp_path, params={"source.n": 4}) == fresh
    assert keyed(tmp_path, params={"source.n": -3}) == found  # it gives what it gave before
    assert keyed(tmp_path) == found


def test_an_override_counts_by_its_value(tmp_path: Path) -> None:
    """A value in the place of a node is an input like any other; a node that is overridden is not looked for."""
    keyed(tmp_path)
    assert keyed(tmp_path, overrides={"source": [3, 3]})["middle"] is False
    assert keyed(tmp_path, overrides={"source": [3, 4]})["middle"] is True
    assert keyed(tmp_path, overrides={"middle": [6, 6]})["end"] is False
    assert keyed(tmp_path, overrides={"middle": [6, 7]})["end"] is True


def test_what_changes_behind_is_computed_and_only_that(tmp_path: Path) -> None:
    """A node that runs again and gives what it gave before makes nothing run again behind it."""

    def run(by: int) -> dict[str, bool]:
        def source() -> list[int]:
            return [1, 2]

        def signs(source: list[int], *, by: int) -> list[int]:
            return [(x * by > 0) - (x * by < 0) for x in source]

        def end(signs: list[int]) -> int:
            return sum(signs)

        cached = {"cache": True}
        pipeline = Pipeline.of(source, node(signs, by=by, policies=cached), node(end, policies=cached))
        return ran(pipeline.run(home=tmp_path))

    assert run(1) == {"source": True, "signs": True, "end": True}
    assert run(2) == {"source": True, "signs": True, "end": False}
    assert run(-2) == {"source": True, "signs": True, "end": True}


@pytest.mark.parametrize("workers", [1, 8])
def test_nodes_of_one_key_run_once(tmp_path: Path, workers: int) -> None:
    """Nodes of one run that would give the same wait for whoever is first, and take what it gave."""
    calls = tmp_path / "calls"

    def slow(n: int, *, path: str) -> int:
        with open(path, "a") as file:
            file.write("x")
        threading.Event().wait(0.05)
        return n + 1

    def n() -> int:
        return 1

    nodes = [node(slow, id=f"s{k}", path=str(calls), policies={"cache": True}) for k in range(6)]
    result = Pipeline.of(n, *nodes).run(home=tmp_path / "home", workers=workers).check()
    assert calls.read_text() == "x"
    assert set(result.outputs.values()) == {2}
    assert sorted(found.cached for name, found in result.nodes.items() if name != "n") == [False] + [True] * 5


# -- together with other policies -----------------------------------------------------------------------------------


def test_with_retry(tmp_path: Path) -> None:
    """What the attempt that succeeded gave is kept, nothing of those before."""

    def n() -> int:
        return 5

    def risky(n: int, *, context: Context) -> Iterator[str]:
        for k in range(n):
            yield f"{context.attempt}-{k}"
        if context.attempt < 3:
            raise ConnectionError("down")

    policies = {"cache": True, "retry": {"max_attempts": 3, "delay": 0}}
    for attempts in (3, 0):
        result = Pipeline.of(n, node(risky, policies=policies)).run(home=tmp_path).check()
        assert result.nodes["risky"].attempts == attempts
        assert result.outputs["risky"] == [f"3-{k}" for k in range(5)]


@pytest.mark.parametrize("size", [1, 7])
def test_with_batch(tmp_path: Path, size: int) -> None:
    """The rows of all calls are one output; how they are cut is part of the key."""

    def double(numbers: list[int]) -> list[int]:
        return [2 * n for n in numbers]

    def run(size: int) -> bool:
        policies = {"cache": True, "batch": {"size": size, "in_flight": 3}}
        source = node(no_numbers if size == 1 else few_numbers, id="numbers")
        result = Pipeline.of(source, node(double, policies=policies)).run(home=tmp_path)
        wanted = [] if size == 1 else [2 * n for n in range(100)]
        assert result.check().outputs["double"] == wanted
        return ran(result)["double"]

    assert [run(size), run(size), run(size + 1)] == [True, False, True]


def few_numbers() -> list[int]:
    return list(range(100))


OPERATORS = """
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from petal import operator

@operator
def numbers(*, count: int = 5) -> Iterator[int]:
    yield from range(count)

@operator
def where(numbers: Iterable[int], *, path: str) -> list[int]:
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\\\\n")
    return [n + 1 for n in numbers]

@operator
def untyped(numbers):
    return object()
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Any]:
    """Runs a pipeline file with the operators above."""
    (tmp_path / "ops.py").write_text(OPERATORS.replace("\\\\n", "\\n"))

    def run(nodes: str, **more: Any) -> Any:
        file = tmp_path / "p.yaml"
        file.write_text(f"plugins: [./ops.py]\nnodes:\n  - {{ id: numbers, type: Numbers }}\n{nodes}")
        return Pipeline.from_file(file).run(**more)

    return run


@pytest.mark.parametrize("policy", ["execution: { backend: process }", "timeout: 30s"])
def test_in_a_worker_process(run: Callable[..., Any], tmp_path: Path, policy: str) -> None:
    """A node that runs in a worker is cached here: the second run starts none for it."""
    calls = tmp_path / "calls"
    nodes = f"  - {{ id: where, type: Where, inputs: {{ numbers: numbers }}, params: {{ path: {calls} }}, cache: true, {policy} }}\n"
    first, second = run(nodes), run(nodes)
    assert first.check().outputs["where"] == second.check().outputs["where"] == [1, 2, 3, 4, 5]
    assert (first.nodes["where"].cached, second.nodes["where"].cached) == (False, True)
    pids = calls.read_text().split()
    assert len(pids) == 1
    assert pids[0] != str(os.getpid())


# -- what cannot be, and what goes wrong ----------------------------------------------------------------------------


def test_an_output_that_nothing_describes(run: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    """A value that cannot be written is used and not cached: one warning names the node, and the annotation to write."""
    nodes = "  - { id: untyped, type: Untyped, inputs: { numbers: numbers }, cache: true }\n"
    for _ in range(2):
        caplog.clear()
        result = run(nodes)
        assert result.check().nodes["untyped"].cached is False
        assert type(result.outputs["untyped"]) is object
        [warning] = [r for r in caplog.records if r.levelname == "WARNING"]
        assert "used but not cached: output of `untyped`: object cannot be kept" in warning.getMessage()
        assert "annotate it" in warning.getMessage()
        assert warning.node == "untyped"


class Thing:
    """A value that no codec takes."""


def rows_with_a_thing(at: int, count: int, size: int) -> Callable[[], Iterator[Any]]:
    """Make a source of rows, one of which cannot be written."""

    def things() -> Iterator[Any]:
        for n in range(count):
            yield Thing() if n == at else n

    def batches() -> Batches[dict[str, Any]]:
        for start in range(0, count, size):
            held = [Thing() if n == at else n for n in range(start, min(count, start + size))]
            kind = pl.Object if start <= at < start + size else pl.Int64
            yield pl.DataFrame({"n": pl.Series(held, dtype=kind)})

    return batches if size else things


@pytest.mark.parametrize(
    ("at", "count", "size"),
    [
        (0, 1, 0),
        (0, 10_000, 0),
        (4096, 10_000, 0),
        (5000, 10_000, 0),
        (9999, 10_000, 0),
        (0, 7, 3),
        (6, 7, 3),
        (70_000, 200_000, 1000),
        (199_999, 200_000, 30_000),
        (100_000, 200_000, 65_536),
    ],
)
def test_a_stream_with_a_row_that_cannot_be_written_flows_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, at: int, count: int, size: int
) -> None:
    """Every consumer gets every row, in order, whether it was written before the one that cannot be, with it or after."""

    def plain(rows: list[Any]) -> list[Any]:
        return [-1 if type(row) is Thing else row for row in rows]

    def first(made: list[Any]) -> list[Any]:
        return plain([r["n"] for r in made] if size else made)

    def second(made: Iterator[Any]) -> list[Any]:
        return plain([r["n"] for r in made] if size else list(made))

    source = node(rows_with_a_thing(at, count, size), id="made", policies={"cache": {"version": "1"}})
    expected = [-1 if n == at else n for n in range(count)]
    for _ in range(2):
        caplog.clear()
        result = Pipeline.of(source, first, second).run(home=tmp_path).check()
        assert result.outputs["first"] == expected
        assert result.outputs["second"] == expected
        assert (result.nodes["made"].rows, result.nodes["made"].cached) == (count, False)
        [warning] = [r for r in caplog.records if r.levelname == "WARNING"]
        assert "used but not cached: output of `made`" in warning.getMessage()
    assert not list((tmp_path / "cache").glob("??/??/*.val"))
    assert not list((tmp_path / "cache" / "making").glob("*"))


def test_an_annotation_that_no_codec_takes_is_found_before_the_run(tmp_path: Path) -> None:
    """A function as a value is a finding, with the node's name."""

    def gives(numbers: list[int]) -> Callable[[int], int]:
        return abs

    with pytest.raises(InvalidPipeline) as caught:
        Pipeline.of(numbers, node(gives, policies={"cache": True})).run(home=tmp_path)
    assert [d.code for d in caught.value.diagnostics] == ["cannot-cache"]


def test_a_damaged_entry_is_made_again(tmp_path: Path) -> None:
    """A flipped byte anywhere in what is stored is never handed on: the node runs again, and the entry is whole again."""

    def made() -> list[str]:
        return [f"{n:0>100}" for n in range(10_000)]

    pipeline = Pipeline.of(node(made, policies=KEEP))
    expected = pipeline.run(home=tmp_path).check().outputs["made"]
    rng = random.Random(5)
    for _ in range(8):
        [stored] = (tmp_path / "cache").glob("??/??/*.val")
        data = bytearray(stored.read_bytes())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        stored.write_bytes(data)
        result = pipeline.run(home=tmp_path)
        assert ran(result) == {"made": True}
        assert result.outputs["made"] == expected
        assert ran(pipeline.run(home=tmp_path)) == {"made": False}


def test_a_garbage_database_is_put_aside(tmp_path: Path) -> None:
    """A database that is none is an empty cache: the run succeeds, and the next one finds its outputs."""
    pipeline = Pipeline.of(node(text, policies=KEEP))
    pipeline.run(home=tmp_path).check()
    (tmp_path / "cache" / "cache.db").write_bytes(b"no database at all" * 1_000)
    for leftover in (tmp_path / "cache").glob("cache.db-*"):
        leftover.unlink()
    assert ran(pipeline.run(home=tmp_path)) == {"text": True}
    assert ran(pipeline.run(home=tmp_path)) == {"text": False}


def test_a_pipeline_in_python_keeps_its_cache_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S8.2: `Pipeline.of` keeps nothing on disk, unless it caches."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PETAL_HOME", raising=False)
    Pipeline.of(text).run().check()
    assert list(tmp_path.iterdir()) == []
    Pipeline.of(node(text, policies=KEEP)).run().check()
    assert [p.name for p in tmp_path.iterdir()] == [".petal"]
