"""Streams: read once, in order, with bounded memory and back-pressure; values are shared (S3, S4.1, S4.2, F30)."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
import polars as pl
import pytest

from petal import Batches, Pipeline, node
from petal.execution.engine import execute
from petal.execution.options import Options
from petal.planning.request import Request


def measure(code: str, *args: str) -> list[float]:
    """Run a script of its own and return the numbers that it prints."""
    start = "import resource, sys\nfrom collections.abc import Iterable, Iterator\nimport petal\nfrom petal import *\n"
    end = "\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", start + textwrap.dedent(code) + end, *args],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [float(x) for x in done.stdout.split()]


@pytest.mark.parametrize("consumers", [1, 2, 5, 20])
@pytest.mark.parametrize("view", ["items", "list", "both"])
def test_a_stream_is_read_once_whoever_consumes_it(consumers, view):
    """S4.1: the source's generator runs once and gives each row once; a list is built once for all."""
    runs, rows = [], []

    def src() -> Iterator[int]:
        runs.append(1)
        for i in range(20_000):
            rows.append(i)
            yield i

    seen: list[Any] = []

    def items(src: Iterable[int]) -> int:
        return sum(src)

    def whole(src: list[int]) -> int:
        seen.append(src)
        return sum(src)

    chosen = {"items": [items], "list": [whole], "both": [items, whole]}[view]
    nodes = [node(chosen[k % len(chosen)], id=f"c{k}") for k in range(consumers)]
    result = Pipeline.of(src, *nodes).run().check()
    assert runs == [1]
    assert rows == list(range(20_000))
    assert set(result.outputs.values()) == {sum(range(20_000))}
    assert len({id(s) for s in seen}) <= 1


def test_fan_in_is_in_the_order_of_the_edges():
    """G10: rows come in the order of the edges, whatever the timing."""

    def source(*, k: int, wait: float) -> Iterator[int]:
        for i in range(3):
            time.sleep(wait)
            yield 10 * k + i

    def join(*lists: Iterable[int]) -> list[int]:
        return [x for rows in lists for x in rows]

    waits = [0.02, 0.0, 0.01]
    sources = [node(source, id=f"s{k}", k=k, wait=w) for k, w in enumerate(waits)]
    for order in ([0, 1, 2], [2, 1, 0], [1, 1, 0], [2, 0, 2]):
        p = Pipeline.of(*sources, node(join, inputs={"lists": [f"s{k}" for k in order]}))
        assert p.run(targets=["join"]).check().outputs["join"] == [
            10 * k + i for k in order for i in range(3)
        ]


