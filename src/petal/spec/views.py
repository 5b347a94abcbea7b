"""The vocabulary of annotations: which view of the data an operator asks for (DESIGN.md §4, S3)."""

from __future__ import annotations

import collections.abc as abc
import typing
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from petal.spec.pipeline import MISSING

T_co = TypeVar("T_co", covariant=True)


class Batches(Protocol[T_co]):
    """Annotate a stream that arrives as Polars batches, the fast view.

    ``Batches[str]`` is an iterator of ``polars.Series``, ``Batches[dict]`` (or any record type) one of
    ``polars.DataFrame``.
    """

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the batches, once."""
        ...

    def __next__(self) -> Any:
        """Return the next batch."""
        ...


class Check(Struct, frozen=True):
    """A check of a parameter's value that a type cannot say: ``Annotated[str, Check(fn)]``.

    Args:
        test: Called with the value at validation; returns nothing when it is fine, raises ValueError when it is not.
    """

    test: Callable[[Any], object]


class FileUse(StrEnum):
    """What an operator does with the file that a path parameter names."""

    READS = "reads"
    WRITES = "writes"


#: ``Annotated[Path, READS]``: the operator reads this file, so its content counts for the cache.
READS = FileUse.READS
#: ``Annotated[Path, WRITES]``: the operator publishes this file, so no other sink of the run may.
WRITES = FileUse.WRITES


class View(StrEnum):
    """How one end of an edge sees the data."""

    VALUE = "value"
    ITEMS = "items"
    BATCHES = "batches"
    WHOLE = "whole"

    @property
    def streams(self) -> bool:
        """Whether data flows through this end piece by piece."""
        return self is View.ITEMS or self is View.BATCHES


class Seen(Struct, frozen=True, gc=False):
    """An annotation taken apart.

    Attributes:
        view: The view it asks for.
        element: What flows: the ``T`` of a stream or list, the type itself for a value, MISSING where unknown.
        container: For a whole view, the name of what is built: ``list``, ``tuple``, ``set``, ``frozenset``,
            ``polars.DataFrame``, ``polars.LazyFrame``, ``polars.Series``, ``pyarrow.Table``, ``pandas.DataFrame``;
            for items ``iterable`` (may be iterated once), ``iterator`` or ``async``.
    """

    view: View
    element: object = MISSING
    container: str = ""


_ITEMS = {abc.Iterable: "iterable", abc.Iterator: "iterator", abc.Generator: "iterator"}
_ASYNC_ITEMS = {abc.AsyncIterable, abc.AsyncIterator, abc.AsyncGenerator}
_WHOLE = {
    list: "list",
    set: "set",
    frozenset: "frozenset",
    abc.Sequence: "list",
    abc.MutableSequence: "list",
    abc.Collection: "list",
    abc.Set: "set",
}
#: Frame classes by top package and name, so that no frame library is imported to recognise one.
_FRAMES = {
    ("polars", "DataFrame"): "polars.DataFrame",
    ("polars", "LazyFrame"): "polars.LazyFrame",
    ("polars", "Series"): "polars.Series",
    ("pyarrow", "Table"): "pyarrow.Table",
    ("pandas", "DataFrame"): "pandas.DataFrame",
}


def without_extras(annotation: object) -> object:
    """Strip ``Annotated`` and the ``None`` of an optional."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, UnionType):
        rest = [a for a in typing.get_args(annotation) if a is not NoneType]
        if len(rest) == 1:
            return without_extras(rest[0])
    return annotation


def seen(annotation: object) -> Seen:
    """Take an annotation apart; MISSING gives a value of unknown type."""
    try:
        return _seen(annotation)
    except TypeError:  # unhashable, as Annotated[str, []] is
        return _take_apart(annotation)


def _take_apart(annotation: object) -> Seen:
    if annotation is MISSING:
        return Seen(View.VALUE)
    bare = without_extras(annotation)
    origin = typing.get_origin(bare) or bare
    args = typing.get_args(bare)
    first = args[0] if args else MISSING
    if origin is Batches:
        return Seen(View.BATCHES, first)
    if not isinstance(origin, type):
        return Seen(View.VALUE, annotation)
    if origin in _ITEMS:
        return Seen(View.ITEMS, first, _ITEMS[origin])
    if origin in _ASYNC_ITEMS:
        return Seen(View.ITEMS, first, "async")
    if origin in _WHOLE:
        return Seen(View.WHOLE, first, _WHOLE[origin])
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return Seen(View.WHOLE, first, "tuple")
    frame = _FRAMES.get((origin.__module__.partition(".")[0], origin.__name__))
    if frame:
        return Seen(View.WHOLE, MISSING, frame)
    return Seen(View.VALUE, annotation)


_seen = lru_cache(4096)(_take_apart)
