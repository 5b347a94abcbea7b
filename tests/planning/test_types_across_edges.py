"""Types across edges (S3.1): views are adapted, element types are compared, only a sure mismatch is an error."""

from __future__ import annotations

import typing
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from petal import Batches, Pipeline, node, operator
from petal.spec.diagnostic import Diagnostic
from tests.planning.wiring import load


def edge(gives: Any, takes: Any, *, variadic: bool = False) -> list[Diagnostic]:
    """Validate a pipeline of two nodes with these annotations on their edge."""

    def left():  # type: ignore[no-untyped-def]
        return None

    def right(x):  # type: ignore[no-untyped-def]
        return 1

    def rest(*x):  # type: ignore[no-untyped-def]
        return 1

    if gives is not None:
        left.__annotations__["return"] = gives
    taker = rest if variadic else right
    if takes is not None:
        taker.__annotations__["x"] = takes
    inputs: dict[str, Any] = {"x": ["left"] if variadic else "left"}
    return Pipeline.of(operator(left), node(operator(taker), id="right", inputs=inputs)).validate()


STREAMS = [Iterator[int], Iterable[int], AsyncIterator[int], Batches[int]]
LISTS = [list[int], Sequence[int], set[int], tuple[int, ...], frozenset[int]]
FRAMES = [pl.DataFrame, pl.LazyFrame]


@pytest.mark.parametrize("gives", [*STREAMS, *LISTS])
@pytest.mark.parametrize("takes", [*STREAMS, *LISTS])
def test_every_view_of_one_element_fits_every_other(gives: Any, takes: Any) -> None:
    """A stream, list, set or tuple feeds any of these, batches and async included."""
    assert edge(gives, takes) == []


@pytest.mark.parametrize(
    "gives", [*FRAMES, Batches[dict[str, Any]], list[dict[str, Any]], Iterator[dict[str, Any]]]
)
@pytest.mark.parametrize(
    "takes", [*FRAMES, Batches[dict[str, Any]], list[dict[str, Any]], Iterator[dict[str, Any]]]
)
def test_frames_are_rows_of_records(gives: Any, takes: Any) -> None:
    """A frame feeds a stream of records, and records feed a frame."""
    assert edge(gives, takes) == []


@pytest.mark.parametrize("gives", [list[str], Iterator[str], Batches[str], set[str], pl.DataFrame])
@pytest.mark.parametrize("takes", [*STREAMS, *LISTS])
def test_other_elements_do_not_fit(gives: Any, takes: Any) -> None:
    """Where the elements certainly differ, whatever the views, the edge is an error with a remedy."""
    (finding,) = edge(gives, takes)
    assert finding.code == "type-mismatch"
    assert "`left` does not fit `right.x`" in finding.message
    assert finding.hint


@pytest.mark.parametrize(
    "gives", [str, bytes, dict[str, int], Mapping[str, int], typing.TypedDict("Row", {"a": int})]
)
@pytest.mark.parametrize("takes", [Iterable[Any], list[Any], Iterator[str], Batches[str], pl.DataFrame])
def test_text_bytes_and_mappings_are_never_taken_apart(gives: Any, takes: Any) -> None:
    """One text or mapping is one value; the hint says how to give many (S3.1)."""
    (finding,) = edge(gives, takes)
    assert finding.code == "type-mismatch"
    assert "list[" in str(finding.hint)


@pytest.mark.parametrize("gives", [int, float, bool, Path])
def test_a_value_does_not_feed_a_stream(gives: Any) -> None:
    """What cannot be iterated is no stream."""
    assert [f.code for f in edge(gives, Iterable[Any])] == ["type-mismatch"]


@pytest.mark.parametrize("takes", [int, str, dict[str, int], Path])
def test_a_stream_does_not_feed_a_value(takes: Any) -> None:
    """An input that takes one value gets no stream; the hint says how to take a stream or all of it."""
    (finding,) = edge(Iterator[int], takes)
    assert finding.code == "type-mismatch"
    assert "Iterable[int]" in str(finding.hint)


