"""Reading pipeline files: the same data in three formats, and every mistake and value placed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from petal.config import yaml_text
from petal.config.source import Refused, Source
from petal.config.syntax import Format, format_of, parse

FORMATS: tuple[Format, ...] = ("yaml", "json", "toml")
HERE = Path(__file__).parent / "samples"

SAMPLES: dict[Format, str] = {format: (HERE / f"pipeline.{format}").read_text() for format in FORMATS}

MODEL = {
    "name": "extract_logs",
    "cache_io": True,
    "inputs": {"day": "2026-01-01"},
    "nodes": [
        {"id": "reader", "type": "FileReader", "params": {"file_path": "input.txt"}},
        {"id": "filter", "type": "RegexFilter", "params": {"pattern": "^ERROR"}, "retry": 3, "ratio": 0.5},
    ],
    "edges": [["reader", "filter"]],
}


def found(text: str | bytes, format: Format) -> list[tuple[str, int, int]]:
    """Return code, line and column of each finding."""
    return [(f.code, f.line, f.column) for f in parse(text, "f", format).findings]


# the same model in three formats


@pytest.mark.parametrize("format", FORMATS)
def test_the_three_formats_give_the_same_data(format: Format) -> None:
    """The same model, written in any of the three formats, is equal data without findings."""
    document = parse(SAMPLES[format], "f", format)
    assert document.findings == []
    assert document.data == MODEL


def place(position: tuple[int, int]) -> str:
    """Return a place as line:column."""
    return f"{position[0]}:{position[1]}"


#: Each path with the places of its value, then of its key, in YAML, JSON and TOML.
PLACES: list[tuple[tuple[str | int, ...], str, str]] = [
    ((), "1:1 1:1 1:1", "1:1 1:1 1:1"),
    (("name",), "2:7 2:11 2:8", "2:1 2:3 2:1"),
    (("inputs", "day"), "4:15 4:21 4:14", "4:10 4:14 4:8"),
    (("nodes",), "6:3 5:12 10:1", "5:1 5:3 10:3"),
    (("nodes", 1), "9:5 7:5 15:1", "9:5 7:5 15:1"),
    (("nodes", 1, "id"), "9:9 8:13 16:8", "9:5 8:7 16:1"),
    (("nodes", 0, "params", "file_path"), "8:26 6:68 13:24", "8:15 6:55 13:12"),
    (("nodes", 1, "params", "pattern"), "12:16 9:29 22:11", "12:7 9:18 22:1"),
    (("edges", 0, 1), "16:14 12:24 7:14", "16:14 12:24 7:14"),
    # paths that do not exist: the longest part that does
    (("nodes", 1, "tipe", "x"), "9:5 7:5 15:1", "9:5 7:5 15:1"),
    (("nodes", 7), "6:3 5:12 10:1", "6:3 5:12 10:1"),
    (("nowhere",), "1:1 1:1 1:1", "1:1 1:1 1:1"),
]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("path", "values", "keys"), PLACES)
def test_locate(format: Format, path: tuple[str | int, ...], values: str, keys: str) -> None:
    """A path is found at the exact line and column of its value and of its key."""
    document = parse(SAMPLES[format], "f", format)
    column = FORMATS.index(format)
    assert place(document.locate(path)) == values.split()[column]
    assert place(document.locate(path, key=True)) == keys.split()[column]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("format", FORMATS)
def test_line_ends_do_not_move_places(format: Format, newline: str) -> None:
    """Windows line ends and a byte order mark change neither data nor places."""
    text = "\ufeff" + SAMPLES[format].replace("\n", newline)
    document = parse(text.encode(), "f", format)
    plain = parse(SAMPLES[format], "f", format)
    assert document.data == MODEL
    for path, _, _ in PLACES:
        assert document.locate(path) == plain.locate(path)
    assert document.line_text(2) == SAMPLES[format].splitlines()[1]


def test_columns_count_characters() -> None:
    """A column counts characters, not bytes, also after an emoji."""
    assert parse("é: [😀, x]\n", "f", "yaml").locate(("é", 1)) == (1, 8)
    assert parse('{"é": ["😀", 1]}', "f", "json").locate(("é", 1)) == (1, 13)
    assert parse('"é" = ["😀", 1]', "f", "toml").locate(("é", 1)) == (1, 13)


def test_line_text_outside_of_the_file_is_empty() -> None:
    """Asking for a line that is not there gives an empty text."""
    document = parse("a: 1\n", "f", "yaml")
    assert [document.line_text(n) for n in (-1, 0, 1, 2, 3)] == ["", "", "a: 1", "", ""]


def test_format_of() -> None:
    """The format follows from the file's suffix, whatever its case."""
    names = ["a.yaml", "b/c.YML", "x.json", "x.toml", "x.py", "x", ".yaml.bak"]
    assert [format_of(name) for name in names] == ["yaml", "yaml", "json", "toml", None, None, None]


