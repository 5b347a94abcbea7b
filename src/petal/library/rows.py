"""Records in, the same records out: in another order, or fewer of them."""

from random import Random
from typing import Annotated, Any

import polars as pl
from msgspec import Meta

from petal import Batches, DataError, operator
from petal.library.hints import with_wanted
from petal.library.names import need_columns

#: Records that are gathered, at least, before most of them are dropped from a sample.
ROWS = 65_536
#: The column for the number that each record draws.
_CHANCE = "(chance)"


@operator(rowwise=False, columns=lambda params, wanted: with_wanted(params["by"], wanted))
def sort(records: pl.DataFrame, *, by: list[str], descending: bool = False) -> pl.DataFrame:
    """Put records in order; all of them are held in memory.

    Records that are equal keep their order; null comes last.

    Args:
        records: The records.
        by: The columns to sort by, the first one counting most.
        descending: Whether the largest comes first.

    Raises:
        DataError: A column is not there.

    Example:
        nodes:
          - { id: people, type: CsvReader, params: { file_path: people.csv } }
          - { id: oldest, type: Sort, params: { by: [age], descending: true } }
          - { id: writer, type: CsvWriter, params: { file_path: sorted.csv } }
        edges:
          - [people, oldest]
          - [oldest, writer]
    """
    need_columns(by, records.columns)
    return records.sort(by, descending=descending, nulls_last=True, maintain_order=True)


def _compared(params: dict[str, Any], wanted: list[str] | None) -> list[str] | None:
    return None if params["by"] is None else with_wanted(params["by"], wanted)


@operator(rowwise=False, columns=_compared)
def deduplicate(records: Batches[dict[str, Any]], *, by: list[str] | None = None) -> Batches[dict[str, Any]]:
    """Keep the first of records that are alike.

    Memory holds the values that were seen, each once.

    Args:
        records: The records.
        by: The columns that count; all when left out.

    Raises:
        DataError: A column is not there.

    Example:
        nodes:
          - { id: people, type: CsvReader, params: { file_path: people.csv } }
          - { id: cities, type: Deduplicate, params: { by: [city] } }
          - { id: writer, type: CsvWriter, params: { file_path: first.csv } }
        edges:
          - [people, cities]
          - [cities, writer]
    """
    seen: list[pl.DataFrame] = []
    for frame in records:
        names = frame.columns if by is None else by
        need_columns(names, frame.columns)
        new = frame.unique(names, keep="first", maintain_order=True)
        for keys in seen:
            new = new.join(keys, on=names, how="anti", nulls_equal=True, maintain_order="left")
        if len(new) or not seen:
            seen = _gathered([*seen, new.select(names)])
            yield new


@operator(rowwise=False, columns=lambda _params, wanted: wanted)
def limit(records: Batches[dict[str, Any]], *, count: Annotated[int, Meta(ge=0)]) -> Batches[dict[str, Any]]:
    """Keep the first records and read no further.

    Args:
        records: The records.
        count: How many to keep.

    Example:
        nodes:
          - { id: events, type: JsonFileReader, params: { file_path: events.jsonl } }
          - { id: few, type: Limit, params: { count: 2 } }
          - { id: writer, type: JsonFileWriter, params: { file_path: few.jsonl } }
        edges:
          - [events, few]
          - [few, writer]
    """
    left = count
    for frame in records:
        yield frame.head(left)
        left -= len(frame)
        if left <= 0:
            return


@operator(rowwise=False, columns=lambda _params, wanted: wanted)
def sample(
    records: Batches[dict[str, Any]],
    *,
    fraction: Annotated[float, Meta(ge=0, le=1)] | None = None,
    count: Annotated[int, Meta(ge=0)] | None = None,
    seed: int = 0,
) -> Batches[dict[str, Any]]:
    """Keep records by chance, in their order.

    Give `fraction` or `count`. With `fraction` each record is kept with that probability, and nothing is
    held in memory; with `count` just so many are kept, each set of them being as likely (or all, where
    there are fewer), and memory holds them. The same seed and records give the same sample.

    Args:
        records: The records.
        fraction: The probability, from 0 to 1.
        count: How many to keep.
        seed: Another number gives another sample.

    Raises:
        DataError: Both `fraction` and `count` are given, or neither.

    Example:
        nodes:
          - { id: people, type: CsvReader, params: { file_path: people.csv } }
          - { id: some, type: Sample, params: { count: 2 } }
          - { id: writer, type: CsvWriter, params: { file_path: some.csv } }
        edges:
          - [people, some]
          - [some, writer]
    """
    if (fraction is None) == (count is None):
        raise DataError(
            f"Sample takes one of `fraction` and `count`, not {'both' if count is not None else 'neither'}",
            hint="write for instance `fraction: 0.01`",
        )
    chance = Random(seed).random
    kept: list[pl.DataFrame] = []
    for frame in records:
        drawn = pl.Series(_CHANCE, [chance() for _ in range(len(frame))], dtype=pl.Float64)
        if fraction is not None:
            yield frame.filter(drawn < fraction)
        elif count is not None:
            kept = [*kept, frame.with_columns(drawn)]
            if sum(map(len, kept)) > max(2 * count, ROWS):
                kept = [_smallest(kept, count)]
    if count is not None and kept:
        chosen: Any = _smallest(kept, count).drop(_CHANCE)
        yield chosen


def _smallest(frames: list[pl.DataFrame], count: int) -> pl.DataFrame:
    """Keep the records with the smallest numbers drawn, in the order in which they came."""
    together = pl.concat(frames, how="vertical_relaxed")
    if len(together) <= count:
        return together
    return together[together[_CHANCE].arg_sort()[:count].sort()]


def _gathered(frames: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """Join the last frames while they are of like length, so that few remain to look in."""
    while len(frames) > 1 and len(frames[-2]) <= 2 * len(frames[-1]):
        last = frames.pop()
        frames[-1] = pl.concat([frames[-1], last], how="vertical_relaxed")
    return frames
