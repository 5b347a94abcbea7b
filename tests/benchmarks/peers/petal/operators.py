"""A filter as a user writes it: a function of lines."""

import re
from collections.abc import Iterable, Iterator

from petal import operator


@operator(rowwise=True)
def errors(lines: Iterable[str]) -> Iterator[str]:
    """Keep the errors."""
    match = re.compile("^ERROR").match
    for line in lines:
        if match(line):
            yield line