@pytest.mark.parametrize("known", [*STREAMS, *LISTS, *FRAMES, int, str, dict[str, int], None])
def test_what_is_not_annotated_is_silent(known: Any) -> None:
    """An unannotated end, ``Any`` or ``object`` gives no finding (S3.3)."""
    assert edge(known, None) == []
    assert edge(known, Any) == []
    assert edge(known, object) == []
    if known not in STREAMS:
        assert edge(None, known) == []
        assert edge(Any, known) == []


@pytest.mark.parametrize(
    ("gives", "takes", "fits"),
    [
        (bool, int, True),
        (int, float, True),
        (float, int, False),
        (int, int | None, True),
        (int | None, int | None, True),
        (str, int | None, False),
        (typing.Literal["a"], str, True),
        (list[bool], Iterable[int], True),
        (list[int], Iterable[float], True),
        (dict[str, int], Mapping[str, int], True),
        (dict[str, int], dict[str, str], False),
        (typing.Annotated[int, "meters"], int, True),
        (list[Any], Iterator[int], True),
        (list, Iterator[int], True),
        (list[list[int]], Iterable[list[int]], True),
        (list[list[int]], Iterable[int], False),
    ],
)
def test_values_and_elements_are_assignable_as_in_python(gives: Any, takes: Any, fits: bool) -> None:
    """Assignability is that of Python's types, where it is sure."""
    assert (edge(gives, takes) == []) is fits


def test_a_variadic_input_checks_every_edge() -> None:
    """Each source of a variadic input is compared with its element."""
    assert edge(int, int, variadic=True) == []
    assert [f.code for f in edge(str, int, variadic=True)] == ["type-mismatch"]


def test_a_generator_without_a_return_annotation_is_a_stream() -> None:
    """An unannotated generator function gives a stream of unknown elements (S3.3)."""

    @operator
    def left():  # type: ignore[no-untyped-def]
        yield 1

    @operator
    def right(left: list[str]) -> int:
        return len(left)

    @operator
    def one(left: int) -> int:
        return left

    assert Pipeline.of(left, right).validate() == []
    assert [f.code for f in Pipeline.of(left, one).validate()] == ["type-mismatch"]


def test_a_mismatch_stands_where_the_edge_was_written(tmp_path: Path) -> None:
    """The place is the edge's own, also where a module is between the two nodes."""
    load(
        tmp_path,
        "inputs: [lines]\nnodes:\n  - { id: f, type: RegexFilter, params: { pattern: a } }\n",
        "inner.yaml",
    )
    text = "nodes:\n  - { id: t, type: CsvReader, params: { file_path: a.csv } }\n"
    text += "modules:\n  - { id: m, path: inner.yaml }\nedges:\n  - [t, m]\n"
    (finding,) = load(tmp_path, text).validate()
    assert (finding.code, finding.line, finding.column) == ("type-mismatch", 6, 6)
    assert finding.chain == ()


ELEMENTS = st.sampled_from([int, str, float, bool, bytes, dict[str, int], list[int], int | None, Any])
VIEWS = st.sampled_from([list, Iterator, Iterable, Batches, set, Sequence])


def cannot_be(view: Any, element: Any) -> bool:
    """Whether there is no such value: dicts and lists have no hash."""
    return view is set and typing.get_origin(element) in (dict, list)


@settings(max_examples=60, deadline=None)
@given(ELEMENTS, VIEWS, VIEWS)
def test_an_element_fits_itself_in_any_two_views(element: Any, gives: Any, takes: Any) -> None:
    """No edge between two views of one element is refused, where there can be such views."""
    assume(not cannot_be(gives, element) and not cannot_be(takes, element))
    assert edge(gives[element], takes[element]) == []


@settings(max_examples=60, deadline=None)
@given(ELEMENTS, ELEMENTS, VIEWS, VIEWS, VIEWS, VIEWS)
def test_views_do_not_change_whether_elements_fit(
    one: Any, other: Any, a: Any, b: Any, c: Any, d: Any
) -> None:
    """Whether two elements fit is the same in every pair of views, where there can be such views."""
    assume(
        not any(cannot_be(v, e) for v, e in [(a, one), (b, other), (b, one), (d, one), (d, other), (c, one)])
    )
    assert bool(edge(a[one], b[other])) == bool(edge(c[one], d[other]))
