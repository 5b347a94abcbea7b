"""Read TOML: ``tomllib`` for data, a scanner for places that runs only when something must be placed.

``tomllib`` stops at the first key that is written twice. Then the scanner finds all of them, blanks them
out, and the rest is read again.
"""

from __future__ import annotations

import re
import tomllib
from datetime import date, datetime, time
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from petal.config.source import MAX_DEPTH, MAX_DIGITS, MAX_VALUES, Parsed, Place, Refused, Source, check_size

if TYPE_CHECKING:
    from petal.spec.diagnostic import Diagnostic

_TEXT: Final = (
    r'"""(?:[^"\\]++|\\.|"(?!""))*+(?:"{3,5}|\Z)'
    r"|'''(?:[^']++|'(?!''))*+(?:'{3,5}|\Z)"
    r'|"(?:[^"\\\n]++|\\[^\n])*+"?'
    r"|'[^'\n]*+'?"
)
_SKIP: Final = re.compile(r"[ \t]*+")
_SKIP_LINES: Final = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_KEY: Final = re.compile(r"""[A-Za-z0-9_-]++|"(?:[^"\\\n]++|\\[^\n])*+"|'[^'\n]*+'""")
_VALUE: Final = re.compile(
    rf"{_TEXT}|[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[ ][0-9]{{2}}:[^\s,\]}}#]*+|[^\s,\]}}#]++", re.DOTALL
)
_SHAPE: Final = re.compile(rf"{_TEXT}|#[^\n]*+|[\[\]{{}}.=\n,]", re.DOTALL)
_LONG_INTEGER: Final = re.compile(r"[-+]?[0-9_]+")
_WHERE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_DOUBLES: Final = re.compile("twice|overwrite|redefine|mutate|[Dd]uplicate")

#: A part of tomllib's message, and the remedy.
_HINTS: Final = (
    ("Invalid value", "put text in quotes; TOML writes true and false in lower case and has no null"),
    ("Invalid statement", "write key = value or [table]; a comment starts with #"),
    ("Invalid initial character for a key", "put the key in quotes"),
    ("Expected '='", "write key = value; put a key with other than letters, digits, _ and - in quotes"),
    ("Expected newline", "one statement stands on one line"),
    ("Unclosed array", "put a comma between the values, or close the bracket"),
    ("Unclosed inline table", "an inline table stands on one line, without a comma at its end"),
    ("Unterminated string", "close the quotes"),
    ("Unescaped '\\'", "write '\\\\', or put the text in single quotes"),
    ("Illegal character", "close the quotes on this line, or use three quotes for several lines"),
    ("table declaration", "close the brackets of the table's name"),
)


def read_toml(source: Source) -> Parsed:
    """Parse TOML text.

    Raises:
        Refused: With the one finding after which nothing more can be found.
    """
    _check_shape(source)
    try:
        data = tomllib.loads(source.text)
    except (ValueError, RecursionError) as error:
        return _read_again(source, error)
    check_size(data, source)
    return Parsed(_without_dates(data), [], cache(lambda: _Scanner(source.text).scan()))


def _read_again(source: Source, error: Exception) -> Parsed:
    """Find what tomllib stopped at, and read the rest if it was a second key or a long integer."""
    scanner = _Scanner(source.text)
    root = scanner.scan()
    if len(scanner.doubles) > MAX_VALUES:
        raise Refused(source.too_many(0))
    findings = [source.duplicate(double.key, double.first, double.second) for double in scanner.doubles]
    findings += [source.too_long(start) for start, _ in scanner.long_integers]
    repairs = [(start, end, "0") for start, end in scanner.long_integers]
    repairs += [(double.start, double.end, "") for double in scanner.doubles]
    try:
        data = tomllib.loads(_repaired(source.text, repairs)) if repairs else None
    except (ValueError, RecursionError) as again:
        error, data = again, None
    if data is None:
        return Parsed(None, [*findings, _syntax_error(source, error)], lambda: Place(0))
    check_size(data, source)
    return Parsed(_without_dates(data), findings, lambda: root)


def _repaired(text: str, repairs: list[tuple[int, int, str]]) -> str:
    """Return the text with parts replaced and every other character where it was."""
    chars = list(text)
    for start, end, new in repairs:
        chars[start:end] = (char if char in "\r\n" else " " for char in text[start:end])
        chars[start : start + len(new)] = new
    return "".join(chars)