def test_json_and_toml_do_not_load_yaml() -> None:
    """PyYAML is imported only once a YAML file is parsed."""
    code = (
        "import sys; from petal.config.syntax import parse; parse('{}', 'f', 'json'); parse('', 'f', 'toml');"
        "assert 'yaml' not in sys.modules; parse('', 'f', 'yaml'); assert 'yaml' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# YAML


SCALARS: dict[str, object] = (
    {
        text: text
        for text in ("yes", "no", "on", "off", "y", "0b11", "1_000", "1:30:00", "2026-01-01", "<<", "=")
    }
    | {"2026-01-01T10:00:00Z": "2026-01-01T10:00:00Z", "!!str 12": "12", "true": True, "False": False}
    | {"~": None, "": None, "017": 17, "0o17": 15, "0x1F": 31, "+12": 12, "!!int '7'": 7}
    | {"1e3": 1000.0, ".5": 0.5, "-.inf": float("-inf"), "!!float 3": 3.0}
)


@pytest.mark.parametrize(("text", "value"), SCALARS.items())
def test_yaml_scalars_follow_the_core_schema(text: str, value: object) -> None:
    """Scalars have the types of YAML 1.2's core schema, not of 1.1."""
    data = parse(f"k: {text}\n", "f", "yaml").data
    assert data == {"k": value}
    assert type(data["k"]) is type(value)


def test_yaml_keys_stay_as_written() -> None:
    """A key is text exactly as it is written, whatever its type would be."""
    data = parse("on: 1\n017: 2\ntrue: 3\n1.50: 4\n~: 5\n", "f", "yaml").data
    assert data == {"on": 1, "017": 2, "true": 3, "1.50": 4, "~": 5}


def test_yaml_merge_keys() -> None:
    """A merge key adds what the mapping does not have; the earlier of several mappings wins."""
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  <<: [*a, *b]\n  x: 0\nd:\n  <<: *a\n"
    document = parse(text, "f", "yaml")
    assert document.findings == []
    assert document.data["c"] == {"x": 0, "y": 2, "z": 4}
    assert document.data["d"] == {"x": 1, "y": 2}
    assert document.locate(("c", "z")) == (2, 17)
    assert document.locate(("d",), key=True) == (6, 1)


def test_yaml_aliases_are_copies() -> None:
    """Two uses of an anchor are equal but share no list, and an alias is located at its anchor."""
    document = parse("a: &a [1, {b: 2}]\nc: *a\n", "f", "yaml")
    assert document.data["a"] == document.data["c"]
    assert document.data["a"][1] is not document.data["c"][1]
    assert document.locate(("c", 1, "b")) == (1, 15)
    assert document.locate(("c",), key=True) == (2, 1)


YAML_MISTAKES = [
    ("a: 1\nb: [x, {a: 1, a: 2}]\na: 3\n", [("duplicate-key", 2, 15), ("duplicate-key", 3, 1)]),
    ("a: 1\n---\nb: 2\n", [("syntax", 2, 1)]),
    ("a: [1, 2\n", [("syntax", 2, 1)]),
    ("a: b: c\n", [("syntax", 1, 5)]),
    ("a:\n\tb: 1\n", [("syntax", 2, 1)]),
    ("a: *x\n", [("syntax", 1, 4)]),
    ("a: @x\n", [("syntax", 1, 4)]),
    ("a: &a [1, *a]\n", [("too-large", 1, 4)]),
    ("a: \x07\n", [("syntax", 1, 4)]),
    (
        "a: !!python/object/apply:os.system [x]\nb: !mine 3\nc: !!set {x}\n",
        [("unsafe-tag", n, 4) for n in (1, 2, 3)],
    ),
    ("a: !!int foo\n", [("syntax", 1, 4)]),
    ("? [1, 2]\n: 3\nb: 4\n", [("bad-key", 1, 3)]),
    ("<<: 3\n", [("syntax", 1, 5)]),
    ("<<: {a: 1}\n<<: {b: 1}\n", [("duplicate-key", 2, 1)]),
    ("a: {x: 1, x: 2}\nb: &b [*b]\n", [("duplicate-key", 1, 11), ("too-large", 2, 4)]),
    ("a: " + "9" * 5000, [("too-large", 1, 4)]),
]


@pytest.mark.parametrize(("text", "expected"), YAML_MISTAKES)
def test_yaml_mistakes_are_placed(text: str, expected: list[Any]) -> None:
    """Every mistake of a YAML text is found at its line and column."""
    assert found(text, "yaml") == expected


@pytest.mark.parametrize(
    "text",
    [text for text, _ in YAML_MISTAKES]
    + [SAMPLES["yaml"], 'a: "\\ud800"', 'a: "\\UFFFFFFFF"', "", "- " * 70, "[" * 70],
)
def test_yaml_without_libyaml_is_the_same(text: str) -> None:
    """PyYAML's own parser gives the same data and the same findings as libyaml."""
    assert outcome(text, yaml_text.PureComposer) == outcome(text, yaml_text.Composer)


def outcome(text: str, composer: Any) -> Any:
    """Return data with the codes and lines of all findings."""
    try:
        parsed = yaml_text.read_yaml(Source("f", text), composer=composer)
    except Refused as refusal:
        return None, [(refusal.finding.code, refusal.finding.line)]
    findings = [(f.code, f.line) for f in parsed.findings]
    return (None if ("syntax", 1) in findings else parsed.data), findings


def test_duplicate_keys_name_both_places_and_keep_the_first() -> None:
    """A duplicate key's message names where the key was first; the first value is kept."""
    document = parse("a: 1\nb: 2\na: 3\n", "dir/p.yaml", "yaml")
    assert document.data == {"a": 1, "b": 2}
    assert "dir/p.yaml:1:1" in document.findings[0].message
    assert document.findings[0].place == "dir/p.yaml:3:1"
    assert document.findings[0].hint


# JSON


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1,}', [("syntax", 1, 8)]),
        ('{"a": [1,\n2,\n]}', [("syntax", 2, 2)]),
        ('{"a": 1 "b": 2}', [("syntax", 1, 9)]),
        ('{\n  // why\n  "a": 1}', [("syntax", 2, 3)]),
        ("# why\n{}", [("syntax", 1, 1)]),
        (
            '{"a": NaN,\n "b": [Infinity, -Infinity], "c": "NaN"}',
            [("syntax", 1, 7), ("syntax", 2, 8), ("syntax", 2, 18)],
        ),
        ("", [("syntax", 1, 1)]),
        ('{"a": ', [("syntax", 1, 7)]),
        ('{"a": 1}\n{}', [("syntax", 2, 1)]),
        ('{"a": "x\ny"}', [("syntax", 1, 9)]),
        ('{"a": "x', [("syntax", 1, 7)]),
        ("{'a': 1}", [("syntax", 1, 2)]),
        ('{"a": True}', [("syntax", 1, 7)]),
        (
            '{"a": 1, "b": {"c": 1,\n "c": 2},\n "\\u0061": 3}',
            [("duplicate-key", 2, 2), ("duplicate-key", 3, 2)],
        ),
        ('{"a": "\\ud800", "b": "\\ud83d\\ude00"}', [("syntax", 1, 7)]),
        ('{"a": -' + "9" * 5000 + "}", [("too-large", 1, 7)]),
    ],
)
def test_json_mistakes_are_placed(text: str, expected: list[Any]) -> None:
    """Every mistake of a JSON text is found at its line and column."""
    assert found(text, "json") == expected


