"""An operator of one's own: a plain function with a decorator."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from petal import operator


@operator(rowwise=True)
def timestamp_appender(lines: Iterable[str], *, now: datetime | None = None) -> Iterator[str]:
    """Put the time before each line.

    Args:
        lines: The lines.
        now: The time to write; the clock's when left out.
    """
    for line in lines:
        yield f"{(now or datetime.now()).isoformat()} - {line}"
