"""What a codec takes comes back exactly; what it could not give back exactly it does not take (S4.2)."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict
from zoneinfo import ZoneInfo

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from petal.data.codec import Codec
from petal.data.spill import Kept, Spill
from petal.spec.pipeline import MISSING
from petal.spec.rows import no_codec_takes


class Colour(enum.Enum):
    RED = "red"


class Level(enum.StrEnum):
    HIGH = "high"


class Point(msgspec.Struct):
    x: int
    at: dt.datetime | None = None


class Wide(Point):
    y: int = 0


@dataclass
class Order:
    lines: tuple[int, ...]
    colour: Colour = Colour.RED
    point: Point | None = None
    kind: Literal["a", "b"] = "a"
    tags: set[str] = field(default_factory=set)

    @cached_property
    def total(self) -> int:
        return sum(self.lines)


class Pair(NamedTuple):
    a: int
    b: float = 0.5


class Typed(TypedDict):
    a: int
    day: NotRequired[dt.date]


class Plain:
    pass


def exactly(one: Any, other: Any) -> bool:
    """Whether two values are the same to their types; written independently of the codec, and slowly."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            exactly(k, m) and exactly(v, w) for (k, v), (m, w) in zip(one.items(), other.items())
        )
    if isinstance(one, set):
        return sorted(map(repr, one)) == sorted(map(repr, other))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(exactly, one, other))
    if isinstance(one, Order | Point):
        names = {*getattr(one, "__dict__", ()), *getattr(one, "__struct_fields__", ())}
        return all(exactly(getattr(one, n), getattr(other, n)) for n in names)
    return repr(one) == repr(other)


def passes(rows: list[Any], element: Any = MISSING) -> bool:
    """Whether the codec takes the rows; if so, they must come back."""
    codec = Codec(element)
    data = codec.encode(rows)
    if data is not None:
        assert exactly(codec.decode(bytes(data)), rows), codec.decode(bytes(data))
    return data is not None


UTC, EAST = dt.UTC, dt.timezone(dt.timedelta(hours=2))


@pytest.mark.parametrize(
    ("element", "rows"),
    [
        (MISSING, [{"a": 1, "b": None}, {"a": 2.5, "c": [1, {"x": b"1"}]}]),
        (dict[str, Any], [{"a": float("nan"), "b": -0.0, "c": float("inf")}]),
        (
            dict,
            [{"day": dt.date(2026, 1, 1), "price": Decimal("1.50"), "id": uuid.UUID(int=1)}, {"day": None}],
        ),
        (dict, [{"at": dt.datetime(2026, 1, 1, 1, 2, 3, 4)}, {"at": dt.datetime(2026, 1, 1, fold=0)}]),
        (dict, [{"at": dt.datetime(2026, 1, 1, tzinfo=UTC)}]),
        (dict, [{"pair": (1, 2)}, {"pair": (3, 4)}]),
        (MISSING, [(1, "a", None), (2, "b", 1.5)]),
        (tuple, [(1, dt.date(2026, 1, 1)), (2, dt.date(2026, 1, 2))]),
        (tuple[int, tuple[int, int]], [(1, (2, 3))]),
        (Point, [Point(1), Point(2, dt.datetime(2026, 1, 1)), Point(3, dt.datetime(2026, 1, 1, tzinfo=UTC))]),
        (MISSING, [Point(1)]),
        (Order, [Order((1, 2), point=Point(1), tags={"x", "y"}), Order(())]),
        (Pair, [Pair(1), Pair(2, 1.5)]),
        (Typed, [{"a": 1}, {"a": 2, "day": dt.date(2026, 1, 1)}]),
        (Colour, [Colour.RED]),
        (Decimal, [Decimal("1.10"), Decimal("NaN")]),
        (set[int], [{1, 2}, set()]),
        (MISSING, [1, 2.5, "x", None, True, b"x"]),
        (MISSING, [None, {"a": 1}]),
        (list[int], [[1], []]),
    ],
)
def test_usual_rows_can_be_put_on_disk(element, rows):
    """Dicts, tuples, records, dates, decimals, enumerations: declared or not, they come back as they were."""
    assert passes(rows, element)