def _syntax_error(source: Source, error: Exception) -> Diagnostic:
    """Return the finding for the place where tomllib stopped."""
    message = str(error)
    where = _WHERE.search(message)
    offset = len(source.text.rstrip()) if where else 0
    if where and where[1]:
        lines = source.text.split("\n", int(where[1]))[: int(where[1]) - 1]
        offset = sum(map(len, lines)) + len(lines) + int(where[2]) - 1
    message = _WHERE.sub("", message)
    hint = next((hint for part, hint in _HINTS if part in message), None)
    if _DOUBLES.search(message):
        hint = "write each key and each table once"
    return source.finding("syntax", f"malformed TOML: {message}", offset, hint)


def _check_shape(source: Source) -> None:
    """Refuse deep nesting and long dotted keys before tomllib's recursion meets them."""
    depth = dots = 0
    for match in _SHAPE.finditer(source.text):
        char = match[0][0]
        if char in "[{":
            depth += 1
        elif char in "]}":
            depth = max(0, depth - 1)
        dots = dots + 1 if char == "." else dots if char in "\"'" else 0
        if depth > MAX_DEPTH or dots >= MAX_DEPTH:
            raise Refused(source.too_deep(match.start()))


def _without_dates(data: Any) -> Any:
    """Return data with dates and times as text, as YAML and JSON have them."""
    if isinstance(data, dict):
        return {key: _without_dates(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_without_dates(value) for value in data]
    if isinstance(data, date | datetime | time):
        return re.sub(r"\+00:00$", "Z", data.isoformat())
    return data


class _Double(NamedTuple):
    """A key or table that is written twice, and the text to blank out so that it is not."""

    key: str
    first: int
    second: int
    start: int
    end: int


class _Table(Place):
    """The place of a value that can have keys, and how it came to be.

    ``how`` is ``parent`` (named by a header below it), ``header``, ``tables`` (a list of them),
    ``dotted`` (made by a dotted key) or ``closed`` (an inline table).
    """

    how: str = "parent"


_Part = tuple[str, int]


class _Lost(Exception):
    """The scanner does not understand the text, so tomllib has not accepted it either."""


class _Scanner:
    """Finds the places of all values, and all keys that are written twice."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._pos = 0
        self._root = _Table(0, {}, "header")
        self._table = self._root
        self._surplus: tuple[str, int, int] | None = None  # the table being read was there before
        self.doubles: list[_Double] = []
        self.long_integers: list[tuple[int, int]] = []

    def scan(self) -> Place:
        """Return the root's place; of text with mistakes, as far as it could be read."""
        try:
            while self._skip(_SKIP_LINES):
                if self._text[self._pos] == "[":
                    self._header()
                else:
                    self._statement(self._table, self._pos)
        except _Lost:
            pass
        self._end_surplus(len(self._text))
        return self._root

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        """Skip what does not matter and tell whether anything is left."""
        self._pos = self._match(pattern).end()
        return self._pos < len(self._text)

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        match = pattern.match(self._text, self._pos)
        if match is None:
            raise _Lost
        return match

    def _take(self, expected: str) -> None:
        if not self._text.startswith(expected, self._pos):
            raise _Lost
        self._pos += len(expected)

    def _at(self, expected: str) -> bool:
        return self._text.startswith(expected, self._pos)

    def _key(self) -> list[_Part]:
        """Read a dotted key: each part with its offset."""
        parts: list[_Part] = []
        while True:
            self._skip(_SKIP)
            match = self._match(_KEY)
            parts.append((_unquoted(match[0]), self._pos))
            self._pos = match.end()
            self._skip(_SKIP)
            if not self._at("."):
                return parts
            self._pos += 1

    # tables

    def _header(self) -> None:
        start = self._pos
        self._end_surplus(start)
        brackets = "[[" if self._at("[[") else "["
        self._pos += len(brackets)
        parts = self._key()
        self._take("]" * len(brackets))
        opened = self._open(parts, start, several=brackets == "[[")
        if isinstance(opened, _Table):
            self._table = opened
        else:
            self._surplus = (".".join(name for name, _ in parts), opened, start)
            self._table = _Table(start, {}, "header")

    def _open(self, parts: list[_Part], start: int, *, several: bool) -> _Table | int:
        """Return the table that a header opens, or the offset of what stands in its way."""
        above = _descend(self._root, parts[:-1], "parent", ("parent", "header", "dotted"))
        if isinstance(above, int):
            return above
        name, at = parts[-1]
        children = _children(above)
        if name not in children:
            table = _Table(start, {}, "tables" if several else "header")
            children[name] = (at, table)
            return _next_item(table, start) if several else table
        first, known = children[name]
        if isinstance(known, _Table) and several and known.how == "tables":
            return _next_item(known, start)
        if isinstance(known, _Table) and not several and known.how == "parent":
            known.how, known.offset = "header", start
            children[name] = (at, known)
            return known
        return first

    def _end_surplus(self, end: int) -> None:
        if self._surplus is not None:
            key, first, second = self._surplus
            self.doubles.append(_Double(key, first, second, second, end))
            self._surplus = None

    # statements

    def _statement(self, table: _Table, blank_from: int, depth: int = 0) -> None:
        """Read ``key = value`` into a table."""
        parts = self._key()
        self._take("=")
        self._skip(_SKIP)
        value = self._value(depth)
        name, at = parts[-1]
        above = _descend(table, parts[:-1], "dotted", ("parent", "dotted"))
        first = above if isinstance(above, int) else _children(above).setdefault(name, (at, value))[0]
        if first != at:
            key = ".".join(name for name, _ in parts)
            self.doubles.append(_Double(key, first, parts[0][1], blank_from, self._pos))

    def _value(self, depth: int) -> Place:
        if depth > MAX_DEPTH:
            raise _Lost
        if self._at("["):
            return self._array(depth + 1)
        if self._at("{"):
            return self._inline_table(depth + 1)
        match = self._match(_VALUE)
        self._pos = match.end()
        if len(match[0]) > MAX_DIGITS and _LONG_INTEGER.fullmatch(match[0]):
            self.long_integers.append(match.span())
        return Place(match.start())

    def _array(self, depth: int) -> Place:
        children: dict[str | int, tuple[int, Place]] = {}
        place = Place(self._pos, children)
        self._pos += 1
        self._skip(_SKIP_LINES)
        while not self._at("]"):
            value = self._value(depth)
            children[len(children)] = (value.offset, value)
            self._skip(_SKIP_LINES)
            if not self._at("]"):
                self._take(",")
                self._skip(_SKIP_LINES)
        self._pos += 1
        return place

    def _inline_table(self, depth: int) -> Place:
        place = _Table(self._pos, {}, "closed")
        self._pos += 1
        self._skip(_SKIP)
        blank_from = self._pos
        while not self._at("}"):
            self._statement(place, blank_from, depth)
            self._skip(_SKIP)
            blank_from = self._pos
            if not self._at("}"):
                self._take(",")
                self._skip(_SKIP)
        self._pos += 1
        return place


def _next_item(tables: _Table, start: int) -> _Table:
    """Add a table to a list of tables."""
    children = _children(tables)
    table = _Table(start, {}, "header")
    children[len(children)] = (start, table)
    return table


def _descend(table: _Table, parts: list[_Part], how: str, through: tuple[str, ...]) -> _Table | int:
    """Follow a dotted key, making tables on the way; or return the offset of what stands in the way."""
    for name, at in parts:
        children = _children(table)
        first, known = children.setdefault(name, (at, _Table(at, {}, how)))
        if isinstance(known, _Table) and known.how == "tables" and how == "parent":
            known = _children(known)[len(_children(known)) - 1][1]
        if not isinstance(known, _Table) or known.how not in through:
            return first
        table = known
    return table


def _children(table: Place) -> dict[str | int, tuple[int, Any]]:
    """Return the children of a table, which always has them."""
    return table.children if table.children is not None else {}


def _unquoted(key: str) -> str:
    """Return what a part of a key says."""
    if key[0] == "'":
        return key[1:-1]
    if key[0] != '"' or "\\" not in key:
        return key.strip('"')
    try:
        return str(tomllib.loads(f"key = {key}")["key"])
    except ValueError:
        raise _Lost from None
