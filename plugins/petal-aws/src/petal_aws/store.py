"""A store in a bucket: what the cache shares between machines, and where messages lie that are too large (claim check)."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from petal import StoreStats, UsageError
from petal_aws.failures import is_hidden, is_missing
from petal_aws.location import Location, place
from petal_aws.objects import Head, Occupied, delete, delete_all, head_of, listed, put
from petal_aws.patience import Patience
from petal_aws.stream import SMALL, ObjectStream

#: Bytes that S3 takes in one call, which makes a value whole or not there.
LARGEST: Final = 5 << 30
_KEY: Final = re.compile(r"[0-9A-Za-z:-]{1,200}")
#: What is said of each object: the digest of its bytes, and which call has put it there.
_DIGEST: Final = "petal-sha256"
_MARK: Final = "petal-put"
_BLOCK: Final = 1 << 20


class S3Store:
    """A store in a bucket: each value is one object, written by one call.

    * A value whose key ends with the SHA-256 of its bytes is written only where it is not there yet (``If-None-Match``).
      That it is there already is a success, so a reply that got lost does no harm.
    * A value that comes is as long as it should be; where its digest is not the one that was put with it, it is fetched
      once more and then given as it is: whoever has put it there knows its digest too, and what it means.
    * How long a value is good is not kept: a lifecycle rule of the bucket says it.
    * To put and to get needs ``s3:PutObject`` and ``s3:GetObject`` alone.

    Args:
        place: The bucket, and what all keys begin with.
        patience: How long a call is tried.
    """

    def __init__(self, place: Location, patience: Patience | None = None) -> None:
        self._bucket = place.bucket
        self._prefix = f"{place.key.strip('/')}/" if place.key.strip("/") else ""
        self._patience = patience or Patience()

    def get(self, key: str) -> bytes | BinaryIO | None:
        """Return a value, or None where there is none: small ones as bytes, large ones as a temporary file."""
        location = self._at(key)
        for is_last in (False, True):
            found = self._fetched(location)
            if found is None:
                return None
            value, fits = found
            if fits or is_last:
                return value
            if not isinstance(value, bytes):
                value.close()
        raise AssertionError("unreachable")

    def put(self, key: str, source: bytes | Path, *, ttl: float | None = None, durable: bool = False) -> bool:  # noqa: ARG002
        """Keep a value; False where it is larger than what S3 takes in one call."""
        location = self._at(key)
        size, digest = _measured(source)
        keeps = size <= LARGEST
        if keeps and key.endswith(digest):
            self._put_once(location, source, size, digest)
        elif keeps:
            put(location, source, self._patience, metadata={_DIGEST: digest}, what=str(location))
        if isinstance(source, Path):
            source.unlink(missing_ok=True)
        return keeps

    def add(self, key: str, data: bytes, *, ttl: float | None = None) -> bool:  # noqa: ARG002
        """Keep a value where there is none; False, and nothing is changed, where there is one. Of several one succeeds."""
        location = self._at(key)
        mark = os.urandom(16).hex()
        metadata = {_DIGEST: hashlib.sha256(data).hexdigest(), _MARK: mark}
        absent = {"IfNoneMatch": "*"}
        try:
            put(location, data, self._patience, metadata=metadata, condition=absent, what=str(location))
        except Occupied:
            # It may be ours: the first reply was lost, and the second call found what the first had put.
            found = self._head(location)
            return found is not None and found.metadata.get(_MARK) == mark
        return True

    def has(self, key: str) -> bool:
        """Say whether there is a value, without reading it."""
        return self._head(self._at(key)) is not None

    def delete(self, key: str) -> bool:
        """Forget a value, and say whether there was one; where that may not be asked, it says yes."""
        location = self._at(key)
        try:
            was_there = head_of(location, self._patience, str(location)) is not None
        except PermissionError:  # it may be removed all the same
            was_there = True
        if was_there:
            delete(location, self._patience, str(location))
        return was_there

    def keys(self) -> Iterator[str]:
        """Give the keys that there are now."""
        for key, _ in self._entries():
            yield key

    def stats(self) -> StoreStats:
        """Say how many values there are, and how many bytes."""
        sizes = [size for _, size in self._entries()]
        return StoreStats(len(sizes), sum(sizes))

    def clear(self) -> int:
        """Forget everything, and return how many values that were."""
        keys = [self._prefix + key for key in self.keys()]
        delete_all(self._bucket, keys, self._patience, str(self._place()))
        return len(keys)

    def close(self) -> None:
        """Let go of nothing: the connections are those of the process."""

    # -- inside -----------------------------------------------------------------------------------------------

    def _at(self, key: str) -> Location:
        """Return the object of a key, which is beneath the store's place whatever it is (FAULTS F79).

        Raises:
            OSError: It is no key.
        """
        if _KEY.fullmatch(key) is None:
            raise OSError(f"{key[:80]!r} is no key")
        return Location(self._bucket, self._prefix + key)

    def _place(self) -> Location:
        return Location(self._bucket, self._prefix)

    def _entries(self) -> Iterator[tuple[str, int]]:
        for key, size in listed(
            self._bucket, self._prefix, self._patience, deep=False, what=str(self._place())
        ):
            name = key.removeprefix(self._prefix)
            if _KEY.fullmatch(name) is not None:
                yield name, size

    def _head(self, location: Location) -> Head | None:
        try:
            return head_of(location, self._patience, str(location))
        except PermissionError as error:
            if is_hidden(error.__cause__):
                return None
            raise

    def _fetched(self, location: Location) -> tuple[bytes | BinaryIO, bool] | None:
        """Return what lies there, and whether it is what was put there; None where nothing does."""
        try:
            stream = ObjectStream(location, self._patience, checked=False, what=str(location))
        except OSError as error:
            if is_missing(error.__cause__) or is_hidden(error.__cause__):
                return None
            raise
        with stream:
            value, digest = _taken(stream)
        return value, stream.metadata.get(_DIGEST) in (None, digest)

    def _put_once(self, location: Location, source: bytes | Path, size: int, digest: str) -> None:
        """Write a value whose key is its digest, unless it is there.

        Raises:
            OSError: It cannot be written.
        """
        condition = {"IfNoneMatch": "*"}
        for _ in range(self._patience.attempts):
            try:
                put(
                    location,
                    source,
                    self._patience,
                    metadata={_DIGEST: digest},
                    condition=condition,
                    what=str(location),
                )
                return
            except Occupied:
                try:
                    found = head_of(location, self._patience, str(location))
                except PermissionError:  # who may only put trusts the key; who gets it verifies
                    return
            if found is None:  # removed meanwhile
                condition = {"IfNoneMatch": "*"}
            elif found.size == size and found.metadata.get(_DIGEST) == digest:
                return
            else:  # something else lies there, which nobody could use
                condition = {"IfMatch": f'"{found.version}"'}
        raise OSError(f"{location}: others write and remove it all the time")


def open_store(url: str) -> S3Store:
    """Open the store that a URL names; nothing is contacted.

    Args:
        url: ``s3://bucket`` or ``s3://bucket/prefix``.

    Raises:
        UsageError: It names no bucket.
    """
    try:
        return S3Store(place(url))
    except ValueError as error:
        raise UsageError(f"{url!r} names no store: {error}", hint="write `s3://bucket/prefix`") from error


def _measured(source: bytes | Path) -> tuple[int, str]:
    """Return the bytes of what is put, and their digest."""
    if isinstance(source, bytes):
        return len(source), hashlib.sha256(source).hexdigest()
    with open(source, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest


def _taken(stream: ObjectStream) -> tuple[bytes | BinaryIO, str]:
    """Return all that a stream gives, in memory or in a temporary file without a name, and its digest."""
    if stream.size <= SMALL:
        data = stream.readall()
        return data, hashlib.sha256(data).hexdigest()
    file: Any = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it is the caller's
    try:
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(_BLOCK))
        while read := stream.readinto(buffer):
            digest.update(buffer[:read])
            _written(file, buffer[:read])
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file, digest.hexdigest()


def _written(file: Any, data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]
