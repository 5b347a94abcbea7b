"""Select, KeyExtractor, Join, Aggregate, Sort, Deduplicate and Limit."""

import statistics

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petal import DataError
from petal.library import aggregate as aggregate_module
from petal.library import records as records_module
from petal.library.aggregate import aggregate
from petal.library.records import join, key_extractor, select
from petal.library.rows import deduplicate, limit, sort

SCHEMA = {"k": pl.String, "v": pl.Int64}
data = st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(-50, 50) | st.none()), max_size=30)


def batches(rows, size):
    return [
        pl.DataFrame(rows[i : i + size], schema=SCHEMA, orient="row")
        for i in range(0, max(len(rows), 1), size)
    ]


def rows(frames):
    return [row for frame in frames for row in frame.rows()]


FUNCTIONS = {
    "sum": sum,
    "count": len,
    "mean": lambda v: statistics.fmean(v) if v else None,
    "min": lambda v: min(v, default=None),
    "max": lambda v: max(v, default=None),
    "n_unique": lambda v: len(set(v)),
    "median": lambda v: statistics.median(v) if v else None,
    "std": lambda v: statistics.stdev(v) if len(v) > 1 else None,
}


@given(table=data, size=st.integers(1, 10), limit_rows=st.sampled_from([1, 5, 1 << 18]))
@settings(deadline=None, max_examples=80)
def test_aggregates_are_those_of_plain_python(table, size, limit_rows):
    """However the stream is cut and the parts are merged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aggregate_module, "ROWS", limit_rows)
        calls = {f: f"{f}(v)" for f in FUNCTIONS} | {
            "rows": "count()",
            "first": "first(v)",
            "last": "last( v )",
        }
        found = [
            r
            for f in aggregate(batches(table, size), group_by=["k"], aggregations=calls)
            for r in f.to_dicts()
        ]
    keys = sorted({k for k, _ in table}, key=lambda k: (k is not None, k))
    assert [r["k"] for r in found] == keys
    for row in found:
        group = [v for k, v in table if k == row["k"]]
        values = [v for v in group if v is not None]
        assert (row["rows"], row["first"], row["last"]) == (len(group), group[0], group[-1])
        for name, function in FUNCTIONS.items():
            assert row[name] == pytest.approx(function(values)), name


def test_an_aggregate_of_everything_is_one_row():
    """Without groups there is one row; a stream without batches has none."""
    frames = batches([("a", 1), ("b", 2), ("a", 4)], 2)
    assert rows(aggregate(frames, group_by=[], aggregations={"total": "sum(v)", "n": "count()"})) == [(7, 3)]
    assert rows(aggregate([], group_by=["k"], aggregations={"n": "count()"})) == []


def test_aggregations_are_checked_before_the_run():
    """The parameter's check names what is wrong."""
    (check,) = aggregate.__annotations__["aggregations"].__metadata__
    for bad, what in (
        ({}, "name at least one"),
        ({"t": "sum"}, "is not FUNCTION"),
        ({"t": "summ(a)"}, "did you mean 'sum'"),
        ({"t": "sum()"}, "needs a column"),
    ):
        with pytest.raises(ValueError, match=what):
            check.test(bad)
    frames = batches([("a", 1)], 1)
    with pytest.raises(DataError, match="needs numbers, but column 'k' holds String"):
        list(aggregate(frames, group_by=["v"], aggregations={"t": "sum(k)"}))
    with pytest.raises(DataError, match="both a group and a result"):
        list(aggregate(frames, group_by=["k"], aggregations={"k": "sum(v)"}))
    with pytest.raises(DataError, match="no column 'w'; the columns are: k, v"):
        list(aggregate(frames, group_by=["k"], aggregations={"t": "sum(w)"}))


@given(
    values=st.lists(st.integers(-(2**63), 2**63 - 1) | st.booleans(), min_size=1, max_size=6),
    size=st.integers(1, 6),
)
@settings(deadline=None, max_examples=60)
def test_sums_are_exact(values, size):
    """A sum is that of Python, or an error where 64 bits cannot hold it: it never wraps."""
    values = [int(v) for v in values]
    frames = [pl.DataFrame({"v": values[i : i + size]}) for i in range(0, len(values), size)]
    found = aggregate(frames, group_by=[], aggregations={"total": "sum(v)"})
    if -(2**63) <= sum(values) < 2**63:
        assert rows(found) == [(sum(values),)]
    else:
        with pytest.raises(DataError, match=rf"total: sum\(v\) is {sum(values)}, which a 64-bit integer"):
            list(found)


def test_true_is_counted_as_one():
    """In the type of whole numbers."""
    (found,) = aggregate([pl.DataFrame({"v": [True, None, True]})], group_by=[], aggregations={"n": "sum(v)"})
    assert found.to_dict(as_series=False) == {"n": [2]}
    assert found.schema["n"] == pl.Int64


