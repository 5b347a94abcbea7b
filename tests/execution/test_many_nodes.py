"""Many plain nodes: no recursion, nothing left behind, and threads that help where it pays (S5.1)."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from petal import Pipeline, Status, node


def one() -> int:
    return 1


def more(x: int) -> int:
    return x + 1


class Value:
    """Something that can be watched for its end."""


def made() -> Value:
    return Value()


def chain(count: int) -> list[Any]:
    """A chain of nodes ``n0``, ``n1`` and so on, each of which adds one."""
    rest = [node(more, id=f"n{i}", inputs={"x": f"n{i - 1}"}) for i in range(1, count)]
    return [node(one, id="n0"), *rest]


@pytest.fixture
def no_collector() -> Iterator[None]:
    """The cyclic garbage collector is off, and what it could collect so far is gone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("count", [3000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_long_chain_needs_no_recursion(count: int) -> None:
    """A chain far longer than Python's stack is planned and run, each node once."""
    result = Pipeline.of(*chain(count), name="chain").run().check()
    assert dict(result.outputs) == {f"n{count - 1}": count}
    assert len(result.nodes) == count
    assert {n.status for n in result.nodes.values()} == {Status.SUCCEEDED}


@pytest.mark.usefixtures("no_collector")
def test_a_run_leaves_no_work_for_the_garbage_collector() -> None:
    """What a plan and a run are made of is freed by reference counting, the outputs together with the result."""
    pipeline = Pipeline.of(made, *chain(500), name="chain")
    result = pipeline.run().check()
    value = weakref.ref(result.outputs["made"])
    assert isinstance(value(), Value)
    assert gc.collect() < 500  # fewer than one object for each node
    del result
    assert value() is None


def test_nodes_that_wait_behind_trivial_ones_all_run_at_once() -> None:
    """S5.1: helpers that found nothing worth their while at first still help when others wait for each other."""
    together = threading.Barrier(32)

    def wait() -> int:
        return together.wait(timeout=60)

    trivial = [node(one, id=f"t{i}") for i in range(2000)]
    waiting = [node(wait, id=f"w{i}") for i in range(32)]
    result = Pipeline.of(*trivial, *waiting, name="mixed").run(workers=32).check()
    assert sorted(result.outputs[w.id] for w in waiting) == list(range(32))


def test_the_plan_keeps_the_order_of_the_file_where_it_can() -> None:
    """Nodes whose sources all stand above them are planned, and reported, as they are written."""
    items = [
        node(one, id="a"),
        node(more, id="b", inputs={"x": "a"}),
        node(one, id="c"),
        node(more, id="d", inputs={"x": "b"}),
    ]
    assert [n.id for n in Pipeline.of(*items, name="p").plan().nodes] == ["a", "b", "c", "d"]
    turned = Pipeline.of(*reversed(items), name="p")
    ids = [n.id for n in turned.plan().nodes]
    assert ids.index("a") < ids.index("b") < ids.index("d")
    assert dict(turned.run().check().outputs) == {"d": 3, "c": 1}
