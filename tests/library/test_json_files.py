"""JsonFileReader and JsonFileWriter: records, one to a line or in an array (S3.5)."""

import datetime
import json
import math

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from petal import Context, DataError, RowError
from petal.library import blocks
from petal.library.json_files import json_file_reader, json_file_writer
from petal.library.records import key_extractor

text = st.text(st.characters(codec="utf-8"), max_size=6)
small = st.integers(-(2**63), 2**63 - 1)
records = st.lists(
    st.fixed_dictionaries(
        {"id": small},
        optional={"name": text, "score": st.floats(allow_nan=False, allow_infinity=False), "ok": st.booleans(),
                  "user": st.fixed_dictionaries({"name": text | st.none()}, optional={"age": small})},
    ),
    min_size=1,
    max_size=20,
)  # fmt: skip


def read(path, **params):
    return [row for frame in json_file_reader(file_path=path, **params) for row in frame.to_dicts()]


def at(record, key):
    for part in key.split("."):
        record = record.get(part) if isinstance(record, dict) else None
    return record


@given(rows=records, array=st.booleans())
@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
def test_keys_are_those_of_plain_json(tmp_path_factory, rows, array):
    """Reading and extracting gives what `json.loads` and a walk through the objects give."""
    path = tmp_path_factory.mktemp("json") / "x.json"
    path.write_text(json.dumps(rows) if array else "".join(json.dumps(r) + "\n" for r in rows))
    keys = ["id", "name", "user.name", "user.age", "score", "ok", "nobody", "user.name.more"]
    got = [r for f in key_extractor(json_file_reader(file_path=path), keys=keys) for r in f.to_dicts()]
    assert got == [{k: at(r, k) for k in keys} for r in rows]


@given(rows=records, form=st.sampled_from(["lines", "array"]))
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_what_is_written_is_json(tmp_path_factory, rows, form):
    """Python reads the same records from what was written, in both forms."""
    path = tmp_path_factory.mktemp("json") / "x.json"
    frame = pl.DataFrame(rows, infer_schema_length=None)
    json_file_writer([frame[:3], frame[3:3], frame[3:]], file_path=path, format=form)
    written = path.read_text()
    found = (
        json.loads(written) if form == "array" else [json.loads(line) for line in written.split("\n")[:-1]]
    )
    assert found == frame.to_dicts()


def test_an_empty_stream_is_an_empty_file_or_array(tmp_path):
    """No records are no lines, or an array of none, and both are read again."""
    json_file_writer([], file_path=tmp_path / "lines")
    json_file_writer([pl.DataFrame()], file_path=tmp_path / "array", format="array")
    assert (tmp_path / "lines").read_bytes() == b""
    assert (tmp_path / "array").read_bytes() == b"[]\n"
    assert read([tmp_path / "lines", tmp_path / "array"]) == []


def test_values_that_json_has_not(tmp_path):
    """Dates become text, NaN becomes null, and bytes are refused."""
    frame = pl.DataFrame({"day": [datetime.date(2026, 1, 2)], "x": [math.nan]})
    json_file_writer([frame], file_path=tmp_path / "x")
    assert json.loads((tmp_path / "x").read_text()) == {"day": "2026-01-02", "x": None}
    with pytest.raises(DataError, match="'b' holds bytes"):
        json_file_writer([pl.DataFrame({"b": [b"x"]})], file_path=tmp_path / "x")


