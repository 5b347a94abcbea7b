"""What this package brings to Petal: `s3://` as a store and as a file system, and secrets of Secrets Manager."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from petal import hookimpl

if TYPE_CHECKING:
    from petal_aws.filesystem import S3FileSystem
    from petal_aws.store import S3Store


@hookimpl
def petal_stores() -> Mapping[str, Callable[[str], S3Store]]:
    """Bring buckets as stores; boto3 is imported when one is asked for something."""
    from petal_aws.store import open_store

    return {"s3": open_store}


@hookimpl
def petal_filesystems() -> Mapping[str, Callable[[], S3FileSystem]]:
    """Bring the files that `s3://` names."""
    from petal_aws.filesystem import open_filesystem

    return {"s3": open_filesystem}


@hookimpl
def petal_resolvers() -> Mapping[str, Callable[[str], str]]:
    """Bring `${secret:aws/NAME}` and `${secret:aws/NAME#key}`."""
    from petal_aws.secrets import secret

    return {"aws": secret}
