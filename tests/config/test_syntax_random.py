"""Reading random pipeline files: damaged ones never raise, sound ones have every value placed."""

from __future__ import annotations

import contextlib
import json
import random
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from petal.config.source import Refused, Source
from petal.config.syntax import Document, Format, parse
from petal.config.write import dump
from petal.config.yaml_text import PureComposer, read_yaml

FORMATS: tuple[Format, ...] = ("yaml", "json", "toml")
HERE = Path(__file__).parent / "samples"

SAMPLES: dict[Format, str] = {format: (HERE / f"pipeline.{format}").read_text() for format in FORMATS}


@pytest.mark.parametrize("format", FORMATS)
def test_mutated_documents_never_raise(format: Format) -> None:
    """500 documents with random damage give data or placed findings, and never raise."""
    rng = random.Random(f"petal-{format}")
    for _ in range(500):
        raw = mutated(SAMPLES[format].encode(), rng)
        check_sound(parse(raw, "f", format))
        if format == "yaml":
            with contextlib.suppress(Refused):
                read_yaml(Source("f", raw.decode("utf-8", "replace")), composer=PureComposer)


def mutated(raw: bytes, rng: random.Random) -> bytes:
    """Return bytes with one to four cuts, flips and insertions."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(raw) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            raw = raw[:at] + raw[at + rng.randint(1, 40) :]
        elif kind == 1 and at < len(raw):
            raw = raw[:at] + bytes([raw[at] ^ (1 << rng.randrange(8))]) + raw[at + 1 :]
        elif kind == 2:
            raw = (
                raw[:at]
                + bytes(rng.choice(b"[]{}\"'#:,.=-&*!|>%@`\\\n\t\r \x00\x85\xff<?0") for _ in range(3))
                + raw[at:]
            )
        else:
            raw = raw[:at] + raw[rng.randrange(len(raw) + 1) :][:60] + raw[at:]
    return raw


def check_sound(document: Document) -> None:
    """Check what holds for every document whatsoever."""
    assert document.data is not None or document.findings
    for finding in document.findings:
        assert finding.line >= 1
        assert finding.column >= 1
        assert finding.message
        assert finding.file == "f"
        assert finding.column <= len(document.line_text(finding.line)) + 2
    for path in paths_of(document.data):
        line, column = document.locate(path)
        assert line >= 1
        assert column >= 1


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))),
    st.sampled_from(FORMATS),
)
def test_random_bytes_never_raise(raw: bytes, format: Format) -> None:
    """Whatever bytes a file holds, the parser returns."""
    document = parse(raw, "f", format)
    assert all(finding.line >= 1 for finding in document.findings)


KEYS = st.one_of(st.sampled_from(["a", "on", "017", "x y", "a.b", "", "<<", '"', "é"]), st.text(max_size=6))
SCALARS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["yes", "0o17", "1e5", "2026-01-01", "12:30:45", "a: b", "# x", "a\nb\n", "x\r\ny", "- a", "null"]
    ),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
)
DATA = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
        max_leaves=12,
    ),
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(DATA, st.sampled_from(FORMATS))
def test_every_path_leads_to_its_value(data: dict[str, Any], format: Format) -> None:
    """The text at the place of each scalar reads as that scalar, and that at its key as the key."""
    text = dump(data, format)
    document = parse(text, "f", format)
    assert document.findings == []
    assert document.data == data
    starts = [0, *(match.end() for match in re.finditer(r"\r\n?|\n", text))]
    for path in paths_of(data):
        line, column = document.locate(path)
        value = at_path(data, path)
        if not isinstance(value, dict | list):
            assert read_scalar(text[starts[line - 1] + column - 1 :], value, format) == value
        if path and isinstance(path[-1], str):
            line, column = document.locate(path, key=True)
            rest = text[starts[line - 1] + column - 1 :]
            assert read_key(rest, path[-1], format)


def paths_of(data: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the paths of all values."""
    items: Any = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(inner for step, value in items for inner in paths_of(value, (*path, step)))]


def at_path(data: Any, path: tuple[str | int, ...]) -> Any:
    """Return the value at a path."""
    for step in path:
        data = data[step]
    return data


def read_scalar(rest: str, value: Any, format: Format) -> Any:
    """Read the scalar that a text starts with, by means other than Petal's; plain text as long as wanted."""
    if format == "json":
        return json.JSONDecoder().raw_decode(rest)[0]
    if format == "yaml" and rest[0] in "'\"|":
        return first_scalar(rest)
    if format == "yaml" and isinstance(value, str):
        return rest[: len(value)]
    if format == "toml" and rest[0] == '"':
        quotes = '"""' if rest.startswith('"""') else '"'
        ends = (match.end() for match in re.finditer(quotes, rest[len(quotes) :]))
        for end in ends:
            try:
                return tomllib.loads("x = " + rest[: len(quotes) + end])["x"]
            except tomllib.TOMLDecodeError:
                continue
    word = re.match(r"[^\n,\]}]*", rest)
    assert word is not None
    if format == "toml":
        return tomllib.loads("x = " + word[0])["x"]
    return yaml.safe_load("- " + word[0])[0]


def first_scalar(rest: str) -> Any:
    """Return the first scalar of a YAML text."""
    return next(token.value for token in yaml.scan(rest) if isinstance(token, yaml.ScalarToken))


def read_key(rest: str, key: str, format: Format) -> bool:
    """Tell whether a text starts with a key."""
    if format == "json":
        return bool(json.JSONDecoder().raw_decode(rest)[0] == key)
    if format == "yaml":
        return bool(first_scalar(rest) == key) if rest[0] in "'\"|" else rest.startswith(key)
    if rest[0] == '"':
        match = re.match(r'"(?:[^"\\]|\\.)*"', rest)
        return match is not None and tomllib.loads(f"{match[0]} = 1") == {key: 1}
    return rest.startswith(key)
