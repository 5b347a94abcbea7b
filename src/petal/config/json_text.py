"""Read JSON: the standard parser for data, a scanner for places that runs only when one is asked for."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from petal.config.source import (
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_VALUES,
    SURROGATE,
    Parsed,
    Place,
    Refused,
    Source,
    check_size,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from petal.spec.diagnostic import Diagnostic

_TOKEN: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"|[-+.\w]++|[\[\]{}:,]', re.DOTALL)
_BRACKET: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_CONSTANTS: Final = frozenset({"NaN", "Infinity", "-Infinity"})

#: What stands where the parser stopped, and the remedy.
_HINTS: Final = {
    "/": "JSON has no comments; remove it, or write the pipeline in YAML or TOML",
    "#": "JSON has no comments; remove it, or write the pipeline in YAML or TOML",
    "'": 'JSON quotes text with "',
    "T": "JSON writes true, in lower case",
    "F": "JSON writes false, in lower case",
    "N": "JSON writes null",
    "+": "JSON numbers have no plus sign",
    ".": "JSON numbers start with a digit",
}


def read_json(source: Source) -> Parsed:
    """Parse JSON text.

    Raises:
        Refused: With the one finding after which nothing more can be found.
    """
    _check_depth(source)
    reader = _Reader()
    try:
        data = json.loads(
            source.text,
            object_pairs_hook=reader.mapping,
            parse_constant=reader.constant,
            parse_int=reader.integer,
        )
    except json.JSONDecodeError as error:
        raise Refused(_syntax_error(source, error)) from None
    except RecursionError:
        raise Refused(source.too_deep(0)) from None
    check_size(data, source)
    places = _lazy_places(source.text)
    if not reader.suspicious and not _SURROGATE_ESCAPE.search(source.text):
        return Parsed(data, [], places)
    scanner = _Scanner(source.text)
    root = scanner.scan()
    if len(scanner.duplicates) > MAX_VALUES:
        raise Refused(source.too_many(0))
    return Parsed(data, list(_findings(source, scanner)), lambda: root)


def _lazy_places(text: str) -> Callable[[], Place]:
    return cache(lambda: _Scanner(text).scan())


def _check_depth(source: Source) -> None:
    """Refuse deep nesting before a recursive parser meets it."""
    text = source.text
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for match in _BRACKET.finditer(text):
        bracket = match[0]
        if bracket in ("[", "{"):
            depth += 1
            if depth > MAX_DEPTH:
                raise Refused(source.too_deep(match.start()))
        elif bracket in ("]", "}"):
            depth -= 1


class _Reader:
    """The parser's hooks: they take every value and remember whether one must be looked for."""

    def __init__(self) -> None:
        self.suspicious = False

    def mapping(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        data = dict(pairs)
        if len(data) != len(pairs):
            self.suspicious = True
            data = dict(reversed(pairs))
            data = {key: data[key] for key, _ in pairs}
        return data

    def constant(self, _text: str) -> None:
        self.suspicious = True

    def integer(self, text: str) -> int:
        if len(text) > MAX_DIGITS:
            self.suspicious = True
            return 0
        return int(text)


def _syntax_error(source: Source, error: json.JSONDecodeError) -> Diagnostic:
    """Return the finding for the place where the parser stopped."""
    text, offset = source.text, error.pos
    before = text[:offset].rstrip(" \t\r\n")
    after = text[offset:].lstrip(" \t\r\n,")[:1]
    if after in ("]", "}") and text[offset : offset + 1] == ",":
        before = text[: offset + 1]
    if after in ("]", "}") and before.endswith(","):
        hint = f"remove the comma before the closing '{after}'"
        return source.finding(
            "syntax", "malformed JSON: a comma without a value after it", len(before) - 1, hint
        )
    if offset >= len(text) or not after:
        return source.finding(
            "syntax", "malformed JSON: the text ends too early", len(text), "close what is open"
        )
    message, hint_text = error.msg[0].lower() + error.msg[1:], _HINTS.get(text[offset : offset + 1])
    if error.msg.startswith("Extra data"):
        message = "there is more text after the end of the value"
    elif error.msg.startswith("Invalid control character"):
        message, hint_text = (
            "a line break, tab or control character in text",
            "write it as \\n, \\t or \\u00XX",
        )
    elif error.msg.startswith("Unterminated string"):
        message, hint_text = "the text that starts here has no end", 'add the closing "'
    return source.finding("syntax", f"malformed JSON: {message}", offset, hint_text)


class _Scanner:
    """Find the places of all values in text that the parser has accepted."""

    def __init__(self, text: str) -> None:
        self._tokens: Iterator[re.Match[str]] = _TOKEN.finditer(text)
        self.duplicates: list[tuple[str, int, int]] = []
        self.constants: list[re.Match[str]] = []
        self.long_integers: list[int] = []
        self.surrogates: list[int] = []

    def scan(self) -> Place:
        return self._value(next(self._tokens))

    def _value(self, token: re.Match[str]) -> Place:
        text = token[0]
        if text == "{":
            return Place(token.start(), self._members())
        if text == "[":
            return Place(token.start(), self._items())
        if text.startswith('"'):
            self._text(token)
        elif text in _CONSTANTS:
            self.constants.append(token)
        elif len(text) > MAX_DIGITS and text.lstrip("-").isdigit():
            self.long_integers.append(token.start())
        return Place(token.start())

    def _text(self, token: re.Match[str]) -> str:
        """Return what a quoted text says."""
        quoted = token[0]
        if "\\" not in quoted:
            return quoted[1:-1]
        text: str = json.loads(quoted)
        if SURROGATE.search(text):
            self.surrogates.append(token.start())
        return text

    def _members(self) -> dict[str | int, tuple[int, Place]]:
        children: dict[str | int, tuple[int, Place]] = {}
        for token in self._tokens:
            if token[0] == "}":
                break
            if token[0] == ",":
                continue
            key = self._text(token)
            next(self._tokens)  # the colon
            value = self._value(next(self._tokens))
            if key in children:
                self.duplicates.append((key, children[key][0], token.start()))
            else:
                children[key] = (token.start(), value)
        return children

    def _items(self) -> dict[str | int, tuple[int, Place]]:
        children: dict[str | int, tuple[int, Place]] = {}
        for token in self._tokens:
            if token[0] == "]":
                break
            if token[0] != ",":
                children[len(children)] = (token.start(), self._value(token))
        return children


def _findings(source: Source, scanner: _Scanner) -> Iterator[Diagnostic]:
    """Return what the parser lets pass and Petal does not."""
    for key, first, second in scanner.duplicates:
        yield source.duplicate(key, first, second)
    for token in scanner.constants:
        yield source.finding(
            "syntax", f"JSON has no {token[0]}", token.start(), "leave it out, or write null"
        )
    for offset in scanner.long_integers:
        yield source.too_long(offset)
    for offset in scanner.surrogates:
        yield source.lone_surrogate(offset)
