"""Every producer feeds every consumer, through two nodes that run: the rows that arrive are those that were given (S3.1)."""

from __future__ import annotations

import collections
import datetime as dt
import math
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, NamedTuple, TypedDict

import duckdb
import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from petal import Batches, Pipeline, node

ROWS: list[Any] = []
GOT: list[Any] = []


def pairs(givers: dict[str, tuple[Any, Any]], takers: dict[str, tuple[Any, Any]]) -> dict[str, Pipeline]:
    """Make a pipeline of two nodes of every pair: name -> (annotation, what gives or takes)."""
    return {
        f"{g} -> {t}": Pipeline.of(
            node(giver(*how), id="give"), node(taker(*wants), id="take", inputs={"rows": "give"})
        )
        for g, how in givers.items()
        for t, wants in takers.items()
    }


def giver(annotation: Any, make: Callable[[list[Any]], Any]) -> Any:
    if annotation in (AsyncIterator, AsyncGenerator) or getattr(annotation, "__origin__", None) in (
        AsyncIterator,
        AsyncGenerator,
    ):

        async def give():  # type: ignore[no-untyped-def]
            for row in make(ROWS):
                yield row

    elif annotation is None:

        def give():  # type: ignore[no-untyped-def]
            yield from make(ROWS)

    else:

        def give():  # type: ignore[no-untyped-def]
            return make(ROWS)

    if annotation is not None:
        give.__annotations__["return"] = annotation
    return give


def taker(annotation: Any, read: Callable[[Any], list[Any]]) -> Any:
    if getattr(annotation, "__origin__", None) in (AsyncIterator, AsyncIterable):

        async def take(rows) -> None:  # type: ignore[no-untyped-def]
            GOT[:] = read([row async for row in rows])

    else:

        def take(rows) -> None:  # type: ignore[no-untyped-def]
            GOT[:] = read(rows)

    if annotation is not None:
        take.__annotations__["rows"] = annotation
    return take


def run(pipelines: dict[str, Pipeline], rows: list[Any], expect: Callable[[str], Any]) -> None:
    for name, pipeline in pipelines.items():
        ROWS[:], GOT[:] = rows, ["nothing"]
        result = pipeline.run()
        assert result.status == "succeeded", f"{name}: {[n.error for n in result.nodes.values()]}"
        got, wanted = GOT[:], expect(name)
        assert alike(got, wanted, "pandas" in name), f"{name}: {got} is not {wanted}"


