"""Example 20: real data, held against DuckDB's answer to the same question."""

from __future__ import annotations

import csv
import io
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.examples import Example

COLUMNS = ["state", "city", "month", "mean", "min", "max", "hours"]
QUERY = """
    WITH readings AS (
        SELECT 'Seattle' AS city, strptime(date, '%Y/%m/%d %H:%M') AS date, temp
        FROM read_csv('{data}/seattle-temps.csv', columns = {{'date': 'VARCHAR', 'temp': 'DOUBLE'}})
        UNION ALL
        SELECT 'San Francisco', strptime(date, '%Y/%m/%d %H:%M:%S'), temp
        FROM read_csv('{data}/sf-temps.csv', columns = {{'temp': 'DOUBLE', 'date': 'VARCHAR'}})
    )
    SELECT state, city, strftime(date, '%Y-%m') AS month, avg(temp), min(temp), max(temp), count(*)
    FROM readings JOIN '{cities}' USING (city)
    GROUP BY ALL ORDER BY state, city, month
"""


@pytest.fixture(scope="module")
def expected() -> list[tuple[Any, ...]]:
    package = find_spec("vega_datasets")
    assert package is not None
    assert package.origin is not None
    query = QUERY.format(
        data=Path(package.origin).parent / "_data", cities=Path(__file__).with_name("cities.json")
    )
    with duckdb.connect() as database:
        return database.execute(query).fetchall()


@pytest.mark.parametrize("file", ["pipeline.yaml", "pipeline.py"])
def test_both_files_hold_what_duckdb_says(
    example: Example, file: str, expected: list[tuple[Any, ...]]
) -> None:
    made = example.run(file)
    assert sorted(made) == ["months.csv", "months.json"]
    assert len(expected) == 24
    from_csv = [list(r.values()) for r in csv.DictReader(io.StringIO(made["months.csv"].decode()))]
    from_json = json.loads(made["months.json"])
    assert [list(r) for r in from_json] == [COLUMNS] * 24
    for csv_row, json_row, row in zip(from_csv, from_json, expected, strict=True):
        assert csv_row[:3] == list(row[:3])
        assert [float(x) for x in csv_row[3:]] == pytest.approx(row[3:])
        assert list(json_row.values())[:3] == list(row[:3])
        assert list(json_row.values())[3:] == pytest.approx(row[3:])


def test_the_readme_is_true(example: Example, tmp_path: Path) -> None:
    assert example.readme_mistakes(tmp_path) == []
