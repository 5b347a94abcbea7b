"""CsvReader and CsvWriter."""

import csv
import datetime
import io
import os
import threading
import time

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from petal import Context, DataError, RowError
from petal.library import blocks
from petal.library.csv_files import csv_reader, csv_writer

cells = st.text(st.sampled_from("ab,\"'\n; é0"), min_size=1, max_size=6)
tables = st.lists(st.lists(cells, min_size=3, max_size=3), max_size=12)


def read(path, **params):
    return [row for frame in csv_reader(file_path=path, **params) for row in frame.rows()]


@given(table=tables, block=st.sampled_from([1, 8, 30, 4 << 20]))
@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@pytest.mark.slow
def test_quoted_fields_survive_every_border(tmp_path_factory, table, block):
    """Newlines, quotes and separators in fields are read as Python's csv module wrote them."""
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["p", "q", "r"], *table])
    path.write_text(text.getvalue())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK", block)
        assert read(path, types={"p": "str", "q": "str", "r": "str"}) == [tuple(row) for row in table]


@given(table=tables)
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_what_is_written_is_csv(tmp_path_factory, table):
    """Python's csv module reads what was written."""
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    frame = pl.DataFrame(
        table, schema=["p", "q", "r"], orient="row", schema_overrides=dict.fromkeys("pqr", pl.String)
    )
    csv_writer([frame[:2], frame[2:]], file_path=path)
    with open(path, newline="") as file:
        assert list(csv.reader(file)) == [["p", "q", "r"], *table]


