"""Polars, DuckDB, PyArrow, and parsers of JSON in loops: libraries of data, without pipelines."""

from typing import Any

from common import PATTERNS, main

#: How Polars and DuckDB write lines as they are: a separator that no line has, and no quotes.
PLAIN = {"include_header": False, "quote_style": "never", "separator": "\x01"}


def _polars_lines(source: str) -> Any:
    import polars

    return polars.scan_lines(source, name="line")


def filter_polars(source: str, target: str) -> None:
    """Filter a scan of lines into a file."""
    import polars

    _polars_lines(source).filter(polars.col("line").str.contains("^ERROR")).sink_csv(target, **PLAIN)


def filter_polars_csv(source: str, target: str) -> None:
    """The same with its reader of CSV, one column wide."""
    import polars

    scan = polars.scan_csv(
        source, has_header=False, separator="\x01", quote_char=None, schema={"line": polars.String}
    )
    scan.filter(polars.col("line").str.contains("^ERROR")).sink_csv(target, **PLAIN)


def fanout_polars(source: str, target: str) -> None:
    """Three filters, three files, in one streaming query."""
    import polars

    lines = _polars_lines(source)
    sinks = [
        lines.filter(polars.col("line").str.contains(pattern)).sink_csv(f"{target}.{i}", lazy=True, **PLAIN)
        for i, pattern in enumerate(PATTERNS, 1)
    ]
    polars.collect_all(sinks, engine="streaming")


def _duckdb_copy(lines: str, pattern: str, target: str) -> None:
    import duckdb

    duckdb.execute(
        f"COPY (SELECT line FROM {lines} WHERE regexp_matches(line, '{pattern}')) "
        f"TO '{target}' (FORMAT csv, HEADER false, DELIMITER '\x01', QUOTE '', ESCAPE '')"
    )


def _duckdb_lines(source: str) -> str:
    return (
        f"read_csv('{source}', columns={{'line': 'VARCHAR'}}, header=false, auto_detect=false, "
        "delim='\x01', quote='', escape='')"
    )


def filter_duckdb(source: str, target: str) -> None:
    """Filter lines into a file."""
    _duckdb_copy(_duckdb_lines(source), PATTERNS[0], target)


def fanout_duckdb(source: str, target: str) -> None:
    """Three filters, three files; each reads the log."""
    for i, pattern in enumerate(PATTERNS, 1):
        _duckdb_copy(_duckdb_lines(source), pattern, f"{target}.{i}")


def fanout_duckdb_once(source: str, target: str) -> None:
    """Three filters, three files, of a temporary table that holds the log."""
    import duckdb

    duckdb.execute(f"CREATE TEMP TABLE log AS SELECT * FROM {_duckdb_lines(source)}")
    for i, pattern in enumerate(PATTERNS, 1):
        _duckdb_copy("log", pattern, f"{target}.{i}")


def filter_pyarrow(source: str, target: str) -> None:
    """Filter batches of lines into a file."""
    import pyarrow
    import pyarrow.compute as compute
    from pyarrow import csv

    reader = csv.open_csv(
        source,
        read_options=csv.ReadOptions(column_names=["line"], block_size=4 << 20),
        parse_options=csv.ParseOptions(delimiter="\x01", quote_char=False),
        convert_options=csv.ConvertOptions(column_types={"line": pyarrow.string()}),
    )
    options = csv.WriteOptions(include_header=False, quoting_style="none")
    with csv.CSVWriter(target, reader.schema, write_options=options) as writer:
        for batch in reader:
            writer.write_batch(batch.filter(compute.match_substring_regex(batch.column(0), "^ERROR")))


def jsonl_polars(source: str, target: str) -> None:
    """Two fields of JSON lines into CSV."""
    import polars

    polars.scan_ndjson(source).select("timestamp", "level").sink_csv(target, include_header=False)


def jsonl_duckdb(source: str, target: str) -> None:
    """Two fields of JSON lines into CSV."""
    import duckdb

    duckdb.execute(
        "COPY (SELECT timestamp, level FROM read_json("
        f"'{source}', format='newline_delimited', columns={{timestamp: 'VARCHAR', level: 'VARCHAR'}})) "
        f"TO '{target}' (FORMAT csv, HEADER false)"
    )


def jsonl_pyarrow(source: str, target: str) -> None:
    """Two fields of JSON lines into CSV, batch by batch."""
    import pyarrow
    from pyarrow import csv, json

    schema = pyarrow.schema([("timestamp", pyarrow.string()), ("level", pyarrow.string())])
    parse = json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    reader = json.open_json(source, read_options=json.ReadOptions(block_size=4 << 20), parse_options=parse)
    options = csv.WriteOptions(include_header=False, quoting_style="none")
    with csv.CSVWriter(target, schema, write_options=options) as writer:
        for batch in reader:
            writer.write_batch(batch)


def jsonl_loop(parser: str, source: str, target: str) -> None:
    """Parse each line with `json` or `orjson`, write with `csv`."""
    import csv
    import importlib

    parse = importlib.import_module(parser).loads
    with open(source, "rb") as lines, open(target, "w", newline="", encoding="utf-8") as file:
        rows = ((record["timestamp"], record["level"]) for record in map(parse, lines))
        csv.writer(file, lineterminator="\n").writerows(rows)


def jsonl_msgspec(source: str, target: str) -> None:
    """Parse each line into a struct of the two fields, write with `csv`."""
    import csv

    import msgspec

    class Event(msgspec.Struct):
        timestamp: str
        level: str

    parse = msgspec.json.Decoder(Event).decode
    with open(source, "rb") as lines, open(target, "w", newline="", encoding="utf-8") as file:
        rows = ((event.timestamp, event.level) for event in map(parse, lines))
        csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main(globals())
