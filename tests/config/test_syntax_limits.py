"""Reading hostile pipeline files: encoding, size, depth, aliases and time."""

from __future__ import annotations

import time

import pytest

from petal.config.syntax import Format, parse

FORMATS: tuple[Format, ...] = ("yaml", "json", "toml")


def found(text: str | bytes, format: Format) -> list[tuple[str, int, int]]:
    """Return code, line and column of each finding."""
    return [(f.code, f.line, f.column) for f in parse(text, "f", format).findings]


@pytest.mark.parametrize(
    ("raw", "line", "column"),
    [
        (b"a: 1\nb: \xff", 2, 4),
        (b"\xef\xbb\xbfa: \xc3\xa4\n# \xc3\xa4\xe4", 2, 4),
        (b"\xff\xfea\x00", 1, 1),
        (b"\xef\xbb\xbf\xff", 1, 1),
    ],
)
@pytest.mark.parametrize("format", FORMATS)
def test_invalid_utf8_is_placed(format: Format, raw: bytes, line: int, column: int) -> None:
    """Bytes that are not UTF-8 are reported with their line; text with half a character likewise."""
    document = parse(raw, "f", format)
    assert document.data is None
    assert [(f.code, f.line, f.column) for f in document.findings] == [("encoding", line, column)]
    assert f"line {line}" in document.findings[0].message
    assert found("a\n\ud800", format) == [("encoding", 2, 1)]


@pytest.mark.parametrize("format", FORMATS)
def test_large_files_are_refused(format: Format) -> None:
    """A file of more than 4 MB is refused unread."""
    assert found(" " * 4_000_001, format) == [("too-large", 1, 1)]


@pytest.mark.parametrize(
    ("format", "head", "tail"), [("yaml", "[", "]"), ("json", "[", "]"), ("toml", "a = [", "]")]
)
def test_number_of_values_is_bounded(format: Format, head: str, tail: str) -> None:
    """More than 50,000 values are refused, and 49,000 are not."""
    assert found(head + "1," * 60_000 + "1" + tail, format) == [("too-large", 1, 1)]
    assert found(head + "1," * 49_000 + "1" + tail, format) == []


@pytest.mark.parametrize(
    ("format", "text", "column"),
    [
        ("yaml", "[" * 100_000, 65),
        ("yaml", "- " * 100_000, 129),
        ("yaml", "{a: " * 100_000, 257),
        ("yaml", "[" * 64 + "]" * 64, None),
        ("yaml", "[" * 65 + "]" * 65, 65),
        ("json", "[" * 100_000, 65),
        ("json", '{"a":' * 100_000, 321),
        ("json", "[" * 64 + "]" * 64, None),
        ("json", "[" * 65 + "]" * 65, 65),
        ("toml", "a = " + "[" * 100_000, 69),
        ("toml", "a = " + "{a = " * 100_000, 325),
        ("toml", "a." * 100_000 + "a = 1", 128),
        ("toml", '"a".' * 100_000 + "a = 1", 256),
        ("toml", "[" + "a." * 100_000 + "a]", 129),
        ("toml", "a = " + "[" * 63 + "]" * 63, None),
        ("toml", "a = " + "[" * 64 + "]" * 64, 1),
    ],
)
def test_nesting_is_bounded(format: Format, text: str, column: int | None) -> None:
    """Values nested more than 64 deep are refused at once and without a RecursionError."""
    started = time.process_time()
    findings = found(text, format)
    assert time.process_time() - started < 1
    assert findings == ([] if column is None else [("too-large", 1, column)])


def test_depth_counts_aliases() -> None:
    """Aliases inside aliases cannot get around the limit of depth."""
    text = "a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 30 + "*a" + "]" * 30 + "\n"
    assert found(text, "yaml") == [("too-large", 2, 33)]


def test_billion_laughs_are_refused_at_once() -> None:
    """Aliases that multiply are refused by what they expand to, not by the file's size."""
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    merges = ["m0: &m0 {x: [1, 2, 3, 4, 5, 6, 7]}"]
    merges += [f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}" for n in range(1, 10)]
    for text in ("\n".join(lines), "\n".join(merges), "a: &a x\nb: [" + "*a, " * 60_000 + "]"):
        started = time.process_time()
        assert [code for code, _, _ in found(text, "yaml")] == ["too-large"]
        assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("json", '{"x": "' + '\\"' * 1_000_000),
        ("json", "{" + '"a": 1, ' * 100_000 + '"a": 1}'),
        ("toml", 'x = "' + '\\"' * 1_000_000),
        ("toml", 'x = """' + '""' * 500_000),
        ("toml", "a = 1\n" * 100_000),
        ("yaml", "a: 1\n" * 60_000),
        ("yaml", 'x: "' + '\\"' * 1_000_000),
    ],
)
@pytest.mark.slow
def test_hostile_texts_take_no_quadratic_time(format: Format, text: str) -> None:
    """Large unterminated or repetitive texts are refused in time linear in their size."""
    started = time.process_time()
    assert len(found(text, format)) == 1
    assert time.process_time() - started < 4
