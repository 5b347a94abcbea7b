"""Groups of records become one record each."""

import re
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import polars as pl

from petal import Batches, Check, DataError, operator
from petal.library.names import did_you_mean, need_columns

_CALL = re.compile(r"\s*(\w+)\(\s*(.*?)\s*\)\s*", re.DOTALL)
#: Rows of partial results that are gathered before they are merged.
ROWS = 1 << 18
#: The first whole number that 64 bits cannot hold.
_TOO_LARGE = 1 << 63
#: The one group of an aggregation without ``group_by``.
_ALL = "(all)"

_Step = Callable[[pl.Expr], pl.Expr]


class _Function(NamedTuple):
    """How a function is worked out piece by piece, so that a stream needs no more memory than its groups.

    Attributes:
        part: From a group's values in one batch to what is kept of them.
        merge: From what was kept of a group in several batches to the same of all.
        result: From what was kept to the result.
    """

    part: _Step
    merge: _Step
    result: _Step = lambda kept: kept


def _of_all_values(result: _Step, part: _Step = pl.Expr.drop_nulls) -> _Function:
    return _Function(part, lambda kept: part(kept.explode().drop_nulls()), result)


def _count(values: pl.Expr) -> pl.Expr:
    return values.count().cast(pl.Int64)


def _mean_part(values: pl.Expr) -> pl.Expr:
    return pl.struct(values.cast(pl.Float64).sum().alias("sum"), _count(values).alias("count"))


def _mean_merge(kept: pl.Expr) -> pl.Expr:
    return pl.struct(kept.struct.field("sum").sum(), kept.struct.field("count").sum())


def _mean_result(kept: pl.Expr) -> pl.Expr:
    count = kept.struct.field("count")
    return pl.when(count > 0).then(kept.struct.field("sum") / count)


_FUNCTIONS: dict[str, _Function] = {
    "sum": _Function(pl.Expr.sum, pl.Expr.sum),
    "count": _Function(_count, pl.Expr.sum),
    "mean": _Function(_mean_part, _mean_merge, _mean_result),
    "min": _Function(pl.Expr.min, pl.Expr.min),
    "max": _Function(pl.Expr.max, pl.Expr.max),
    "first": _Function(pl.Expr.first, pl.Expr.first),
    "last": _Function(pl.Expr.last, pl.Expr.last),
    "n_unique": _of_all_values(
        lambda kept: kept.list.len().cast(pl.Int64),
        lambda values: values.drop_nulls().unique(maintain_order=True),
    ),
    "median": _of_all_values(lambda kept: kept.list.median()),
    "std": _of_all_values(lambda kept: kept.list.std()),
}
_NUMERIC = {"sum", "mean", "median", "std"}


class _Call(NamedTuple):
    """One aggregation: the result's name, the function and its column, "" for rows."""

    name: str
    function: str
    column: str


def _parse(name: str, text: str) -> _Call:
    found = _CALL.fullmatch(text)
    if found is None:
        raise ValueError(f"{name}: {text!r} is not FUNCTION(COLUMN), such as 'sum(amount)'")
    function, column = found.groups()
    if function not in _FUNCTIONS:
        guess = did_you_mean(function, _FUNCTIONS)
        raise ValueError(
            f"{name}: there is no function {function!r}; {guess or 'use ' + ', '.join(_FUNCTIONS)}"
        )
    if not column and function != "count":
        raise ValueError(f"{name}: {function}() needs a column; only count() does without")
    return _Call(name, function, column)


def _check_calls(aggregations: dict[str, str]) -> None:
    if not aggregations:
        raise ValueError("name at least one result, such as {total: sum(amount)}")
    wrong = []
    for name, text in aggregations.items():
        try:
            _parse(name, text)
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise ValueError("; ".join(wrong))


def _looked_at(params: dict[str, Any], _wanted: list[str] | None) -> list[str]:
    calls = [_parse(name, text) for name, text in params["aggregations"].items()]
    return [*params["group_by"], *[call.column for call in calls if call.column]]