@pytest.mark.parametrize("block", [8, 4 << 20])
@pytest.mark.parametrize(
    ("data", "line", "field", "what"),
    [
        ('{"a":1}\n\n{"a":2\n{"a":3}\n', 3, None, "is not JSON: Expecting ',' delimiter"),
        ('{"a":1}\n5\n', 2, None, "is not an object but int"),
        ('{"a":1}\n[1]\n', 2, None, "is not an object but list"),
        ('{"a":1}\n{"a":{"q":1}}\n', 2, "a", "rows before fixed it as int"),
        ('{"a":true}\n{"a":1}\n', 2, "a", "rows before fixed it as bool"),
        ('{"a":1} {"a":2}\n', 1, None, "Extra data"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path, monkeypatch, block, data, line, field, what):
    """Line and field are exact, whether the row is in the first block or in a later one."""
    monkeypatch.setattr(blocks, "BLOCK", block)
    (tmp_path / "x.jsonl").write_text(data)
    with pytest.raises(RowError, match=f"line {line} of .*x.jsonl.*{what}") as error:
        read(tmp_path / "x.jsonl")
    assert (error.value.row, error.value.field) == (line, field)


def test_the_first_batch_fixes_the_schema(tmp_path, monkeypatch):
    """A new field, another type or a deeper object in a later batch is an error, a missing field is null."""
    monkeypatch.setattr(blocks, "BLOCK", 8)
    path = tmp_path / "x"
    for later in ('{"a":1,"z":1}', '{"a":1.5}', '{"a":"x"}', '{"a":[1]}'):
        path.write_text('{"a":1}\n{"a":2}\n' + later + "\n")
        with pytest.raises(RowError, match=r"line 3 .*field '[az]'"):
            read(path)
    path.write_text('{"a":{"b":1}}\n{"a":{"b":1,"c":2}}\n')
    with pytest.raises(RowError, match=r"line 2 .*field 'a'"):
        read(path)
    path.write_text('{"a":1,"b":"x"}\n{"b":"y"}\n{}\n')
    assert read(path) == [{"a": 1, "b": "x"}, {"a": None, "b": "y"}, {"a": None, "b": None}]


def test_types_and_columns_are_the_remedies(tmp_path, monkeypatch):
    """`types` settles what the first rows leave open, `columns` leaves out what is not needed."""
    monkeypatch.setattr(blocks, "BLOCK", 8)
    path = tmp_path / "x"
    path.write_text('{"a":1,"d":"2026-01-01"}\n{"a":1.5,"z":[]}\n')
    assert read(path, columns=["a"], types={"a": "float"}) == [{"a": 1.0}, {"a": 1.5}]
    assert read(path, columns=["d"], types={"d": "date"})[0] == {"d": datetime.date(2026, 1, 1)}
    with pytest.raises(DataError, match="no column 'dd'"):
        read(path, columns=["dd"])


def test_only_the_columns_that_consumers_need_are_read(tmp_path):
    """The Context's hint narrows the reading; a dotted key needs its first part."""
    (tmp_path / "x").write_text('{"a":1,"u":{"n":1},"b":2}\n')
    assert read(tmp_path / "x", context=Context(columns=("u.n", "b"))) == [{"u": {"n": 1}, "b": 2}]


def test_bad_arrays_are_named(tmp_path):
    """An array's mistakes name the line or the entry."""
    path = tmp_path / "x.json"
    for data, what in (
        ('[{"a":1},\n{"a":}]', "line 2 .* is not JSON"),
        ('[{"a":1}, 5]', "entry 2 of the array"),
        ('[{"a":1}, {"a":{"b":1}}]', "do not fit together"),
    ):
        path.write_text(data)
        with pytest.raises(RowError, match=what):
            read(path)
    path.write_bytes(b'{"a":1}\n{"a":"\xff"}\n')
    with pytest.raises(RowError, match=r"line 2 .* is not UTF-8"):
        read(path)


@pytest.mark.parametrize(
    ("data", "what", "hint"),
    [
        (
            f'{{"a":1}}\n{{"a":{10**40}}}\n',
            r"line 2 .* field 'a' holds 10+\.\.\. \(41 digits\), which is too large",
            "in quotes",
        ),
        ('{"a":{"b":[1e400]}}\n', "line 1 .* field 'a' holds a number that is too large", "in quotes"),
        (f'{{"a":{"9" * 5000}}}\n', "line 1 .* field 'a' holds a number that is too large", "in quotes"),
        (f'[{{"b":1}},{{"a":{10**40}}}]', "entry 2 .* field 'a' holds 10+.* too large", "in quotes"),
        ('{\n  "a": 1,\n  "b": 2\n}\n', "line 1 .* is not JSON", "one JSON document over several lines"),
        ('{"a": {\n  "b": 1}}\n', "line 1 .* is not JSON", "one JSON document over several lines"),
        ('{"a": 1\n{"a": 2}\n', "line 1 .* is not JSON", "correct the line"),
        ('[{"a":1},{"b":{"a":1}},{"b":3}]', "field 'b' of entry 3 is 3, but .* an object", "alike"),
    ],
)
def test_messages_are_about_the_file(tmp_path, data, what, hint):
    """They name the value, and hold nothing of Polars' own advice."""
    (tmp_path / "x").write_text(data)
    with pytest.raises(RowError, match=what) as error:
        read(tmp_path / "x")
    assert hint in error.value.hint
    assert "infer_schema" not in str(error.value)
    assert error.value.__suppress_context__


def test_numbers_between_64_and_128_bits_are_exact(tmp_path, monkeypatch):
    """Polars reads them; where the first rows have fixed 64 bits they are an error."""
    path = tmp_path / "x"
    path.write_text(f'{{"a":1}}\n{{"a":{2**63}}}\n')
    assert read(path) == [{"a": 1}, {"a": 2**63}]
    monkeypatch.setattr(blocks, "BLOCK", 8)
    with pytest.raises(RowError, match=r"line 2 .* 9223372036854775808, which is too large for a 64-bit int"):
        read(path)
