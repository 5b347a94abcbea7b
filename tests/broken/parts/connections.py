"""Operators whose rows are objects that only memory can hold."""

from collections.abc import Iterable, Iterator

from petal import operator


class Connection:
    """Stand for what cannot be written down."""


@operator
def connections(*, count: int) -> Iterator[Connection]:
    """Open some."""
    for _ in range(count):
        yield Connection()


@operator
def used(rows: Iterable[Connection]) -> int:
    """Count them."""
    return sum(1 for _ in rows)


@operator
def unused(rows: Iterable[Connection], used: int) -> int:
    """Count the others."""
    return sum(1 for _ in rows) - used
