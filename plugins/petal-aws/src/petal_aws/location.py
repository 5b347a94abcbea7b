"""Read `s3://` URLs: the bucket and the key that one names."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_URL: Final = re.compile(r"s3://([^/]*)(?:/(.*))?", re.IGNORECASE | re.DOTALL)
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_MAGIC: Final = re.compile(r"[*?[]")
#: Bytes that a key may have.
_LONGEST: Final = 1024


class Location(NamedTuple):
    """Where an object is, or a folder of objects."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def place(url: str) -> Location:
    """Return what a URL names, which may be a bucket without a key. The key is taken as it stands: nothing is decoded.

    Raises:
        ValueError: It names no bucket, or no key that there can be.
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError("a URL of S3 is written `s3://bucket/key`")
    bucket, key = found[1], found[2] or ""
    if _BUCKET.fullmatch(bucket) is None:
        raise ValueError(f"{bucket!r} is no name of a bucket; a URL of S3 is written `s3://bucket/key`")
    if len(key.encode()) > _LONGEST:
        raise ValueError(f"a key of S3 has at most {_LONGEST:,} bytes")
    return Location(bucket, key)


def file_at(url: str) -> Location:
    """Return the object that a URL names.

    Raises:
        ValueError: It names no object.
    """
    found = place(url)
    if not found.key or found.key.endswith("/"):
        raise ValueError("it names a bucket or folder, not a file: write `s3://bucket/key`")
    return found


def start_of(pattern: str) -> tuple[str, bool]:
    """Return what all keys begin with that a pattern stands for, and whether they are all in one folder."""
    found = _MAGIC.search(pattern)
    if found is None:
        return pattern, True
    return pattern[: found.start()], "/" not in pattern[found.start() :] and "**" not in pattern
