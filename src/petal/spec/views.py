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
    ``polars.DataFrame``. An operator that gives batches may give lists of rows instead.
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


class BatchForm(StrEnum):
    """In which form an operator takes batches that are not Polars'."""

    LISTS = "lists"


#: ``Annotated[Batches[T], LISTS]``: batches may be lists too. Small ones often are, because Polars is slow to import.
LISTS = BatchForm.LISTS


class View(StrEnum):
    """How one end of an edge sees the data."""

    VALUE = "value"
    ITEMS = "items"
    BATCHES = "batches"
    WHOLE = "whole"

    @property
    def streams(self) -> bool:
        """Whether data flows through this end piece by piece."""
        return self in _STREAMING


_STREAMING = frozenset({View.ITEMS, View.BATCHES})


class Seen(Struct, frozen=True, gc=False):
    """An annotation taken apart.

    Attributes:
        view: The view it asks for.
        element: What flows: the ``T`` of a stream or list, the type itself for a value, MISSING where unknown.
        container: For a whole view, the name of what is built: ``list``, ``tuple``, ``set``, ``frozenset``, one of
            the abstract collections, or one of :data:`FRAME_KINDS` and :data:`COLUMN_KINDS`; for items ``iterable`` (may be iterated once),
            ``iterator`` or ``async``; for batches ``lists`` where they may be lists too, or
            ``pyarrow.RecordBatchReader``. Of a class that a plugin's adapter brings, the adapter's name.
        adapters: The adapters that take part where the port is (see ``petal.interfaces.adapter``); mostly none.
    """

    view: View
    element: object = MISSING
    container: str = ""
    adapters: tuple[Any, ...] = ()

    @property
    def adapter(self) -> Any | None:
        """The adapter that brings the container, None where Petal knows it."""
        for one in self.adapters:
            if one.name == self.container:
                return one
        return None

    @property
    def holds_records(self) -> bool:
        """Whether the container is a frame: its rows are records."""
        return self.container in _RECORDS or self.adapter is not None


_ITEMS = {abc.Iterable: "iterable", abc.Iterator: "iterator", abc.Generator: "iterator"}
_ASYNC_ITEMS = {abc.AsyncIterable, abc.AsyncIterator, abc.AsyncGenerator}
_WHOLE = {
    list: "list",
    set: "set",
    frozenset: "frozenset",
    abc.Sequence: "sequence",
    abc.MutableSequence: "mutable sequence",
    abc.Collection: "collection",
    abc.Set: "abstract set",
    abc.MutableSet: "mutable set",
}
#: Whole views that hold records, and those that hold single values; named by top package and class.
FRAME_KINDS = frozenset(
    {"polars.DataFrame", "polars.LazyFrame", "pyarrow.Table", "pyarrow.RecordBatch", "pandas.DataFrame"}
)
COLUMN_KINDS = frozenset({"polars.Series", "pyarrow.Array", "pyarrow.ChunkedArray", "pandas.Series"})
#: The stream of records of Arrow: batches, pulled one at a time.
READER = "pyarrow.RecordBatchReader"
_RECORDS = FRAME_KINDS | {READER}


def container_of(kind: type) -> str:
    """Name the frame or column that a class is, without importing its library; empty for every other class."""
    name = f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
    return name if name in FRAME_KINDS or name in COLUMN_KINDS or name == READER else ""


#: What making a frame of this library takes, by its top package.
_NEEDS = {"pandas": ("pandas", "pyarrow"), "pyarrow": ("pyarrow",)}
_ALIASES = {"pd": "pandas", "pa": "pyarrow"}


def missing_libraries(container: str) -> tuple[str, ...]:
    """Name the packages that are not installed and that a frame of this kind takes.

    Args:
        container: A kind of frame, or an annotation as it is written, such as ``pd.DataFrame``.
    """
    import importlib.util

    library = container.partition(".")[0]
    needed = _NEEDS.get(_ALIASES.get(library, library), ())
    return tuple(name for name in needed if importlib.util.find_spec(name) is None)


def without_extras(annotation: object) -> object:
    """Strip ``Annotated``, the name of a ``type X = …`` and the ``None`` of an optional."""
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__  # type: ignore[attr-defined]
        else:
            break
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
        return Seen(View.BATCHES, first, "lists" if LISTS in getattr(annotation, "__metadata__", ()) else "")
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
    container = container_of(origin)
    if container:
        return Seen(View.BATCHES if container == READER else View.WHOLE, MISSING, container)
    return Seen(View.VALUE, annotation)


_seen = lru_cache(4096)(_take_apart)


def with_adapters(look: Seen, annotation: object, adapters: tuple[Any, ...]) -> Seen:
    """Look at an annotation again where adapters take part: a class that one of them takes is a view of its own.

    Args:
        look: The annotation taken apart.
        annotation: The annotation, or MISSING.
        adapters: See :class:`petal.interfaces.adapter.Adapter`.
    """
    if look.view is View.VALUE:
        bare = without_extras(annotation)
        kind = typing.get_origin(bare) or bare
        for adapter in adapters if isinstance(kind, type) else ():
            if adapter.takes(kind):
                return Seen(View.WHOLE, MISSING, adapter.name, adapters)
    return Seen(look.view, look.element, look.container, adapters)
