"""Every producer feeds every consumer in the view that its annotation asks for (S3)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, NotRequired, TypedDict

import msgspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from petal import Batches, InvalidPipeline, Pipeline, RowError, StreamConsumed, node

# -- records of every shape ---------------------------------------------------------------------------------------


class AsStruct(msgspec.Struct):
    a: int
    b: str | None = None


@dataclass
class AsDataclass:
    a: int
    b: str | None = None


class AsTuple(NamedTuple):
    a: int
    b: str | None = None


class AsTyped(TypedDict):
    a: int
    b: NotRequired[str | None]


SHAPES: list[Any] = [AsStruct, AsDataclass, AsTuple, AsTyped, dict[str, Any]]
RECORDS: list[dict[str, Any]] = [{"a": 1, "b": "x"}, {"a": 2, "b": None}]


def shaped(shape: Any) -> list[Any]:
    return [dict(r) if shape in (AsTyped, dict[str, Any]) else shape(**r) for r in RECORDS]


@pytest.mark.parametrize("given_shape", SHAPES)
@pytest.mark.parametrize("wanted_shape", SHAPES)
@pytest.mark.parametrize("batches", [False, True])
def test_records_of_one_shape_become_records_of_another(given_shape, wanted_shape, batches):
    """S3.1, DESIGN 4: Struct, dataclass, NamedTuple, TypedDict and dict feed each other, through batches too."""
    got: list[Any] = []

    def give():
        yield from shaped(given_shape)

    def between(give: Batches[dict]) -> Batches[dict]:
        yield from give

    def take(rows) -> None:
        got.extend(rows)

    give.__annotations__["return"] = Iterator[given_shape]
    take.__annotations__["rows"] = Iterable[wanted_shape]
    nodes = [give, between] if batches else [give]
    result = Pipeline.of(*nodes, node(take, inputs={"rows": nodes[-1].__name__})).run()
    result.check()
    assert got == shaped(wanted_shape)
    assert {type(x) for x in got} == {dict if wanted_shape in (AsTyped, dict[str, Any]) else wanted_shape}


@pytest.mark.parametrize("wanted", [AsStruct, AsDataclass, AsTuple, AsTyped])
@pytest.mark.parametrize(
    ("bad", "field"), [({"a": "no"}, "a"), ({"b": "x"}, "a"), ({"a": 1, "b": 3}, "b"), ({"a": 1.5}, "a")]
)
def test_a_record_that_does_not_fit_names_row_and_field(wanted, bad, field):
    """S3.5: the error names the node, the row and the field, and has a remedy."""

    def give() -> Iterator[dict[str, Any]]:
        yield {"a": 1}
        yield {"a": 2}
        yield bad

    def take(rows) -> int:
        return len(list(rows))

    take.__annotations__["rows"] = Iterable[wanted]
    result = Pipeline.of(give, node(take, inputs={"rows": "give"})).run()
    error = result.nodes["take"].error
    assert error.node == "take"
    assert isinstance(error.__cause__, RowError)
    assert (error.__cause__.row, error.__cause__.field) == (3, field)
    assert error.hint


def untyped_rows(later: Any, row: int) -> Iterator[dict]:
    for i in range(20_000):
        yield later if i + 1 == row else {"n": i, "t": "x"}


@pytest.mark.parametrize("row", [2, 8192, 8193, 15_000])
@pytest.mark.parametrize(
    ("later", "field"),
    [
        ({"n": "text", "t": "x"}, "n"),
        ({"n": 1, "t": 5}, "t"),
        ({"n": 1.5, "t": "x"}, "n"),
        ({"n": 2**70, "t": "x"}, "n"),
        ("text", None),
    ],
)
def test_a_later_row_that_does_not_fit_is_an_error_with_node_row_and_field(later, field, row):
    """S3.5: records without a declared type: the first batch fixes the schema."""

    def give() -> Iterator[dict]:
        yield from untyped_rows(later, row)

    def take(give: Batches[dict]) -> int:
        return sum(map(len, give))

    result = Pipeline.of(give, take).run()
    if result.status == "succeeded":
        pytest.fail(f"{later} passed as {result.outputs['take']} rows")
    error = result.nodes["take"].error
    assert isinstance(error.__cause__, RowError), error
    assert error.__cause__.row == row
    assert error.__cause__.field == field
    assert f"row {row}" in error.message


def test_a_new_field_in_a_later_batch_is_an_error_and_a_missing_one_is_null():
    """S3.5: the first batch fixes the fields; none of a later row's fields is dropped silently."""

    def give(*, extra: bool) -> Iterator[dict]:
        for i in range(9000):
            yield {"n": i, "t": "x"}
        yield {"n": 1, "t": "x", "new": 1} if extra else {"n": 1}

    def take(give: Batches[dict]) -> list[Any]:
        return [r for b in give for r in b.to_dicts()][-1:]

    result = Pipeline.of(node(give, extra=True), take).run()
    cause = result.nodes["take"].error.__cause__
    assert isinstance(cause, RowError)
    assert (cause.row, cause.field) == (9001, "new")
    assert Pipeline.of(node(give, extra=False), take).run().check().outputs["take"] == [{"n": 1, "t": None}]


