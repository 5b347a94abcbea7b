"""Frame an output in the store: a label behind it, sealed by a digest, says what it is and under which key it lies."""

from __future__ import annotations

import hashlib
import os
import time
from typing import BinaryIO

import msgspec
from msgspec import Struct

#: The layout of entries; those of another one are misses.
SCHEMA = 1
_MAGIC = b"PTLCACH1"
_TAIL = 32 + 4 + len(_MAGIC)
#: Seconds that clocks of machines may differ, or be set back.
_SKEW = 300.0
_encode = msgspec.json.Encoder().encode


class Label(Struct, frozen=True):
    """What stands behind an output in the store, sealed by a digest of its own.

    Attributes:
        schema: The layout of entries.
        key: The key: an entry that lies under another one is damaged.
        digest: The digest of the artifact, which is verified whenever it is read.
        size: Bytes of the artifact.
        rows: How many rows it has, None for a value that is no rows.
        stored: When, in seconds since 1970.
        ttl: Seconds for which it is good, None for ever.
        about: What is shown of it: pipeline, node, operator.
    """

    schema: int
    key: str
    digest: str
    size: int
    rows: int | None
    stored: float
    ttl: float | None
    about: dict[str, str]


def sealed(label: Label) -> bytes:
    """Return a label as it stands behind an output."""
    data = _encode(label)
    return b"".join((data, hashlib.sha256(data).digest(), len(data).to_bytes(4, "big"), _MAGIC))


def read_label(source: bytes | BinaryIO, key: str) -> Label | None:
    """Return the label of an entry, if it is whole and of this version, and of this key."""
    try:
        size = len(source) if isinstance(source, bytes) else os.fstat(source.fileno()).st_size
        tail = _part(source, size - _TAIL, _TAIL)
        count = int.from_bytes(tail[32:36], "big")
        start = size - _TAIL - count
        if tail[36:] != _MAGIC or start < 0:
            return None
        data = _part(source, start, count)
        if hashlib.sha256(data).digest() != tail[:32]:
            return None
        label = msgspec.json.decode(data, type=Label)
    except (OSError, ValueError, msgspec.DecodeError):
        return None
    return label if (label.schema, label.key, label.size) == (SCHEMA, key, start) else None


def _part(source: bytes | BinaryIO, at: int, size: int) -> bytes:
    if at < 0:
        raise ValueError("it is shorter than any entry")
    return source[at : at + size] if isinstance(source, bytes) else os.pread(source.fileno(), size, at)


def digest_of_entry(source: bytes | BinaryIO, size: int) -> str:
    """Return the sha256 of the first bytes of an entry: those of the output."""
    if isinstance(source, bytes):
        return hashlib.sha256(memoryview(source)[:size]).hexdigest()
    made, at = hashlib.sha256(), 0
    while at < size and (block := os.pread(source.fileno(), min(1 << 18, size - at), at)):
        made.update(block)
        at += len(block)
    return made.hexdigest()


def is_over(label: Label) -> bool:
    """Whether an entry's time is over; one from the future is of a clock that was set back, and counts as over."""
    if label.ttl is None:
        return False
    age = time.time() - label.stored
    return age >= label.ttl or age < -_SKEW


def shut(source: bytes | BinaryIO) -> None:
    """Close what a store gave, if it is a file."""
    if not isinstance(source, bytes):
        source.close()
