"""Call one operator many times, each with a piece of its stream input: what ``batch`` asks for (S4.6)."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import Any, Protocol

from msgspec import Struct

from petal.data.adapters import adapt
from petal.data.files import Outputs
from petal.execution.retrying import FIRST, Attempt, Rule, decide, failure_of, rule_of
from petal.execution.state import RunState
from petal.planning.moving import backend_of
from petal.running.call import Callee
from petal.running.watch import Failure, Stopped
from petal.spec.context import Context
from petal.spec.operator import Input
from petal.spec.pipeline import MISSING
from petal.spec.policy import Batch
from petal.spec.views import Seen, View

_CONTAINERS = frozenset({"list", "tuple", "set", "frozenset"})
#: Seconds between two looks at the stop flag while calls are running.
_PATIENCE = 0.1


class Piece(Struct, frozen=True):
    """What one call gets: its number, its rows (a list or a batch), and the place of the first one in the stream."""

    number: int
    rows: Any
    first: int

    def __str__(self) -> str:
        last = self.first + len(self.rows) - 1
        return f"row {self.first:,}" if last == self.first else f"rows {self.first:,} to {last:,}"


def cut_view(port: Input) -> Seen:
    """Return the stream view in which a port's rows are cut: batches for frames and columns, else items."""
    seen = port.seen
    if seen.view is View.ITEMS or seen.container in _CONTAINERS:
        return Seen(View.ITEMS, seen.element, "iterator")
    return Seen(View.BATCHES, seen.element)


def hold(port: Input, stream: Any) -> Any:
    """Read an input that goes whole with each call, so that it can be given again."""
    return list(stream) if port.seen.view.streams else stream


def again(port: Input, held: Any) -> Any:
    """Give what was held once more, in the port's own view."""
    if not port.seen.view.streams:
        return held
    return adapt(iter(held), cut_view(port), port.seen, port.name)


def pieces(stream: Iterator[Any], cut: Seen, batch: Batch) -> Iterator[Piece]:
    """Cut a stream into what each call gets: ``size`` rows at most, and ``max_bytes`` bytes."""
    found = _of_batches(stream, batch) if cut.view is View.BATCHES else _of_items(stream, batch)
    first = 1
    for number, rows in enumerate(found, 1):
        yield Piece(number, rows, first)
        first += len(rows)


def _of_items(rows: Iterator[Any], batch: Batch) -> Iterator[list[Any]]:
    piece: list[Any] = []
    size, limit = 0, batch.max_bytes
    for row in rows:
        if limit is not None:
            more = _bytes_of(row)
            if piece and size + more > limit:
                yield piece
                piece, size = [], 0
            size += more
        piece.append(row)
        if len(piece) == batch.size:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _bytes_of(row: Any) -> int:
    """Measure a row: text and bytes as they are, anything else as it would be sent."""
    if isinstance(row, str):
        return len(row.encode("utf-8", "surrogatepass"))
    if isinstance(row, bytes):
        return len(row)
    import msgspec

    try:
        return len(msgspec.msgpack.encode(row))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return len(repr(row))


def _of_batches(batches: Iterator[Any], batch: Batch) -> Iterator[Any]:
    """Cut and join Series or DataFrames; bytes are those that Polars holds."""
    waiting: Any = None
    for found in batches:
        waiting = found if waiting is None else _joined(waiting, found)
        rows = _fitting(waiting, batch)
        at = 0
        while len(waiting) - at >= rows:
            yield waiting.slice(at, rows)
            at += rows
        waiting = waiting.slice(at)
    if waiting is not None and len(waiting):
        rows = _fitting(waiting, batch)
        yield from (waiting.slice(at, rows) for at in range(0, len(waiting), rows))


def _joined(left: Any, right: Any) -> Any:
    import polars as pl

    return right if not len(left) else pl.concat([left, right])