def test_a_column_empty_at_first_takes_the_type_of_its_first_value():
    """S3.5: nulls in the first batch say nothing about a field's type."""

    def give() -> Iterator[dict]:
        for i in range(20_000):
            yield {"n": i, "late": None if i < 9000 else f"v{i}"}

    def take(give: pl.DataFrame) -> str:
        return str(give["late"][-1])

    assert Pipeline.of(give, take).run().check().outputs["take"] == "v19999"


@pytest.mark.parametrize(
    ("rows", "row"), [([1, "a"], 2), (["a", 1], 2), ([1, 1.5], 2), ([1, {"a": 1}], 2), ([True, "x"], 2)]
)
def test_single_values_of_two_types_are_an_error_with_the_row(rows, row):
    """S3.5: the same for a stream of single values."""

    def give() -> Iterator:
        yield from rows

    def take(give: Batches) -> int:
        return sum(map(len, give))

    cause = Pipeline.of(give, take).run().nodes["take"].error.__cause__
    assert isinstance(cause, RowError), cause
    assert cause.row == row


# -- what never happens -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["items", "list", "set", "batches", "frame"])
@pytest.mark.parametrize(
    "value", ["text", b"bytes", bytearray(b"b"), {"a": 1}, AsTuple(1), AsStruct(1), None, 5]
)
def test_one_value_is_never_taken_apart_into_rows(view, value):
    """S3.1: a stream view is never fed by text, bytes, a mapping or one record; the message names the input."""

    def give():
        return value

    def items(give: Iterable[Any]) -> None:
        raise AssertionError(list(give))

    def as_list(give: list[Any]) -> None:
        raise AssertionError(give)

    def as_set(give: set[Any]) -> None:
        raise AssertionError(give)

    def batches(give: Batches[Any]) -> None:
        raise AssertionError(list(give))

    def frame(give: pl.DataFrame) -> None:
        raise AssertionError(give)

    take = {"items": items, "list": as_list, "set": as_set, "batches": batches, "frame": frame}[view]
    result = Pipeline.of(give, take).run()
    error = result.nodes[take.__name__].error
    assert error.code == "data", error
    assert "`give`" in error.message
    assert error.hint


@pytest.mark.parametrize("value", ["text", b"bytes", {"a": 1}, None, 5])
@pytest.mark.parametrize("view", ["items", "batches"])
def test_an_operator_that_promises_a_stream_gives_one(value, view):
    """S3.1: returning one value where a stream is declared is the producer's error."""

    def items() -> Iterator[str]:
        return value

    def batches() -> Batches[str]:
        return value

    result = Pipeline.of(node({"items": items, "batches": batches}[view], id="give")).run()
    assert "says that it gives a stream" in result.nodes["give"].error.message


def test_text_among_batches_is_not_taken_apart():
    """S3.1: a stream declared as batches that yields plain text is an error, not a stream of letters."""

    def give() -> Batches[str]:
        yield "line one"

    def take(give: Iterable[str]) -> list[str]:
        return list(give)

    result = Pipeline.of(give, take).run()
    assert result.status == "failed"
    assert "which is no batch" in result.nodes["take"].error.message


