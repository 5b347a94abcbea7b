"""Write for people and programs: what is data, what is not, and what a stream can show."""

from __future__ import annotations

import math
import os
import sys
from contextlib import contextmanager, redirect_stdout, suppress
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, TextIO

from petal.spec.redaction import preview, redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: Deeper than this a parameter is shown in short.
_MOST_LEVELS: Final = 20
_COLOURS: Final = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}


def out(text: str) -> None:
    """Write data and a line end to stdout."""
    write(sys.stdout, text + "\n")


def err(text: str) -> None:
    """Write anything that is not data, and a line end, to stderr; where it takes nothing, nobody can be told."""
    with suppress(OSError, ValueError):
        write(sys.stderr, text + "\n")


@contextmanager
def aside() -> Iterator[None]:
    """Send to stderr what code prints while the block runs, and what the programs that it starts print.

    Around everything that loads or runs a pipeline's Python or a plugin, so that stdout holds a command's data alone.
    """
    stdout = sys.stdout
    kept = os.dup(1) if _is_descriptor(stdout, 1) and _is_descriptor(sys.stderr, 2) else None
    try:
        if kept is not None:
            os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            with suppress(OSError, ValueError):
                stdout.flush()
            os.dup2(kept, 1)
            os.close(kept)


def _is_descriptor(stream: TextIO, number: int) -> bool:
    """Say whether a stream is the process's own, with nothing left to write."""
    try:
        stream.flush()
        return stream.fileno() == number
    except (OSError, ValueError):
        return False


def write(stream: TextIO, text: str) -> None:
    """Write text to a stream; what its encoding cannot show is escaped, never an error."""
    try:
        text.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        text = text.encode(stream.encoding or "utf-8", "backslashreplace").decode(stream.encoding or "utf-8")
    stream.write(text)
    stream.flush()


def out_json(data: Any) -> None:
    """Write plain data as JSON to stdout."""
    import json

    out(json.dumps(data, indent=2, ensure_ascii=not is_unicode(sys.stdout)))


def is_unicode(stream: TextIO) -> bool:
    """Say whether a stream can show any character."""
    return (stream.encoding or "utf-8").lower().replace("_", "-").startswith(("utf-8", "utf8", "utf-16"))


def is_terminal(stream: TextIO) -> bool:
    """Say whether a stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "") != "dumb"


def has_colours(stream: TextIO) -> bool:
    """Say whether to write colours to a stream: on a terminal, unless $NO_COLOR is set."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def painted(text: str, colour: str, *, on: bool) -> str:
    """Return text in a colour, or as it is."""
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if on and text else text


def visible(text: str, keep: str = "") -> str:
    """Return text with secrets hidden and control characters escaped, so that it cannot steer a terminal."""
    text = redact(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def table(rows: Iterable[Sequence[str]], *, indent: str = "", gap: str = "  ") -> str:
    """Return rows as aligned columns; the last one may be of any length."""
    cells = [[str(cell) for cell in row] for row in rows]
    count = max(map(len, cells), default=0)
    widths = [max((len(row[i]) for row in cells if len(row) > i + 1), default=0) for i in range(count)]
    lines = [
        gap.join(c.ljust(widths[i]) for i, c in enumerate(row[:-1])) + gap * (len(row) > 1) + row[-1]
        for row in cells
    ]
    return "\n".join((indent + line).rstrip() for line in lines)


def plain(value: Any, level: int = 0) -> Any:
    """Return a value as data that JSON can carry, secrets hidden; what has no such form is shown in short."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return plain(value.value, level)
    if isinstance(value, str):
        return redact(str(value))
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else repr(float(value))
    if isinstance(value, PurePath):
        return redact(str(value))
    if level < _MOST_LEVELS:
        if isinstance(value, dict):
            return {redact(str(k)): plain(v, level + 1) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [plain(v, level + 1) for v in value]
        fields = getattr(type(value), "__struct_fields__", None) or getattr(
            type(value), "__dataclass_fields__", None
        )
        if fields:
            return {name: plain(getattr(value, name, None), level + 1) for name in fields}
    return preview(value)


def count(number: int, noun: str) -> str:
    """Return ``1 error`` or ``2 errors``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
