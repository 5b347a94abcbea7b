"""A stream through functions of items alone: read, filter, write, all of them the user's."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

from petal import READS, WRITES, Context, open_output, operator


@operator
def lines(*, source: Annotated[Path, READS] = Path("log.txt")) -> Iterator[str]:
    """Read a log."""
    with source.open(encoding="utf-8") as file:
        yield from file


@operator(rowwise=True)
def errors(lines: Iterable[str]) -> Iterator[str]:
    """Keep the errors."""
    match = re.compile("^ERROR").match
    for line in lines:
        if match(line):
            yield line


@operator
def write(
    errors: Iterable[str], *, target: Annotated[Path, WRITES] = Path("errors.txt"), context: Context
) -> None:
    """Write the errors."""
    with open_output(target, context) as file:
        file.writelines(line.encode() for line in errors)