def test_json_with_duplicates_keeps_the_first() -> None:
    """JSON with duplicate keys still gives data: the first value of each."""
    assert parse('{"a": 1, "b": 2, "a": {"c": 1}}', "f", "json").data == {"a": 1, "b": 2}


# TOML


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1 1\n", [("syntax", 1, 7)]),
        ("a = nul\n", [("syntax", 1, 5)]),
        ("a = 1\r\nb = tru\r\n", [("syntax", 2, 5)]),
        ('a = "x', [("syntax", 1, 7)]),
        ("[a\n", [("syntax", 1, 3)]),
        ("a.b = 1\na = 2\nc = 1\na.b.c = 1\n", [("duplicate-key", 2, 1), ("duplicate-key", 4, 1)]),
        ("[a]\nx = 1\n[b]\n[a]\ny = 1\ny = 2\n", [("duplicate-key", 4, 1), ("duplicate-key", 6, 1)]),
        ("a = {x = 1, y = 2, x = 3}\n", [("duplicate-key", 1, 20)]),
        ("[[a]]\nx = 1\nx = 2\n[[a]]\nx = 1\n[a]\n", [("duplicate-key", 3, 1), ("duplicate-key", 6, 1)]),
        ("a = 1\na = 2\nb = nul\n", [("duplicate-key", 2, 1), ("syntax", 3, 5)]),
        ("a = 1\nb = -" + "9" * 5000, [("too-large", 2, 5)]),
    ],
)
def test_toml_mistakes_are_placed(text: str, expected: list[Any]) -> None:
    """Every mistake of a TOML text is found at its line and column."""
    assert found(text, "toml") == expected


