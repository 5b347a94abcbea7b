"""Which annotations fit which, and how annotations are written."""
# What users write is tested in all its spellings, old ones and wrong ones included:
# ruff: noqa: F821, UP006, UP007, UP045, PYI061
# Types made at run time are beyond what mypy can follow:
# mypy: disable-error-code="empty-body, valid-type, misc, type-arg, operator, name-defined, arg-type"

import typing
from collections import Counter, namedtuple
from collections.abc import Callable, Generator, Hashable, ItemsView, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum, IntEnum
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    Protocol,
    TypedDict,
    TypeVar,
    Union,
)

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petal.planning.assignable import assignable, element_assignable, record_like, type_text
from petal.spec.pipeline import MISSING

T = TypeVar("T")
Number = TypeVar("Number", int, float)
Textual = TypeVar("Textual", bound=str)
T_co = TypeVar("T_co", covariant=True)
UserId = NewType("UserId", int)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1


class Animal: ...


class Dog(Animal): ...


class Box(Generic[T]): ...


class Source(Generic[T_co]): ...


class Rows(list[T]): ...


class IntRows(Rows[int]): ...


class Row(TypedDict):
    id: int
    name: str


class LongRow(TypedDict):
    id: int
    name: str
    note: str


class LooseRow(TypedDict):
    id: int
    note: NotRequired[str]


class TextIdRow(TypedDict):
    id: str
    name: str


class PostponedRow(TypedDict):
    id: int
    note: "NotRequired[str]"


class BrokenRow(TypedDict):
    id: "Nowhere"


class OtherBrokenRow(TypedDict):
    id: "Nowhere"


class Tree(TypedDict):
    left: "Tree"
    right: "Tree"


class OtherTree(TypedDict):
    left: "OtherTree"
    right: "OtherTree"


class BadTree(TypedDict):
    left: "BadTree"
    right: int


class Point(NamedTuple):
    x: int
    y: int = 0


Untyped = namedtuple("Untyped", "x y")


@dataclass
class Person:
    id: int
    name: str
    tags: list[str] = field(default_factory=list)
    key: str = field(init=False, default="")


@dataclass
class Team:
    lead: Person


class TeamRow(TypedDict):
    lead: Row


class Item(msgspec.Struct):
    id: int
    name: str
    price: float = 0.0


class CamelItem(msgspec.Struct, rename="camel"):
    item_id: int


class CamelRow(TypedDict):
    itemId: int


class Closes(Protocol):
    def close(self) -> None: ...


class Named(Protocol):
    name: str


class Reads(Protocol[T_co]):
    def read(self) -> T_co: ...


class File:
    def read(self) -> str: ...

    def close(self) -> None: ...


class Proxy:
    def __getattr__(self, name: str) -> object: ...


class IntReader(Reads[int]):
    def read(self) -> int: ...


