"""Good pipelines, one text for each file, that between them use every part of the format."""

from __future__ import annotations

OPERATORS = """\
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

from petal import Check, operator


def even(value: int) -> None:
    if value % 2:
        raise ValueError("it must be even")


@operator
def numbers(*, count: int = 3, step: Annotated[int, Check(even)] = 2) -> Iterator[int]:
    yield from range(0, count, step)


@operator
def total(rows: Iterable[int], *, mode: Literal["sum", "max"] = "sum") -> int:
    return sum(rows)


@operator
def label(number: int, text: str = "n") -> list[str]:
    return [f"{text}={number}"]
"""

#: Files that the pipelines use.
PARTS = {
    "operators.py": OPERATORS,
    "clean.yaml": """\
name: clean
inputs: [lines]
params: { pattern: '^ERROR' }
nodes:
  - { id: filter, type: RegexFilter, params: { pattern: '${params.pattern}' } }
edges:
  - [lines, filter]
outputs: { output: filter }
""",
    "nested.toml": """\
inputs = ["lines"]
outputs = { output = "clean", other = "unused" }
[modules.clean]
path = "clean.yaml"
[[nodes]]
id = "unused"
type = "EmptySource"
""",
}

#: The pipelines that are mutated.
GOOD = {
    "filter.yaml": """\
nodes:
  - id: reader
    type: FileReader
    params: { file_path: input.txt }
  - id: filter
    type: RegexFilter
    params: { pattern: '^ERROR' }
  - id: writer
    type: FileWriter
    params: { file_path: output.txt }
edges:
  - [reader, filter]
  - [filter, writer]
""",
    "full.yaml": """\
$schema: ./schema.json
name: extract_logs
plugins: [./operators.py]
params: { pattern: '^ERROR', folder: &folder in }
inputs: { day: '2026-01-01' }
defaults: { effects: pure }
nodes:
  - id: reader
    type: FileReader
    params: { file_path: '${params.folder}/${env:HOME}/input.txt', errors: replace }
  - id: filter
    type: RegexFilter
    params: { pattern: "${params.pattern}" }
    inputs: { lines: reader }
    execution: { backend: local }
    retry: 1
    timeout: false
    effects: idempotent
    after: [reader]
  - id: writer
    type: FileWriter
    params:
      file_path: >-
        out/a.txt
    inputs: { lines: pre }
modules:
  - { id: pre, path: clean.yaml, params: { pattern: a }, inputs: { lines: filter } }
outputs: { output: filter, again: pre.output }
""",
    "mapping.yaml": """\
nodes:
  table:
    type: CsvReader
    params: { file_path: [a.csv, b.csv], separator: ';' }
  joined:
    type: Join
    params: { on: id, how: left }
    inputs: { left: table, right: other }
  other: { type: JsonFileReader, params: { file_path: c.jsonl } }
  sums:
    type: Aggregate
    params: { group_by: [a], aggregations: { total: sum(b), n: count() } }
  writer: { type: CsvWriter, params: { file_path: sums.csv, header: false } }
edges:
  - { from: joined, to: sums }
  - { from: sums.output, to: writer.records }
""",
    "anchors.yaml": """\
params:
  shared: &shared { file_path: a.txt }
nodes:
  - { id: one, type: FileReader, params: *shared }
  - { id: two, type: FileReader, params: { <<: *shared, errors: strict } }
  - { id: both, type: ListMerger, inputs: { lists: [one, two] } }
  - { id: writer, type: FileWriter, params: { file_path: b.txt }, inputs: { lines: both } }
""",
    "plugin.yaml": """\
plugins: [./operators.py]
inputs: [day, { count: 4 }]
nodes:
  - { id: numbers, type: Numbers, params: { count: 10, step: 4 } }
  - { id: rows, type: Numbers }
  - { id: total, type: Total, params: { mode: max } }
  - { id: label, type: Label, params: { text: sum }, inputs: { number: total } }
  - { id: sink, type: NoOpSink, inputs: { items: label } }
""",
    "modules.yaml": """\
nodes:
  - { id: reader, type: FileReader, params: { file_path: a.txt } }
  - { id: lines, type: FileReader, params: { file_path: b.txt } }
  - { id: writer, type: FileWriter, params: { file_path: c.txt } }
modules:
  first: { path: clean.yaml, params: { pattern: '$${x}' } }
  second: { path: ./nested.toml, after: [first] }
edges:
  - [reader, second.lines]
  - [second.output, writer]
""",
    "filter.json": """\
{
  "nodes": [
    {"id": "reader", "type": "FileReader", "params": {"file_path": "input.txt"}},
    {"id": "filter", "type": "RegexFilter", "params": {"pattern": "^ERROR", "invert": true}},
    {"id": "writer", "type": "FileWriter", "params": {"file_path": "output.txt"}}
  ],
  "edges": [["reader", "filter"], ["filter", "writer"]]
}
""",
    "full.json": """\
{
  "name": "full", "plugins": ["./operators.py"], "params": {"n": 4, "mode": "sum"}, "inputs": {"text": "x"},
  "defaults": {"timeout": false}, "cache_io": false,
  "nodes": {
    "numbers": {"type": "Numbers", "params": {"count": "${params.n}"}, "retry": {"max_attempts": 1, "delay": "1s"}},
    "total": {"type": "Total", "params": {"mode": "${params.mode}"}, "inputs": {"rows": "numbers"}, "effects": "pure"},
    "label": {"type": "Label", "inputs": {"number": "total"}, "after": "numbers", "execution": "local"}
  },
  "outputs": ["label"]
}
""",
    "tables.json": """\
{"nodes": [
  {"id": "people", "type": "CsvReader", "params": {"file_path": "p.csv"}},
  {"id": "some", "type": "Select", "params": {"columns": {"person": "name", "town": "city"}}},
  {"id": "sorted", "type": "Sort", "params": {"by": ["town"], "descending": true}},
  {"id": "first", "type": "Limit", "params": {"count": 10}},
  {"id": "writer", "type": "JsonFileWriter", "params": {"file_path": "t.jsonl"}}],
 "edges": [["people", "some"], ["some", "sorted"], {"from": "sorted", "to": "first"}, ["first", "writer"]]}
""",
    "modules.json": """\
{"nodes": [{"id": "r", "type": "FileReader", "params": {"file_path": "\\u0061.txt"}},
           {"id": "split", "type": "Splitter", "params": {"patterns": {"errors": "^E", "warnings": "^W"}}},
           {"id": "w", "type": "FileWriter", "params": {"file_path": "b.txt"}}],
 "modules": [{"id": "m", "path": "nested.toml", "inputs": {"lines": "split.errors"}}],
 "edges": [["r", "split"], ["m.output", "w"]]}
""",
    "filter.toml": """\
edges = [["reader", "filter"], ["filter", "writer"]]

[[nodes]]
id = "reader"
type = "FileReader"
params = { file_path = "input.txt" }

[[nodes]]
id = "filter"
type = "RegexFilter"
[nodes.params]
pattern = '^\\d+ ERROR'
invert = false

[[nodes]]
id = "writer"
type = "FileWriter"
params.file_path = \"\"\"output.txt\"\"\"
""",
    "full.toml": """\
name = "full" # of everything
plugins = ["./operators.py"]
outputs = { result = "label" }

[params]
n = 1_000
when = 2026-01-01T00:00:00Z
deep.er = { a = [1, 2.5, true, "x"] }

[inputs]
text = "t"

[nodes.numbers]
type = "Numbers"
params = { count = "${params.n}" }
[nodes.total]
type = "Total"
[nodes.total.inputs]
rows = "numbers"
[nodes.label]
type = "Label"
inputs = { number = "total" }
after = ["numbers"]
timeout = false
""",
    "modules.toml": """\
[[modules]]
id = "pre"
path = "clean.yaml"
params = { pattern = "${env:HOME}" }
inputs = { lines = "reader" }

[[modules]]
id = "post"
path = "nested.toml"

[[nodes]]
id = "reader"
type = "FileReader"
params = { file_path = ["a.txt", "b.txt"] }
[[nodes]]
id = "writer"
type = "FileWriter"
params = { file_path = "-" }

[[edges]]
from = "pre"
to = "post.lines"
[[edges]]
from = "post.output"
to = "writer"
""",
    "keys.toml": """\
[nodes]
events = { type = "JsonFileReader", params = { file_path = "e.jsonl" } }
fields = { type = "KeyExtractor", params = { keys = ["timestamp", "user.name"] }, inputs = { records = "events" } }
unique = { type = "Deduplicate", params = { by = ["timestamp"] }, inputs = { records = "fields" } }
writer = { type = "CsvWriter", params = { file_path = "s.csv", separator = "," }, inputs = { records = "unique" } }
""",
}
