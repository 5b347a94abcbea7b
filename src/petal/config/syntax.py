"""Read the text of a pipeline file: plain data, every finding, and the place of every value."""

from __future__ import annotations

from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec import Struct

from petal.config.source import MAX_BYTES, Parsed, Place, Refused, Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from petal.spec.diagnostic import Diagnostic

Format = Literal["yaml", "json", "toml"]

_SUFFIXES: Final[dict[str, Format]] = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml"}

#: After one of these the data is not to be trusted, hence None.
_FATAL: Final = frozenset({"syntax", "too-large", "encoding"})


class Document(Struct, frozen=True, dict=True):
    """A parsed file.

    Attributes:
        file: The file as the user named it.
        text: Its text without a byte order mark; empty when the file was too large to read.
        data: Plain dicts, lists and scalars; None after a finding that leaves nothing to trust.
        findings: Every problem of the text, in the order of the file.
    """

    file: str
    text: str
    data: Any
    findings: list[Diagnostic]
    _source: Source
    _find_places: Callable[[], Place]

    @cached_property
    def _root(self) -> Place:
        return self._find_places()

    def locate(self, path: tuple[str | int, ...], *, key: bool = False) -> tuple[int, int]:
        """Say where the value at a path is written.

        Args:
            path: Keys and indexes from the root.
            key: Whether to give the place of the value's key instead.

        Returns:
            The 1-based line and column. Where the text has no such path, the place of the longest
            part of it that exists. (1, 1) for the root.
        """
        place, offset = self._root, 0
        for depth, step in enumerate(path, start=1):
            found = (place.children or {}).get(step)
            if found is None:
                break
            at, place = found
            offset = at if key and depth == len(path) else place.offset
        return self._source.position(offset)

    def line_text(self, line: int) -> str:
        """Return a line of the file without its end, or "" when there is none."""
        return self._source.line_text(line)


def format_of(path: str) -> Format | None:
    """Return the format that a file's name stands for, or None."""
    return _SUFFIXES.get(PurePath(path).suffix.lower())


def parse(text: str | bytes, file: str, format: Format) -> Document:
    """Parse a file's content without ever raising.

    Args:
        text: The content; bytes are read as UTF-8.
        file: The file as the user named it, for the findings.
        format: ``yaml``, ``json`` or ``toml``.

    Returns:
        The document: data, findings, or (for example after a duplicate key) both.
    """
    source, problem = _decode(text, file)
    if problem is not None:
        return Document(file, source.text, None, [problem], source, _nowhere)
    try:
        parsed = _parser(format)(source)
    except Refused as refusal:
        parsed = Parsed(None, [refusal.finding], _nowhere)
    findings = sorted(parsed.findings, key=lambda finding: (finding.line, finding.column))
    trusted = not any(finding.code in _FATAL for finding in findings)
    return Document(file, source.text, parsed.data if trusted else None, findings, source, parsed.places)


def _nowhere() -> Place:
    return Place(0)


def _parser(format: Format) -> Callable[[Source], Parsed]:
    """Import the parser of one format, so that a JSON file does not load YAML."""
    if format == "yaml":
        from petal.config.yaml_text import read_yaml

        return read_yaml
    if format == "json":
        from petal.config.json_text import read_json

        return read_json
    from petal.config.toml_text import read_toml

    return read_toml


def _decode(text: str | bytes, file: str) -> tuple[Source, Diagnostic | None]:
    """Return the text to parse, or why it cannot be parsed."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > MAX_BYTES:
        source = Source(file, "")
        message = f"the file is larger than {MAX_BYTES // 1_000_000} MB ({len(raw):,} bytes)"
        return source, source.finding(
            "too-large", message, 0, "split it into modules; keep data in data files"
        )
    try:
        return Source(file, raw.decode("utf-8-sig")), None
    except UnicodeDecodeError as error:
        return _badly_encoded(raw, error.start if raw[:3] != b"\xef\xbb\xbf" else error.start + 3, file)


def _badly_encoded(raw: bytes, start: int, file: str) -> tuple[Source, Diagnostic]:
    """Return the readable part of a text that is not UTF-8, and the finding that says so."""
    before = raw[:start].decode("utf-8-sig")
    source = Source(file, raw.decode("utf-8-sig", "replace"))
    line, _ = source.position(len(before))
    message = f"line {line} is not valid UTF-8 (byte 0x{raw[start]:02x})"
    hint = "save the file as UTF-8"
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        hint += "; it looks like UTF-16"
    return source, source.finding("encoding", message, len(before), hint)
