"""Frames and columns as types of values, of every library that is installed; see `kinds`."""

from __future__ import annotations

import datetime as dt
import importlib
import math
from collections.abc import Iterator
from importlib.util import find_spec

import polars as pl

from petal.testing import kinds
from petal.testing.kinds import Hands, Kind, hands_of, whole

_FRAME = pl.DataFrame(
    {
        "n": [1, None, -(2**63)],
        "f": [math.nan, math.inf, None],
        "t": ["", "é\n", None],
        "y": [b"", b"\0\xff", None],
        "d": [dt.date(2026, 3, 1), None, dt.date(1, 1, 1)],
        "z": [dt.datetime(2026, 3, 1, 12, 0, 0, 123456, dt.UTC), None, None],
        "xs": [[1.5, None], [], None],
        "s": [{"p": 1}, {"p": None}, None],
    },
    schema_overrides={"z": pl.Datetime("us", "UTC")},
)
_BARE = _FRAME.select("n", "f", "t")


def _of_polars() -> Iterator[Kind]:
    yield whole("Polars DataFrame", pl.DataFrame, _FRAME, _FRAME.clear(), pl.DataFrame())
    yield whole("Polars LazyFrame", pl.LazyFrame, _FRAME.lazy(), _FRAME.clear().lazy())
    yield whole("Polars Series", pl.Series, pl.Series("n", [1, None, 3]), pl.Series("e", [], dtype=pl.String))


def _of_arrow() -> Iterator[Kind]:
    if find_spec("pyarrow") is None:
        return
    pa = importlib.import_module("pyarrow")
    table = _FRAME.to_arrow()
    yield whole("PyArrow Table", pa.Table, table, table.slice(0, 0))
    yield whole("PyArrow RecordBatch", pa.RecordBatch, _BARE.to_arrow().combine_chunks().to_batches()[0])
    yield whole("PyArrow Array", pa.Array, pa.array([1, None, 3]), pa.array([], pa.large_string()))
    yield whole("PyArrow ChunkedArray", pa.ChunkedArray, pa.chunked_array([[1, None], [3]]))
    if find_spec("pandas") is None:
        return
    pd = importlib.import_module("pandas")
    frame = pd.DataFrame({"n": [1, 2], "f": [1.5, math.nan], "t": ["a", "é"]})
    yield whole("pandas DataFrame", pd.DataFrame, frame, frame.iloc[:0])
    yield whole("pandas Series", pd.Series, pd.Series([1, 2], name="n"))


#: Every kind, in the order in which reports show them.
KINDS: tuple[Kind, ...] = (*kinds.KINDS, *_of_polars(), *_of_arrow())
#: The operators of each, by the kind's name.
HANDS: dict[str, Hands] = {**kinds.HANDS, **hands_of(KINDS[len(kinds.KINDS) :], __name__)}
