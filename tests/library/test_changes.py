"""Rename, Cast and Sample."""

import datetime
from collections import Counter

import polars as pl
import pytest

from petal import DataError, RowError
from petal.library import rows as rows_module
from petal.library.cast import cast
from petal.library.records import rename
from petal.library.rows import sample


def test_columns_get_new_names():
    """The others stay, in their places; two may be swapped."""
    frame = pl.DataFrame({"a": [1], "b": [2], "c": [3]})
    assert [f.columns for f in rename([frame, frame], columns={"b": "x"})] == [["a", "x", "c"]] * 2
    assert next(rename([frame], columns={"a": "b", "b": "a"})).rows(named=True) == [{"b": 1, "a": 2, "c": 3}]
    with pytest.raises(DataError, match="no column 'z'; the columns are: a, b, c"):
        list(rename([frame], columns={"z": "y"}))
    with pytest.raises(DataError, match="there is a column 'c' already"):
        list(rename([frame], columns={"a": "c"}))
    (check,) = rename.__annotations__["columns"].__metadata__
    for bad, what in (({}, "at least one"), ({"a": "x", "b": "x"}, "two columns would be named 'x'")):
        with pytest.raises(ValueError, match=what):
            check.test(bad)


DAY = datetime.date(2026, 1, 31)
NOON = datetime.datetime(2026, 1, 31, 12, 0)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["1", " -2 ", None], "int", [1, -2, None]),
        (["1.5", "2", "nan"], "float", [1.5, 2.0, pytest.approx(float("nan"), nan_ok=True)]),
        (["true", "False", None], "bool", [True, False, None]),
        (["2026-01-31", None], "date", [DAY, None]),
        (
            [
                "2026-01-31T12:00:00",
                "2026-01-31 12:00",
                "2026-01-31T14:00:00+02:00",
                "2026-01-31T12:00:00.000Z",
            ],
            "datetime",
            [NOON] * 4,
        ),
        (["2026-01-31"], "datetime", [datetime.datetime(2026, 1, 31)]),
        ([1.0, 2.0, None], "int", [1, 2, None]),
        ([1, 0, None], "bool", [True, False, None]),
        ([True, False], "int", [1, 0]),
        ([1, None], "float", [1.0, None]),
        ([1, None], "str", ["1", None]),
        ([DAY], "datetime", [datetime.datetime(2026, 1, 31)]),
        ([DAY], "str", ["2026-01-31"]),
        ([None, None], "int", [None, None]),
        ([None], "date", [None]),
    ],
)
def test_values_are_cast(values, kind, expected):
    """What one type can say in another."""
    (found,) = cast([pl.DataFrame({"v": values})], types={"v": kind})
    assert found["v"].to_list() == expected


@pytest.mark.parametrize(
    ("values", "kind", "shown"),
    [
        (["1", "x"], "int", "'x', which is no int"),
        (["1", "1.5"], "int", "'1.5', which is no int"),
        (["1", "99999999999999999999"], "int", "'99999999999999999999', which is no int"),
        (["1", "1e400"], "float", "'1e400', which is no float"),
        (["true", "yes"], "bool", "'yes', which is no bool"),
        (["2026-01-31", "31.1.2026"], "date", "'31.1.2026', which is no date"),
        (["2026-01-31", "noon"], "datetime", "'noon', which is no datetime"),
        ([1.0, 1.5], "int", r"1\.5, which is no int"),
        ([1.0, float("nan")], "int", "nan, which is no int"),
        ([1, 2], "bool", "2, which is no bool"),
        ([datetime.datetime(2026, 1, 31), NOON], "date", "which is no date"),
    ],
)
def test_a_value_that_does_not_fit_is_named(values, kind, shown):
    """Row, column and value, across batches."""
    frames = [pl.DataFrame({"v": values[:1]}), pl.DataFrame({"v": values})]
    with pytest.raises(RowError, match=f"row 3: column 'v' is .*{shown}") as error:
        list(cast(frames, types={"v": kind}))
    assert (error.value.row, error.value.field) == (3, "v")


def test_types_that_cannot_become_another():
    """A number is no date, a list no text; a missing column lists those that are there."""
    for values, kind in (([1], "date"), ([DAY], "int"), ([[1]], "str"), ([{"a": 1}], "int"), ([b"x"], "str")):
        with pytest.raises(DataError, match=f"column 'v' holds .*, which cannot become {kind}"):
            list(cast([pl.DataFrame({"v": values})], types={"v": kind}))
    with pytest.raises(DataError, match="no column 'w'; the columns are: v"):
        list(cast([pl.DataFrame({"v": [1]})], types={"w": "int"}))
    (check,) = cast.__annotations__["types"].__metadata__
    with pytest.raises(ValueError, match="at least one column"):
        check.test({})


def numbers(count, size=10):
    return [pl.DataFrame({"n": range(i, min(i + size, count))}) for i in range(0, count, size)]


def drawn(among, **params):
    return [n for f in sample(numbers(among), **params) for n in f["n"]]


def test_a_sample_by_fraction():
    """About so many, in order, the same for the same seed, however the stream is cut."""
    got = drawn(10_000, fraction=0.1)
    assert 800 < len(got) < 1200
    assert got == sorted(got) == drawn(10_000, fraction=0.1) != drawn(10_000, fraction=0.1, seed=1)
    assert got == [n for f in sample(numbers(10_000, 999), fraction=0.1) for n in f["n"]]
    assert drawn(50, fraction=1) == list(range(50))
    assert drawn(50, fraction=0) == []


def test_a_sample_by_count(monkeypatch):
    """Just so many, in order; each record is as likely as the others; all where there are fewer."""
    monkeypatch.setattr(rows_module, "ROWS", 5)
    counts = Counter(n for seed in range(300) for n in drawn(20, count=5, seed=seed))
    assert sum(counts.values()) == 1500
    assert all(40 < counts[n] < 110 for n in range(20))
    got = drawn(1000, count=30)
    assert got == sorted(got) == drawn(1000, count=30)
    assert len(set(got)) == 30
    assert drawn(7, count=30) == list(range(7))
    (none,) = sample(numbers(7), count=0)
    assert (none.columns, len(none)) == (["n"], 0)


def test_a_sample_is_asked_for_in_one_way():
    """By fraction or by count."""
    for params, what in (({}, "neither"), ({"fraction": 0.5, "count": 1}, "both")):
        with pytest.raises(DataError, match=what):
            list(sample(numbers(3), **params))
