"""Take a Google-style docstring apart: summary, description, arguments and example."""

from __future__ import annotations

import inspect
import re
from typing import Final

from msgspec import Struct, field


class Doc(Struct, frozen=True):
    """A docstring, taken apart.

    Attributes:
        summary: Its first paragraph, on one line.
        description: The other paragraphs outside of any section, as they are written.
        args: Each argument's text on one line, by name without stars.
        example: The text of the first ``Example:`` section, without its indentation.
    """

    summary: str = ""
    description: str = ""
    args: dict[str, str] = field(default_factory=dict)
    example: str = ""


_ARGS: Final = frozenset({"args", "arguments", "parameters", "params", "keyword args", "keyword arguments"})
_EXAMPLES: Final = frozenset({"example", "examples"})
_SECTIONS: Final = (
    _ARGS
    | _EXAMPLES
    | frozenset({"returns", "return", "yields", "yield", "raises", "attributes", "note", "notes", "warning"})
    | frozenset({"warnings", "warns", "see also", "references", "todo", "methods", "other parameters"})
)
_HEADER: Final = re.compile(r"([A-Za-z][A-Za-z ]*):\s*")
#: ``name: text`` or ``name (type): text``, with or without stars.
_ARGUMENT: Final = re.compile(r"\*{0,2}([^\W\d]\w*)\s*(?:\([^()]*(?:\([^()]*\)[^()]*)*\))?\s*:(?:\s+(.*)|)")


def parse_doc(doc: str) -> Doc:
    """Take a docstring apart; whatever it looks like, nothing is raised.

    Args:
        doc: The docstring, cleaned or as it stands in the source; may be empty.
    """
    lines = inspect.cleandoc(doc or "").expandtabs(4).splitlines()
    prose: list[str] = []
    args: dict[str, str] = {}
    example = ""
    i = 0
    while i < len(lines):
        name = _section(lines, i)
        if name is None:
            prose.append(lines[i])
            i += 1
            continue
        body, i = _body(lines, i + 1)
        if name in _ARGS:
            args = {**_arguments(body), **args}
        elif name in _EXAMPLES and not example:
            example = "\n".join(body)
    summary, description = _paragraphs(prose)
    return Doc(summary, description, args, example)


def _section(lines: list[str], i: int) -> str | None:
    """Return the section that begins here, in lower case."""
    match = _HEADER.fullmatch(lines[i])
    name = match[1].strip().lower() if match else ""
    return name if name in _SECTIONS else None


def _body(lines: list[str], start: int) -> tuple[list[str], int]:
    """Return the indented lines after a header, without their indentation, and where they end."""
    end = start
    while end < len(lines) and (not lines[end].strip() or lines[end][0] == " "):
        end += 1
    return inspect.cleandoc("\n" + "\n".join(lines[start:end])).splitlines(), end


def _arguments(body: list[str]) -> dict[str, str]:
    """Collect ``name: text`` entries; deeper lines go on with the entry above."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in body:
        match = None if line[:1] in ("", " ") else _ARGUMENT.fullmatch(line)
        if match:
            current = found.setdefault(match[1], [])
            current.append((match[2] or "").strip())
        elif current is not None:
            current.append(line.strip())
    return {name: " ".join(filter(None, words)) for name, words in found.items()}


def _paragraphs(prose: list[str]) -> tuple[str, str]:
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in prose)).strip()
    summary, _, description = text.partition("\n\n")
    return " ".join(summary.split()), description.strip("\n")
