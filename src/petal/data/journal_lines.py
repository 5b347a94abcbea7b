"""The lines of a journal: one record each, valid JSON with a checksum, and whole or not there (DESIGN.md §6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple
from zlib import crc32

import msgspec
from msgspec import Struct

from petal.spec.redaction import hides, preview, redact

_encoder: Final = msgspec.json.Encoder()
_START: Final = b'{"crc":"'
#: Of a line, what comes before the first byte that its checksum is taken of.
_HEAD: Final = len(_START) + 8 + len(b'",')
#: Fields of a record that name things. They hold no secret, and a record that says `***` for them would be of no use.
_NAMES: Final = frozenset(
    ("event", "run", "node", "type", "backend", "status", "kind", "digest", "key", "nodes", "pipeline")
)


def lines_for(records: Sequence[Struct]) -> bytes:
    """Return the lines of records: secrets hidden, text that is no Unicode escaped. Never fails."""
    encode = _hiding if hides() else _encoder.encode
    try:
        bodies = [encode(record)[1:] for record in records]
    except (TypeError, ValueError, OverflowError, RecursionError):
        bodies = [_body_of(record, encode) for record in records]
    return b"".join([b'{"crc":"%08x",%b\n' % (crc32(body), body) for body in bodies])


def _body_of(record: Struct, encode: Callable[[Struct], bytes]) -> bytes:
    try:
        return encode(record)[1:]
    except (TypeError, ValueError, OverflowError, RecursionError):
        return _encoder.encode(_plain(record))[1:]


class Line(NamedTuple):
    """A line of a journal.

    Attributes:
        number: From 1.
        start: Its first byte in the file.
        end: The byte behind its line end.
        body: The record as JSON, None where the line is damaged.
        whole: Whether it has a line end.
    """

    number: int
    start: int
    end: int
    body: bytes | None
    whole: bool = True


def lines_of(data: bytes) -> Iterator[Line]:
    """Yield the lines of a journal, damaged ones too; what has no line end is a torn tail."""
    start, number = 0, 0
    while start < len(data):
        number += 1
        at = data.find(b"\n", start)
        if at < 0:
            yield Line(number, start, len(data), None, whole=False)
            return
        yield Line(number, start, at + 1, _body(data[start:at]))
        start = at + 1


def _body(line: bytes) -> bytes | None:
    body = line[_HEAD:]
    if line[:_HEAD] != b'{"crc":"%08x",' % crc32(body):
        return None
    return b"{" + body


def end_of_records(data: bytes) -> int:
    """Return where the last record that is whole ends: what comes behind it is a torn tail."""
    return max((line.end for line in lines_of(data) if line.body is not None), default=0)


def _hiding(record: Struct) -> bytes:
    found: dict[str, Any] = _plain(record)
    return _encoder.encode({n: v if n in _NAMES else _without_secrets(v) for n, v in found.items()})


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_without_secrets(v) for v in value]
    if isinstance(value, dict):
        return {redact(k): _without_secrets(v) for k, v in value.items()}
    return value


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a value as data that JSON can carry; what has no such form is shown in short."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int):
        return int(value) if -(1 << 63) <= value < 1 << 63 else str(value)
    if depth < 40:
        if isinstance(value, Struct):
            config = value.__struct_config__
            fields = {n: _plain(getattr(value, n), depth + 1) for n in value.__struct_fields__}
            return {config.tag_field: config.tag, **fields} if config.tag_field is not None else fields
        if isinstance(value, dict):
            return {_plain(str(k), depth + 1): _plain(v, depth + 1) for k, v in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [_plain(v, depth + 1) for v in value]
    return _plain(preview(value))
