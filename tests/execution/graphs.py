"""Random pipelines of every sort of edge, and what they give when they are evaluated naively, list by list."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from petal import Pipeline, node

ROWS = 23
_GONE = object()


def source() -> Iterator[int]:
    yield from range(ROWS)


def source_list() -> list[int]:
    return list(range(100, 100 + ROWS))


def concat(*ins: Iterable[int]) -> Iterator[int]:
    for rows in ins:
        yield from rows


def backwards(*ins: Iterable[int]) -> Iterator[int]:
    for rows in reversed(ins):
        yield from rows


def zipped(*ins: Iterable[int]) -> Iterator[int]:
    for rows in zip_longest(*ins, fillvalue=_GONE):
        yield from (r for r in rows if r is not _GONE)  # type: ignore[misc]


def first(*ins: Iterable[int]) -> Iterator[int]:
    for rows in ins:
        for _, row in zip(range(3), rows):
            yield row


def lists(*ins: list[int]) -> Iterator[int]:
    for rows in reversed(ins):
        yield from rows


def collect(*ins: Iterable[int]) -> list[int]:
    return [x for rows in ins for x in rows]


def total(*ins: Iterable[int]) -> int:
    return sum(sum(rows) for rows in ins)


def count(*ins: list[int]) -> int:
    return sum(map(len, ins))


def untyped(*ins):
    return [sum(i) if isinstance(i, list) else i for i in ins]


def shift(by: int, *ins: Iterable[int]) -> Iterator[int]:
    for rows in ins:
        yield from (row + by for row in rows)


def shift_list(by: int, *ins: list[int]) -> Iterator[int]:
    yield by
    for rows in ins:
        yield from (row - by for row in rows)


STREAM, LIST, VALUE = "stream", "list", "value"
GIVES: dict[Callable[..., Any], str] = {
    source: STREAM, source_list: LIST, concat: STREAM, backwards: STREAM, zipped: STREAM, first: STREAM, lists: STREAM,
    collect: LIST, total: VALUE, count: VALUE, untyped: LIST, shift: STREAM, shift_list: STREAM,
}  # fmt: skip
STREAMING = (concat, backwards, zipped)
ANY = (concat, backwards, zipped, first, lists, collect, total, count, untyped, shift, shift_list)


@dataclass
class Graph:
    """A pipeline as lists: each node's function, its sources, its value and what it comes after."""

    functions: list[Callable[..., Any]] = field(default_factory=list)
    ins: list[list[int]] = field(default_factory=list)
    by: list[int | None] = field(default_factory=list)
    after: list[list[int]] = field(default_factory=list)

    def add(
        self,
        fn: Callable[..., Any],
        ins: Iterable[int] = (),
        by: int | None = None,
        after: Iterable[int] = (),
    ) -> None:
        self.functions.append(fn)
        self.ins.append(list(ins))
        self.by.append(by)
        self.after.append(list(after))

    def pipeline(self, name: str = "graph") -> Pipeline:
        nodes = []
        for i, fn in enumerate(self.functions):
            inputs: dict[str, Any] = {"ins": [f"n{k}" for k in self.ins[i]]} if self.ins[i] else {}
            if self.by[i] is not None:
                inputs["by"] = f"n{self.by[i]}"
            nodes.append(node(fn, id=f"n{i}", inputs=inputs, after=[f"n{k}" for k in self.after[i]]))
        return Pipeline.of(*nodes, name=name)

    def expected(self) -> dict[str, Any]:
        values: list[Any] = []
        for fn, ins, by in zip(self.functions, self.ins, self.by, strict=True):
            arguments = [values[k] for k in ins]
            if by is not None:
                arguments.insert(0, values[by])
            result = fn(*arguments)
            values.append(list(result) if GIVES[fn] == STREAM else result)
        return {f"n{i}": v for i, v in enumerate(values)}


def random_graph(rng: random.Random) -> Graph:
    """Draw a graph of 6 to 8 nodes: streams, lists, values and `after` mixed."""
    graph = Graph()
    for i in range(rng.randint(6, 8)):
        rows = [
            k for k in range(i) if GIVES[graph.functions[k]] != VALUE and graph.functions[k] is not untyped
        ]
        values = [k for k in range(i) if GIVES[graph.functions[k]] == VALUE]
        after = rng.sample(range(i), 1) if i and rng.random() < 0.25 else []
        if not rows or rng.random() < 0.12:
            graph.add(rng.choice((source, source, source_list)), after=after)
            continue
        ins = [rng.choice(rows) for _ in range(rng.choice((1, 1, 2, 2, 3)))]
        fn = rng.choice(ANY)
        if fn in (shift, shift_list):
            if not values:
                fn = total
            else:
                graph.add(fn, ins, rng.choice(values), after)
                continue
        if fn is untyped and values and rng.random() < 0.5:
            ins.append(rng.choice(values))
        graph.add(fn, ins, after=after)
    return graph


def all_graphs(size: int) -> Iterator[list[list[int]]]:
    """Every way to feed nodes 0..size-1 from nodes before them, as lists of sources."""
    if size == 0:
        yield []
        return
    for rest in all_graphs(size - 1):
        for mask in range(1 << (size - 1)):
            yield [*rest, [k for k in range(size - 1) if mask >> k & 1]]


def all_orders(size: int) -> Iterator[list[list[int]]]:
    """Every way to feed nodes 0..size-1 from nodes before them, in every order in which each may read its sources."""
    if size == 0:
        yield []
        return
    for rest in all_orders(size - 1):
        for count in range(size):
            for ins in itertools.permutations(range(size - 1), count):
                yield [*rest, list(ins)]