def test_declared_text_and_mappings_are_mistakes_of_the_pipeline():
    """S3.1: where the annotations say so, it is an error before the run, with the hint list[str]."""

    def give() -> str:
        return "x"

    def take(give: Iterable[str]) -> int:
        return 1

    with pytest.raises(InvalidPipeline, match=r"list\[str\]"):
        Pipeline.of(give, take).run()


@pytest.mark.parametrize("feed", ["stream", "list", "branch", "batches", "constant"])
def test_an_iterable_may_be_iterated_once_whoever_feeds_it(feed):
    """S3.2: a second iter() raises with the remedy list[T]."""

    def stream() -> Iterator[int]:
        yield 1

    def as_list() -> list[int]:
        return [1]

    def batches() -> Batches[int]:
        yield pl.Series([1])

    def twice(rows: Iterable[int]) -> int:
        return len(list(rows)) + len(list(rows))

    def other(rows: Iterable[int]) -> int:
        return len(list(rows))

    source: dict[str, Any] = {"stream": stream, "list": as_list, "branch": stream, "batches": batches}
    if feed == "constant":
        result = Pipeline.of(twice).run(inputs={"rows": [1]})
    else:
        nodes = [node(source[feed], id="src"), node(twice, inputs={"rows": "src"})]
        if feed == "branch":
            nodes.append(node(other, inputs={"rows": "src"}))
        result = Pipeline.of(*nodes).run()
    error = result.nodes["twice"].error
    assert isinstance(error.__cause__, StreamConsumed)
    assert "`rows: list[...]`" in (error.hint or "")


def test_an_iterable_is_an_iterator_too():
    """S3.2: next() works on an Iterable input, as on a generator."""

    def src() -> Iterator[int]:
        yield from range(3)

    def take(src: Iterable[int]) -> list[int]:
        first = next(src)  # type: ignore[call-overload]
        return [first, *src]

    assert Pipeline.of(src, take).run().check().outputs["take"] == [0, 1, 2]


def test_an_unannotated_input_takes_a_value_as_it_is_and_a_stream_as_a_list():
    """S3.3: and both consumers of one stream get the same list."""

    def stream() -> Iterator[int]:
        yield from range(3)

    def value():
        return (1, 2)

    def take(stream, value):
        return stream, value

    assert Pipeline.of(stream, value, take).run().check().outputs["take"] == ([0, 1, 2], (1, 2))


@pytest.mark.parametrize(
    "make",
    [
        lambda: pl.DataFrame({"a": [1, 2]}),
        lambda: pl.LazyFrame({"a": [1, 2]}),
        lambda: pa.table({"a": [1, 2]}),
        lambda: pd.DataFrame({"a": [1, 2]}),
    ],
)
@pytest.mark.parametrize("declared", ["items", "batches"])
def test_a_frame_returned_where_a_stream_is_declared_is_its_rows(make, declared):
    """S3.1: a stream is fed by frames and Arrow objects."""

    def items() -> Iterator[dict]:
        return make()

    def batches() -> Batches[dict]:
        return make()

    def take(give: Iterable[dict]) -> list[dict]:
        return list(give)

    result = Pipeline.of(node({"items": items, "batches": batches}[declared], id="give"), take).run().check()
    assert result.outputs["take"] == [{"a": 1}, {"a": 2}]


def test_arrow_batches_are_batches():
    """DESIGN 4: objects with __arrow_c_stream__ pass between nodes, also as the batches of a stream."""

    def give() -> Batches[dict]:
        yield pa.table({"a": [1]})
        yield pa.table({"a": [2]})

    def items(give: Iterable[dict]) -> list[dict]:
        return list(give)

    def frame(give: pl.DataFrame) -> int:
        return int(give["a"].sum())

    result = Pipeline.of(give, items, frame).run().check()
    assert result.outputs["items"] == [{"a": 1}, {"a": 2}]
    assert result.outputs["frame"] == 3


def test_frame_libraries_are_imported_only_where_data_of_theirs_is():
    """DESIGN 10: a run of plain rows imports no frame library."""
    import subprocess

    code = "import sys, petal\nfrom collections.abc import Iterator, Iterable\ndef src() -> Iterator[int]:\n    yield 1\ndef take(src: Iterable[int]) -> int:\n    return sum(src)\nassert petal.Pipeline.of(src, take).run().check().outputs['take'] == 1\nprint([m for m in ('polars', 'pandas', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