@operator(rowwise=False, columns=_looked_at)
def aggregate(
    records: Batches[dict[str, Any]],
    *,
    group_by: list[str],
    aggregations: Annotated[dict[str, str], Check(_check_calls)],
) -> Batches[dict[str, Any]]:
    """Make one record of each group of records.

    The functions are `sum`, `count`, `mean`, `min`, `max`, `first`, `last`, `n_unique`, `median` and `std`;
    they leave null out, except `first` and `last`, and `count()`, which counts rows. The result is sorted
    by the groups, null first. A sum of whole numbers is exact, or an error where 64 bits cannot hold it.
    Memory holds the groups, and for `n_unique`, `median` and `std` their values.

    Args:
        records: The records.
        group_by: The columns whose values make a group; an empty list makes one group of everything.
        aggregations: The name of each result with a function of a column: `{total: sum(amount), rows:
            count()}`.

    Raises:
        DataError: A column is not there, or is not of numbers where it must be; or a sum is too large.

    Example:
        nodes:
          - { id: people, type: CsvReader, params: { file_path: people.csv } }
          - id: cities
            type: Aggregate
            params: { group_by: [city], aggregations: { people: count(), oldest: max(age) } }
          - { id: writer, type: CsvWriter, params: { file_path: cities.csv } }
        edges:
          - [people, cities]
          - [cities, writer]
    """
    calls = [_parse(name, text) for name, text in aggregations.items()]
    for call in calls:
        if call.name in group_by:
            raise DataError(
                f"{call.name!r} is both a group and a result",
                hint="give the result another name in `aggregations`",
            )
    keys = group_by or [_ALL]
    parts: list[pl.DataFrame] = []
    merged = 0
    for frame in records:
        parts.append(_part(frame, group_by, keys, calls))
        if sum(map(len, parts)) > max(ROWS, 2 * merged):
            parts = [_merge(parts, keys, calls)]
            merged = len(parts[0])
    if parts:
        groups = _merge(parts, keys, calls).sort(keys, maintain_order=True)
        results = [_FUNCTIONS[c.function].result(pl.col(c.name)).alias(c.name) for c in calls]
        result: Any = _in_64_bits(groups.select(*group_by, *results), calls)
        yield result


def _part(frame: pl.DataFrame, group_by: list[str], keys: list[str], calls: list[_Call]) -> pl.DataFrame:
    need_columns([*group_by, *[c.column for c in calls if c.column]], frame.columns)
    wrong = [
        f"{c.function}({c.column}) needs numbers, but column {c.column!r} holds {frame.schema[c.column]}"
        for c in calls
        if c.function in _NUMERIC and c.column and not _is_numeric(frame.schema[c.column])
    ]
    if wrong:
        raise DataError("; ".join(wrong), hint="set `types` on the reader, or choose another column")
    if not group_by:
        frame = frame.with_columns(pl.lit(True).alias(_ALL))
    exprs = [_part_of(frame, call).alias(call.name) for call in calls]
    return frame.group_by(keys, maintain_order=True).agg(exprs)


def _part_of(frame: pl.DataFrame, call: _Call) -> pl.Expr:
    if not call.column:
        return pl.len().cast(pl.Int64)
    values = pl.col(call.column)
    if call.function != "sum" or not _is_whole(frame.schema[call.column]):
        return _FUNCTIONS[call.function].part(values)
    if _sums_fit(frame[call.column]):  # twice as fast
        return values.cast(pl.Int64).sum().cast(pl.Int128)
    return values.cast(pl.Int128).sum()


def _is_whole(kind: pl.DataType) -> bool:
    return kind.is_integer() or kind == pl.Boolean


def _sums_fit(values: pl.Series) -> bool:
    """Whether 64 bits hold the sum of any of the values."""
    low, high = values.cast(pl.Int128).min(), values.cast(pl.Int128).max()
    return low is None or max(abs(int(low)), abs(int(high))) * len(values) < _TOO_LARGE  # type: ignore[arg-type]


def _in_64_bits(result: pl.DataFrame, calls: list[_Call]) -> pl.DataFrame:
    """Give the exact sums, which were made in 128 bits, the type of whole numbers."""
    sums = [c for c in calls if c.function == "sum" and result.schema[c.name] == pl.Int128]
    for call in sums:
        large = result[call.name].filter(~result[call.name].is_between(-_TOO_LARGE, _TOO_LARGE - 1))
        if len(large):
            raise DataError(
                f"{call.name}: sum({call.column}) is {large[0]}, which a 64-bit integer cannot hold",
                hint=f"read the column as `float` (`types: {{ {call.column}: float }}`), which rounds",
            )
    return result.with_columns(pl.col(call.name).cast(pl.Int64) for call in sums)


def _is_numeric(kind: pl.DataType) -> bool:
    return kind.is_numeric() or kind in (pl.Boolean, pl.Null) or kind == pl.Duration


def _merge(parts: list[pl.DataFrame], keys: list[str], calls: list[_Call]) -> pl.DataFrame:
    if len(parts) == 1:
        return parts[0]
    together = pl.concat(parts, how="vertical_relaxed")
    exprs = [_FUNCTIONS[c.function].merge(pl.col(c.name)).alias(c.name) for c in calls]
    return together.group_by(keys, maintain_order=True).agg(exprs)