def alike(a: Any, b: Any, pandas: bool) -> bool:
    """Whether two values are the same; NaN is itself, and for pandas the same as no value."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(alike(x, y, pandas) for x, y in zip(a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(alike(a[k], b[k], pandas) for k in a)
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
        return True
    if pandas and None in (a, b):
        other = b if a is None else a
        return other is None or (isinstance(other, float) and math.isnan(other))
    return bool(a == b) and (type(a) is type(b) or pandas or isinstance(a, dt.datetime))


def chunks(make: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Iterator[Any]]:
    return lambda rows: (make(rows[i : i + 3]) for i in range(0, len(rows), 3))


# -- records ------------------------------------------------------------------------------------------------------


class Inner(msgspec.Struct, frozen=True):
    p: int | None
    q: str | None


class AsStruct(msgspec.Struct, frozen=True):
    n: int | None
    f: float | None
    t: str | None
    b: bool | None
    y: bytes | None
    d: dt.date | None
    at: dt.datetime | None
    z: dt.datetime | None
    m: Decimal | None
    xs: list[float] | None
    inner: Inner | None


AsTyped = TypedDict("AsTyped", AsStruct.__annotations__)  # type: ignore[misc]
AsTyped.__annotations__ = {f.name: f.type for f in msgspec.structs.fields(AsStruct)}
AsTuple = NamedTuple("AsTuple", [(f.name, f.type) for f in msgspec.structs.fields(AsStruct)])  # type: ignore[misc]


@dataclass(frozen=True)
class InnerData:
    p: int | None
    q: str | None


@dataclass
class AsDataclass:
    n: int | None
    f: float | None
    t: str | None
    b: bool | None
    y: bytes | None
    d: dt.date | None
    at: dt.datetime | None
    z: dt.datetime | None
    m: Decimal | None
    xs: list[float] | None
    inner: InnerData | None


SCHEMA: Any = {
    "n": pl.Int64,
    "f": pl.Float64,
    "t": pl.String,
    "b": pl.Boolean,
    "y": pl.Binary,
    "d": pl.Date,
    "at": pl.Datetime("us"),
    "z": pl.Datetime("us", "UTC"),
    "m": pl.Decimal(38, 4),
    "xs": pl.List(pl.Float64),
    "inner": pl.Struct({"p": pl.Int64, "q": pl.String}),
}


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def data(row: dict[str, Any]) -> AsDataclass:
    inner = row["inner"]
    return AsDataclass(**{**row, "inner": None if inner is None else InnerData(**inner)})


def struct(row: dict[str, Any]) -> AsStruct:
    inner = row["inner"]
    return AsStruct(**{**row, "inner": None if inner is None else Inner(**inner)})


class OnlyArrow:
    """What any library may give: an object that can be read as an Arrow stream, and nothing else."""

    def __init__(self, held: Any) -> None:
        self._held = held

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        return self._held.__arrow_c_stream__(requested_schema)


class OnlyArrowArray:
    def __init__(self, held: Any) -> None:
        self._held = held

    def __arrow_c_array__(self, requested_schema: object = None) -> Any:
        return self._held.__arrow_c_array__(requested_schema)


def record_batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    table = frame(rows).to_arrow().combine_chunks()
    return (table.to_batches() or [pa.RecordBatch.from_pylist([], schema=table.schema)])[0]


R = dict[str, Any]
RECORD_GIVERS: dict[str, tuple[Any, Any]] = {
    "Iterator": (Iterator[R], iter),
    "Iterable": (Iterable[R], list),
    "Generator": (Generator[R, None, None], lambda rows: (r for r in rows)),
    "AsyncIterator": (AsyncIterator[R], list),
    "AsyncGenerator": (AsyncGenerator[R, None], list),
    "unannotated": (None, list),
    "list": (list[R], list),
    "tuple": (tuple[R, ...], tuple),
    "Sequence": (Sequence[R], tuple),
    "Collection": (Collection[R], list),
    "deque": (collections.deque[R], collections.deque),
    "Batches": (Batches[R], chunks(frame)),
    "Batches of Arrow": (Batches[R], chunks(record_batch)),
    "Batches of lists": (Batches[R], chunks(list)),
    "DataFrame": (pl.DataFrame, frame),
    "LazyFrame": (pl.LazyFrame, lambda rows: frame(rows).lazy()),
    "Table": (pa.Table, lambda rows: frame(rows).to_arrow()),
    "RecordBatch": (pa.RecordBatch, record_batch),
    "RecordBatchReader": (pa.RecordBatchReader, lambda rows: frame(rows).to_arrow().to_reader()),
    "pandas": (pd.DataFrame, lambda rows: frame(rows).to_pandas(use_pyarrow_extension_array=True)),
    "any Arrow stream": (OnlyArrow, lambda rows: OnlyArrow(frame(rows))),
    "any Arrow array": (OnlyArrowArray, lambda rows: OnlyArrowArray(record_batch(rows))),
    "DuckDB": (duckdb.DuckDBPyRelation, lambda rows: duckdb.from_arrow(frame(rows).to_arrow())),
    "Structs": (Iterator[AsStruct], lambda rows: map(struct, rows)),
    "dataclasses": (list[AsDataclass], lambda rows: [*map(data, rows)]),
    "NamedTuples": (Iterator[AsTuple], lambda rows: (AsTuple(**r) for r in rows)),
    "TypedDicts": (Iterator[AsTyped], iter),
    "Batches of TypedDicts": (Batches[AsTyped], chunks(frame)),
    "Batches of Structs": (Batches[AsStruct], chunks(frame)),
}


def dicts(rows: Iterable[Any]) -> list[Any]:
    """Read records of any class as dicts."""
    return [
        msgspec.to_builtins(r, builtin_types=_KEPT) if isinstance(r, msgspec.Struct) else as_dict(r)
        for r in rows
    ]


_KEPT = (bytes, dt.date, dt.datetime, Decimal)


def as_dict(row: Any) -> dict[str, Any]:
    if isinstance(row, AsDataclass):
        return asdict(row)
    found = dict(row._asdict()) if isinstance(row, tuple) else dict(row)
    if isinstance(found["inner"], Inner | InnerData):
        found["inner"] = msgspec.to_builtins(found["inner"])
    return found


def are(kind: type) -> Callable[[Any], list[Any]]:
    def read(rows: Any) -> list[Any]:
        rows = list(rows)
        assert {type(r) for r in rows} <= {kind}
        return dicts(rows)

    return read


def is_a(kind: type) -> Callable[[Any], list[Any]]:
    def read(rows: Any) -> list[Any]:
        assert isinstance(rows, kind), type(rows)
        return dicts(rows)

    return read


def of_frames(batches: Iterable[pl.DataFrame]) -> list[Any]:
    return [r for b in batches for r in b.to_dicts()]


def of_pandas(table: pd.DataFrame) -> list[Any]:
    assert isinstance(table, pd.DataFrame)
    return [{str(k): from_pandas(k, v) for k, v in r.items()} for r in table.to_dict("records")]


def from_pandas(name: Any, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, np.generic):
        value = value.item()
    if value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, pd.Timestamp):
        value = value.to_pydatetime()
    if name == "d" and isinstance(value, dt.datetime):
        return value.date()
    return value


def of_unknown(rows: Any) -> list[Any]:
    """Read what an input without annotation gets: a stream as a list, a value as it is."""
    if isinstance(rows, OnlyArrow | OnlyArrowArray):
        return pl.Series(rows).struct.unnest().to_dicts()
    if isinstance(rows, duckdb.DuckDBPyRelation):
        return pl.DataFrame(rows).to_dicts()
    if isinstance(rows, pl.LazyFrame):
        rows = rows.collect()
    if isinstance(rows, pd.DataFrame):
        return of_pandas(rows)
    if hasattr(rows, "to_pylist"):
        return rows.to_pylist()
    return rows.to_dicts() if isinstance(rows, pl.DataFrame) else dicts(rows)


RECORD_TAKERS: dict[str, tuple[Any, Any]] = {
    "Iterable": (Iterable[R], are(dict)),
    "Iterator": (Iterator[R], are(dict)),
    "AsyncIterator": (AsyncIterator[R], are(dict)),
    "AsyncIterable": (AsyncIterable[R], are(dict)),
    "unannotated": (None, of_unknown),
    "list": (list[R], is_a(list)),
    "tuple": (tuple[R, ...], is_a(tuple)),
    "Sequence": (Sequence[R], is_a(Sequence)),
    "Collection": (Collection[R], is_a(Collection)),
    "Batches": (Batches[R], of_frames),
    "DataFrame": (pl.DataFrame, pl.DataFrame.to_dicts),
    "LazyFrame": (pl.LazyFrame, lambda lazy: lazy.collect().to_dicts()),
    "Table": (pa.Table, pa.Table.to_pylist),
    "RecordBatch": (pa.RecordBatch, pa.RecordBatch.to_pylist),
    "RecordBatchReader": (pa.RecordBatchReader, lambda reader: reader.read_all().to_pylist()),
    "pandas": (pd.DataFrame, of_pandas),
    "Structs": (Iterable[AsStruct], are(AsStruct)),
    "dataclasses": (list[AsDataclass], are(AsDataclass)),
    "NamedTuples": (Iterator[AsTuple], are(AsTuple)),
    "TypedDicts": (list[AsTyped], are(dict)),
    "Batches of Structs": (Batches[AsStruct], of_frames),
    "Batches of TypedDicts": (Batches[AsTyped], of_frames),
    "Batches of dataclasses": (Batches[AsDataclass], of_frames),
}
RECORD_PAIRS = pairs(RECORD_GIVERS, RECORD_TAKERS)
#: The schema of an Arrow reader is that of its first batch: nothing is known of columns without values in it (S3.5).
del RECORD_PAIRS["Batches of lists -> RecordBatchReader"]

_texts = st.text(st.characters(codec="utf-8"), max_size=5)
_whole = st.integers(-(2**63), 2**63 - 1)
_dates = st.dates(dt.date(1700, 1, 1), dt.date(2200, 1, 1))
_times = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))
_numbers = st.decimals(-(10**12), 10**12, places=4)
records = st.lists(
    st.fixed_dictionaries(
        {
            "n": st.none() | _whole,
            "f": st.none() | st.floats(),
            "t": st.none() | _texts,
            "b": st.none() | st.booleans(),
            "y": st.none() | st.binary(max_size=4),
            "d": st.none() | _dates,
            "at": st.none() | _times,
            "z": st.none() | _times.map(lambda t: t.replace(tzinfo=dt.UTC)),
            "m": st.none() | _numbers,
            "xs": st.none() | st.lists(st.floats(allow_nan=False), max_size=2),
            "inner": st.none() | st.fixed_dictionaries({"p": st.none() | _whole, "q": st.none() | _texts}),
        }
    ),
    max_size=7,
)
NOTHING: dict[str, Any] = dict.fromkeys(SCHEMA)
FULL: dict[str, Any] = {
    "n": 2**62 + 1,
    "f": math.nan,
    "t": "é\n",
    "b": False,
    "y": b"\0\xff",
    "d": dt.date(2026, 11, 23),
    "at": dt.datetime(2026, 11, 23, 1, 2, 3, 4),
    "z": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    "m": Decimal("-1.2500"),
    "xs": [math.inf, 0.5],
    "inner": {"p": None, "q": ""},
}


@given(rows=records)
@example(rows=[])
@example(rows=[NOTHING, NOTHING])
@example(rows=[NOTHING, NOTHING, NOTHING, FULL])
@example(rows=[FULL, NOTHING])
@example(rows=[FULL, {**FULL, "n": None, "inner": {"p": 2**63 - 2, "q": None}}])  # no float holds it
@settings(
    max_examples=4, deadline=None, phases=[Phase.explicit, Phase.generate]
)  # shrinking takes minutes here
@pytest.mark.slow
def test_every_pair_of_views_of_records_agrees(rows):
    """S3.1: six hundred pairs of producer and consumer, and each gives the same records in the same order."""
    run(RECORD_PAIRS, rows, lambda _: rows)


# -- single values ------------------------------------------------------------------------------------------------

SCALARS: dict[Any, Any] = {
    int: _whole,
    float: st.floats(),
    str: _texts,
    bool: st.booleans(),
    bytes: st.binary(max_size=4),
    dt.date: _dates,
    dt.datetime: _times,
    dt.time: st.times(),
    dt.timedelta: st.timedeltas(dt.timedelta(-(10**6)), dt.timedelta(10**6)),
    Decimal: _numbers,
}
DTYPES: dict[Any, Any] = {
    int: pl.Int64,
    float: pl.Float64,
    str: pl.String,
    bool: pl.Boolean,
    bytes: pl.Binary,
    dt.date: pl.Date,
    dt.datetime: pl.Datetime("us"),
    dt.time: pl.Time,
    dt.timedelta: pl.Duration("us"),
    Decimal: pl.Decimal(38, 4),
}


def scalar_pairs(kind: Any) -> dict[str, Pipeline]:
    T = kind | None

    def series(rows: list[Any]) -> pl.Series:
        return pl.Series(rows, dtype=DTYPES[kind])

    def of_series(values: Any) -> list[Any]:
        assert isinstance(values, pl.Series)
        return values.to_list()

    def of_column(values: pd.Series) -> list[Any]:
        assert isinstance(values, pd.Series)
        return [from_pandas("d" if kind is dt.date else "", plain(v)) for v in values]

    def plain(value: Any) -> Any:
        return value.to_pytimedelta() if isinstance(value, pd.Timedelta) else value

    def of_any(values: Any) -> list[Any]:
        if isinstance(values, pd.Series):
            return of_column(values)
        if isinstance(values, OnlyArrow):
            return pl.Series(values).to_list()
        return (
            values.to_list()
            if isinstance(values, pl.Series)
            else [*getattr(values, "to_pylist", lambda: values)()]
        )

    def sorted_set(values: Any) -> list[Any]:
        assert isinstance(values, set | frozenset)
        return sorted(values, key=repr)

    givers: dict[str, tuple[Any, Any]] = {
        "Iterator": (Iterator[T], iter),
        "AsyncIterator": (AsyncIterator[T], list),
        "unannotated": (None, list),
        "list": (list[T], list),
        "tuple": (tuple[T, ...], tuple),
        "set": (set[T], set),
        "frozenset": (frozenset[T], frozenset),
        "Batches": (Batches[T], chunks(series)),
        "Batches of Arrow": (Batches[T], chunks(lambda rows: series(rows).to_arrow())),
        "Batches of lists": (Batches[T], chunks(list)),
        "Series": (pl.Series, series),
        "Array": (pa.Array, lambda rows: series(rows).to_arrow()),
        "ChunkedArray": (pa.ChunkedArray, lambda rows: pa.chunked_array([series(rows).to_arrow()])),
        "pandas": (pd.Series, lambda rows: series(rows).to_pandas(use_pyarrow_extension_array=True)),
        "any Arrow stream": (OnlyArrow, lambda rows: OnlyArrow(series(rows))),
    }
    takers: dict[str, tuple[Any, Any]] = {
        "Iterable": (Iterable[T], list),
        "AsyncIterator": (AsyncIterator[T], list),
        "unannotated": (None, of_any),
        "list": (list[T], is_plain(list)),
        "tuple": (tuple[T, ...], is_plain(tuple)),
        "Collection": (Collection[T], is_plain(Collection)),
        "set": (set[T], sorted_set),
        "abstract set": (AbstractSet[T], sorted_set),
        "frozenset": (frozenset[T], sorted_set),
        "Batches": (Batches[T], lambda batches: [x for b in batches for x in of_series(b)]),
        "Series": (pl.Series, of_series),
        "Array": (pa.Array, lambda values: values.to_pylist()),
        "ChunkedArray": (pa.ChunkedArray, lambda values: values.to_pylist()),
        "pandas": (pd.Series, of_column),
    }
    return pairs(givers, takers)


def is_plain(kind: type) -> Callable[[Any], list[Any]]:
    def read(rows: Any) -> list[Any]:
        assert isinstance(rows, kind), type(rows)
        return list(rows)

    return read


SCALAR_PAIRS = {kind: scalar_pairs(kind) for kind in SCALARS}


@pytest.mark.slow
@given(data=st.data(), kind=st.sampled_from(list(SCALARS)))
@settings(max_examples=30, deadline=None, phases=[Phase.generate])
def test_every_pair_of_views_of_single_values_agrees(data, kind):
    """S3.1: the same for single values of every type that a batch holds, None and NaN included."""
    rows = data.draw(st.lists(st.none() | SCALARS[kind], max_size=5, unique_by=repr))
    in_order = sorted(rows, key=repr)
    for name, pipeline in SCALAR_PAIRS[kind].items():
        ROWS[:], GOT[:] = rows, ["nothing"]
        pipeline.run().check()
        got, wanted = (sorted(GOT, key=repr), in_order) if "set" in name else (GOT[:], rows)
        assert alike(got, wanted, "pandas" in name), f"{name} of {kind}: {got} is not {wanted}"
