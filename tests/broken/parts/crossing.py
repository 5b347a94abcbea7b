"""Operators of which some cannot go to another process."""

from collections.abc import Callable

from petal import operator


@operator
def measures(*, unit: str = "m") -> Callable[[float], float]:
    """Return a function, which no annotation reads back."""
    return abs


@operator
def lengths(measures: Callable[[float], float]) -> list[float]:
    """Use it."""
    return [measures(1.0)]
