"""`petal.testing.strategies`: values are of the type that was asked for, and graphs run as they say."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petal import Batches, Check, Pipeline, node
from petal.spec.views import View, seen
from petal.testing.frame_kinds import KINDS
from petal.testing.kinds import Flat, Kind, Person
from petal.testing.strategies import Graph, frames, graphs, rows, values
from petal.testing.subject import giver

WITH_COLUMNS = [kind for kind in KINDS if kind.batches]


class Tree(msgspec.Struct):
    name: str
    children: list[Tree]


def even(number: int) -> None:
    if number % 2:
        raise ValueError("odd")


@given(data=st.data(), kind=st.sampled_from([k for k in KINDS if seen(k.annotation).view is View.VALUE]))
def test_values_are_of_the_type_that_was_asked_for(data: st.DataObject, kind: Kind) -> None:
    """As msgspec sees it."""
    value = data.draw(values(kind.annotation))
    if kind.name != "Path":
        assert msgspec.convert(value, kind.annotation) == value or "nan" in repr(value)


@given(data=st.data(), kind=st.sampled_from(WITH_COLUMNS))
@settings(deadline=None, max_examples=30)
def test_rows_go_through_batches_and_stay_what_they_are(data: st.DataObject, kind: Kind) -> None:
    """That is what ``rows`` promises."""
    many = data.draw(rows(kind.annotation))

    def batched(found: Batches[kind.annotation]) -> list[kind.annotation]:  # type: ignore[name-defined]
        return [row for batch in found for row in (batch.to_dicts() if hasattr(batch, "to_dicts") else batch)]

    batched.__annotations__ = {"found": Batches[kind.annotation], "return": list[Any]}
    pipeline = Pipeline.of(node(giver(many), id="given"), node(batched, id="it", inputs={"found": "given"}))
    got = pipeline.run().check().outputs["it"]
    assert len(got) == len(many)


@given(values(Annotated[int, msgspec.Meta(ge=1, le=9)]), values(Annotated[int, Check(even)]))
def test_constraints_hold(small: int, number: int) -> None:
    """Of msgspec's Meta, and of Petal's Check."""
    assert 1 <= small <= 9
    assert number % 2 == 0


@pytest.mark.slow
@given(values(Tree), values(Literal["a", "b"]), values(int | None), values(Person), rows(Flat, max_size=3))
def test_records_may_hold_themselves(
    tree: Tree, letter: str, number: Any, person: Any, many: list[Flat]
) -> None:
    """And every other shape of a type."""
    assert isinstance(tree, Tree)
    assert letter in ("a", "b")
    assert number is None or type(number) is int
    assert set(person) == {"name", "born"}
    assert len(many) <= 3


@pytest.mark.parametrize(
    "kind", ["polars.DataFrame", "polars.LazyFrame", "polars.Series", "pyarrow.Table", "pandas.DataFrame"]
)
def test_frames_are_of_the_kind_that_was_asked_for(kind: str) -> None:
    """Of every library that Petal knows."""

    @settings(max_examples=15, deadline=None)
    @given(frames(kind, max_size=4))
    def holds(frame: Any) -> None:
        assert f"{type(frame).__module__.partition('.')[0]}.{type(frame).__name__}" == kind

    holds()


@given(graphs())
@settings(max_examples=30, deadline=None)
def test_graphs_give_the_rows_that_they_say(graph: Graph) -> None:
    """A pipeline of them, run here."""
    result = Pipeline.of(*graph.nodes()).run(targets=graph.ids).check()
    assert {name: list(result.outputs[name]) for name in graph.ids} == graph.rows()
