"""Operators that keep the contract, and one that breaks it for each check."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import polars as pl

from petal import WRITES, Batches, Context, open_output, operator


@operator(rowwise=True)
def shouted(lines: Iterable[str], *, mark: str = "!") -> Iterator[str]:
    """Shout each line."""
    for line in lines:
        yield line.upper() + mark


@operator(rowwise=True)
def doubled(values: Batches[int]) -> Batches[int]:
    """Double each number, a batch at a time."""
    for batch in values:
        yield batch * 2


@operator
def total(values: list[int], context: Context) -> int:
    """Add numbers up."""
    assert not context.cancelled
    return sum(values)


@operator
async def numbered(lines: Iterable[str]) -> AsyncIterator[str]:
    """Number lines."""
    for i, line in enumerate(lines):
        yield f"{i} {line}"


@operator
def joined(*texts: str) -> str:
    """Join texts."""
    return "".join(texts)


@operator
def counted(frame: pl.DataFrame) -> pl.DataFrame:
    """Count the rows."""
    return frame.select(pl.len().alias("rows"))


@operator
class Prefixed:
    """Put a text before each line."""

    def __init__(self, *, prefix: str) -> None:
        self.prefix = prefix

    def process(self, lines: Iterable[str]) -> list[str]:
        return [self.prefix + line for line in lines]


@operator
def written(lines: Iterable[str], *, path: Annotated[Path, WRITES]) -> None:
    """Write lines to a file."""
    with open_output(path) as file:
        for line in lines:
            file.write(f"{line}\n".encode())


@operator
def refused(value: int) -> int:
    """Take no negative number."""
    if value < 0:
        raise ValueError(f"{value} is negative")
    return value


# -- broken ones -----------------------------------------------------------------------------------------------------


@operator
def undocumented(value: int) -> int:
    return value


@operator
def promises(value: int) -> int:
    """Say one thing and give another."""
    return str(value)  # type: ignore[return-value]


_seen: list[int] = []


@operator
def remembers(value: int) -> int:
    """Count its calls."""
    _seen.append(value)
    return len(_seen)


@operator
def throws_dice(value: int) -> float:
    """Give any number."""
    return random.random()


@operator
def sorts_in_place(values: list[int]) -> list[int]:
    """Sort a list that others share."""
    values.sort()
    return values


@operator
def replaces_in_place(values: list[str]) -> list[str]:
    """Put an equal list's own entries into a list that others share."""
    values[:] = ["".join([*v]) for v in values]
    return [*values]


@operator
def changes_records(rows: Iterable[dict[str, int]]) -> Iterator[dict[str, int]]:
    """Change records that others share."""
    for row in rows:
        row["n"] += 1
        yield row


@operator
def needs_a_row(values: Iterable[int]) -> int:
    """Take the first."""
    return next(iter(values))


@operator(rowwise=True)
def not_rowwise(lines: Iterable[str]) -> Iterator[str]:
    """Look at the line before, though it is declared rowwise."""
    before = ""
    for line in lines:
        yield before + line
        before = line


@operator
def does_not_stop(lines: Iterable[str]) -> Iterator[str]:
    """Go on when it is closed."""
    for line in lines:
        try:
            yield line
        except GeneratorExit:
            yield line


@operator
def leaves_open(lines: Iterable[str]) -> Iterator[str]:
    """Open a file and close it only where all rows are asked for."""
    file = open(__file__, encoding="utf-8")  # noqa: SIM115
    for line in lines:
        yield line + file.readline()
    file.close()
