"""Which annotations can cross a process boundary."""

import dataclasses
import datetime
import decimal
import enum
import re
import threading
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NewType, TypedDict, TypeVar

import msgspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from petal import Batches
from petal.spec.crossing import undecodable
from petal.spec.pipeline import MISSING
from petal.spec.views import seen

T = TypeVar("T")


@dataclasses.dataclass
class Node:
    value: int
    children: "list[Node]"


@dataclasses.dataclass
class Other:
    value: str


@dataclasses.dataclass
class WithLock:
    name: str
    lock: threading.Lock


@dataclasses.dataclass
class Outer:
    inner: WithLock | None


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag=True):
    name: str


class Row(TypedDict):
    when: datetime.datetime


class BadRow(TypedDict):
    call: Callable[[], int]


class Frames(NamedTuple):
    good: pl.DataFrame
    bad: pa.Table


class Colour(enum.Enum):
    RED = "red"


class Mixed(enum.Enum):
    ONE = 1
    TWO = "two"


class Ratio(enum.Enum):
    HALF = 0.5


class Plain:
    pass


@pytest.mark.parametrize(
    "annotation",
    [
        MISSING,
        Any,
        object,
        None,
        int,
        float | None,
        str,
        bytes,
        decimal.Decimal,
        uuid.UUID,
        datetime.timedelta,
        Path,
        Path | None,
        deque[int],
        Colour,
        Literal["a", 1],
        Node,
        list[Node],
        Cat | Dog,
        Row,
        Frames,
        dict[str, list[Node]],
        tuple[int, ...],
        tuple[int, Row],
        set[uuid.UUID],
        Sequence[int],
        Mapping[str, Row],
        int | str | None,
        int | datetime.datetime,
        dict[str, Any],
        dict[str, object] | None,
        T,
        list[T],
        Annotated[int, msgspec.Meta(gt=0)],
        Annotated[str, []],
        NewType("Name", str),
        pl.DataFrame,
        pl.LazyFrame,
        pl.Series,
        pa.Table,
        pa.Array,
        pd.DataFrame,
        pd.Series,
        pa.RecordBatchReader,
        dict[str, pl.DataFrame],
        Batches[str],
        Batches[Plain],
        Iterator[Node],
        Iterator[str],
        list,
        dict,
        tuple,
    ],
    ids=str,
)
def test_can(annotation):
    """What msgspec, Arrow or a hook can write and read by the annotation alone can cross."""
    assert undecodable(annotation, seen(annotation)) is None


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        (str | datetime.datetime, "`str | datetime.datetime` does not say which"),
        (Node | Other, "does not say which"),
        (list[int] | set[int] | None, "does not say which"),
        (str | Path, "does not say which"),
        (pl.DataFrame | dict[str, int], "does not say which"),
        (list[str | bytes], "`str | bytes` does not say which"),
        (Iterator[str | bytes], "does not say which"),
        (dict[str, str | uuid.UUID], "does not say which"),
        (Callable[[int], int], "`Callable[[int], int]` cannot be written"),
        (threading.Lock, "cannot be written"),
        (threading.Thread, "`Thread` cannot be written"),
        (Plain, "`Plain` cannot be written"),
        (Plain | None, "`Plain` cannot be written"),
        (list[Plain], "`Plain` cannot be written"),
        (Iterator[Plain], "`Plain` cannot be written"),
        (complex, "`complex` cannot be written"),
        (re.Pattern, "`Pattern` cannot be written"),
        (type[int], "cannot be written"),
        (Counter[str], "cannot be written"),
        (dict[str, Iterator[int]], "`Iterator[int]` cannot be written"),
        (deque[complex], "`complex` cannot be written"),
        (Outer, "field `inner` of `Outer`: field `lock` of `WithLock`"),
        (BadRow, "field `call` of `BadRow`"),
        (Mixed, "`Mixed` are neither all text nor all whole numbers"),
        (Ratio, "`Ratio` are neither"),
        (Literal[b"x"], "cannot be read back"),
    ],
)
def test_cannot(annotation, says):
    """What nothing could read back is refused in a sentence that names the type."""
    found = undecodable(annotation, seen(annotation))
    assert found is not None
    assert says in found


def test_unknown_names():
    """A record with a field whose type nobody knows is refused."""
    Strange = msgspec.defstruct("Strange", [("a", "Nowhere")])
    assert "cannot be read back" in (undecodable(Strange, seen(Strange)) or "")
