"""Show findings: as text with the source line and a caret, as JSON, or as GitHub's annotations."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from petal.cli.output import painted, visible
from petal.errors import PetalError
from petal.spec.diagnostic import Diagnostic, Severity
from petal.spec.redaction import redact
from petal.spec.url import is_url

if TYPE_CHECKING:
    from collections.abc import Iterable

#: A line is cut around its column to about this many columns of a terminal.
_WIDTH: Final = 100
_TAB: Final = 4
#: Larger files are not opened again to show a line of them.
_MOST_BYTES: Final = 8_000_000
_LINE_END: Final = re.compile(r"\r\n?|\n")
_COLOURS: Final = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
_GITHUB: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def as_text(findings: Iterable[Diagnostic], *, colour: bool = False) -> str:
    """Return findings for people: place, message, source line, caret, the modules that led there, and the hint."""
    lines = _Lines()
    return "\n".join(_text(finding, lines, colour) for finding in findings)


def as_records(findings: Iterable[Diagnostic]) -> list[dict[str, Any]]:
    """Return findings as plain data."""
    return [_record(finding) for finding in findings]


def as_github(findings: Iterable[Diagnostic]) -> str:
    """Return findings as workflow commands, which GitHub shows beside the changed lines."""
    return "\n".join(_annotation(finding) for finding in findings)


def finding_of(error: PetalError, file: str | None = None) -> Diagnostic:
    """Return the finding that an error stands for, such as one of a Python file that cannot be loaded."""
    place = error.location
    if place is None:
        return Diagnostic(error.code, Severity.ERROR, error.message, file, hint=error.hint)
    return Diagnostic(
        error.code, Severity.ERROR, error.message, place.file, place.line, place.column, error.hint
    )


def excerpt(file: str | None, line: int, column: int) -> list[str]:
    """Return a line of a file and a caret below its column; nothing where there is no such line."""
    return _Lines().excerpt(file, line, column)


def _text(finding: Diagnostic, lines: _Lines, colour: bool) -> str:
    severity = painted(f"{finding.severity.value}[{finding.code}]", _COLOURS[finding.severity], on=colour)
    place = painted(visible(finding.place), "bold", on=colour)
    parts = [f"{place}: {severity}: {visible(finding.message)}"]
    parts += lines.excerpt(finding.file, finding.line, finding.column)
    parts += [f"    in module at {visible(place)}" for place in reversed(finding.chain)]
    if finding.hint:
        parts.append(f"    hint: {visible(finding.hint)}")
    return "\n".join(parts)


def _record(finding: Diagnostic) -> dict[str, Any]:
    record: dict[str, Any] = {
        "code": finding.code,
        "severity": finding.severity.value,
        "message": redact(finding.message),
        "file": finding.file,
        "line": finding.line,
        "column": finding.column,
        "hint": None if finding.hint is None else redact(finding.hint),
    }
    if finding.chain:
        record["chain"] = list(finding.chain)
    return record


def _annotation(finding: Diagnostic) -> str:
    given = {"file": finding.file, "line": finding.line, "col": finding.column, "title": finding.code}
    properties = ",".join(f"{name}={_property(str(value))}" for name, value in given.items() if value)
    message = redact(finding.message) + (f"\nhint: {redact(finding.hint)}" if finding.hint else "")
    return f"::{_GITHUB[finding.severity]} {properties}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


class _Lines:
    """The lines of the files that findings are about, each file read once."""

    def __init__(self) -> None:
        self._files: dict[str, list[str]] = {}

    def excerpt(self, file: str | None, line: int, column: int) -> list[str]:
        if file is None or line < 1:
            return []
        if file not in self._files:
            self._files[file] = _read(file)
        lines = self._files[file]
        if line > len(lines) or not lines[line - 1].strip():
            return []
        shown, offset = _around(lines[line - 1], column)
        return [f"    {shown}", f"    {' ' * offset}^"] if column > 0 else [f"    {shown}"]


def _read(file: str) -> list[str]:
    """Return a file's lines as the parsers count them; nothing when it cannot be read (any more)."""
    if is_url(file):
        from petal.app.fetching import text_of

        return _LINE_END.split(text_of(file).decode("utf-8-sig", "replace"))
    try:
        path = Path(file)
        if not os.path.isfile(path) or path.stat().st_size > _MOST_BYTES:
            return []
        return _LINE_END.split(path.read_bytes().decode("utf-8-sig", "replace"))
    except (OSError, ValueError):
        return []


def _around(line: str, column: int) -> tuple[str, int]:
    """Return the part of a line around a column as a terminal shows it, and where the column is in it."""
    at = min(max(column - 1, 0), len(line))
    if (redacted := redact(line)) != line:
        line, at = redacted, min(len(redact(line[:at])), len(redacted))
    start = max(0, at - _WIDTH * 2 // 3) if len(line) > _WIDTH else 0
    end = start + _WIDTH if len(line) > _WIDTH else len(line)
    shown, offset, columns = "…" if start else "", 0, 1 if start else 0
    for i, char in enumerate(line[start:end], start):
        if i == at:
            offset = columns
        text = _shown(char, columns)
        shown += text
        columns += sum(map(_columns, text))
    if at >= end:
        offset = columns
    tail = "…" if end < len(line) else ""
    kept = shown.lstrip(" ")
    cut = len(shown) - len(kept)
    return kept + tail, max(0, offset - cut)


def _shown(char: str, columns: int) -> str:
    if char == "\t":
        return " " * (_TAB - columns % _TAB)
    if char.isprintable() or unicodedata.category(char) == "Zs":
        return char
    return char.encode("unicode_escape").decode()


def _columns(char: str) -> int:
    """Count a character's terminal columns: two for wide ones, none for marks on the character before."""
    if char.isascii():
        return 1
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
