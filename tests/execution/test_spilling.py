"""Rows that must wait go to disk, whatever the usual rows are; what cannot go there is warned of (S4.2)."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import msgspec
import polars as pl
import pytest

from petal import Batches, Pipeline, node

#: More than the window of one branch (8 batches of 8,192) holds.
ROWS = 150_000


class Struct(msgspec.Struct):
    n: int


@dataclass
class Data:
    n: int


class Named(NamedTuple):
    n: int


class Typed(TypedDict):
    n: int


class Plain:
    def __init__(self, n: int) -> None:
        self.n = n

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and other.n == self.n

    __hash__ = None  # type: ignore[assignment]


def diamond(annotation: Any, make: Any) -> tuple[Any, int]:
    """Run a stream into a node that needs all of it first and one that waits for that; count rows alive in between."""
    alive = 0

    def give():  # type: ignore[no-untyped-def]
        for n in range(ROWS):
            yield make(n)

    def total(rows) -> int:  # type: ignore[no-untyped-def]
        return sum(1 for _ in rows)

    def later(rows, total: int):  # type: ignore[no-untyped-def]
        nonlocal alive
        gc.collect()
        kind = type(make(0))
        alive = sum(type(o) is kind for o in gc.get_objects()) if kind in (Plain, Data) else 0
        return [*rows] == [make(n) for n in range(total)]

    if annotation is not None:
        give.__annotations__["return"] = annotation
    taken = Iterable if annotation is None else Iterable[annotation.__args__[0]]
    total.__annotations__["rows"] = later.__annotations__["rows"] = taken
    later.__annotations__["return"] = bool
    result = Pipeline.of(
        give, node(total, inputs={"rows": "give"}), node(later, inputs={"rows": "give"})
    ).run()
    return result.check().outputs["later"], alive


@pytest.mark.parametrize(
    ("annotation", "make", "on_disk"),
    [
        (Iterator[Data], Data, True),
        pytest.param(None, Data, True, marks=pytest.mark.slow),
        (Iterator[Plain], Plain, False),
    ],
)
@pytest.mark.slow
def test_records_wait_on_disk_and_others_in_memory(annotation, make, on_disk):
    """Of a stream of records some batches are alive while they wait; of one of plain objects all are."""
    same, alive = diamond(annotation, make)
    assert same
    assert (alive <= 9 * 8192) is on_disk
    assert (alive == ROWS) is not on_disk


@pytest.mark.parametrize(
    ("annotation", "make"),
    [
        pytest.param(
            Iterator[dict],
            lambda n: {"n": n, "t": f"x{n}", "f": n / 3, "none": None, "l": [n, None], "p": (n, "x")},
            marks=pytest.mark.slow,
        ),
        (Iterator[dict[str, Any]], lambda n: {"n": n}),
        pytest.param(Iterator[tuple], lambda n: (n, "x", None), marks=pytest.mark.slow),
        (Iterator[Struct], Struct),
        pytest.param(Iterator[Named], Named, marks=pytest.mark.slow),
        pytest.param(Iterator[Typed], lambda n: {"n": n}, marks=pytest.mark.slow),
        (Iterator[str], str),
        (None, lambda n: (n, {"a": n})),
    ],
)
@pytest.mark.slow
def test_rows_that_waited_are_the_rows_that_were_given(annotation, make, monkeypatch):
    """Usual rows come back from disk as they were, in order; all of them are written, none stays in memory."""
    import petal.data.spill as spill

    kept: list[int] = []
    encode = spill.Codec.encode

    def watched(self: Any, rows: list[Any]) -> Any:
        data = encode(self, rows)
        if data is None:
            kept.append(len(rows))
        return data

    monkeypatch.setattr(spill.Codec, "encode", watched)
    same, _ = diamond(annotation, make)
    assert same
    assert kept == []


def warnings_of(annotation: Any, *, takes: Any = None, whole: bool = False) -> list[Any]:
    def give():  # type: ignore[no-untyped-def]
        yield None

    def total(rows) -> int:  # type: ignore[no-untyped-def]
        return 1

    def later(rows, total: int) -> int:  # type: ignore[no-untyped-def]
        return total

    element = annotation.__args__[0]
    give.__annotations__["return"] = annotation
    total.__annotations__["rows"] = list[element] if whole else Iterable[element]
    later.__annotations__["rows"] = takes or Iterable[element]
    return Pipeline.of(
        give, node(total, inputs={"rows": "give"}), node(later, inputs={"rows": "give"})
    ).validate()


class Holds(msgspec.Struct):
    lock: threading.Event


@pytest.mark.parametrize(
    ("element", "named"), [(Plain, "Plain"), (Holds, "Event"), (dict[str, Plain], "Plain")]
)
def test_the_plan_warns_of_rows_that_must_wait_in_memory(element, named):
    """Each edge that may spill is named, with the type that cannot and the annotation to write."""
    found = warnings_of(Iterator[element])
    assert [(f.code, str(f.severity)) for f in found] == [("kept-in-memory", "warning")] * 2
    assert all(f"`{named}` cannot be put on disk" in f.message for f in found)
    assert {"`total`" in f.message for f in found} == {True, False}
    assert all("`Iterator[dict]`" in (f.hint or "") for f in found)


@pytest.mark.parametrize(
    "annotation", [Iterator[Struct], Iterator[dict], Iterator[Any], Batches[dict], Iterator[Data | None]]
)
def test_the_plan_is_silent_where_rows_can_wait_on_disk(annotation):
    """Records, dicts, batches and what is not known are not warned of."""
    assert warnings_of(annotation) == []


def test_the_plan_is_silent_where_all_rows_are_in_memory_anyway():
    """A consumer that takes a list has them all at once."""
    assert warnings_of(Iterator[Plain], whole=True) == []


def test_a_chain_is_not_warned_of():
    """Without branches that meet again nothing waits."""

    def give() -> Iterator[Plain]:
        yield Plain(1)

    def take(give: Iterable[Plain]) -> int:
        return sum(1 for _ in give)

    assert Pipeline.of(give, take).validate() == []


def test_batches_with_python_objects_come_back_alive():
    """Polars would write addresses for them: they stay in memory and are the same objects."""
    things = [Plain(n) for n in range(30)]

    def give() -> Batches[dict]:
        for thing in things:
            yield pl.DataFrame({"thing": pl.Series([thing], dtype=pl.Object)})

    def total(give: Batches[dict]) -> int:
        return sum(map(len, give))

    def later(give: Batches[dict], total: int) -> list[Any]:
        return [b["thing"][0] for b in give]

    found = Pipeline.of(give, total, later).run().check().outputs["later"]
    assert all(a is b for a, b in zip(found, things))
    assert len(found) == len(things)
