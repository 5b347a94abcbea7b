"""No topology deadlocks, whatever its edges are, and every one gives what a naive evaluation gives (S4.2)."""

from __future__ import annotations

import itertools
import random

import pytest

from petal.execution.engine import execute
from petal.execution.options import Options
from petal.planning.request import Request
from tests.execution.graphs import (
    STREAMING,
    Graph,
    all_graphs,
    all_orders,
    collect,
    concat,
    lists,
    random_graph,
    source,
    zipped,
)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Two items make a batch, so that a window of one batch is soon full."""
    monkeypatch.setattr("petal.execution.chain.BATCH_ROWS", 2)


def run(graph: Graph, targets: tuple[str, ...] = (), workers: int = 64) -> dict:
    pipeline = graph.pipeline()
    planned = pipeline.planned(Request(targets=targets, to_run=True))
    assert planned.plan is not None, planned.findings
    result = execute(
        planned.plan, planned.operators, Options(window=1, workers=workers, handle_signals=False)
    )
    result.check()
    return dict(result.outputs)


def check(graph: Graph, targets: tuple[str, ...] = (), workers: int = 64) -> None:
    print(
        [f.__name__ for f in graph.functions], graph.ins, graph.by, graph.after, targets
    )  # shown when it hangs
    expected = graph.expected()
    outputs = run(graph, targets, workers)
    assert outputs == {name: expected[name] for name in outputs}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_every_topology_of_streaming_nodes_finishes(size):
    """S4.2: all ways to connect up to four streaming nodes, each reading its inputs in order, backwards or in turns."""
    for ins in all_graphs(size):
        readers = [i for i in range(size) if len(ins[i]) > 1]
        for modes in itertools.product(STREAMING, repeat=len(readers)):
            mode = dict(zip(readers, modes, strict=True))
            graph = Graph()
            for i in range(size):
                graph.add(source if not ins[i] else mode.get(i, STREAMING[0]), ins[i])
            check(graph)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(8))
def test_every_topology_of_five_in_every_reading_order_finishes(part):
    """S4.2: all ways to connect five streaming nodes, each reading its inputs one after the other in every order."""
    for ins in itertools.islice(all_orders(5), part, None, 8):
        graph = Graph()
        for sources in ins:
            graph.add(concat if sources else source, sources)
        check(graph)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_topology_of_five_in_turns_finishes():
    """S4.2: all ways to connect five streaming nodes, each taking a row of each input in turn."""
    for ins in all_graphs(5):
        graph = Graph()
        for sources in ins:
            graph.add(zipped if sources else source, sources)
        check(graph)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.slow
def test_every_topology_with_every_view_finishes(size):
    """S4.1, S4.2: each node takes its inputs as streams or as lists and gives a stream or a list."""
    for ins in all_graphs(size):
        for functions in itertools.product((STREAMING[0], STREAMING[2], lists, collect), repeat=size):
            graph = Graph()
            for i in range(size):
                graph.add(functions[i] if ins[i] else source, ins[i])
            check(graph)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("size", [2, 3])
def test_every_topology_with_order_edges_finishes(size):
    """S2.3, S4.2: each edge of the graph is data, `after`, or both."""
    for ins in all_graphs(size):
        edges = [(i, k) for i in range(size) for k in ins[i]]
        for kinds in itertools.product(("data", "after", "both"), repeat=len(edges)):
            kind = dict(zip(edges, kinds, strict=True))
            graph = Graph()
            for i in range(size):
                data = [k for k in ins[i] if kind[i, k] != "after"]
                after = [k for k in ins[i] if kind[i, k] != "data"]
                graph.add(STREAMING[2] if data else source, data, after=after)
            check(graph)


@pytest.mark.timeout(200)
@pytest.mark.parametrize("part", [0, *[pytest.param(part, marks=pytest.mark.slow) for part in range(1, 10)]])
def test_random_graphs_give_what_a_naive_evaluation_gives(part):
    """S4.1, S4.2: 2,000 graphs of 6 to 8 nodes with streams, lists, values and `after` mixed."""
    for seed in range(part * 200, part * 200 + 200):
        rng = random.Random(seed)
        graph = random_graph(rng)
        check(graph)
        some = tuple(f"n{i}" for i in range(len(graph.functions)) if rng.random() < 0.4)
        check(graph, some, workers=rng.choice((1, 2, 64)))
