r"""Search a regular expression in text: on Polars' engine, with the answers of Python's ``re`` (S3.6).

Polars' engine is several times faster, but the two read some things differently. So a pattern goes

* to Polars alone, where Python refuses it (``\p{L}``) or warns of it, or it has a POSIX class
  (``[[:alpha:]]``); * to Python alone, where Polars refuses it (look-around, back-references) or would read
  the same text differently
  (possessive quantifiers, ``\<``, ``\B``, verbose mode, a set within a set);
* else to Polars, row by row: a row on which the two may differ (``\w`` and a letter outside ASCII, ``$``
  and a newline at the end) is asked of Python.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import polars as pl

#: Finds a pattern in each row: a column of booleans, null where the row is null.
InColumn: TypeAlias = "Callable[[pl.Series], pl.Series]"

_TOKEN = re.compile(
    r"\\."  # an escape
    r"|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]"  # a set
    r"|.",
    re.DOTALL,
)
_FLAGS = re.compile(r"\(\?([a-zA-Z]*)(?:-([a-zA-Z]*))?[:)]")
_POSIX = re.compile(r"\[:\^?[a-z]+:\]")
#: Plain text that a row begins with, in which some signs are escaped.
_START = re.compile(r"\^((?:[^\\.^$*+?{}\[\]|()]|\\[^\w\s<>])+)")
_PLAIN_ESCAPE = re.compile(r"\\(.)")
_SET_OPERATOR = re.compile(r"&&|--|~~|\|\|")
#: Escapes as sets of ASCII, which is all they are asked about; Python's \s has the four separators too.
_ASCII = {
    r"\d": "0-9",
    r"\w": "0-9A-Za-z_",
    r"\s": r"\t-\r\x1c-\x20",
}


class _Translated(NamedTuple):
    """A pattern for Polars' engine, and the rows on which only Python knows the answer."""

    text: str
    ascii_only: bool
    dollar: bool


class _Differs(Exception):
    """The two engines would read this pattern differently."""


