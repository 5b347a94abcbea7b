"""`difference`: the same is the same, and each way to differ is told with its place."""

from __future__ import annotations

import copy
import datetime as dt
import math
import re
from collections import deque
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from petal.testing import difference
from petal.testing.frame_kinds import KINDS
from petal.testing.kinds import Colour, Level, Pair, Point
from petal.testing.strategies import values

NOON = dt.datetime(2026, 3, 1, 12)


@given(data=st.data(), kind=st.sampled_from(KINDS))
def test_a_copy_is_the_same(data: st.DataObject, kind: Any) -> None:
    """NaN, frames and records included."""
    value = data.draw(values(kind.annotation))
    assert difference(copy.deepcopy(value), value) is None


@pytest.mark.parametrize(
    ("got", "expected", "message"),
    [
        (1, True, "1 is a int, not a bool"),
        (1, 1.0, "1 is a int, not a float"),
        (-0.0, 0.0, "-0.0 is not 0.0"),
        (math.nan, 1.0, "nan is not 1.0"),
        (Decimal("1.0"), Decimal("1.00"), "is not"),
        (NOON.replace(tzinfo=dt.UTC), NOON, "is not"),
        (
            NOON.replace(tzinfo=dt.UTC),
            NOON.replace(hour=14, tzinfo=dt.timezone(dt.timedelta(hours=2))),
            "is not",
        ),
        ([1, 2], [1], "there are 2 entries, not 1"),
        ([1, [2, 3]], [1, [2, 4]], r"3 at \[1\]\[1\] is not 4"),
        ([1], (1,), "is a list, not a tuple"),
        (deque([1]), deque([2]), r"at \[0\]"),
        ((1, "a"), Pair(1, "a"), "not a Pair"),
        ({"a": 1}, {"b": 1}, "the keys are"),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, "the keys are"),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, r"at \['a'\]\['b'\]"),
        ({1, 2}, {1, 3}, "is not"),
        ({1}, {True}, "is not"),
        (Colour.RED, Colour.GREEN, "is not"),
        (1, Level.LOW, "not a Level"),
        (Point(1.0, "a"), Point(1.0, "b"), "'a' at label is not 'b'"),
        ([Point(1.0)], [Point(math.nan)], r"1.0 at \[0\].x is not nan"),
        (pl.DataFrame({"n": [1]}), pl.DataFrame({"n": [1.0]}), "has the schema"),
        (pl.DataFrame({"n": [1]}), pl.DataFrame({"n": [2]}), "the polars.DataFrame is"),
        (pl.DataFrame({"n": [1]}), pl.DataFrame({"n": [1, 2]}), "has 1 rows, not 2"),
        (pl.Series([1]), pl.Series([2]), "the polars.Series is"),
        (pa.array([1]), pa.array([2]), "the pyarrow"),
        (pa.table({"n": [1]}), pa.table({"n": [2]}), "the pyarrow.Table is"),
        ("x" * 500, "y", "…"),
    ],
)
def test_a_difference_is_told_with_its_place(got: Any, expected: Any, message: str) -> None:
    """Also where Python's == sees none."""
    found = difference(got, expected)
    assert found is not None
    assert re.search(message, found), found


def test_approx_may_be_expected_anywhere() -> None:
    """In a list, a record or a dict."""
    assert difference({"a": [0.1 + 0.2]}, {"a": [pytest.approx(0.3)]}) is None
    assert difference({"a": [0.4]}, {"a": [pytest.approx(0.3)]}) is not None
