"""Turn what a producer gives into the view that a consumer asks for (DESIGN.md §4, S3).

What flows is one of: an iterator of items, an iterator of batches (``polars.Series`` or ``polars.DataFrame``), or a
value. Frame libraries are imported only when data of theirs is at hand or asked for.
"""

from __future__ import annotations

import time
import typing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from petal.data.adapted import adapter_for, make_with, read_with
from petal.data.batches import BatchMaker, chunked, is_scalar
from petal.data.fitting import fitted
from petal.data.frames import batches_of, frame_of, loaded_polars, to_container, to_reader
from petal.data.records import converter, is_record
from petal.errors import DataError, StreamConsumed
from petal.spec.pipeline import MISSING
from petal.spec.rows import declared_record
from petal.spec.views import READER, Seen, View, container_of

__all__ = ["AsyncRows", "OneTime", "adapt", "batch_rows", "batches_of", "row_count", "to_container"]

#: Values of a column that become Python objects at a time: a few stay in the processor's cache and the memory
#: of those before is used again, which is 2.5 times as fast as a block of 100,000 at once.
_AT_ONCE = 4096


class OneTime:
    """A stream for an ``Iterable[T]`` input: a second ``iter()`` raises instead of giving nothing (S3.2)."""

    __slots__ = ("_name", "_rows")

    def __init__(self, rows: Iterator[Any], name: str) -> None:
        self._rows: Iterator[Any] | None = rows
        self._name = name

    def __iter__(self) -> Iterator[Any]:
        rows, self._rows = self._rows, None
        if rows is None:
            raise StreamConsumed(
                f"the stream `{self._name}` is iterated a second time, but it flows by only once",
                hint=f"annotate it `{self._name}: list[...]` to have it all at once",
            )
        return rows

    def __next__(self) -> Any:
        if self._rows is None:
            raise StreamConsumed(
                f"the stream `{self._name}` is iterated a second time",
                hint="keep the iterator that `iter()` gave",
            )
        return next(self._rows)


def adapt(
    value: Any, given: Seen, wanted: Seen, name: str, note: Callable[[Exception], None] | None = None
) -> Any:
    """Return ``value`` in the view that ``wanted`` asks for.

    Args:
        value: An iterator of items or batches where ``given`` is a stream, else any value.
        given: The producer's side.
        wanted: The consumer's side; for no annotation at all, a value of MISSING type.
        name: The input, for messages.
        note: Told of rows that do not fit, before the operator sees the error: it may swallow it.

    Raises:
        DataError: The value cannot be seen that way.
    """
    view = wanted.view
    if view is View.VALUE:
        if not given.view.streams:
            return value
        return list(_as_items(value, given))  # S3.3: an unannotated input takes a stream as a list
    if not given.view.streams:
        if view is View.WHOLE and _is_already(value, given, wanted):
            return value
        given, value = _as_stream(value, given, name, wanted.adapters or given.adapters)
    if view is View.ITEMS:
        rows = _converted(_as_items(value, given), given, wanted, note)
        if wanted.container == "async":
            return AsyncRows(rows)
        return OneTime(rows, name) if wanted.container == "iterable" else rows
    if view is View.BATCHES:
        batches = _noted(_as_batches(value, given, wanted), note)
        return to_reader(batches, given.element) if wanted.container == READER else batches
    return _whole(value, given, wanted)


def _converted(
    rows: Iterator[Any], given: Seen, wanted: Seen, note: Callable[[Exception], None] | None = None
) -> Iterator[Any]:
    """Turn rows into records of the class that is wanted, if one is."""
    change = converter(given.element, wanted.element, from_batches=given.view is View.BATCHES)
    return rows if change is None else _noted(change(rows), note)


def _noted(rows: Iterator[Any], note: Callable[[Exception], None] | None) -> Iterator[Any]:
    if note is None:
        return rows

    def told() -> Iterator[Any]:
        try:
            yield from rows
        except Exception as error:
            note(error)
            raise

    return told()


class AsyncRows:
    """A plain iterator for an operator that takes ``AsyncIterable[T]``.

    Rows are fetched on a thread of the loop's executor, so that waiting for them holds up no other coroutine; those
    that are there at once come together, because a hand-over costs more than a row.
    """

    #: Rows per hand-over, and the seconds after which fewer are handed over.
    ROWS, PATIENCE = 1024, 0.001

    def __init__(self, rows: Iterator[Any]) -> None:
        self._rows = rows
        self._fetched: deque[Any] = deque()
        self._ended = False
        self._error: BaseException | None = None

    def __aiter__(self) -> AsyncRows:
        return self

    def plain(self) -> Iterator[Any]:
        """Return the rows that nobody has asked for yet, for whoever takes them without a loop."""
        return chain(self._fetched, self._rows)

    async def __anext__(self) -> Any:
        if not self._fetched and not self._ended:
            import asyncio

            await asyncio.get_running_loop().run_in_executor(None, self._fetch)
        if self._fetched:
            return self._fetched.popleft()
        error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopAsyncIteration

    def _fetch(self) -> None:
        until = time.monotonic() + self.PATIENCE
        try:
            for row in self._rows:
                self._fetched.append(row)
                if len(self._fetched) >= self.ROWS or time.monotonic() > until:
                    return
        except BaseException as error:  # comes after the rows before it, in the coroutine
            self._error = error
        self._ended = True


