"""How annotations are written, and which of them are records."""
# What users write is tested in all its spellings, old ones included:
# ruff: noqa: UP006, UP045

import typing
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar

import msgspec
import pytest

from petal.planning.assignable import record_like, type_text
from petal.spec.pipeline import MISSING

T = TypeVar("T")
UserId = NewType("UserId", int)
Untyped = namedtuple("Untyped", "x y")


class Animal: ...


class Colour(Enum):
    RED = "red"


class Row(TypedDict):
    id: int


class Point(NamedTuple):
    x: int


@dataclass
class Person:
    id: int


class Item(msgspec.Struct):
    id: int


TEXTS = [
    (list[str], "list[str]"),
    (typing.List[str], "list[str]"),
    (typing.List, "list"),
    (Iterator[str], "Iterator[str]"),
    (typing.Iterator[str], "Iterator[str]"),
    (Optional[str], "str | None"),
    (dict[str, int | None], "dict[str, int | None]"),
    (None, "None"),
    (type(None), "None"),
    (Person, "Person"),
    (UserId, "UserId"),
    (T, "T"),
    (Any, "Any"),
    (Callable[[int, str], bool], "Callable[[int, str], bool]"),
    (Callable[..., Any], "Callable[..., Any]"),
    (tuple[int, ...], "tuple[int, ...]"),
    (tuple[()], "tuple[()]"),
    (Literal["a", 1, Colour.RED], "Literal['a', 1, Colour.RED]"),
    (Annotated[int, "unit"], "int"),
    (Path, "Path"),
    ("Score", "Score"),
    (typing.ForwardRef("Score"), "Score"),
    (MISSING, "?"),
    (3, "3"),
]


@pytest.mark.parametrize(
    "annotation",
    [
        Row,
        Person,
        Item,
        Point,
        Untyped,
        dict,
        dict[str, int],
        dict[int, int],
        Mapping[str, Any],
        Annotated[Row, 1],
    ],
    ids=type_text,
)
def test_records_are_recognised(annotation: object) -> None:
    """Classes with declared fields, dicts and mappings with keys of text are records."""
    assert record_like(annotation)


@pytest.mark.parametrize(
    "annotation",
    [
        int,
        Any,
        None,
        list[Row],
        Row | None,
        Mapping[int, str],
        tuple[int, int],
        Animal,
        Colour,
        "Row",
        3,
        MISSING,
    ],
    ids=type_text,
)
def test_other_types_are_not_records(annotation: object) -> None:
    """Whatever is not sure to be a record is not treated as one."""
    assert not record_like(annotation)


@pytest.mark.parametrize(("annotation", "text"), TEXTS, ids=[text for _, text in TEXTS])
def test_annotations_are_written_as_people_write_them(annotation: object, text: str) -> None:
    """An annotation is written without modules and in today's syntax."""
    assert type_text(annotation) == text


def test_local_classes_are_written_by_their_name() -> None:
    """A class that a function defines goes by its own name, not by its path."""

    class Local: ...

    assert type_text(list[Local]) == "list[Local]"
