"""Operators that the broken pipelines use."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

import msgspec

from petal import Check, operator


def _even(value: int) -> None:
    if value % 2:
        raise ValueError("it must be even")


@operator
def numbers(*, count: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3) -> Iterator[int]:
    """Count from zero."""
    yield from range(count)


@operator
def words(lines: Iterable[str]) -> list[str]:
    """Split lines."""
    return [w for line in lines for w in line.split()]


@operator
def count_rows(rows: Iterable[str]) -> int:
    """Count."""
    return sum(1 for _ in rows)


@operator
def shout(text: str) -> str:
    """Take one text."""
    return text.upper()


@operator
def double(number: int, *, step: Annotated[int, Check(_even)] = 2, mode: Literal["fast", "exact"] = "fast") -> int:
    """Take one number."""
    return number * step


@operator
def add(one: int, other: int) -> int:
    """Take two numbers."""
    return one + other
