"""Several streams at once: a NamedTuple of iterators made with `petal.split` (S1.5)."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petal import DataError, DefinitionError, Pipeline, node, operator, split


class Sides(NamedTuple):
    even: Iterator[int]
    odd: Iterator[int]


@operator
def numbers(*, count: int = 10) -> Iterator[int]:
    yield from range(count)


@operator
def sides(numbers: Iterable[int]) -> Sides:
    return split(numbers, Sides, by=lambda n: "odd" if n % 2 else "even")


@operator
def total(rows: Iterable[int]) -> int:
    return sum(rows)


@operator
def listed(rows: list[int]) -> list[int]:
    return rows


@operator
def first_then_second(first: Iterable[int], second: Iterable[int]) -> list[int]:
    return [*first, *second]


def parts(*consumers: Any, count: int, **options: Any) -> Any:
    pipeline = Pipeline.of(numbers, sides, *consumers, name="p")
    return pipeline.run(params={"numbers.count": count}, **options).check()


@settings(max_examples=30, deadline=None)
@given(count=st.sampled_from([0, 1, 7, 100, 30_000]), views=st.tuples(st.booleans(), st.booleans()))
def test_each_port_streams_to_its_own_consumers(count: int, views: tuple[bool, bool]) -> None:
    """S1.5: each port gives its rows in order, as items and as a list, and every row goes to one port."""
    consumers = [
        node(listed if whole else total, id=port, inputs={"rows": f"sides.{port}"})
        for whole, port in zip(views, ("even", "odd"), strict=True)
    ]
    result = parts(*consumers, count=count)
    for start, (whole, port) in enumerate(zip(views, ("even", "odd"), strict=True)):
        wanted = list(range(start, count, 2))
        assert result.outputs[port] == (wanted if whole else sum(wanted))
    assert result.nodes["sides"].rows == count


@pytest.mark.parametrize("order", [("even", "odd"), ("odd", "even")])
def test_one_consumer_reads_the_ports_one_after_the_other(order: tuple[str, str]) -> None:
    """S4.2: what is not read yet goes to disk instead of holding the other port up, in either order."""
    both = node(
        first_then_second, id="both", inputs={"first": f"sides.{order[0]}", "second": f"sides.{order[1]}"}
    )
    found = parts(both, count=300_000).outputs["both"]
    starts = [0 if port == "even" else 1 for port in order]
    assert found == [*range(starts[0], 300_000, 2), *range(starts[1], 300_000, 2)]


def test_branches_that_meet_again_finish() -> None:
    """S4.2: two ports whose consumers meet, one of them as a value, cannot hold each other up."""

    @operator
    def scaled(odd: Iterable[int], evens: int) -> Iterator[int]:
        return (n * evens for n in odd)

    evens = node(total, id="evens", inputs={"rows": "sides.even"})
    met = node(scaled, id="met", inputs={"odd": "sides.odd", "evens": "evens"})
    last = node(total, id="last", inputs={"rows": "met"})
    found = parts(evens, met, last, count=200_000).outputs["last"]
    assert found == sum(range(1, 200_000, 2)) * sum(range(0, 200_000, 2))


def test_the_whole_is_a_value() -> None:
    """S1.5: `output` is the whole: the NamedTuple, with lists, for a consumer and as a result."""

    @operator
    def both(sides: Sides) -> int:
        return len(list(sides.even)) + len(list(sides.odd))

    assert parts(both, count=11).outputs["both"] == 11
    assert parts(count=5).outputs["sides"] == Sides([0, 2, 4], [1, 3])


def test_streams_that_are_not_of_split_flow_too() -> None:
    """A NamedTuple of any iterators streams port after port."""

    @operator
    def own(numbers: list[int]) -> Sides:
        return Sides((n for n in numbers if n % 2 == 0), iter([n for n in numbers if n % 2]))

    consumers = [node(listed, id=p, inputs={"rows": f"own.{p}"}) for p in ("even", "odd")]
    result = Pipeline.of(numbers, own, *consumers, name="p").run().check()
    assert result.outputs["even"] == [0, 2, 4, 6, 8]
    assert result.outputs["odd"] == [1, 3, 5, 7, 9]


def test_nobody_needs_to_take_every_port() -> None:
    """Rows of a port without a consumer are counted and dropped."""
    result = parts(node(total, id="even", inputs={"rows": "sides.even"}), count=10)
    assert result.outputs["even"] == 20
    assert result.nodes["sides"].rows == 10


def test_a_consumer_that_stops_early_stops_the_source() -> None:
    """When nobody reads any port any more, the source is closed."""
    closed = []

    @operator
    def endless() -> Iterator[int]:
        n = 0
        try:
            while True:
                yield n
                n += 1
        finally:
            closed.append(n)

    @operator
    def first(rows: Iterable[int]) -> int:
        return next(iter(rows))

    pipeline = Pipeline.of(
        endless,
        node(sides, inputs={"numbers": "endless"}),
        node(first, id="a", inputs={"rows": "sides.even"}),
        node(first, id="b", inputs={"rows": "sides.odd"}),
        name="p",
    )
    result = pipeline.run().check()
    assert (result.outputs["a"], result.outputs["b"]) == (0, 1)
    assert closed


@pytest.mark.parametrize("at", [0, 1, 5, 9000])
def test_a_failure_at_any_row_leaves_nothing_half_written(tmp_path: Path, at: int) -> None:
    """S4.4: `by` fails: the node is failed, both sinks abort, and the source is closed."""
    closed = []

    @operator
    def words() -> Iterator[str]:
        try:
            for n in range(10_000):
                yield str(n)
        finally:
            closed.append(True)

    class Texts(NamedTuple):
        left: Iterator[str]
        right: Iterator[str]

    def side(word: str) -> str:
        if int(word) == at:
            raise ValueError("no side")
        return "left" if int(word) % 2 else "right"

    @operator
    def texts(words: Iterable[str]) -> Texts:
        return split(words, Texts, by=side)

    from petal.library.text import file_writer

    texts.__annotations__["return"] = Texts
    sinks = [
        node(file_writer, id=p, inputs={"lines": f"texts.{p}"}, file_path=tmp_path / f"{p}.txt")
        for p in ("left", "right")
    ]
    result = Pipeline.of(words, texts, *sinks, name="p").run()
    assert result.nodes["texts"].status == "failed"
    assert {result.nodes[p].status for p in ("left", "right")} == {"skipped"}
    assert list(tmp_path.iterdir()) == []
    assert closed == [True]


def test_a_name_that_is_no_port_is_an_error() -> None:
    """`by` must name a port; the message lists them."""
    found = split(iter([1]), Sides, by=lambda n: "evne")
    with pytest.raises(DataError, match="'evne', which is none of its streams: even, odd"):
        next(found.even)


def test_split_is_a_plain_function() -> None:
    """Outside of a run the streams may be read in any order; nothing is lost."""
    found = split(iter(range(6)), Sides, by=lambda n: "odd" if n % 2 else "even")
    assert next(found.odd) == 1
    assert list(found.even) == [0, 2, 4]
    assert list(found.odd) == [3, 5]


def test_split_needs_a_named_tuple() -> None:
    """Anything but a NamedTuple with fields is refused with the remedy."""
    with pytest.raises(DefinitionError, match="fields would name the streams"):
        split([1], dict, by=str)
