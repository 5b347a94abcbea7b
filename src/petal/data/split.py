"""Sort the items of one stream into several (S1.5)."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from petal.errors import DataError, DefinitionError

T = TypeVar("T")
P = TypeVar("P")


def split(items: Iterable[T], into: type[P], *, by: Callable[[T], str]) -> P:
    """Give several streams of one, for an operator that has an output port for each.

    In a run every port streams to its own consumers, with bounded memory: what a slow one has not taken yet waits as
    rows of a stream with several consumers do. Called outside of a run, what has not been asked for waits in memory.

    Args:
        items: The stream; it is read once, as far as somebody asks.
        into: A ``NamedTuple`` whose fields are the ports, each annotated ``Iterator[...]``.
        by: Called with an item, returns the name of its port.

    Returns:
        The ``NamedTuple``, each field an iterator.

    Raises:
        DefinitionError: ``into`` is no NamedTuple.
        DataError: While reading: ``by`` returned a name that is no port.

    Example:
        class Sides(NamedTuple):
            errors: Iterator[str]
            rest: Iterator[str]

        @operator
        def sides(lines: Iterable[str]) -> Sides:
            return split(lines, Sides, by=lambda line: "errors" if "ERROR" in line else "rest")
    """
    ports: tuple[str, ...] | None = getattr(into, "_fields", None)
    if not ports:
        raise DefinitionError(
            f"split was given {into!r}, whose fields would name the streams",
            hint="give a NamedTuple with one field for each stream: `errors: Iterator[str]`",
        )
    splitting = Splitting(iter(items), ports, by)
    return into(*[PortStream(splitting, port) for port in ports])


class Splitting:
    """One stream that is being sorted into several."""

    def __init__(self, items: Iterator[Any], ports: tuple[str, ...], by: Callable[[Any], str]) -> None:
        self._items = items
        self._by = by
        self._waiting: dict[str, deque[Any]] = {port: deque() for port in ports}
        self._lock = threading.Lock()

    def sorted(self) -> Iterator[tuple[str, Any]]:
        """Yield every item with the name of its port, in the order of the stream."""
        for port, waiting in self._waiting.items():
            while waiting:
                yield port, waiting.popleft()
        for item in self._items:
            yield self._port_of(item), item

    def next(self, port: str) -> Any:
        """Return the next item of one port; others that come before it wait for theirs."""
        with self._lock:
            mine = self._waiting[port]
            while not mine:
                item = next(self._items)
                self._waiting[self._port_of(item)].append(item)
            return mine.popleft()

    def _port_of(self, item: Any) -> str:
        port = self._by(item)
        if port not in self._waiting:
            raise DataError(
                f"`by` of split returned {port!r}, which is none of its streams: {', '.join(self._waiting)}",
                hint="return the name of a field of the NamedTuple",
            )
        return port


class PortStream:
    """One of the streams: an iterator that knows what it comes from."""

    def __init__(self, splitting: Splitting, port: str) -> None:
        self.splitting = splitting
        self._port = port

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self.splitting.next(self._port)


def by_port(streams: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every row of several streams with the name of its own: of those made by `split` as they come."""
    first = next(iter(streams.values()))
    if isinstance(first, PortStream) and all(
        isinstance(s, PortStream) and s.splitting is first.splitting for s in streams.values()
    ):
        yield from first.splitting.sorted()
        return
    for port, rows in streams.items():
        for row in rows:
            yield port, row