def test_toml_with_duplicates_keeps_the_first() -> None:
    """TOML with keys and tables written twice still gives data: the first of each."""
    text = "a = 1\na = 2\n[t]\nx = {k = 1, k = 2, l = 3}\n[t]\ny = 2\n[u]\nz = '''\n[t]\n'''\n"
    assert parse(text, "f", "toml").data == {"a": 1, "t": {"x": {"k": 1, "l": 3}}, "u": {"z": "[t]\n"}}


def test_toml_dates_are_text() -> None:
    """Dates and times are their ISO text, as in the other formats."""
    text = "a = 2026-01-01\nb = 2026-01-01T10:00:00Z\nc = 10:00:00\nd = [2026-01-01 10:00:00+01:00]\n"
    assert parse(text, "f", "toml").data == {
        "a": "2026-01-01",
        "b": "2026-01-01T10:00:00Z",
        "c": "10:00:00",
        "d": ["2026-01-01T10:00:00+01:00"],
    }


def test_toml_places_of_every_kind_of_key() -> None:
    """Dotted, quoted and nested keys, inline tables and odd strings are all found."""
    text = """\
a . "b.c".'d' = "[x] # no comment"
s = ['''a'b''', \"\"\"q\\"\"\"\"\"\", { k.l = [1, [2]] }]  # ] comment
[t.u]
v = 1
[t]
w = 1979-05-27 07:32:00
[[t.list]]
[[t.list]]
x = { y = 2 }
[t.list.z]
end = 3
"""
    document = parse(text, "f", "toml")
    assert document.findings == []
    assert document.locate(("a", "b.c", "d")) == (1, 17)
    assert document.locate(("a", "b.c"), key=True) == (1, 5)
    assert document.locate(("s", 1)) == (2, 17)
    assert document.locate(("s", 2, "k", "l", 1, 0)) == (2, 43)
    assert document.locate(("t", "u")) == (3, 1)
    assert document.locate(("t", "u"), key=True) == (3, 4)
    assert document.locate(("t",)) == (5, 1)
    assert document.locate(("t", "w")) == (6, 5)
    assert document.locate(("t", "list", 1, "x", "y"), key=True) == (9, 7)
    assert document.locate(("t", "list", 1, "z", "end")) == (11, 7)
