"""Types of values that every backend must carry, each with samples, and operators that hand them on.

The operators are made of three functions, once for each type: a worker finds them by name in this module, which
imports no library of frames. `frame_kinds` adds those.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import math
import sys
import uuid
import zoneinfo
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from types import FunctionType
from typing import Any, Literal, NamedTuple, TypedDict

from msgspec import Struct

from petal.spec.views import Batches


class Colour(enum.Enum):
    """An enumeration of texts."""

    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    """An enumeration of numbers."""

    LOW = 1
    HIGH = 2


@dataclasses.dataclass
class Point:
    """A dataclass with a default and a time in it."""

    x: float
    label: str = ""
    at: dt.datetime | None = None


class Order(Struct):
    """A msgspec Struct with a record inside."""

    id: int
    price: Decimal
    points: list[Point]


class Person(TypedDict):
    """A TypedDict."""

    name: str
    born: dt.date | None


class Pair(NamedTuple):
    """A NamedTuple."""

    first: int
    second: str


class Flat(Struct):
    """A record of single values, as batches hold it."""

    n: int
    text: str | None


class Kind(Struct, frozen=True, kw_only=True):
    """A type of values and what is tried of it.

    Attributes:
        name: What reports call it.
        annotation: The type, as an operator would write it.
        samples: Values of it, the awkward ones among them.
        items: Whether a stream of items may have it.
        batches: Whether a batch may hold it.
    """

    name: str
    annotation: Any
    samples: Sequence[Any]
    items: bool = True
    batches: bool = False


class Hands(Struct, frozen=True):
    """The operators that hand on what they get, for one kind: as a value, as a stream, as batches."""

    value: Any
    items: Any
    batches: Any


_NOON = dt.datetime(2026, 3, 1, 12, 0, 0, 123456)
_INDIA = dt.timezone(dt.timedelta(hours=5, minutes=30))


def many(name: str, annotation: Any, *samples: Any, **more: Any) -> Kind:
    """Return a kind whose values may also flow one by one."""
    return Kind(name=name, annotation=annotation, samples=samples, **more)


def whole(name: str, annotation: Any, *samples: Any) -> Kind:
    """Return a kind whose values are streams themselves, all at once."""
    return Kind(name=name, annotation=annotation, samples=samples, items=False)


#: The kinds that need no library of frames, in the order in which reports show them.
KINDS: tuple[Kind, ...] = (
    many("None", int | None, None, 1, batches=True),
    many("bool", bool, True, False, batches=True),
    many("int", int, 0, -1, 2**63 - 1, -(2**63), batches=True),
    many("int beyond 64 bits", int, 2**64, -(2**200), 10**40),
    many("float", float, 0.0, -0.0, 1.5, 5e-324, 1.7e308, batches=True),
    many("NaN and infinities", float, math.nan, math.inf, -math.inf, batches=True),
    many("str", str, "", "é", "\0", "\U0001f600 \u2028 \r\n", batches=True),
    many("10 MB string", str, "petal \u00e9\n" * 1_100_000),
    many("bytes", bytes, b"", bytes(range(256)), b"petal" * 300_000, batches=True),
    many("Decimal", Decimal, Decimal(0), Decimal("-1.2500"), Decimal("1E+30"), Decimal("0." + "3" * 40)),
    many("date", dt.date, dt.date(1, 1, 1), dt.date(9999, 12, 31), batches=True),
    many("time", dt.time, dt.time(0), dt.time(23, 59, 59, 999999), batches=True),
    many(
        "datetime", dt.datetime, _NOON, dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59), batches=True
    ),
    many("datetime in UTC", dt.datetime, _NOON.replace(tzinfo=dt.UTC)),
    many(
        "datetime with a zone",
        dt.datetime,
        _NOON.replace(tzinfo=_INDIA),
        _NOON.replace(tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    ),
    many(
        "timedelta", dt.timedelta, dt.timedelta(0), dt.timedelta(-1, 5, 7), dt.timedelta(10**6), batches=True
    ),
    many("UUID", uuid.UUID, uuid.UUID(int=0), uuid.UUID("12345678-1234-5678-1234-567812345678")),
    many("Enum", Colour, Colour.RED, Colour.GREEN),
    many("IntEnum", Level, Level.LOW, Level.HIGH),
    many("Literal", Literal["a", "b"], "a", "b"),
    many("Path", Path, Path("a/b.txt"), Path("/srv/é")),
    many("dataclass", Point, Point(1.5), Point(math.inf, "é", _NOON.replace(tzinfo=dt.UTC))),
    many("Struct", Order, Order(1, Decimal("9.90"), [Point(0.0), Point(1.0, "p")])),
    many("Struct in columns", Flat, Flat(1, "a"), Flat(-1, None), batches=True),
    many(
        "TypedDict",
        Person,
        {"name": "é", "born": dt.date(2000, 2, 29)},
        {"name": "", "born": None},
        batches=True,
    ),
    many("NamedTuple", Pair, Pair(1, "a"), Pair(-(2**63), ""), batches=True),
    many("tuple", tuple[int, str, Decimal], (1, "a", Decimal("1.0"))),
    many("list", list[int], [], [1, 2**70, -3]),
    many("tuple of one type", tuple[float, ...], (), (0.5, math.nan)),
    many("set", set[int], set(), {1, 2, 3}),
    many("frozenset", frozenset[str], frozenset(), frozenset({"a", "é"})),
    many("dict", dict[str, int], {}, {"a": 1, "$petal": 2, "": 3}),
    many("dict with other keys", dict[int, str], {1: "a", -1: "b"}),
    many(
        "nested containers",
        dict[str, list[tuple[Decimal, dict[str, set[dt.date]] | None]]],
        {},
        {"a": [(Decimal("1.10"), {"b": {dt.date(2026, 3, 1)}}), (Decimal(0), None)], "b": []},
    ),
    many(
        "plain JSON without annotation",
        Any,
        None,
        True,
        2**40,
        "é",
        1.5,
        [1, ["a", {}]],
        {"$petal": {"a": [None]}},
    ),
    whole("list of records", list[Person], [], [{"name": "a", "born": None}] * 3),
    whole("deque", deque[int], deque([1, 2]), deque()),
)


def _value(value):  # type: ignore[no-untyped-def]
    """Hand a value on."""
    return value


def _items(rows):  # type: ignore[no-untyped-def]
    """Hand items on, one at a time."""
    yield from rows


def _batches(rows):  # type: ignore[no-untyped-def]
    """Hand batches on."""
    yield from rows


def _named(module: str, function: Callable[..., Any], kind: str, wants: Any, gives: Any) -> Any:
    """Make an operator of a module: a copy of a function with annotations, under a name of its own."""
    assert isinstance(function, FunctionType)
    name = f"hand_on{function.__name__}_{''.join(c if c.isalnum() else '_' for c in kind)}"
    made = FunctionType(function.__code__, function.__globals__, name)
    made.__doc__, made.__module__, made.__qualname__ = function.__doc__, module, name
    if wants is not Any:
        argument = function.__code__.co_varnames[0]
        made.__annotations__ = {argument: wants, "return": gives}
    setattr(sys.modules[module], name, made)
    return made


def hands_of(kinds: Iterable[Kind], module: str) -> dict[str, Hands]:
    """Make the operators of kinds, as functions of a module that a worker imports.

    Args:
        kinds: The kinds.
        module: The name of the calling module.
    """
    found = {}
    for kind in kinds:
        wants = kind.annotation
        row: Any = wants if wants is not Any else object
        found[kind.name] = Hands(
            _named(module, _value, kind.name, wants, wants),
            _named(module, _items, kind.name, Iterable[row], Iterator[row]),
            _named(module, _batches, kind.name, Batches[row], Batches[row]),
        )
    return found


#: The operators of each kind, by its name.
HANDS = hands_of(KINDS, __name__)
