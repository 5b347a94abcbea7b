"""Frame an output in the store: a label behind it, sealed by a digest, says what it is and under which key it lies."""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from typing import TYPE_CHECKING, BinaryIO

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from petal.data.signing import Keyring

#: The layout of entries; those of another one are misses.
SCHEMA = 1
_MAGIC = b"PTLCACH1"
_TAIL = 32 + 4 + len(_MAGIC)
_SIGNED = b"PTLSIGN1"
_MARK = 1 + len(_SIGNED)
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


def read_label(source: bytes | BinaryIO, key: str, end: int | None = None) -> Label | None:
    """Return the label of an entry, if it is whole and of this version, and of this key.

    Args:
        source: The entry.
        key: The key that it lies under.
        end: Where the label ends, by default with the entry.
    """
    try:
        size = _size(source) if end is None else end
        data, start = _said(source, size)
        label = msgspec.json.decode(data, type=Label)
    except (OSError, ValueError, msgspec.DecodeError):
        return None
    return label if (label.schema, label.key, label.size) == (SCHEMA, key, start) else None


def read_label_alone(source: bytes | BinaryIO, key: str, end: int) -> Label | None:
    """Return a label that stands by itself, without its output."""
    try:
        data, start = _said(source, end)
        label = msgspec.json.decode(data, type=Label)
    except (OSError, ValueError, msgspec.DecodeError):
        return None
    return label if (label.schema, label.key, start) == (SCHEMA, key, 0) else None


def _said(source: bytes | BinaryIO, end: int) -> tuple[bytes, int]:
    """Return what a label that ends there says, and where it begins.

    Raises:
        ValueError: There is none, or it is damaged.
    """
    tail = _part(source, end - _TAIL, _TAIL)
    count = int.from_bytes(tail[32:36], "big")
    start = end - _TAIL - count
    if tail[36:] != _MAGIC or start < 0:
        raise ValueError("there is no label")
    data = _part(source, start, count)
    if hashlib.sha256(data).digest() != tail[:32]:
        raise ValueError("the label is damaged")
    return data, start


def _size(source: bytes | BinaryIO) -> int:
    return len(source) if isinstance(source, bytes) else os.fstat(source.fileno()).st_size


# -- signatures, of entries that several machines share ---------------------------------------------------------


def signed(label: bytes, ring: Keyring | None) -> bytes:
    """Return a sealed label with its signature behind it; without keys, as it is."""
    if ring is None:
        return label
    secret, name = ring.derived(ring.first, "cache"), ring.first.encode()
    assert secret is not None
    return b"".join((label, hmac.digest(secret, label, "sha256"), name, bytes([len(name)]), _SIGNED))


def checked_end(source: bytes | BinaryIO, ring: Keyring | None) -> int | None:
    """Return where an entry, or a label by itself, ends without its signature.

    Its label says the key, the size and the digest of the output: what is signed by it is all of that.

    Args:
        source: The entry.
        ring: The keys, None where nobody wants to know.

    Returns:
        None where there are keys, and it is not signed by one of them.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no entry.
    """
    size = _size(source)
    tail = _part(source, size - _MARK, _MARK)
    if tail[1:] != _SIGNED:
        return size if ring is None else None
    end = size - _MARK - tail[0] - 32
    if ring is None:
        return end
    name = _part(source, end + 32, tail[0]).decode(errors="replace")
    secret = ring.derived(name, "cache")
    if secret is None:
        return None
    start = _said(source, end)[1]
    made = hmac.digest(secret, _part(source, start, end - start), "sha256")
    return end if hmac.compare_digest(made, _part(source, end, 32)) else None


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
