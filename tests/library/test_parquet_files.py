"""ParquetReader and ParquetWriter."""

import threading
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from petal import Context, DataError, OutputError
from petal.library import parquet_files
from petal.library.parquet_files import parquet_reader, parquet_writer

SCHEMA = {"a": pl.Int64, "b": pl.String, "c": pl.List(pl.Float64)}
tables = st.lists(
    st.tuples(st.integers(-9, 9) | st.none(), st.text(max_size=3), st.lists(st.floats(allow_nan=False)))
)


def read(path, **params):
    return [row for frame in parquet_reader(file_path=path, **params) for row in frame.rows()]


@given(table=tables, size=st.integers(1, 7), group=st.sampled_from([2, 5, 1000]))
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_what_is_written_is_read(tmp_path_factory, table, size, group):
    """Whatever the batches and the row groups, in one group or many."""
    path = tmp_path_factory.mktemp("pq") / "x.parquet"
    frames = [
        pl.DataFrame(table[i : i + size], schema=SCHEMA, orient="row")
        for i in range(0, max(len(table), 1), size)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_files, "GROUP", group)
        patch.setattr(parquet_files, "ROWS", 3)
        parquet_writer(frames, file_path=path)
        got = list(parquet_reader(file_path=path))
    assert [row for frame in got for row in frame.rows()] == table
    assert all(frame.schema == pl.Schema(SCHEMA) for frame in got)
    assert got


def test_a_stream_is_written_in_groups(tmp_path, monkeypatch):
    """The stream is taken piece by piece: no more than a group is waited for."""
    monkeypatch.setattr(parquet_files, "GROUP", 10)
    taken = []

    def frames():
        for i in range(8):
            taken.append(i)
            yield pl.DataFrame({"a": range(i * 7, i * 7 + 7)})

    groups = parquet_files._groups(frames())
    assert [len(next(groups)), taken] == [10, [0, 1]]
    assert [len(g) for g in groups] == [10, 10, 10, 10, 6]
    parquet_writer(frames(), file_path=tmp_path / "x", compression="snappy")
    assert read(tmp_path / "x") == [(n,) for n in range(56)]


def test_columns_are_chosen(tmp_path):
    """By name, in their order, or by what consumers need."""
    path = tmp_path / "x.parquet"
    pl.DataFrame({"a": [1], "b": ["x"], "c": [2.5]}).write_parquet(path)
    assert read(path, columns=["c", "a"]) == [(2.5, 1)]
    assert read(path, context=Context(columns=("b",))) == [("x",)]
    assert read([path, path], columns=["a"]) == [(1,), (1,)]
    with pytest.raises(DataError, match="no column 'd'; the columns are: a, b, c"):
        read(path, columns=["d"])


def test_files_that_cannot_be_read(tmp_path):
    """Missing, of another format, cut short, or with other columns."""
    path = tmp_path / "x.parquet"
    with pytest.raises(DataError, match="there is no file"):
        read(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"cannot read .*x.parquet' as Parquet"):
        read(path)
    pl.DataFrame({"a": [1]}).write_parquet(path)
    pl.DataFrame({"a": ["x"]}).write_parquet(tmp_path / "y.parquet")
    with pytest.raises(DataError, match=r"y.parquet' are a: str; but the first file has a: int"):
        read(tmp_path / "?.parquet")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"cannot read .*x.parquet' as Parquet"):
        read(path)


def test_records_that_change_on_the_way(tmp_path):
    """Another type or other columns are refused; null fits all; nothing is left of the file."""
    path = tmp_path / "x"
    first = pl.DataFrame({"a": [1]})
    parquet_writer([first, pl.DataFrame({"a": [None]})], file_path=path)
    assert read(path) == [(1,), (None,)]
    for later, what in (
        (pl.DataFrame({"a": ["x"]}), "'a' changed on the way: a later record has str, but the first int"),
        (pl.DataFrame({"b": [1]}), "a later record has 'b' more and lacks 'a'"),
    ):
        with pytest.raises(DataError, match=what):
            parquet_writer([first, later], file_path=tmp_path / "y")
    assert not (tmp_path / "y").exists()
    parquet_writer([], file_path=path)
    assert read(path) == []


def test_compression_is_within(tmp_path):
    """A name in `.gz` is refused; so is standard input for a reader."""
    with pytest.raises(DataError, match=r"leave '.gz' out and set `compression`"):
        parquet_writer([], file_path=tmp_path / "x.parquet.gz")
    (_, check) = parquet_reader.__annotations__["file_path"].__metadata__
    with pytest.raises(ValueError, match="cannot come from standard input"):
        check.test(parquet_files.STANDARD)


@pytest.mark.parametrize("count", [1, 50])
def test_a_failure_on_either_side_ends_both(tmp_path, monkeypatch, count):
    """An error of the stream passes through as it is; one of the file is an OutputError; no thread stays."""
    monkeypatch.setattr(parquet_files, "GROUP", 10)
    frame = pl.DataFrame({"a": range(10)})

    def broken():
        for _ in range(count):
            yield frame
        raise KeyError("upstream")

    before = threading.active_count()
    with pytest.raises(KeyError, match="upstream"):
        parquet_writer(broken(), file_path=tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="No space left on device"):
        parquet_writer([frame] * count, file_path=Path("/dev/full"))
    assert threading.active_count() == before
