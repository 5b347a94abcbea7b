from collections.abc import Iterable, Iterator

from petal import operator


@operator
def regex_filter(lines: Iterable[str], *, pattern: str) -> Iterator[str]:
    """Hide the library's operator of this name."""
    return (line for line in lines if pattern in line)