CASES = [
    # the easy ones
    (int, int, True),
    (int, str, False),
    (Dog, Animal, True),
    (Animal, Dog, False),
    (Any, int, True),
    (int, Any, True),
    (int, object, True),
    (object, int, None),
    (None, None, True),
    (None, int, False),
    (typing.Never, int, True),
    (datetime, date, True),
    (date, datetime, False),
    (str, Path, False),
    # numbers
    (bool, int, True),
    (bool, float, True),
    (int, float, True),
    (int, complex, True),
    (float, complex, True),
    (float, int, False),
    (int, bool, False),
    (Level, float, True),
    # unions
    (int, int | str, True),
    (int, Optional[int], True),
    (int | None, int, False),
    (int | str, Union[str, int, None], True),
    (float, int | str, False),
    (list[int] | None, Iterable[int] | None, True),
    # Literal, Enum, NewType, Annotated
    (Literal["a"], str, True),
    (Literal["a"], Literal["a", "b"], True),
    (Literal["a", "b"], Literal["a"], False),
    (Literal["a", "b"], Literal["a", "b"], True),
    (Literal[1], Literal[True], False),
    (Literal["a", 1], str, False),
    (str, Literal["a"], False),
    (bool, Literal[True, False], True),
    (None, Literal[None], True),
    (Literal[Colour.RED], Colour, True),
    (Colour, Literal[Colour.RED], False),
    (Colour, Literal[Colour.RED, Colour.BLUE], True),
    (Colour, str, False),
    (UserId, int, True),
    (UserId, float, True),
    (int, UserId, False),
    (Annotated[int, "unit"], int, True),
    (int, Annotated[str, "unit"], False),
    (typing.LiteralString, str, True),
    # TypeVar
    (int, T, True),
    (list[int], list[T], True),
    (T, int, None),
    (str, Textual, True),
    (int, Textual, False),
    (Textual, str, True),
    (Textual, int, None),
    (int, Number, True),
    (str, Number, False),
    (Number, float, True),
    (Number, str, False),
    # containers
    (list, list[int], True),
    (list[int], list, True),
    (list[int], typing.List[int], True),
    (list[int], typing.List, True),
    (list[int], list[float], None),
    (list[int], list[str], False),
    (list[float], list[int], False),
    (list[int], list[Any], True),
    (list[int], Sequence[float], True),
    (list[int], Iterable[str], False),
    (set[int], Iterable[int], True),
    (Sequence[int], list[int], None),
    (list[int], set[int], False),
    (str, Iterable[str], True),
    (str, Iterable[int], False),
    (bytes, Sequence[int], True),
    (dict[str, int], Mapping[str, float], True),
    (dict[str, int], Mapping[int, int], False),
    (dict[str, int], dict[str, object], None),
    (dict[str, int], Iterable[str], True),
    (dict[str, int], Iterable[int], False),
    (Mapping[str, int], dict[str, int], None),
    (Counter[str], Mapping[str, int], True),
    (Counter[str], Mapping[str, str], False),
    (ItemsView[str, int], Iterable[tuple[str, int]], True),
    (Generator[int, None, None], Iterator[int], True),
    (Generator[int, None, None], Iterator[str], False),
    (type[Dog], type[Animal], True),
    (list, Hashable, False),
    (IntRows, Iterable[int], True),
    (IntRows, Iterable[str], False),
    (Rows[str], list[str], True),
    (Box[int], Box[int], True),
    (Box[int], Box[float], None),
    (Box[int], Box[str], False),
    (Source[int], Source[float], True),
    # tuples
    (tuple[int, str], tuple[int, str], True),
    (tuple[int, str], tuple[int, int], False),
    (tuple[int, str], tuple[int], False),
    (tuple[int, int], tuple[float, ...], True),
    (tuple[int, ...], tuple[int, int], None),
    (tuple[str, ...], tuple[int, int], False),
    (tuple[()], tuple[int, ...], True),
    (tuple[int], tuple[()], False),
    (tuple, tuple[int], True),
    (tuple[int, str], Sequence[int | str], True),
    (tuple[int, str], Sequence[int], False),
    (tuple[int, *tuple[str, ...]], tuple[int, str], None),
    (Point, tuple[int, int], True),
    (Point, tuple[int, str], False),
    (Point, Iterable[int], True),
    (Untyped, tuple[int, int], True),
    (list[int], tuple[int, ...], False),
    # Callable
    (Callable[[int], str], Callable[[int], str], True),
    (Callable[[float], str], Callable[[int], object], True),
    (Callable[[str], str], Callable[[int], str], False),
    (Callable[[int, int], str], Callable[[int], str], False),
    (Callable[..., int], Callable[[str], float], True),
    (Callable[[str], int], Callable, True),
    (int, Callable[[], int], False),
    # Protocol
    (File, Closes, True),
    (int, Closes, False),
    (Animal, Closes, False),
    (Proxy, Closes, None),
    (Animal, Named, None),
    (int, Named, False),
    (Person, Named, True),
    (File, Reads[str], None),
    (IntReader, Reads[int], True),
    (IntReader, Reads[str], False),
    (Closes, File, None),
    (int, typing.SupportsFloat, True),
    # records, nominal unless TypedDict
    (LongRow, Row, True),
    (Row, LongRow, False),
    (TextIdRow, Row, False),
    (Row, LooseRow, True),
    (LooseRow, PostponedRow, True),
    (Row, PostponedRow, True),
    (Tree, OtherTree, True),
    (Tree, BadTree, False),
    (BrokenRow, OtherBrokenRow, None),
    (Row, dict[str, Any], True),
    (Row, Mapping[str, int | str], True),
    (Row, Mapping[str, int], False),
    (Row, list, False),
    (dict[str, Any], Row, None),
    (dict[int, Any], Row, False),
    (Person, Row, False),
    (Person, dict[str, Any], False),
    (Item, Person, False),
    # not types at all
    ("int", int, None),
    (int, "int", None),
    ("int", "int", None),
    (typing.ForwardRef("int"), int, None),
    (3, int, None),
    (list["Nowhere"], list[int], None),
    (MISSING, int, None),
    ([int], {int}, None),
]

ELEMENT_CASES = [
    (dict, Person, True),
    (dict[str, Any], Row, True),
    (Mapping[str, object], Item, True),
    (Item, dict, True),
    (Row, dict[str, object], True),
    (Row, Person, True),
    (LongRow, Item, True),
    (Item, Row, True),
    (Person, LongRow, False),
    (TextIdRow, Person, False),
    (LooseRow, LongRow, False),
    (LooseRow, PostponedRow, True),
    (Point, Person, False),
    (TeamRow, Team, True),
    (CamelRow, CamelItem, True),
    (dict[str, int], dict[str, float], True),
    (dict[str, int], Mapping[str, str], False),
    (dict[str, int], Person, False),
    (dict[str, int | str], Person, None),
    (dict[int, Any], Person, False),
    (Person, dict[str, int], False),
    (Row, dict[str, int | str], True),
    (Row | LongRow, dict, True),
    (Row, Person | None, True),
    (Tree, OtherTree, True),
    (BrokenRow, Person, None),
    (Box[int], Box[str], False),
    (str, dict, False),
    (dict, str, False),
    (int, float, True),
    (Person, Annotated[dict[str, Any], "wide"], True),
]


