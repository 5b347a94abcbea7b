"""The built-in operators keep the contract that plugins' operators are held to."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from petal.library import (
    aggregate,
    cast,
    compression,
    csv_files,
    flaky,
    json_files,
    lines,
    merge,
    noop,
    parquet_files,
    records,
    rows,
    sql,
    text,
)
from petal.testing import assert_operator_contract

ROWS = [{"id": 2, "name": "b"}, {"id": 1, "name": None}, {"id": 2, "name": "b"}]
LINES = ["ERROR a", "fine", "", "ERROR b"]


def records_given(**params: Any) -> dict[str, Any]:
    return {"inputs": {"records": ROWS}, "params": params}


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "EmptySource": (noop.empty_source, {"output": []}),
    "NoOpTransformer": (noop.noop_transformer, {"inputs": {"items": ["a"]}, "output": ["a"]}),
    "NoOpSink": (noop.noop_sink, {"inputs": {"items": ["a"]}}),
    "FlakyTransformer": (
        flaky.flaky_transformer,
        {"inputs": {"items": ["a"]}, "params": {"probability": 0.0}, "output": ["a"]},
    ),
    "RegexFilter": (
        lines.regex_filter,
        {"inputs": {"lines": LINES}, "params": {"pattern": "^ERROR"}, "output": ["ERROR a", "ERROR b"]},
    ),
    "ListMerger": (merge.list_merger, {"inputs": {"lists": [["a"], [], ["b"]]}, "output": ["a", "b"]}),
    "Select": (
        records.select,
        {**records_given(columns=["id"]), "output": [{"id": 2}, {"id": 1}, {"id": 2}]},
    ),
    "KeyExtractor": (
        records.key_extractor,
        {**records_given(keys=["id"]), "output": [{"id": 2}, {"id": 1}, {"id": 2}]},
    ),
    "Rename": (
        records.rename,
        {**records_given(columns={"id": "n"}), "output": [{"n": r["id"], "name": r["name"]} for r in ROWS]},
    ),
    "Join": (
        records.join,
        {
            "inputs": {"left": ROWS, "right": pl.DataFrame({"id": [1], "x": [0.5]})},
            "params": {"on": "id"},
            "output": [{"id": 1, "name": None, "x": 0.5}],
        },
    ),
    "Aggregate": (
        aggregate.aggregate,
        {**records_given(group_by=["id"], aggregations={"n": "count(name)"})},
    ),
    "Sort": (
        rows.sort,
        {
            "inputs": {"records": pl.DataFrame({"id": [2, 1]})},
            "params": {"by": ["id"]},
            "output": pl.DataFrame({"id": [1, 2]}),
        },
    ),
    "Deduplicate": (rows.deduplicate, {**records_given(by=["id"]), "output": ROWS[:2]}),
    "Limit": (rows.limit, {**records_given(count=1), "output": ROWS[:1]}),
    "Sample": (rows.sample, {**records_given(fraction=1.0), "output": ROWS}),
    "FilterRows": (sql.filter_rows, {**records_given(where="id = 1"), "output": [ROWS[1]]}),
    "Cast": (
        cast.cast,
        {**records_given(types={"id": "str"}), "output": [{**r, "id": str(r["id"])} for r in ROWS]},
    ),
    "GzipDecompressor": (
        compression.gzip_decompressor,
        {"inputs": {"chunks": [gzip.compress(b"petal")]}, "output": [b"petal"], "accepts_empty": False},
    ),
    "GzipCompressor": (compression.gzip_compressor, {"inputs": {"chunks": [b"a", b"b"]}}),
    "FileWriter": (
        text.file_writer,
        {
            "inputs": {"lines": LINES},
            "params": {"file_path": Path("out.txt")},
            "files": {"out.txt": "ERROR a\nfine\n\nERROR b\n"},
        },
    ),
    "CsvWriter": (
        csv_files.csv_writer,
        {**records_given(file_path=Path("out.csv")), "files": {"out.csv": "id,name\n2,b\n1,\n2,b\n"}},
    ),
    "JsonFileWriter": (
        json_files.json_file_writer,
        {
            **records_given(file_path=Path("out.jsonl")),
            "files": {"out.jsonl": '{"id":2,"name":"b"}\n{"id":1,"name":null}\n{"id":2,"name":"b"}\n'},
        },
    ),
    "ParquetWriter": (parquet_files.parquet_writer, records_given(file_path=Path("out.parquet"))),
}


@pytest.mark.parametrize("name", CASES)
def test_a_built_in_operator_keeps_the_contract(name: str) -> None:
    """Here and in another process."""
    operator, case = CASES[name]
    assert_operator_contract(operator, **case)


def test_the_splitter_and_the_query_keep_it_too() -> None:
    """One gives several ports, the other takes frames."""
    assert_operator_contract(lines.splitter, inputs={"lines": LINES}, params={"patterns": {"bad": "ERROR"}})
    assert_operator_contract(
        sql.sql_query,
        inputs={"tables": [pl.LazyFrame({"n": [1, 2]})]},
        params={"names": ["t"], "query": "SELECT n FROM t WHERE n > 1"},
        output=pl.DataFrame({"n": [2]}),
    )


@pytest.mark.parametrize("reader", ["text", "csv", "json"])
def test_a_reader_keeps_the_contract(reader: str, tmp_path: Path) -> None:
    """It opens its file when its rows are asked for, and closes it when they are not asked for any more."""
    file = tmp_path / "input"
    file.write_text({"text": "a\nb\n", "csv": "n,t\n1,a\n2,b\n", "json": '{"n":1}\n{"n":2}\n'}[reader])
    operator: Any = {
        "text": text.file_reader,
        "csv": csv_files.csv_reader,
        "json": json_files.json_file_reader,
    }[reader]
    output = {
        "text": ["a", "b"],
        "csv": [{"n": 1, "t": "a"}, {"n": 2, "t": "b"}],
        "json": [{"n": 1}, {"n": 2}],
    }[reader]
    assert_operator_contract(operator, params={"file_path": file}, output=output)
