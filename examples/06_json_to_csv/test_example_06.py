"""Example 06: JSON lines to a table of two of their fields."""

import csv
import io
import json
from pathlib import Path

import pytest

from petal import Pipeline
from tests.examples import Example

EVENTS = [
    json.loads(line)
    for line in Path(__file__).with_name("events.jsonl").read_text(encoding="utf-8").splitlines()
    if line.strip()
]


@pytest.mark.parametrize("file", ["pipeline.json", "pipeline.yaml", "pipeline.py"])
def test_the_table_has_the_two_fields_of_every_record(example: Example, file: str) -> None:
    made = example.run(file)
    assert list(made) == ["summary.csv"]
    rows = list(csv.DictReader(io.StringIO(made["summary.csv"].decode())))
    assert rows == [{"timestamp": e["timestamp"], "level": e.get("level", "")} for e in EVENTS]


def test_the_json_file_says_the_same_as_the_yaml_file(example: Example) -> None:
    assert Pipeline.from_file("pipeline.json").spec == Pipeline.from_file("pipeline.yaml").spec


def test_the_readme_is_true(example: Example, tmp_path: Path) -> None:
    assert example.readme_mistakes(tmp_path) == []