def test_diamonds_of_all_sorts():
    """S4.2: branches that meet again: as streams, as a value and a stream, as a list and a stream, twice the same."""

    def src() -> Iterator[int]:
        yield from range(50_000)

    def even(src: Iterable[int]) -> Iterator[int]:
        yield from (x for x in src if x % 2 == 0)

    def odd(src: Iterable[int]) -> Iterator[int]:
        yield from (x for x in src if x % 2)

    def joined(even: Iterable[int], odd: Iterable[int]) -> Iterator[int]:
        yield from odd
        yield from even

    def total(src: Iterable[int]) -> int:
        return sum(src)

    def scale(src: Iterable[int], total: int) -> Iterator[float]:
        yield from (x / total for x in src)

    def listed(src: Iterable[int], again: list[int]) -> int:
        return sum(x * y for x, y in zip(src, again, strict=True))

    def same(one: Iterable[int], two: Iterable[int]) -> bool:
        return list(one) == list(two)

    def pairs(even: Iterable[int], odd: Iterable[int]) -> int:
        return sum(1 for a, b in zip(even, odd, strict=True) if b == a + 1)

    result = Pipeline.of(
        src, even, odd, joined, total, scale, pairs,
        node(listed, inputs={"src": "src", "again": "src"}),
        node(same, inputs={"one": "src", "two": "src"}),
    ).run().check()  # fmt: skip
    n = 50_000
    assert result.outputs["joined"] == [*range(1, n, 2), *range(0, n, 2)]
    assert result.outputs["scale"] == [x / (n * (n - 1) // 2) for x in range(n)]
    assert result.outputs["listed"] == sum(x * x for x in range(n))
    assert result.outputs["same"] is True
    assert result.outputs["pairs"] == n // 2


DIAMOND = """
def src() -> Iterator[{type}]:
    for i in range(int(sys.argv[1])):
        yield {row}
def total(src: Iterable[{type}]) -> int:
    return sum(1 for _ in src)
def scale(src: Iterable[{type}], total: int) -> Iterator[float]:
    for _ in src:
        yield 1.0 / total
def check(scale: Iterable[float]) -> float:
    return sum(scale)
r = Pipeline.of(src, total, scale, check).run().check()
assert abs(r.outputs['check'] - 1) < 1e-6
"""


@pytest.mark.slow
@pytest.mark.timeout(110)
@pytest.mark.parametrize(
    ("type", "row", "small", "large"),
    [("int", "i", 300_000, 3_000_000), ("str", "'ERROR line %d' % i", 300_000, 3_000_000)],
)
def test_the_commonest_diamond_takes_bounded_memory(type, row, small, large):
    """S4.2: total(src) and scale(src, total): ten times the rows move peak memory by less than 60 MB."""
    code = DIAMOND.format(type=type, row=row)
    (few,) = measure(code, str(small))
    (many,) = measure(code, str(large))
    assert many - few < 60


@pytest.mark.slow
@pytest.mark.timeout(110)
def test_a_diamond_of_batches_and_of_records_takes_bounded_memory():
    """S4.2: the same for Polars batches and for declared records."""
    batches = """
    import polars as pl
    def src() -> Batches[int]:
        for i in range(int(sys.argv[1]) // 10_000):
            yield pl.Series(range(i, i + 10_000))
    def total(src: Batches[int]) -> int:
        return sum(len(s) for s in src)
    def scale(src: Batches[int], total: int) -> int:
        return sum(len(s) for s in src) + total
    r = Pipeline.of(src, total, scale).run().check()
    assert r.outputs['scale'] == 2 * int(sys.argv[1])
    """
    (few,), (many,) = measure(batches, "1000000"), measure(batches, "20000000")
    assert many - few < 60
    records = """
    from dataclasses import dataclass
    @dataclass
    class Row:
        id: int
        name: str
        price: float | None
    """
    code = textwrap.dedent(records) + DIAMOND.format(type="Row", row="Row(i, 'name', None)")
    (few,), (many,) = measure(code, "100000"), measure(code, "600000")
    assert many - few < 60


@pytest.mark.slow
@pytest.mark.timeout(110)
def test_independent_branches_do_not_spill():
    """F30, S4.2: with a fast and a slow consumer that stay apart, the source waits: memory is flat, disk unused."""
    code = """
    import tempfile, time
    def no_spill(*args, **kwargs):
        raise AssertionError("spilled")
    tempfile.TemporaryFile = no_spill
    made = 0
    ahead = 0
    def src() -> Iterator[str]:
        global made
        for i in range(int(sys.argv[1])):
            made += 1
            yield "x" * 100 + str(i)
    def fast(src: Iterable[str]) -> int:
        return sum(1 for _ in src)
    def slow(src: Iterable[str]) -> int:
        global ahead
        n = 0
        for _ in src:
            n += 1
            if n % 10_000 == 0:
                time.sleep(0.002)
            if made - n > ahead:
                ahead = made - n
        return n
    r = Pipeline.of(src, fast, slow).run().check()
    assert r.outputs['fast'] == r.outputs['slow'] == int(sys.argv[1])
    print(ahead)
    """
    (_, few), (ahead, many) = measure(code, "200000"), measure(code, "2000000")
    assert many - few < 30
    assert ahead <= 12 * 8192


def test_a_slow_consumer_holds_the_source_back():
    """F30: back-pressure: the source is never more than the window ahead of the slowest independent branch."""
    made = [0]
    ahead = []

    def src() -> Iterator[int]:
        for i in range(100_000):
            made[0] = i + 1
            yield i

    def slow(src: Iterable[int]) -> int:
        n = 0
        for n, _ in enumerate(src, 1):
            if n % 8192 == 0:
                time.sleep(0.001)
                ahead.append(made[0] - n)
        return n

    def fast(src: Iterable[int]) -> int:
        return sum(1 for _ in src)

    p = Pipeline.of(src, slow, fast)
    planned = p.planned(Request(to_run=True))
    assert planned.plan is not None
    result = execute(planned.plan, planned.operators, Options(window=1)).check()
    assert set(result.outputs.values()) == {100_000}
    assert max(ahead) <= 4 * 8192


class Point(NamedTuple):
    x: int
    tags: list[str]


class Struct(msgspec.Struct):
    x: int
    y: float | None = None


class Odd:
    def __init__(self, x: int) -> None:
        self.x = x


ROWS: dict[str, tuple[Any, list[Any]]] = {
    "untyped": (None, [(1, {"a": (2, 3)}), "x", None, 4.0, {5}]),
    "objects": (Odd, [Odd(i) for i in range(20)]),
    "ints": (int, [1, -(2**70), 2**63, True, 0]),
    "floats": (float, [1.5, 2, float("inf"), -0.0, 3]),
    "text": (str, ["a", "\ud800", "é\x00", None, ""]),
    "bytes": (bytes, [b"a", bytearray(b"b"), b""]),
    "tuples": (Point, [Point(1, ["a"]), Point(2, [])]),
    "structs": (Struct, [Struct(1), Struct(2, 3), Struct(3, 4.5)]),
    "dicts": (dict[str, Any], [{"a": (1, 2)}, {"a": [1, 2]}]),
    "any": (Any, [object, len, 3]),
}


@pytest.mark.parametrize("kind", ROWS)
def test_spilled_rows_come_back_exactly_as_they_were(kind, monkeypatch):
    """S4.2: rows that no codec gives back exactly stay in memory; either way they are the same, types included."""
    monkeypatch.setattr("petal.execution.chain.BATCH_ROWS", 2)
    element, some = ROWS[kind]
    rows = some * 30

    def src():
        yield from rows

    if element is not None:
        src.__annotations__["return"] = Iterator[element]

    def count(src: Iterable) -> int:
        return sum(1 for _ in src)

    def after(src: Iterable, count: int) -> list:
        return list(src)

    p = Pipeline.of(src, count, after)
    planned = p.planned(Request(to_run=True, targets=("count", "after")))
    assert planned.plan is not None
    result = execute(planned.plan, planned.operators, Options(window=1)).check()
    assert result.outputs["count"] == len(rows)
    given = result.outputs["after"]
    assert [type(x) for x in given] == [type(x) for x in rows]
    assert [repr(x) for x in given] == [repr(x) for x in rows]


@pytest.mark.parametrize("kind", ROWS)
def test_a_kept_leaf_comes_back_exactly_as_it_was(kind, monkeypatch):
    """S5.3: a leaf's stream is spilled and loaded when read, exactly."""
    monkeypatch.setattr("petal.execution.chain.BATCH_ROWS", 2)
    element, some = ROWS[kind]
    rows = some * 80

    def leaf():
        yield from rows

    if element is not None:
        leaf.__annotations__["return"] = Iterator[element]
    result = Pipeline.of(leaf).run().check()
    assert [repr(x) for x in result.outputs["leaf"]] == [repr(x) for x in rows]
    assert result.outputs["leaf"] is result.outputs["leaf"]


def test_a_leaf_that_nobody_reads_is_dropped_quietly():
    """S5.3: a big leaf that is never read leaves no open file and no warning."""

    def leaf() -> Iterator[int]:
        yield from range(8192 * 80)

    result = Pipeline.of(leaf).run().check()
    assert result.nodes["leaf"].rows == 8192 * 80
    del result


def test_values_are_shared_not_copied():
    """S3.4: every consumer of a value gets the object itself; a stream collected once is one list."""
    value = {"a": [1]}

    def make() -> dict[str, list[int]]:
        return value

    def one(make: dict[str, list[int]]) -> int:
        return id(make)

    def two(make: dict[str, list[int]]) -> int:
        return id(make)

    assert set(Pipeline.of(make, one, two).run().check().outputs.values()) == {id(value)}


def test_values_are_freed_after_their_last_consumer():
    """S5.3: what nobody needs any more is not kept until the end of the run."""
    import weakref

    class Big:
        pass

    alive: list[Any] = []

    def make() -> Big:
        big = Big()
        alive.append(weakref.ref(big))
        return big

    def use(make: Big) -> int:
        return 1

    def later(use: int) -> bool:
        return alive[0]() is None

    assert Pipeline.of(make, use, later).run().check().outputs["later"] is True


def test_a_target_with_a_consumer_that_stops_early_is_whole():
    """S5.3: a kept stream has all its rows, also when its consumers had enough."""

    def src() -> Iterator[int]:
        yield from range(100_000)

    def head(src: Iterable[int]) -> int:
        return next(iter(src))

    result = Pipeline.of(src, head).run(targets=["src", "head"]).check()
    assert len(result.outputs["src"]) == 100_000


def test_a_plain_iterator_in_a_coroutine_holds_up_no_other():
    """S5.1: coroutines that read plain streams of one source do not wait for each other on the loop."""

    def src() -> Iterator[int]:
        yield from range(300_000)

    async def total(src: Iterable[int]) -> int:
        return sum(src)

    p = Pipeline.of(src, *(node(total, id=f"t{k}") for k in range(4)))
    assert set(p.run().check().outputs.values()) == {sum(range(300_000))}


def test_sixty_four_functions_wait_at_the_same_time():
    """S5.1: 64 plain functions that wait for each other all get there; so do 64 coroutines."""
    import asyncio
    import threading

    together, async_together = threading.Barrier(64), asyncio.Barrier(64)

    def wait(*, k: int) -> int:
        together.wait(30)
        return k

    async def await_(*, k: int) -> int:
        async with asyncio.timeout(30):
            await async_together.wait()
        return k

    for fn in (wait, await_):
        result = Pipeline.of(*(node(fn, id=f"n{k}", k=k) for k in range(64))).run().check()
        assert list(result.outputs.values()) == list(range(64))


def test_workers_bound_how_many_wait():
    """S5.1: never more than `workers` plain nodes at a time."""
    now, most = [0], [0]
    lock = threading.Lock()

    def wait() -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1

    Pipeline.of(*(node(wait, id=f"n{k}") for k in range(20))).run(workers=3).check()
    assert most[0] == 3


def test_two_hundred_nodes_with_one_worker_run_in_order():
    """S5.1: one worker is the engine's own thread; independent nodes run in the order of the plan."""
    order: list[int] = []
    threads = set()

    def step(*, k: int) -> int:
        threads.add(threading.get_ident())
        order.append(k)
        return k

    result = Pipeline.of(*(node(step, id=f"n{k}", k=k) for k in range(200))).run(workers=1).check()
    assert order == list(range(200))
    assert threads == {threading.get_ident()}
    assert list(result.outputs) == [f"n{k}" for k in range(200)]


def test_a_chain_of_two_thousand_streams_is_no_recursion_of_ours():
    """DESIGN 11: long chains of values have no recursion limit."""

    def first() -> int:
        return 0

    def add(x: int) -> int:
        return x + 1

    nodes = [
        first,
        *(node(add, id=f"n{k}", inputs={"x": f"n{k - 1}" if k else "first"}) for k in range(2000)),
    ]
    assert Pipeline.of(*nodes).run().check().outputs["n1999"] == 2000


def test_frames_pass_as_they_are():
    """S3.4, DESIGN 4: a frame passes between nodes without a copy."""
    frame = pl.DataFrame({"a": [1, 2]})

    def make() -> pl.DataFrame:
        return frame

    def same(make: pl.DataFrame) -> bool:
        return make is frame

    def rows(make: Batches[dict]) -> bool:
        return next(iter(make)) is frame

    assert set(Pipeline.of(make, same, rows).run().check().outputs.values()) == {True}
