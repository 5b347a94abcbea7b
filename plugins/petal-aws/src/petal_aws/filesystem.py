"""The files that `s3://` URLs name: described, found, read and written; a write is visible when it is complete."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import BinaryIO

from petal import Description, glob_pattern
from petal_aws.location import file_at, place, start_of
from petal_aws.objects import head_of, listed
from petal_aws.patience import Patience
from petal_aws.stream import open_object
from petal_aws.upload import Taken, Upload


class S3FileSystem:
    """Reads and writes objects by URL; see :class:`petal.interfaces.filesystem.FileSystem`.

    Args:
        patience: How long a call is tried.
    """

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()

    def describe(self, url: str) -> Description | None:
        """Say what an object is like; None where there is none.

        Raises:
            PermissionError: It may not be read; or it is not there, and listing, without which S3 says no more, is not allowed.
            OSError: It cannot be found out.
            ValueError: The URL names no object.
        """
        found = head_of(file_at(url), self._patience)
        return None if found is None else Description(found.size, found.version)

    def find(self, pattern: str) -> Iterable[str]:
        """Return the URLs of the objects that a pattern stands for, sorted.

        Raises:
            OSError: The bucket cannot be listed.
            ValueError: The URL names no bucket, or is no pattern.
        """
        bucket, keys = place(pattern)
        start, is_one_folder = start_of(keys)
        head = pattern.removesuffix(keys)
        try:
            wanted = glob_pattern(pattern)
        except re.error as error:
            raise ValueError(f"it is no pattern: {error}") from error
        found = listed(bucket, start, self._patience, deep=not is_one_folder)
        return sorted(
            url for key, _ in found if wanted.fullmatch(url := head + key) and not key.endswith("/")
        )

    def read(self, url: str) -> BinaryIO:
        """Open an object for reading, from its beginning to its end.

        Raises:
            OSError: It cannot be opened: ``FileNotFoundError`` where it is not there.
            ValueError: The URL names no object.
        """
        return open_object(file_at(url), self._patience)

    def write(self, url: str, *, owner: str) -> Upload:
        """Begin to write an object; nothing is contacted before the first part is full.

        Raises:
            ValueError: The URL names no object.
        """
        return Upload(file_at(url), owner, self._patience)

    def take_over(self, url: str, token: str) -> Taken:
        """Return what another process has written, to commit or abort it.

        Raises:
            OSError: The token names no upload.
            ValueError: The URL names no object.
        """
        return Taken(file_at(url), token, self._patience)


def open_filesystem() -> S3FileSystem:
    """Open the file system; nothing is contacted."""
    return S3FileSystem()