@pytest.mark.parametrize("block", [8, 4 << 20])
@pytest.mark.parametrize(
    ("data", "params", "line", "what"),
    [
        ("a,b\n1,x\n2,y\nabc,z\n4,w\n", {"types": {"a": "int"}}, 4, "column 'a' is 'abc', which is no int"),
        ("a,b\n1,x\n2,y,9\n3,z\n", {}, 3, "has 3 fields, but there are 2 columns"),
        ('a,b\n1,"x\ny"\nzz,y\n', {"types": {"a": "float"}}, 4, "column 'a' is 'zz', which is no float"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path, monkeypatch, block, data, params, line, what):
    """The line is exact in the first block and in later ones."""
    monkeypatch.setattr(blocks, "BLOCK", block)
    (tmp_path / "x.csv").write_text(data)
    with pytest.raises(RowError, match=f"line {line} of .*x.csv.*{what}") as error:
        read(tmp_path / "x.csv", **params)
    assert error.value.row == line


def test_the_first_block_fixes_the_types(tmp_path, monkeypatch):
    """A later value of another type is an error whose remedy works."""
    monkeypatch.setattr(blocks, "BLOCK", 8)
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,x\n2.5,y\n")
    with pytest.raises(RowError, match=r"line 3 .* column 'a' is '2.5', which is no int") as error:
        read(path)
    assert "types: { a: str }" in error.value.hint
    assert read(path, types={"a": "float"}) == [(1.0, "x"), (2.5, "y")]


@pytest.mark.parametrize("block", [12, 4 << 20])
def test_forms_of_csv(tmp_path, monkeypatch, block):
    """Headers, separators, quotes, blank lines, marks and types, in small blocks and large ones."""
    monkeypatch.setattr(blocks, "BLOCK", block)
    path = tmp_path / "x.csv"

    def of(data, **params):
        path.write_bytes(data.encode())
        return read(path, **params)

    assert of("") == []
    assert of("a,b\n") == of("a,b") == []
    assert of("\ufeffa,b\r\n1,x\r\n2,y\r\n") == [(1, "x"), (2, "y")]
    assert of("a,b\n1,x\n\n\n2\n") == of("a,b\n1,x\n2\n") == [(1, "x"), (2, None)]
    assert of("a\n1\n\n3\n") == [(1,), (None,), (3,)]
    assert of("a;b\n1;NA\n", separator=";", null_values=["NA"]) == [(1, None)]
    assert of('a,b\n5" pipe,1\n6" pipe,2\n', quote_char="") == [('5" pipe', 1), ('6" pipe', 2)]
    assert of("1,x\n2,y\n", header=False, names=["p", "q"], columns=["q", "p"]) == [("x", 1), ("y", 2)]
    assert of("d\n2026-01-01\n", types={"d": "date"}) == [(datetime.date(2026, 1, 1),)]
    assert of("a,b,c\n1,x,\n\n2,y,z\n", context=Context(columns=("b",))) == [("x",), ("y",)]


def test_a_slow_pipe_does_not_change_the_types(tmp_path):
    """The first rows that arrive alone do not fix the types: a block is filled first."""
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def feed():
        with open(path, "wb", buffering=0) as pipe:
            pipe.write(b"a,b\n1,x\n")
            time.sleep(0.05)
            pipe.write(b"2.5,y\n")

    thread = threading.Thread(target=feed)
    thread.start()
    assert read(path) == [(1.0, "x"), (2.5, "y")]
    thread.join()


def test_mistakes_in_the_columns(tmp_path):
    """Names that are not there, too few names, and files that differ."""
    (tmp_path / "a.csv").write_text("city,zip\nRome,1\n")
    (tmp_path / "b.csv").write_text("zip,city\n1,Rome\n")
    with pytest.raises(DataError, match="no column 'citty'; the columns are: city, zip") as error:
        read(tmp_path / "a.csv", columns=["citty"])
    assert error.value.hint == "did you mean 'city'?"
    with pytest.raises(DataError, match="`names` has 1 names, but the file has 2 columns"):
        read(tmp_path / "a.csv", header=False, names=["one"])
    with pytest.raises(DataError, match=r"b.csv' are zip, city; but the first file has city, zip"):
        read(tmp_path / "?.csv")


def test_the_header_is_written_once(tmp_path):
    """Also for a stream that has columns and no rows; columns that come in another order are put right."""
    path = tmp_path / "x.csv"
    csv_writer([pl.DataFrame(schema={"a": pl.Int64, "b": pl.String})], file_path=path)
    assert path.read_text() == "a,b\n"
    csv_writer([pl.DataFrame({"a": [1], "b": ["x"]}), pl.DataFrame({"b": [None], "a": [2]})], file_path=path)
    assert path.read_text() == "a,b\n1,x\n2,\n"
    csv_writer([pl.DataFrame({"a": [1]})], file_path=path, header=False)
    assert path.read_text() == "1\n"
    csv_writer([], file_path=path)
    assert path.read_text() == ""


def test_records_that_csv_cannot_hold(tmp_path):
    """Nested values and columns that change are refused with a remedy."""
    with pytest.raises(DataError, match="'u' holds Struct") as error:
        csv_writer([pl.DataFrame({"u": [{"n": 1}]})], file_path=tmp_path / "x")
    assert "KeyExtractor" in error.value.hint
    with pytest.raises(DataError, match="a later record has 'b' more and lacks 'a'"):
        csv_writer([pl.DataFrame({"a": [1]}), pl.DataFrame({"b": [1]})], file_path=tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_numbers_too_large_stay_text(tmp_path, monkeypatch):
    """No digit is lost: the column is text, and a later block that brings one is an error that names the line."""
    path = tmp_path / "x.csv"
    large = "9" * 26
    path.write_text(f"a,b,c,d\n1,{large},1e400,1e30\n2,3,4,inf\n")
    assert read(path) == [(1, large, "1e400", 1e30), (2, "3", "4", float("inf"))]
    path.write_text(f"a,b\n1,{large}\n2,1.5\n")
    assert read(path, context=Context(columns=("b",))) == [(large,), ("1.5",)]
    assert read(path, types={"b": "float"}) == [(1, 1e26), (2, 1.5)]
    monkeypatch.setattr(blocks, "BLOCK", 8)
    for first, kind in (("1.5", "64 bits cannot hold"), ("1", "which is no int")):
        path.write_text(f"a,b\n1,{first}\n2,3\n3,{large}\n")
        with pytest.raises(RowError, match=f"line 4 .* column 'b' is '9+', .*{kind}") as error:
            read(path)
        assert error.value.row == 4
        assert "types: { b: str }" in error.value.hint


def test_two_columns_of_one_name(tmp_path):
    """The error names both; a column may well be called like that."""
    path = tmp_path / "x.csv"
    path.write_text("id,n,id\n1,2,3\n")
    with pytest.raises(DataError, match=r"columns 1 and 3 of .*x.csv' are both named 'id'"):
        read(path)
    path.write_text("id,,\n1,2,3\n")
    with pytest.raises(DataError, match=r"columns 2 and 3 of .* both have no name"):
        read(path)
    path.write_text("id_duplicated_0\n1\n")
    assert read(path) == [(1,)]
    (check,) = csv_reader.__annotations__["names"].__metadata__
    with pytest.raises(ValueError, match="'a' is there twice"):
        check.test(["a", "b", "a"])


@pytest.mark.parametrize("block", [1, 4 << 20])
def test_a_file_of_blank_lines_has_no_records(tmp_path, monkeypatch, block):
    """As an empty file has none; blank lines before the header are skipped, lines still counted."""
    monkeypatch.setattr(blocks, "BLOCK", block)
    path = tmp_path / "x.csv"
    for data in ("\n", "\r\n\n"):
        path.write_text(data)
        assert read(path) == read(path, header=False) == []
    path.write_text("\n\na,b\n1,2\n3,4,5\n")
    with pytest.raises(RowError, match=r"line 5 .* has 3 fields"):
        read(path)


def test_advice_about_polars_is_not_passed_on(tmp_path):
    """Neither in the message nor as the cause."""
    for data in ("a,b\n1,2,3\n", 'a,b\n1,"x"y\n', 'a,b\n1,"x\n'):
        (tmp_path / "x.csv").write_text(data)
        with pytest.raises(DataError) as error:
            read(tmp_path / "x.csv")
        assert "truncate_ragged_lines" not in str(error.value)
        assert error.value.__cause__ is None
        assert error.value.__suppress_context__
