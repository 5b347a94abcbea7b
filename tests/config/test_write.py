"""Writing plain data as YAML, JSON and TOML."""

from __future__ import annotations

import datetime
import enum
import json
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from petal.config.syntax import Format, parse
from petal.config.write import dump
from petal.errors import UsageError

FORMATS: tuple[Format, ...] = ("yaml", "json", "toml")

PIPELINE: dict[str, Any] = {
    "name": "extract_logs",
    "plugins": ["./operators.py"],
    "params": {"pattern": "^ERROR"},
    "inputs": {"day": "2026-01-01"},
    "nodes": [
        {"id": "reader", "type": "FileReader", "params": {"file_path": "input.txt"}},
        {
            "id": "filter",
            "type": "RegexFilter",
            "params": {"pattern": "${params.pattern}", "sql": "select *\n  from x\n"},
            "execution": {"backend": "docker", "failover": ["local"]},
            "timeout": "30s",
        },
    ],
    "edges": [["reader", "filter"]],
    "outputs": {},
}


def test_yaml_looks_as_people_write_it() -> None:
    """YAML is in block style, with small leaves on one line and keys in their order."""
    assert (
        dump(PIPELINE, "yaml")
        == """\
name: extract_logs
plugins: [./operators.py]
params: {pattern: ^ERROR}
inputs: {day: '2026-01-01'}
nodes:
  - id: reader
    type: FileReader
    params: {file_path: input.txt}
  - id: filter
    type: RegexFilter
    params:
      pattern: ${params.pattern}
      sql: |
        select *
          from x
    execution:
      backend: docker
      failover: [local]
    timeout: 30s
edges:
  - [reader, filter]
outputs: {}
"""
    )


def test_json_is_indented_and_readable() -> None:
    """JSON is indented by two, keeps letters as they are and ends with a line end."""
    assert dump({"b": ["é"], "a": 1}, "json") == '{\n  "b": [\n    "é"\n  ],\n  "a": 1\n}\n'


def test_toml_has_tables() -> None:
    """TOML has a table per mapping and keeps several lines as several lines."""
    text = dump(PIPELINE, "toml")
    assert "[[nodes]]\nid = " in text
    assert 'sql = """\nselect *\n  from x\n"""' in text


# fmt: off
AMBIGUOUS = [
    "yes", "No", "on", "OFF", "y", "N", "true", "NULL", "~", "<<", "=", "12",
    "017", "0o17", "0x1f", "0b1", "1_000", "1e5", "1.5", ".5", "-.inf", ".NaN", "+1", "12:30",
    "1:2:3.5", "2026-01-01", "2026-01-01t10:00:00z",
]
# fmt: on


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_ambiguous_text_is_quoted(text: str) -> None:
    """Text that a reader of YAML 1.1 or 1.2 takes for something else stands in quotes, as key and as value."""
    written = dump({"k": text, "list": [text], text: 1}, "yaml")
    assert f"k: '{text}'\nlist: ['{text}']\n'{text}': 1\n" == written
    assert yaml.safe_load(written) == {"k": text, "list": [text], text: 1}


@pytest.mark.parametrize(
    ("data", "format", "part"),
    [
        ({"nodes": [{"params": {"x": None}}]}, "toml", "nodes[0].params.x"),
        ({"a": [1.5, float("inf")]}, "json", "a[1]"),
        ({"a": {"b": float("nan")}}, "json", "a.b"),
        ({"a": datetime.date(2026, 1, 1)}, "yaml", "a"),
        ({"a": b"x"}, "json", "a"),
        ({"a": {1: 2}}, "toml", "a.1"),
        ({"a": ["\ud800"]}, "yaml", "a[0]"),
        ({"a": {"\ud800": 1}}, "json", "a."),
        ({"a": 10**5000}, "toml", "a"),
        ([1], "yaml", "mapping"),
    ],
)
def test_what_has_no_form_is_refused_by_name(data: Any, format: Format, part: str) -> None:
    """A value that the format cannot hold is a UsageError that names its key."""
    with pytest.raises(UsageError) as caught:
        dump(data, format)
    assert part in caught.value.message


@pytest.mark.parametrize("format", FORMATS)
def test_endless_data_is_refused(format: Format) -> None:
    """Data that contains itself, or is nested very deep, is a UsageError too."""
    data: dict[str, Any] = {}
    data["self"] = data
    with pytest.raises(UsageError, match="deep"):
        dump(data, format)


@pytest.mark.parametrize("format", FORMATS)
def test_subclasses_become_plain(format: Format) -> None:
    """Enumerations of text or numbers, and tuples, are written as what they hold."""

    class Color(enum.StrEnum):
        RED = "red"

    class Level(enum.IntEnum):
        LOW = 1

    text = dump({"color": Color.RED, "levels": (Level.LOW, 2)}, format)
    assert parse(text, "f", format).data == {"color": "red", "levels": [1, 2]}


@pytest.mark.parametrize("format", ["yaml", "toml"])
def test_infinity_survives(format: Format) -> None:
    """YAML and TOML carry infinities and NaN."""
    data = parse(dump({"a": [float("inf"), float("-inf"), float("nan")]}, format), "f", format).data
    assert str(data) == "{'a': [inf, -inf, nan]}"


LINES = st.lists(
    st.sampled_from(["", " ", "a", " b", "c ", "\t", "# d", "- e", "é", "---", "..."]), max_size=5
).map("\n".join)
TEXTS = st.one_of(
    st.text(max_size=15),
    st.text(st.characters(max_codepoint=0xFF), max_size=8),
    st.text("\r\n\t \"'\\#:-,[]{}?&*!|>%@`~a0.", max_size=10),
    LINES,
)
LEAVES = st.one_of(
    TEXTS, st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none()
)
DATA = st.dictionaries(
    TEXTS,
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
        max_leaves=10,
    ),
    max_size=4,
)


@settings(max_examples=300, deadline=None)
@example({"a" * 200: {"b" * 1200: 1}, "x\ny": [], "": {}})
@example({"a": [[], {}, [[]], [{}], [{"a": "x" * 100}, {"b": [{"c": {}}]}]]})
@example(
    {"a": "x\n\n", "b": "\n", "c": "x\n ", "d": "x\n\ty\n", "e": "a\x85b", "f": "\ufeff", "g": "\x00\x7f"}
)
@example({"a": 1e16, "b": -1e-7, "c": -0.0, "d": 2**70})
@given(DATA)
def test_what_is_written_reads_back_equal(data: dict[str, Any]) -> None:
    """Data written in any format reads back equal, by Petal and by a common reader."""
    for format in FORMATS:
        wanted = without_none(data) if format == "toml" else data
        text = dump(wanted, format)
        document = parse(text, "f", format)
        assert document.findings == []
        assert document.data == wanted
        assert dump(document.data, format) == text
    assert json.loads(dump(data, "json")) == data
    assert yaml.safe_load(dump(data, "yaml")) == data


def without_none(data: Any) -> Any:
    """Return data without None, which TOML cannot hold."""
    if isinstance(data, dict):
        return {key: without_none(value) for key, value in data.items() if value is not None}
    if isinstance(data, list):
        return [without_none(value) for value in data if value is not None]
    return data