# -- to a stream ----------------------------------------------------------------------------------------------


def _as_stream(value: Any, given: Seen, name: str, adapters: tuple[Any, ...] = ()) -> tuple[Seen, Any]:
    """Open a value as a stream; text, bytes and mappings are never taken apart (S3.1)."""
    adapter = adapter_for(value, adapters) if adapters else None
    if adapter is not None:
        return Seen(View.BATCHES, MISSING), read_with(adapter, value)
    if isinstance(value, str | bytes | bytearray | Mapping) or is_record(value) or value is None:
        kind = "None" if value is None else f"one {type(value).__name__}"
        raise DataError(
            f"`{name}` takes a stream, but was given {kind}",
            hint=f"return a list of it: one {type(value).__name__} is never taken apart into rows"
            if value is not None
            else "return a list, an empty one for no rows",
        )
    batches = batches_of(value)
    if batches is not None:
        return Seen(View.BATCHES, MISSING), batches
    element = given.element if given.view is View.WHOLE else MISSING
    try:
        return Seen(View.ITEMS, element, "iterator"), iter(value)
    except TypeError:
        raise DataError(
            f"`{name}` takes a stream, but was given one {type(value).__name__}",
            hint="return a list or an iterator",
        ) from None


def _as_items(value: Any, given: Seen) -> Iterator[Any]:
    if given.view is View.BATCHES:
        return chain.from_iterable(map(batch_rows, value))
    return iter(value)


def batch_rows(batch: Any) -> Iterable[Any]:
    """Return the rows of a batch: scalars of a Series, dicts of a DataFrame."""
    if hasattr(batch, "iter_rows"):
        rows: Iterable[Any] = batch.iter_rows(named=True)
        return rows
    if hasattr(batch, "to_list"):
        parts = (batch[i : i + _AT_ONCE] for i in range(0, len(batch), _AT_ONCE))
        return chain.from_iterable(part.to_list() for part in parts)
    if isinstance(batch, list | tuple):
        return batch
    frame = frame_of(batch)
    if frame is None:
        raise DataError(
            f"a stream of batches holds one {type(batch).__name__}, which is no batch",
            hint="yield a polars Series or DataFrame for each batch, or annotate the stream as `Iterator[...]`",
        )
    return batch_rows(frame)


def _as_batches(value: Any, given: Seen, wanted: Seen) -> Iterator[Any]:
    element, lists = wanted.element, wanted.container == "lists"
    says_something = element is not MISSING and not isinstance(element, typing.TypeVar)
    record = declared_record(element)
    if given.view is View.ITEMS:
        rows = _converted(iter(value), given, wanted) if record is not None else iter(value)
        of = element if record is not None or is_scalar(element) else given.element
        return chunked(rows, BatchMaker(of), lists=lists)
    make = BatchMaker(element if is_scalar(element) else given.element)
    batches = (
        b if type(b) is not list else b if lists else make(b)
        for b in map(_known_batch, value)
        if type(b) is not list or b
    )
    return fitted(batches, element) if says_something and element != given.element else batches


def _known_batch(batch: Any) -> Any:
    """Return a batch of another library as a Polars one; lists and what nobody knows stay."""
    if type(batch) is list:
        return batch
    frame = frame_of(batch)
    return batch if frame is None else frame


# -- to everything at once ------------------------------------------------------------------------------------

_BUILDERS: dict[str, Callable[[Iterable[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "sequence": list,
    "mutable sequence": list,
    "collection": list,
    "abstract set": set,
    "mutable set": set,
}


def _is_already(value: Any, given: Seen, wanted: Seen) -> bool:
    """Whether a value is what is wanted: it is shared then, not copied (S3.4)."""
    build = _BUILDERS.get(wanted.container)
    if build is not None:
        return type(value) is build and converter(given.element, wanted.element) is None
    adapter = wanted.adapter
    if adapter is not None:
        return bool(adapter.takes(type(value)))
    return container_of(type(value)) == wanted.container


def _whole(value: Any, given: Seen, wanted: Seen) -> Any:
    build = _BUILDERS.get(wanted.container)
    if build is not None:
        return build(_converted(_as_items(value, given), given, wanted))
    batches = list(_as_batches(value, given, Seen(View.BATCHES)))
    adapter = wanted.adapter
    if adapter is not None:
        return make_with(adapter, batches, given.element)
    return to_container(batches, wanted.container, given.element)


def row_count(value: Any) -> int | None:
    """Return how many rows a whole value has, or None when it is no collection of rows."""
    if isinstance(value, list | tuple | set | frozenset):
        return len(value)
    if hasattr(value, "height"):
        return int(value.height)
    if hasattr(value, "num_rows"):
        return int(value.num_rows)
    polars = loaded_polars()
    if polars is not None and isinstance(value, polars.Series):
        return len(value)
    return None