@pytest.mark.parametrize(
    "rows",
    [
        [{"a": collections.OrderedDict(a=1)}],
        [Order([1, 2])],  # type: ignore[arg-type]
        [Pair(1, 2)],
        [Point(1, dt.datetime(2026, 1, 1, tzinfo=EAST))],
        [{"at": dt.datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Paris"))}],
        [bytearray(b"x")],
        [{"a": bytearray(b"x")}],
        [2**64],
        ["\ud800"],
        [Plain()],
        [{"a": Plain()}],
    ],
)
def test_what_would_change_is_not_taken(rows):
    """A type that is lost on the way (a subclass, a zone, a tuple that was a list) is noticed."""
    assert not passes(rows)
    assert not passes(rows, type(rows[0]))


def test_what_an_object_holds_beside_its_fields_is_kept_or_noticed():
    """A cached property is no field: with a value in it, the row is not taken."""
    order = Order((1, 2))
    assert passes([order])
    assert order.total == 3
    assert not passes([order])
    assert not passes([Order((1,), point=Wide(1, y=5))])


_atoms = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3)
    | st.dates() | st.datetimes() | st.datetimes(timezones=st.sampled_from([UTC, EAST])) | st.times()
    | st.timedeltas() | st.decimals() | st.uuids() | st.sampled_from([Colour.RED, Level.HIGH])
)  # fmt: skip
_values = st.recursive(
    _atoms,
    lambda v: (
        st.lists(v, max_size=3)
        | st.lists(v, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=2), v, max_size=3)
        | st.builds(Point, v)
        | st.builds(Order, st.lists(v, max_size=2).map(tuple))
        | st.builds(Pair, v, v)
    ),
    max_leaves=6,
)


@given(
    st.lists(_values, min_size=1, max_size=4),
    st.sampled_from([MISSING, dict, Point, Order, Pair, Any, list, int]),
)
def test_whatever_is_taken_comes_back_exactly(rows, element):
    """For any rows and any declaration, true or not: exactly, or not at all."""
    passes(rows, element)


def test_a_spill_keeps_the_order_of_pieces_on_disk_and_in_memory(tmp_path):
    """A piece that no codec takes waits at its place among those on disk; nothing else is read because of it."""
    odd = [Plain()]
    frame, series = pl.DataFrame({"a": [1]}), pl.Series("s", ["x"])
    objects = pl.DataFrame({"a": pl.Series([Plain()], dtype=pl.Object)})
    pieces = [[1], odd, frame, [{"a": (1, 2)}], series, objects, [{"b": 1}]]
    spill = Spill(str(tmp_path), Codec())
    for piece in pieces:
        spill.put(piece)
    assert spill.pieces == len(pieces)
    back = [spill.take() for _ in pieces]
    spill.close()
    assert spill.pieces == 0
    assert back[1] is odd
    assert back[5] is objects
    assert back[2].equals(frame)
    assert back[4].equals(series)
    assert [back[0], back[3], back[6]] == [pieces[0], pieces[3], pieces[6]]


@given(
    st.lists(st.lists(st.integers() | st.builds(Plain), min_size=1, max_size=3), max_size=12),
    st.integers(0, 3),
)
def test_what_is_kept_comes_back_in_order(pieces, window):
    """Pieces in memory, on disk, and those that cannot go there, one after another."""
    kept = Kept(None, MISSING, window)
    for piece in pieces:
        kept.put(piece)
    assert kept.rows == sum(map(len, pieces))
    assert list(kept.pieces()) == pieces


@pytest.mark.parametrize(
    ("element", "kind"),
    [
        (Plain, Plain),
        (list[Plain], Plain),
        (dict[str, Plain], Plain),
        (Plain | None, Plain),
        (collections.OrderedDict[str, int], None),
        (dict[str, Any], None),
        (Order, None),
        (Typed, None),
        (Any, None),
        (object, None),
        (Colour, None),
    ],
)
def test_planning_knows_which_types_stay_in_memory(element, kind):
    """S4.2: what planning says of a type agrees with what the codec does; where it cannot know, it is silent."""
    assert no_codec_takes(element) is (None if kind is None else kind) or issubclass(
        kind, collections.abc.Mapping
    )


def test_a_record_that_refers_to_itself_is_looked_at_once():
    """A tree of records has an end for planning."""
    assert no_codec_takes(Tree) is None
    assert passes([Tree([Tree([])])], Tree)


@dataclass
class Tree:
    children: list[Tree]
