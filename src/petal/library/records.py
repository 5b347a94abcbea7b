"""Records in, records out: choose fields, rename them, look others up."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import polars as pl

from petal import Batches, Check, DataError, operator
from petal.library.hints import with_wanted
from petal.library.names import need_columns

#: Rows of the left side that are joined at a time, at least.
ROWS = 16_384


def _check_names(names: list[str] | dict[str, str] | str) -> None:
    if not names:
        raise ValueError("name at least one")
    if isinstance(names, list) and (twice := {n for n in names if names.count(n) > 1}):
        raise ValueError(f"{min(twice)!r} is named twice")


@operator(rowwise=True, columns=lambda params, _wanted: params["keys"])
def key_extractor(
    records: Batches[dict[str, Any]], *, keys: Annotated[list[str], Check(_check_names)]
) -> Batches[dict[str, Any]]:
    """Take fields out of records, nested ones too.

    Each output column is named by its key as it is written here. A key that a record does not have gives
    null.

    Args:
        records: The records.
        keys: The fields, in the order of the output; `user.name` is the field `name` of the object `user`.

    Example:
        nodes:
          - { id: events, type: JsonFileReader, params: { file_path: events.jsonl } }
          - { id: fields, type: KeyExtractor, params: { keys: [timestamp, level, user.name] } }
          - { id: writer, type: CsvWriter, params: { file_path: summary.csv } }
        edges:
          - [events, fields]
          - [fields, writer]
    """
    for frame in records:
        yield frame.select([_at(frame.schema, key) for key in keys])


def _selected(params: dict[str, Any], _wanted: list[str] | None) -> list[str]:
    columns = params["columns"]
    return columns if isinstance(columns, list) else list(columns.values())


@operator(rowwise=True, columns=_selected)
def select(
    records: Batches[dict[str, Any]], *, columns: Annotated[list[str] | dict[str, str], Check(_check_names)]
) -> Batches[dict[str, Any]]:
    """Keep some columns, and give them new names.

    Args:
        records: The records.
        columns: The columns to keep, in the order of the output: a list, or each new name with the old one
            (`{city: town}` makes `city` of `town`).

    Raises:
        DataError: A column is not there.

    Example:
        nodes:
          - { id: people, type: CsvReader, params: { file_path: people.csv } }
          - { id: some, type: Select, params: { columns: { person: name, town: city } } }
          - { id: writer, type: CsvWriter, params: { file_path: towns.csv } }
        edges:
          - [people, some]
          - [some, writer]
    """
    names = {name: name for name in columns} if isinstance(columns, list) else columns
    for frame in records:
        need_columns(names.values(), frame.columns)
        yield frame.select(pl.col(old).alias(new) for new, old in names.items())


def _check_renames(columns: dict[str, str]) -> None:
    if not columns:
        raise ValueError("name at least one column and its new name, such as {town: city}")
    new = list(columns.values())
    if twice := {n for n in new if new.count(n) > 1}:
        raise ValueError(f"two columns would be named {min(twice)!r}")


@operator(rowwise=True)  # needs all columns: any of them may have the new name already
def rename(
    records: Batches[dict[str, Any]], *, columns: Annotated[dict[str, str], Check(_check_renames)]
) -> Batches[dict[str, Any]]:
    """Give some columns new names, and keep the others.

    Args:
        records: The records.
        columns: Each old name with the new one (`{town: city}` makes `city` of `town`); two may be swapped.

    Raises:
        DataError: A column is not there, or there is another of the new name.

    Example:
        nodes:
          - { id: people, type: CsvReader, params: { file_path: people.csv } }
          - { id: renamed, type: Rename, params: { columns: { city: town } } }
          - { id: writer, type: CsvWriter, params: { file_path: towns.csv } }
        edges:
          - [people, renamed]
          - [renamed, writer]
    """
    for frame in records:
        need_columns(columns, frame.columns)
        for new in columns.values():
            if new in frame.columns and new not in columns:
                raise DataError(
                    f"there is a column {new!r} already",
                    hint="rename that one too, or leave it out with Select",
                )
        renamed: Any = frame.select(pl.col(old).alias(columns.get(old, old)) for old in frame.columns)
        yield renamed


def _of_the_left(params: dict[str, Any], wanted: list[str] | None) -> list[str] | None:
    if wanted and any(name.endswith("_right") for name in wanted):
        return None  # which names get this ending depends on all that are there
    on = params["on"]
    return with_wanted([on] if isinstance(on, str) else on, wanted)


@operator(rowwise=False, columns=_of_the_left)
def join(
    left: Batches[dict[str, Any]],
    right: pl.DataFrame,
    *,
    on: Annotated[str | list[str], Check(_check_names)],
    how: Literal["inner", "left", "semi", "anti"] = "inner",
) -> Batches[dict[str, Any]]:
    """Look up each record of one input in another.

    The left input streams and its order is kept; the right one is held in memory. A column that both have,
    other than `on`, comes from the right as `NAME_right`. Null is equal to nothing.

    Args:
        left: The records to look up.
        right: The records in which they are looked up.
        on: The column or columns that must be equal.
        how: `inner` keeps the records that are found, with the columns of both; `left` keeps all; `semi`
            and `anti` keep those that are found, or are not, with the left columns alone.

    Raises:
        DataError: A column is not there, or its types differ.

    Example:
        nodes:
          - { id: events, type: JsonFileReader, params: { file_path: events.jsonl } }
          - { id: people, type: CsvReader, params: { file_path: people.csv } }
          - { id: both, type: Join, params: { on: user_id, how: left } }
          - { id: writer, type: JsonFileWriter, params: { file_path: joined.jsonl } }
        edges:
          - [events, both.left]
          - [people, both.right]
          - [both, writer]
    """
    keys = [on] if isinstance(on, str) else on
    need_columns(keys, right.columns)
    for frame in _of_size(left, max(ROWS, len(right))):
        need_columns(keys, frame.columns)
        try:
            joined: Any = frame.join(right, on=keys, how=how, maintain_order="left")
        except pl.exceptions.SchemaError as error:
            types = "; ".join(f"{k}: {frame.schema[k]} and {right.schema[k]}" for k in keys)
            raise DataError(
                f"the two inputs cannot be compared: {types}",
                hint="set `types` on a reader so that they agree",
            ) from error
        yield joined


def _at(schema: pl.Schema, key: str) -> pl.Expr:
    """Return the expression for a dotted key; a column of that very name wins."""
    if key in schema:
        return pl.col(key)
    first, *rest = key.split(".")
    kind: Any = schema.get(first)
    found = pl.col(first)
    for name in rest:
        inner = {f.name: f.dtype for f in kind.fields} if isinstance(kind, pl.Struct) else {}
        kind = inner.get(name)
        if kind is None:
            break
        found = found.struct.field(name)
    if kind is None:
        return pl.repeat(None, pl.len(), dtype=pl.Null).alias(key)
    return found.alias(key)


def _of_size(frames: Batches[dict[str, Any]], rows: int) -> Iterator[pl.DataFrame]:
    """Put frames together until they have so many rows, so that the right side is hashed less often."""
    waiting: list[pl.DataFrame] = []
    count = 0
    for frame in frames:
        waiting.append(frame)
        count += len(frame)
        if count >= rows:
            yield pl.concat(waiting, how="diagonal_relaxed")
            waiting, count = [], 0
    if waiting:
        yield pl.concat(waiting, how="diagonal_relaxed")