class Search:
    """Finds a pattern in text; a list is searched by Python where it takes the pattern, so without Polars.

    Args:
        pattern: The regular expression.

    Raises:
        ValueError: Neither engine takes it.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._python = None if _is_foreign(pattern) else _python(pattern)
        if self._python is None:
            _ = self.in_column

    @cached_property
    def in_column(self) -> InColumn:
        """The search in a column."""
        return compiled(self._pattern)

    def in_list(self, rows: list[str | None]) -> list[bool | None]:
        """Tell of each row whether the pattern is found, null where the row is null."""
        if self._python is None:
            import polars as pl

            return self.in_column(pl.Series(rows, dtype=pl.String)).to_list()
        search = self._python.search
        return [None if row is None else search(row) is not None for row in rows]


def check(pattern: str) -> None:
    """Refuse a pattern that neither engine takes.

    Raises:
        ValueError: Says why, and where in the pattern.
    """
    if _python(pattern) is None:
        compiled(pattern)


def compiled(pattern: str) -> InColumn:
    """Return the function that finds a pattern in a column of text.

    Raises:
        ValueError: Neither engine takes it.
    """
    if _is_foreign(pattern) and _polars_takes(pattern):
        return _on_polars(pattern)
    python = _python(pattern)
    if python is None:
        if _polars_takes(pattern):
            return _on_polars(pattern)
        raise ValueError(_why_not(pattern))
    try:
        translated = _translate(pattern)
    except _Differs:
        return _on_python(python)
    if not _polars_takes(translated.text):
        return _on_python(python)
    if translated.ascii_only or translated.dollar:
        return _on_both(translated, python)
    return _on_polars(translated.text)


def _python(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError, FutureWarning):
        return None


def _is_foreign(pattern: str) -> bool:
    """Whether Python would read a class or an operator of sets as plain letters."""
    return bool(_POSIX.search(pattern)) or _has_set_operator(pattern)


def _polars_takes(pattern: str) -> bool:
    import polars as pl

    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.ComputeError:
        return False
    return True


def _why_not(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        return f"{pattern!r} is not a regular expression: {error}"
    except (OverflowError, RecursionError, FutureWarning) as error:
        return f"{pattern!r} is a regular expression that no engine here takes: {error}"
    return f"{pattern!r} is not a regular expression"


def _on_polars(pattern: str) -> InColumn:
    start = _START.fullmatch(pattern)
    if start is not None:  # four times as fast
        text = _PLAIN_ESCAPE.sub(r"\1", start[1])
        return lambda rows: rows.str.starts_with(text)
    return lambda rows: rows.str.contains(pattern)


def _on_python(python: re.Pattern[str]) -> InColumn:
    import polars as pl

    search = python.search

    def found(rows: pl.Series) -> pl.Series:
        answers = [None if row is None else search(row) is not None for row in rows.to_list()]
        return pl.Series(rows.name, answers, dtype=pl.Boolean)

    return found


def _on_both(translated: _Translated, python: re.Pattern[str]) -> InColumn:
    text, ascii_only, dollar = translated
    slow = _on_python(python)

    def found(rows: pl.Series) -> pl.Series:
        answers = rows.str.contains(text)
        unsure = _unsure(rows, ascii_only, dollar)
        if not unsure.any():
            return answers
        where = unsure.arg_true()
        return answers.scatter(where, slow(rows.gather(where)))

    return found


def _unsure(rows: pl.Series, ascii_only: bool, dollar: bool) -> pl.Series:
    """Return which rows hold a letter outside ASCII, or end with a newline, as far as that matters."""
    if not ascii_only:
        return rows.str.ends_with("\n")
    wide = rows.str.len_bytes() != rows.str.len_chars()
    return wide | rows.str.ends_with("\n") if dollar else wide


def _has_set_operator(pattern: str) -> bool:
    """Whether a set begins with a set or uses ``&&``, ``--``, ``~~`` or ``||``, of which Python warns."""
    tokens = _TOKEN.findall(pattern)
    return any(len(t) > 1 and t[0] == "[" and (t.startswith("[[") or _SET_OPERATOR.search(t)) for t in tokens)


def _translate(pattern: str) -> _Translated:
    flags = "".join(a + b for a, b in _FLAGS.findall(pattern))
    if set(flags) - set("ims"):
        raise _Differs
    folds = "i" in flags
    if folds and (not pattern.isascii() or re.search(r"\\[xuUN]", pattern)):
        raise _Differs
    ascii_only, dollar = folds, False
    parts: list[str] = []
    tokens = _TOKEN.findall(pattern)
    for token, following in zip(tokens, [*tokens[1:], ""], strict=True):
        if token in ("*", "+", "?", "}") and following == "+":  # possessive in Python
            raise _Differs
        if token == "$":
            dollar = True
        elif token[0] == "[" and len(token) > 1:
            token, narrow = _translate_set(token)
            ascii_only |= narrow
        elif token[0] == "\\":
            narrow = token[1:] in "dDwWsSb"
            ascii_only |= narrow
            token = _translate_escape(token, following)
        parts.append(token)
    return _Translated("".join(parts), ascii_only, dollar)


def _translate_escape(token: str, following: str) -> str:
    if token in (r"\B", r"\<", r"\>") or (token == r"\b" and following == "{"):
        raise _Differs
    if token == r"\b":
        return r"(?-u:\b)"
    if token == r"\Z":
        return r"\z"
    if token.lower() in _ASCII:
        negated = "^" if token[1].isupper() else ""
        return f"[{negated}{_ASCII[token.lower()]}]"
    return token


def _translate_set(token: str) -> tuple[str, bool]:
    r"""Translate a set; also say whether it is right for ASCII only, because it has ``\w`` or its like."""
    if "[" in token[1:].replace(r"\[", ""):  # a set within a set, where Python sees a bracket
        raise _Differs
    narrow = False
    parts = []
    for part in re.findall(r"\\.|.", token, re.DOTALL):
        if part.lower() in _ASCII:
            narrow = True
            inner = _ASCII[part.lower()]
            part = f"[^{inner}]" if part[1].isupper() else inner
        parts.append(part)
    return "".join(parts), narrow