def _fitting(batch: Any, policy: Batch) -> int:
    if policy.max_bytes is None or not len(batch):
        return policy.size
    each = max(1, -(-int(batch.estimated_size()) // len(batch)))
    return max(1, min(policy.size, policy.max_bytes // each))


class Chain(Protocol):
    """What is needed of the chain that runs the member."""

    state: RunState
    failure: Failure
    places: dict[int, set[int]]

    def input(self, index: int, name: str, binding: Any, view: Seen | None = None) -> Any:
        """Return an input's value in a view."""

    def call(self, index: int, place: int = 0) -> Callee:
        """Make the operator ready."""

    def context(
        self, index: int, outputs: Outputs, batch: int | None = None, attempt: int | None = None
    ) -> Context:
        """Make what a call may ask for."""


def rows_of(chain: Chain, index: int, batch: Batch, cut: Input, outputs: Outputs) -> Iterator[Any]:
    """Call a member once for each piece of one input, the others whole with each call, and yield all rows (S4.6).

    Args:
        chain: What runs the member.
        index: The member's place in the plan.
        batch: How the input is cut.
        cut: The input that is cut.
        outputs: Where the member's files go.
    """
    state = chain.state
    spec, bound = state.specs[index], state.plan.nodes[index].inputs
    ports = {port.name: port for port in spec.inputs}
    view, flow, given = cut_view(cut), state.units.seen[index], spec.outputs[0].seen
    stream = chain.input(index, cut.name, bound[cut.name], view)
    held: dict[str, Any] = {}
    for name, port in ports.items():
        if name != cut.name and name in bound:
            wanted = cut_view(port) if port.seen.view.streams else None
            value = chain.input(index, name, bound[name], wanted)
            if value is not MISSING:
                held[name] = [hold(port, v) for v in value] if port.variadic else hold(port, value)

    def once(call: Callee, piece: Piece, attempt: int) -> list[Any]:
        inputs = {
            n: [again(ports[n], v) for v in value] if ports[n].variadic else again(ports[n], value)
            for n, value in held.items()
        }
        rows = [piece.rows] if view.view is View.BATCHES else piece.rows
        inputs[cut.name] = adapt(iter(rows), view, cut.seen, cut.name)
        result = call(inputs, chain.context(index, outputs, piece.number, attempt))
        return list(result if given.view.streams else adapt(result, given, flow, "output"))

    policies = state.plan.nodes[index].policies
    rule = rule_of(policies) if policies is not None else None
    call_one = once_or_again(chain, index, rule, once, cut.name) if rule is not None else _first(once)

    def failed(where: str) -> None:
        chain.failure.where.setdefault(index, f"{where} of `{cut.name}`")

    calls = Calls(call_one, partial(chain.call, index), batch, state.stop, failed)
    return calls.rows(pieces(stream, view, batch))


Once = Callable[[Callee, Piece, int], list[Any]]


def _first(once: Once) -> Callable[[Callee, Piece], list[Any]]:
    return lambda call, piece: once(call, piece, 1)


def once_or_again(
    chain: Chain, index: int, rule: Rule, once: Once, name: str
) -> Callable[[Callee, Piece], list[Any]]:
    """Return what does one piece, again and elsewhere as the node's rule says: each call is tried by itself.

    A call whose place has lost it moves on alone; a place that cannot be used at all is left by all calls that follow.
    """
    from random import random

    state, node = chain.state, chain.state.plan.nodes[index]
    elsewhere = Elsewhere(chain, index)

    def tried(call: Callee, piece: Piece) -> list[Any]:
        attempt = elsewhere.first
        while True:
            try:
                with elsewhere.at(attempt.place, call) as there:
                    rows = once(there, piece, attempt.number)
            except Exception as error:
                failure = failure_of(error)
                again = decide(rule, attempt, failure, random)
                if again is None or state.stop:
                    raise
                where = f"{piece} of `{name}`"
                state.again(index, attempt.number, backend_of(node, attempt.place), error, again.wait, where)
                if again.attempt.place != attempt.place and failure.permanent:
                    elsewhere.leave(attempt.place)
                attempt = again.attempt
                _wait(again.wait, state.stop)
            else:
                if rule.places > 1:
                    chain.places.setdefault(index, set()).add(attempt.place)
                return rows

    return tried


class Elsewhere:
    """The places that the calls of one node fail over to.

    Args:
        chain: Makes the operator ready there.
        index: The node.
    """

    def __init__(self, chain: Chain, index: int) -> None:
        self._chain = chain
        self._index = index
        self._idle: dict[int, list[Callee]] = {}
        #: The attempt with which a call begins: places that cannot be used count as tried.
        self.first = FIRST

    @contextmanager
    def at(self, place: int, call: Callee) -> Iterator[Callee]:
        """Give what calls the operator in a place, of which one thread uses one at a time; ``call`` is the first's."""
        if not place:
            yield call
            return
        idle = self._idle.setdefault(place, [])
        try:
            there = idle.pop()
        except IndexError:
            there = self._chain.call(self._index, place)
        try:
            yield there
        finally:
            idle.append(there)

    def leave(self, place: int) -> None:
        """Begin no further call in a place, nor in those before it."""
        if self.first.place <= place:
            self.first = Attempt(place + 2, place + 1)


def _wait(seconds: float, stop: list[Any]) -> None:
    """Wait in a call's own place among those in flight; a run that is being stopped waits no longer."""
    until = time.perf_counter() + seconds
    while (left := until - time.perf_counter()) > 0:
        if stop:
            raise Stopped
        time.sleep(min(left, _PATIENCE))


class Calls:
    """Calls of one operator, up to ``in_flight`` at a time, whose rows come out as one stream.

    Args:
        call: Does one piece: gets a free ``Callee`` and the piece, returns the rows.
        make: Makes another ``Callee``, of which one thread uses one at a time (S1.3).
        batch: How many at a time, and in which order.
        stop: Not empty when the run is being stopped.
        failed: Told which piece failed, before its error is raised.
    """

    def __init__(
        self,
        call: Callable[[Callee, Piece], list[Any]],
        make: Callable[[], Callee],
        batch: Batch,
        stop: list[Any],
        failed: Callable[[str], object],
    ) -> None:
        self._call = call
        self._make = make
        self._batch = batch
        self._stop = stop
        self._failed = failed
        self._idle: list[Callee] = []
        self._work: SimpleQueue[tuple[Piece, Future[list[Any]]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def rows(self, found: Iterator[Piece]) -> Iterator[Any]:
        """Yield the rows of every call."""
        if self._batch.in_flight == 1:
            for piece in found:
                yield from self._done(self._inline(piece), piece)
            return
        running: deque[tuple[Future[list[Any]], Piece]] = deque()
        try:
            for piece in found:
                running.append((self._submit(piece), piece))
                if len(running) >= self._batch.in_flight:
                    yield from self._next(running)
            while running:
                yield from self._next(running)
        finally:
            self._close(running)

    def _inline(self, piece: Piece) -> Future[list[Any]]:
        done: Future[list[Any]] = Future()
        self._do(piece, done, reraise=True)
        return done

    def _next(self, running: deque[tuple[Future[list[Any]], Piece]]) -> list[Any]:
        """Wait for the first call, or for any where the order does not matter."""
        futures = [running[0][0]] if self._batch.ordered else [f for f, _ in running]
        while not wait(futures, _PATIENCE, FIRST_COMPLETED).done:
            if self._stop:
                raise Stopped
        at = next(k for k, (future, _) in enumerate(running) if future.done())
        future, piece = running[at]
        del running[at]
        return self._done(future, piece)

    def _done(self, future: Future[list[Any]], piece: Piece) -> list[Any]:
        error = future.exception()
        if error is not None:
            self._failed(str(piece))
            raise error
        return future.result()

    def _submit(self, piece: Piece) -> Future[list[Any]]:
        future: Future[list[Any]] = Future()
        self._work.put((piece, future))
        if len(self._threads) < self._batch.in_flight:
            thread = threading.Thread(target=self._serve, name="petal-batch", daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def _serve(self) -> None:
        while (job := self._work.get()) is not None:
            piece, future = job
            if future.set_running_or_notify_cancel():
                self._do(piece, future)

    def _do(self, piece: Piece, future: Future[list[Any]], *, reraise: bool = False) -> None:
        try:
            call = self._idle.pop() if self._idle else self._make()
            try:
                rows = self._call(call, piece)
            finally:
                self._idle.append(call)
        except BaseException as error:  # SystemExit as well: a call that exits has failed
            if reraise and not isinstance(error, Exception | SystemExit):
                raise
            future.set_exception(error)
        else:
            future.set_result(rows)

    def _close(self, running: deque[tuple[Future[list[Any]], Piece]]) -> None:
        """Cancel what has not begun, and wait for what has: no call outlives its node, unless the run is stopped."""
        for future, _ in running:
            future.cancel()
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            while thread.is_alive() and not self._stop:
                thread.join(_PATIENCE)
