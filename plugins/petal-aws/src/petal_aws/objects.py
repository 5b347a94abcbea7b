"""What is asked of S3 about one object, each call tried again as long as patience lasts: all of it may be done twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from petal_aws.failures import is_missing, is_occupied, status_of
from petal_aws.location import Location
from petal_aws.patience import Patience, patiently
from petal_aws.session import client

#: Keys that one call removes.
_AT_ONCE = 1000


class Occupied(Exception):
    """The condition of a write does not hold: nothing was written."""


class Head(Struct, frozen=True):
    """What is known of an object without reading it.

    Attributes:
        size: Its bytes.
        version: Its ETag.
        metadata: What whoever wrote it said of it.
    """

    size: int
    version: str
    metadata: dict[str, str]


def head_of(location: Location, patience: Patience, what: str = "") -> Head | None:
    """Describe an object; None where there is none.

    Raises:
        OSError: That cannot be found out. Where listing is not allowed, S3 refuses to say what is not there.
    """
    from botocore.exceptions import ClientError

    where = {"Bucket": location.bucket, "Key": location.key}

    def ask() -> Any:
        s3 = client("s3")
        try:
            return s3.head_object(**where)
        except ClientError as error:
            if is_missing(error):
                return None
            if status_of(error) in (400, 403):  # HEAD says no more than that; GET says why
                s3.get_object(**where, Range="bytes=0-0")["Body"].close()
            raise

    found = patiently(patience, ask, what)
    return None if found is None else Head(found["ContentLength"], etag(found), found.get("Metadata", {}))


def put(
    location: Location,
    source: bytes | Path,
    patience: Patience,
    *,
    metadata: Mapping[str, str] | None = None,
    condition: Mapping[str, str] | None = None,
    what: str = "",
) -> str:
    """Write an object in one call, and return its ETag; S3 compares a checksum of what it gets.

    Args:
        location: Where.
        source: What; a file is read anew for each attempt.
        patience: How long.
        metadata: What is said of it, by names and values of plain ASCII.
        condition: ``IfNoneMatch`` or ``IfMatch``, as boto3 takes them.
        what: What it is about, for messages.

    Raises:
        Occupied: The condition does not hold.
        OSError: It cannot be written.
    """
    from botocore.exceptions import ClientError

    size = len(source) if isinstance(source, bytes) else source.stat().st_size

    def ask() -> str:
        arguments = {
            "Bucket": location.bucket,
            "Key": location.key,
            "Metadata": metadata or {},
            **(condition or {}),
        }
        try:
            if isinstance(source, bytes):
                return etag(client("s3").put_object(**arguments, Body=source))
            with open(source, "rb") as file:
                return etag(client("s3").put_object(**arguments, Body=file))
        except ClientError as error:
            gone = bool(condition) and "IfMatch" in (condition or {}) and status_of(error) == 404
            if is_occupied(error) or (gone and is_missing(error)):
                raise Occupied from error
            raise

    return patiently(patience, ask, what, size)


def delete(location: Location, patience: Patience, what: str = "") -> None:
    """Remove an object; one that is not there is no error.

    Raises:
        OSError: It cannot be removed.
    """
    patiently(patience, lambda: client("s3").delete_object(Bucket=location.bucket, Key=location.key), what)


def delete_all(bucket: str, keys: list[str], patience: Patience, what: str = "") -> None:
    """Remove objects of a bucket, as many at a time as S3 takes.

    Raises:
        OSError: One cannot be removed.
    """
    for at in range(0, len(keys), _AT_ONCE):
        some = {"Objects": [{"Key": key} for key in keys[at : at + _AT_ONCE]], "Quiet": True}
        done: Any = patiently(patience, partial(_deleted, bucket, some), what)
        for error in done.get("Errors", ()):
            raise PermissionError(f"{what}: {error.get('Key')!r} cannot be removed ({error.get('Code')})")


def listed(
    bucket: str, prefix: str, patience: Patience, *, deep: bool = True, what: str = ""
) -> Iterator[tuple[str, int]]:
    """Give the keys that begin with a prefix, each with its size, in the order of their bytes.

    Args:
        bucket: The bucket.
        prefix: What they begin with.
        patience: How long each page is tried.
        deep: Whether those count that have a further slash.
        what: What it is about, for messages.

    Raises:
        OSError: They cannot be listed.
    """
    more: dict[str, str] = {} if deep else {"Delimiter": "/"}
    while True:
        page = patiently(
            patience, lambda: client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix, **more), what
        )
        for entry in page.get("Contents", ()):
            yield entry["Key"], entry["Size"]
        if not page.get("IsTruncated"):
            return
        more["ContinuationToken"] = page["NextContinuationToken"]


def _deleted(bucket: str, some: dict[str, Any]) -> Any:
    return client("s3").delete_objects(Bucket=bucket, Delete=some)


def etag(answer: Mapping[str, Any]) -> str:
    """Return the ETag of an answer, without the quotes that some put around it."""
    return str(answer.get("ETag", "")).strip('"')
