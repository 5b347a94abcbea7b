"""An operator of one's own, which uses a function of another module."""

from collections.abc import Iterable, Iterator

from naming import plain_name

from petal import operator

FOUND = "No matching distribution found for "


@operator
def missing(lines: Iterable[str]) -> Iterator[str]:
    """Give the packages that pip did not find."""
    for line in lines:
        if FOUND in line:
            yield plain_name(line.partition(FOUND)[2])
