"""Hold the text of one pipeline file, its limits, and where its values stand."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import Struct

from petal.spec.diagnostic import Diagnostic, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

#: What one file may hold. Aliases count as often as they are used.
MAX_BYTES: Final = 4_000_000
MAX_VALUES: Final = 50_000
MAX_DEPTH: Final = 64
MAX_DIGITS: Final = 4_300

SURROGATE: Final = re.compile("[\ud800-\udfff]")

_LINE_END: Final = re.compile(r"\r\n?|\n")


class Place(Struct):
    """Where a value starts, as an offset into the text.

    Attributes:
        offset: The value's first character.
        children: For each key (or index): the offset of the key (or item), and the value's place.
    """

    offset: int
    children: dict[str | int, tuple[int, Place]] | None = None


class Parsed(NamedTuple):
    """What the parser of one format hands back."""

    data: Any
    findings: list[Diagnostic]
    places: Callable[[], Place]


class Refused(Exception):
    """Abandon a document; carries the finding that says why."""

    def __init__(self, finding: Diagnostic) -> None:
        super().__init__(finding.message)
        self.finding = finding


class Source(Struct, frozen=True, dict=True):
    """A file's name and text, able to say on which line an offset lies."""

    file: str
    text: str

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(match.end() for match in _LINE_END.finditer(self.text))]

    def position(self, offset: int) -> tuple[int, int]:
        """Return the 1-based line and column of a character."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def line_text(self, line: int) -> str:
        """Return a line without its end, or "" when there is no such line."""
        if not 1 <= line <= len(self._starts):
            return ""
        end = self._starts[line] if line < len(self._starts) else len(self.text)
        return self.text[self._starts[line - 1] : end].rstrip("\r\n")

    def finding(self, code: str, message: str, offset: int, hint: str | None = None) -> Diagnostic:
        """Return an error at an offset."""
        line, column = self.position(max(0, min(offset, len(self.text))))
        return Diagnostic(code, Severity.ERROR, message, self.file, line, column, hint)

    def duplicate(self, key: str, first: int, second: int) -> Diagnostic:
        """Return the finding for a key that is written twice."""
        line, column = self.position(first)
        message = f"the key {shown(key)} is written twice: first at {self.file}:{line}:{column}, and here"
        return self.finding("duplicate-key", message, second, "remove or rename one of the two")

    def too_deep(self, offset: int) -> Diagnostic:
        """Return the finding for a value inside too many others."""
        message = f"values are nested more than {MAX_DEPTH} deep"
        return self.finding(
            "too-large", message, offset, "flatten the structure, or move a part into a module"
        )

    def too_many(self, offset: int, hint: str | None = None) -> Diagnostic:
        """Return the finding for a file with too many values."""
        message = f"the file holds more than {MAX_VALUES:,} values"
        return self.finding("too-large", message, offset, hint or "split the file into modules")

    def too_long(self, offset: int) -> Diagnostic:
        """Return the finding for an integer that Python would not read."""
        message = f"the integer has more than {MAX_DIGITS:,} digits"
        return self.finding("too-large", message, offset, "write it as text in quotes")

    def lone_surrogate(self, offset: int) -> Diagnostic:
        """Return the finding for an escape that is only half a character."""
        message = "the text holds half of a surrogate pair, which is not a character"
        return self.finding("syntax", message, offset, "write the character itself, or both halves")


def shown(text: str) -> str:
    """Return text from a file quoted and short enough for a message."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def check_size(data: object, source: Source) -> None:
    """Refuse data that is nested too deep or has too many values.

    Raises:
        Refused: With the finding, placed at the start of the file.
    """
    count = 0
    level: list[object] = [data]
    for depth in range(MAX_DEPTH + 2):
        count += len(level)
        if count > MAX_VALUES:
            raise Refused(source.too_many(0))
        inner: list[object] = []
        for value in level:
            if not isinstance(value, dict | list):
                continue
            if depth >= MAX_DEPTH:
                raise Refused(source.too_deep(0))
            inner.extend(value.values() if isinstance(value, dict) else value)
        level = inner