def test_all_bad_aggregations_are_reported():
    """In one message, at validation and when the columns are known."""
    (check,) = aggregate.__annotations__["aggregations"].__metadata__
    with pytest.raises(
        ValueError, match=r"a: there is no function 'summ'.*b: sum\(\) needs a column.*c: 'x' is not"
    ):
        check.test({"a": "summ(v)", "b": "sum()", "ok": "count()", "c": "x"})
    with pytest.raises(DataError, match=r"sum\(k\) needs numbers.*mean\(k\) needs numbers"):
        list(aggregate(batches([("a", 1)], 1), group_by=[], aggregations={"a": "sum(k)", "b": "mean(k)"}))


@given(
    left=st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(0, 9)), max_size=20),
    right=st.lists(st.tuples(st.sampled_from(["a", "b", "d", None]), st.integers(0, 9)), max_size=6),
    how=st.sampled_from(["inner", "left", "semi", "anti"]),
    size=st.integers(1, 9),
)
@settings(deadline=None, max_examples=80)
def test_a_join_is_that_of_two_loops(left, right, how, size):
    """The left order is kept; null is equal to nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records_module, "ROWS", 4)
        other = pl.DataFrame(right, schema=SCHEMA, orient="row")
        found = rows(join(batches(left, size), other, on="k", how=how))
    expected = []
    for k, v in left:
        partners = [w for j, w in right if k is not None and j == k]
        if how in ("semi", "anti"):
            expected += [(k, v)] if bool(partners) == (how == "semi") else []
        else:
            expected += [(k, v, w) for w in partners] or ([(k, v, None)] if how == "left" else [])
    assert sorted(found, key=repr) == sorted(expected, key=repr)
    assert [r[:2] for r in found] == [r[:2] for r in expected]


def test_a_join_says_what_does_not_fit():
    """Missing columns on either side, and keys of other types."""
    left = batches([("a", 1)], 1)
    with pytest.raises(DataError, match="no column 'kk'"):
        list(join(left, left[0], on=["kk"]))
    with pytest.raises(DataError, match="cannot be compared: k: String and Int64"):
        list(join(left, pl.DataFrame({"k": [1]}), on="k"))


def test_columns_are_chosen_and_renamed():
    """A list keeps, a mapping renames, in the order given."""
    frames = batches([("a", 1)], 1)
    assert next(select(frames, columns=["v", "k"])).columns == ["v", "k"]
    assert next(select(frames, columns={"value": "v"})).to_dicts() == [{"value": 1}]
    with pytest.raises(DataError, match="no column 'val'"):
        list(select(frames, columns=["val"]))
    (check,) = select.__annotations__["columns"].__metadata__
    for bad in ([], {}, ["a", "a"]):
        with pytest.raises(ValueError):  # noqa: PT011
            check.test(bad)


def test_a_column_with_a_dot_in_its_name_wins():
    """`user.name` is that column where there is one; a batch of no rows keeps its columns."""
    frame = pl.DataFrame({"u.n": [1], "u": [{"n": 2, "m": {"x": 3}}]})
    (got,) = key_extractor([frame], keys=["u.n", "u.m.x", "u.q", "z"])
    assert got.to_dicts() == [{"u.n": 1, "u.m.x": 3, "u.q": None, "z": None}]
    (got,) = key_extractor([frame.clear()], keys=["z"])
    assert got.shape == (0, 1)


@given(table=data, size=st.integers(1, 5), by=st.sampled_from([None, ["k"], ["v"]]))
@settings(deadline=None, max_examples=60)
def test_the_first_of_equal_records_stays(table, size, by):
    """Deduplicate works across batches, null being equal to null."""
    seen, expected = set(), []
    for row in table:
        key = row if by is None else row["kv".index(by[0])]
        if key not in seen:
            seen.add(key)
            expected.append(row)
    assert rows(deduplicate(batches(table, size), by=by)) == expected


def test_sort_is_stable_and_puts_null_last():
    """Equal records keep their order, in both directions."""
    frame = pl.DataFrame({"k": ["b", None, "a", "b"], "v": [1, 2, 3, 4]})
    assert sort(frame, by=["k"])["v"].to_list() == [3, 1, 4, 2]
    assert sort(frame, by=["k"], descending=True)["v"].to_list() == [1, 4, 3, 2]
    with pytest.raises(DataError, match="no column 'w'"):
        sort(frame, by=["w"])


def test_limit_reads_no_further_than_it_must():
    """The stream is left where the count is reached; none keeps the columns."""

    def endless():
        yield from batches([("a", 1), ("b", 2), ("c", 3)], 2)
        raise AssertionError("read too far")

    assert rows(limit(endless(), count=3)) == [("a", 1), ("b", 2), ("c", 3)]
    (none,) = limit(endless(), count=0)
    assert none.columns == ["k", "v"]
    assert len(none) == 0
