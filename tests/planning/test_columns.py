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


@operator(columns=lambda params, _wanted: params["keys"])
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


@operator(columns=lambda params, wanted: None if wanted is None else [params["by"], *wanted])
def ordered(rows: list[dict[str, Any]], *, by: str) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: row[by])


def test_what_is_passed_on_is_needed_as_far_as_consumers_need_it():
    """An operator that passes columns on needs its own and what is wanted of its output, over any number of nodes."""
    one = node(pick, id="one", keys=["a"], inputs={"rows": "second"})
    first = node(ordered, id="first", by="b", inputs={"rows": "rows"})
    second = node(ordered, id="second", by="c", inputs={"rows": "first"})
    assert run(first, second, one) == ("b", "c", "a")


def test_what_is_passed_on_to_somebody_who_may_look_at_all_is_all():
    """A consumer far down that says nothing gets every column; so does the caller, as what nobody reads is kept."""
    first = node(ordered, id="first", by="b", inputs={"rows": "rows"})
    one = node(pick, id="one", keys=["a"], inputs={"rows": "first"})
    other = node(everything, id="other", inputs={"rows": "first"})
    assert run(first, one, other) is None
    SEEN.clear()
    assert run(first) is None


@operator(columns=lambda params, _wanted: params["no such parameter"])
def careless(rows: Iterable[dict[str, Any]]) -> int:
    return sum(1 for _ in rows)


def test_a_hint_that_cannot_be_had_is_no_hint():
    """A function that fails, or names no column, changes nothing."""
    assert run(careless) is None
    SEEN.clear()
    assert run(node(pick, id="one", keys=[])) is None
