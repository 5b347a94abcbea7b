"""Petal's own contracts, held to by a bucket of a real S3 server."""

from __future__ import annotations

from pathlib import Path

import pytest
from petal_aws.filesystem import S3FileSystem, open_filesystem
from petal_aws.store import open_store

from petal import FileSystem, Store
from petal.testing import FileSystemContract, StoreContract


class TestStore(StoreContract):
    """The store, in a prefix for each folder."""

    @pytest.fixture(autouse=True)
    def _bucket(self, aws_bucket: str) -> None:
        self.bucket = aws_bucket

    def open_store(self, folder: Path) -> Store:
        return open_store(f"s3://{self.bucket}/stores/{folder.parent.name}")


def test_a_store_may_be_a_whole_bucket(aws_bucket: str) -> None:
    """Without a prefix; what lies deeper in the bucket is not its own."""
    store, deeper = open_store(f"s3://{aws_bucket}"), open_store(f"s3://{aws_bucket}/deeper")
    deeper.put("out:other", b"other")
    store.put("out:key", b"value")
    assert (store.get("out:key"), list(store.keys()), store.clear()) == (b"value", ["out:key"], 1)
    assert deeper.get("out:other") == b"other"


class TestFileSystem(FileSystemContract):
    """The file system; another process has one of its own."""

    @pytest.fixture
    def filesystem(self) -> FileSystem:
        return open_filesystem()

    @pytest.fixture
    def another(self) -> FileSystem:
        return S3FileSystem()

    @pytest.fixture
    def folder(self, aws_bucket: str) -> str:
        return f"s3://{aws_bucket}/some/folder"
