"""A reader learns which columns anybody looks at (the hint in ``Context.columns``)."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from petal import Context, Pipeline, node, operator

SEEN: list[Any] = []


@operator
def rows(*, context: Context) -> Iterator[dict[str, Any]]:
    SEEN.append(context.columns)
    yield {"a": 1, "b": 2, "c": 3}


@operator(columns=lambda params: params["keys"])
def pick(rows: Iterable[dict[str, Any]], *, keys: list[str]) -> Iterator[dict[str, Any]]:
    return ({k: row[k] for k in keys} for row in rows)


def everything(rows: Iterable[dict[str, Any]]) -> int:
    return sum(1 for _ in rows)


@pytest.fixture(autouse=True)
def nothing_seen():
    SEEN.clear()


def run(*nodes):
    p = Pipeline.of(rows, *nodes)
    p.run().check()
    (seen,) = SEEN
    assert p.plan().nodes[0].columns == seen
    return seen


def test_the_columns_of_all_consumers_are_joined():
    """What one looks at and what another looks at, each once, in their order."""
    one, other = node(pick, id="one", keys=["a", "b"]), node(pick, id="other", keys=["b", "c"])
    assert run(one) == ("a", "b")
    SEEN.clear()
    assert run(one, other) == ("a", "b", "c")


def test_one_consumer_that_may_look_at_all_means_all():
    """A consumer that says nothing gets every column."""
    assert run(node(pick, id="one", keys=["a"]), everything) is None


def test_a_stream_that_is_kept_has_all_columns():
    """A target's rows are not cut to what a consumer needs."""
    p = Pipeline.of(rows, node(pick, id="one", keys=["a"]))
    result = p.run(targets=["rows", "one"]).check()
    assert SEEN == [None]
    assert result.outputs["rows"] == [{"a": 1, "b": 2, "c": 3}]


@operator(columns=lambda params: params["no such parameter"])
def careless(rows: Iterable[dict[str, Any]]) -> int:
    return sum(1 for _ in rows)


def test_a_hint_that_cannot_be_had_is_no_hint():
    """A function that fails, or names no column, changes nothing."""
    assert run(careless) is None
    SEEN.clear()
    assert run(node(pick, id="one", keys=[])) is None
