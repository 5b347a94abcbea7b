"""Watch one node's output as it flows: count it, notice its true end, and say whose code raised first (S4.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from itertools import islice
from time import perf_counter
from types import TracebackType
from typing import Any

from petal.data.files import Outputs
from petal.spec.event import Status

#: Items that are timed one by one, and of how many later ones one is timed: a prime, because what makes items of
#: batches takes longer at every 4096th or so.
EXACT, ONE_IN = 64, 61


class Stopped(BaseException):
    """The run is being stopped; not an Exception, so that user code does not swallow it by accident."""


class Unbegun(Stopped):
    """The run is being stopped, and the call that was waited for had not begun."""


class Broken(Exception):
    """A stream ended before its true end, because the node that makes it did not succeed."""


class Watch:
    """One node's part in a chain.

    Attributes:
        rows: Rows given so far.
        ended: Whether its stream came to its true end, or it returned.
        started: ``time.perf_counter()`` of its call.
        head: The first rows, when previews are wanted.
        batches: Batches given so far, None for a stream of items.
        spent: Seconds in its code and in that of the nodes it pulled from.
        reads: What it reads as a stream, by input: watches of nodes it pulls from, and branches.
        whole: Rows of the streams that it got when all of their rows were there, by input.
    """

    __slots__ = (
        "batches",
        "began",
        "ended",
        "head",
        "index",
        "inputs",
        "outputs",
        "reads",
        "rows",
        "spent",
        "status",
        "value",
        "whole",
    )

    def __init__(self, index: int, outputs: Outputs | None = None) -> None:
        self.index = index
        self.rows: int | None = None
        self.batches: int | None = None
        self.spent = 0.0
        self.ended = False
        self.began = 0.0
        self.head: list[Any] | None = None
        self.inputs: dict[str, Any] = {}
        self.reads: dict[str, list[Any]] = {}
        self.whole: dict[str, int] = {}
        self.outputs = outputs
        self.status: Status | None = None
        self.value: Any = None

    @property
    def own_seconds(self) -> float:
        """Seconds in its own code: without what it pulled from, and without waiting for rows."""
        pulled: float = sum(r.spent for reads in self.reads.values() for r in reads)
        return max(0.0, self.spent - pulled)


class Failure:
    """The first failure in a chain, and the streams from outside that broke.

    Attributes:
        index: The node that raised first, or None.
        errors: What nodes raised: the first one, and those that failed to publish what they wrote.
        broken: The nodes whose streams from outside broke.
        where: For nodes that run in batches: the rows of the batch that failed.
    """

    __slots__ = ("_inner", "broken", "errors", "index", "where")

    def __init__(self) -> None:
        self.index: int | None = None
        self.errors: dict[int, BaseException] = {}
        self.broken: set[int] = set()
        self.where: dict[int, str] = {}
        self._inner: TracebackType | None = None

    def note(self, index: int, error: BaseException) -> None:
        """Remember that ``error`` came out of the node's own code, unless another came before."""
        if isinstance(error, Stopped | GeneratorExit | KeyboardInterrupt) or _comes_from_broken(error):
            return
        if self.index is None:
            self.index = index
            self.errors[index] = error
            self._inner = error.__traceback__

    def trim(self) -> None:
        """Cut off what the error's traceback gained on its way through the nodes that were reading."""
        if self.index is not None:
            self.errors[self.index].__traceback__ = self._inner


def _comes_from_broken(error: BaseException | None) -> bool:
    """Whether an error is, or was raised while handling, the news that a stream from outside broke."""
    for _ in range(20):
        if error is None:
            return False
        if isinstance(error, Broken):
            return True
        error = error.__cause__ or error.__context__
    return False


def watched(
    rows: Iterator[Any], watch: Watch, failure: Failure, stop: list[Any], preview: bool
) -> Iterator[Any]:
    """Pass items on, count them, and measure how long they took to come: the first exactly, then one of many."""
    count, spent, end = 0, 0.0, object()
    head = watch.head = [] if preview else None
    try:
        while True:
            began = perf_counter()
            row = next(rows, end)
            seconds = perf_counter() - began
            if row is end:
                spent += seconds
                break
            spent += seconds if count < EXACT else seconds * ONE_IN
            count += 1
            if stop:
                raise Stopped
            if head is not None and count <= 3:
                head.append(row)
            yield row
            if count >= EXACT:
                for count, row in enumerate(islice(rows, ONE_IN - 1), count + 1):  # noqa: B007, B020
                    if stop:
                        raise Stopped
                    yield row
        watch.ended = True
    except BaseException as error:
        failure.note(watch.index, error)
        raise
    finally:
        watch.rows = count
        watch.spent += spent
        _close(rows)


def watched_batches(
    batches: Iterator[Any], watch: Watch, failure: Failure, stop: list[Any], preview: bool
) -> Iterator[Any]:
    """Pass batches on, count them and their rows, and measure how long they took to come."""
    watch.rows = watch.batches = 0
    end = object()
    try:
        while True:
            began = perf_counter()
            batch = next(batches, end)
            watch.spent += perf_counter() - began
            if batch is end:
                break
            if stop:
                raise Stopped
            watch.batches += 1
            if isinstance(batch, Sized):
                watch.rows += len(batch)
                if preview and watch.head is None and len(batch):
                    watch.head = head_of(batch)
            yield batch
        watch.ended = True
    except BaseException as error:
        failure.note(watch.index, error)
        raise
    finally:
        _close(batches)


def head_of(batch: Any, count: int = 3) -> list[Any]:
    """Return the first rows of a batch as plain values."""
    head = batch.head(count) if hasattr(batch, "head") else batch[:count]
    if hasattr(head, "to_dicts"):
        rows: list[Any] = head.to_dicts()
        return rows
    return head.to_list() if hasattr(head, "to_list") else list(head)


def _close(rows: Any) -> None:
    close = getattr(rows, "close", None)
    if close is not None:
        close()