def named(cases: list[tuple[Any, Any, bool | None]]) -> list[Any]:
    """Give each case an id that reads as the question it asks."""
    return [pytest.param(*case, id=f"{type_text(case[0])} to {type_text(case[1])}") for case in cases]


@pytest.mark.parametrize(("value", "place", "expected"), named(CASES))
def test_a_value_fits_a_place(value: object, place: object, expected: bool | None) -> None:
    """The annotation of a value fits that of a place, does not, or nobody can tell."""
    assert assignable(value, place) is expected


@pytest.mark.parametrize(("value", "place", "expected"), named(ELEMENT_CASES))
def test_records_of_a_stream_fit_by_field(value: object, place: object, expected: bool | None) -> None:
    """The elements of a stream fit if they fit as values or can be converted field by field."""
    assert element_assignable(value, place) is expected


def test_wide_types_end() -> None:
    """Two types with thousands of paths through one another are not walked for ever."""
    first = [TypedDict("Leaf", {"x": int})]
    second = [TypedDict("Leaf", {"x": int})]
    for _ in range(30):
        first.append(TypedDict("Branch", {"a": first[-1], "b": first[-1]}))
        second.append(TypedDict("Branch", {"a": second[-1], "b": second[-1]}))

    assert assignable(first[-1], second[-1]) in (True, None)


class Hostile(type):
    """A class that fails at whatever it is asked."""

    def __eq__(cls, other: object) -> bool:
        raise RuntimeError("no")

    def __hash__(cls) -> int:
        raise RuntimeError("no")

    def __subclasscheck__(cls, subclass: type) -> bool:
        raise RuntimeError("no")

    def __getattribute__(cls, name: str) -> Any:
        raise RuntimeError("no")


def test_hostile_classes_are_unknown() -> None:
    """A class whose metaclass raises gets no verdict and does no harm."""
    hostile = Hostile("Bad", (), {})

    assert assignable(int, hostile) is None
    assert element_assignable(dict, hostile) is None
    assert not record_like(hostile)
    assert isinstance(type_text(hostile), str)


def test_very_deep_types_end_without_a_verdict() -> None:
    """Nesting beyond any reason is unknown, not a RecursionError and not a long wait."""
    value: Any = int
    place: Any = float
    for _ in range(3_000):
        value, place = list[value], list[place]

    assert assignable(value, place) is None
    assert isinstance(type_text(value), str)


PLAIN_TYPES = [int, str, float, bool, bytes, None, Any, date, Path, list, dict, T, UserId, tuple[()]]
CLASSES = [Animal, Colour, Row, Person, Item, Point, Tree, Closes, Literal["a"], Literal["a", 1]]
SIMPLE = st.sampled_from([*PLAIN_TYPES, *CLASSES])


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return types with brackets around other types."""
    pairs = st.tuples(inner, inner)
    return st.one_of(
        inner.map(lambda one: list[one]),
        inner.map(lambda one: Iterator[one]),
        inner.map(lambda one: tuple[one, ...]),
        inner.map(lambda one: Annotated[one, "note"]),
        inner.map(lambda one: Optional[one]),
        inner.map(lambda one: dict[str, one]),
        pairs.map(lambda two: tuple[two]),
        pairs.map(lambda two: Union[two]),
        pairs.map(lambda two: Callable[[two[0]], two[1]]),
    )


TYPES = st.recursive(SIMPLE, nested, max_leaves=8)
THINGS = st.one_of(
    TYPES,
    st.from_type(object),
    st.text(),
    st.integers(),
    st.lists(st.integers()),
    st.floats(),
    st.builds(object),
    st.text(min_size=1).map(lambda text: list[text]),
)


@given(TYPES)
def test_every_type_fits_itself(annotation: Any) -> None:
    """A value always fits a place with the same annotation."""
    assert assignable(annotation, annotation) is True
    assert element_assignable(annotation, annotation) is True


@given(THINGS)
def test_any_fits_both_ways(annotation: Any) -> None:
    """Any takes everything and goes everywhere."""
    assert assignable(Any, annotation) is True
    assert assignable(annotation, Any) is True


@given(TYPES, TYPES)
def test_a_member_fits_its_union(member: Any, other: Any) -> None:
    """A type fits every union that it is part of."""
    assert assignable(member, Union[member, other]) is True


@given(THINGS, THINGS)
@settings(max_examples=300)
def test_no_annotation_raises(value: Any, place: Any) -> None:
    """Whatever stands where an annotation belongs, there is an answer, and it is always the same."""
    for question in (assignable, element_assignable):
        answer = question(value, place)
        assert answer in (True, False, None)
        assert question(value, place) is answer
    assert isinstance(type_text(value), str)
    assert record_like(value) in (True, False)
