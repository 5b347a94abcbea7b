"""The parts that need no server, or only to count what they ask of it: URLs, settings of clients, rights, imports."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from petal_aws.filesystem import S3FileSystem
from petal_aws.location import Location, file_at, place, start_of
from petal_aws.session import client
from petal_aws.store import S3Store, open_store

from petal import UsageError
from petal.testing.stores import read
from tests.services.aws_stub import AwsStub, error


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200))
def test_a_key_is_what_stands_behind_the_bucket(key: str) -> None:
    """Whatever it is: nothing in it is decoded, and nothing means anything."""
    assert place(f"s3://a-bucket/{key}") == Location("a-bucket", key)
    assert place(f"S3://a-bucket/{key}").key == key


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///key",
        "s3://b",
        "s3://a b/key",
        "s3://.x/key",
        "http://a-bucket/key",
        f"s3://bucket/{'k' * 1025}",
    ],
)
def test_what_names_no_object_is_said(url: str) -> None:
    """Before anything is asked."""
    with pytest.raises(ValueError, match=r"s3://bucket/key|at most 1,024 bytes"):
        file_at(url)


def test_a_folder_is_no_file() -> None:
    """Nor is a bucket."""
    for url in ("s3://bucket", "s3://bucket/", "s3://bucket/folder/"):
        with pytest.raises(ValueError, match="bucket or folder, not a file"):
            file_at(url)


def test_a_store_is_a_bucket_and_maybe_a_prefix() -> None:
    """Anything else is said with the remedy; no key leaves the prefix."""
    with pytest.raises(UsageError, match="no name of a bucket"):
        open_store("s3://a_/prefix")
    store = open_store("s3://a-bucket/some/prefix/")
    for key in ("../other", "a/b", "", "k" * 201, "a b"):
        with pytest.raises(OSError, match="is no key"):
            store.get(key)


@pytest.mark.parametrize(
    ("pattern", "start"),
    [
        ("logs/2026/*.csv", ("logs/2026/", True)),
        ("logs/*/a.csv", ("logs/", False)),
        ("logs/**", ("logs/", False)),
        ("logs/a[0-9].csv", ("logs/a", True)),
        ("logs/a.csv", ("logs/a.csv", True)),
    ],
)
def test_as_little_is_listed_as_a_pattern_needs(pattern: str, start: tuple[str, bool]) -> None:
    """What is before its first sign, and other folders only where it goes into them."""
    assert start_of(pattern) == start


def test_to_put_and_get_needs_no_other_rights(aws_faults: AwsStub, aws_bucket: str) -> None:
    """Least privilege: claims and the cache list nothing; a pattern does, as the control."""
    aws_faults.always("ListObjectsV2", error(403, "AccessDenied"))
    store, files = S3Store(Location(aws_bucket, "p")), S3FileSystem()
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert store.put(f"run-{digest}", b"abc")
    assert store.put("out:key", b"v")
    assert store.add("record", b"r")
    assert [read(store.get(k)) for k in (f"run-{digest}", "out:key", "record", "none")] == [
        b"abc",
        b"v",
        b"r",
        None,
    ]
    assert (store.has("out:key"), store.has("none"), store.delete("out:key")) == (True, False, True)
    upload = files.write(f"s3://{aws_bucket}/file.txt", owner="o")
    upload.file.write(b"text")
    upload.commit()
    assert files.read(f"s3://{aws_bucket}/file.txt").read() == b"text"
    assert aws_faults.count("ListObjectsV2") == 0
    with pytest.raises(PermissionError, match="AccessDenied"):
        files.find(f"s3://{aws_bucket}/*")


def test_clients_are_made_once_and_of_the_environment_as_it_is(
    aws_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the settings under which each call is one call."""
    s3 = client("s3")
    assert client("s3") is s3
    config = s3.meta.config
    assert config.retries == {"total_max_attempts": 1, "mode": config.retries.get("mode", "legacy")}
    assert (config.connect_timeout, config.tcp_keepalive) == (5, True)
    assert s3.meta.endpoint_url == os.environ["AWS_ENDPOINT_URL"]
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert client("s3") is not s3
    assert client("secretsmanager").meta.region_name == "eu-central-1"
    assert client("secretsmanager", region="us-west-2").meta.region_name == "us-west-2"


def test_a_plugin_that_nobody_uses_imports_no_boto3() -> None:
    """It takes a quarter of a second; neither the plugin's hooks nor its parts pay for it."""
    program = (
        "import sys\n"
        "from petal import Session\n"
        "plugins = Session().plugins\n"
        "for kind, name in (('store', 's3'), ('filesystem', 's3'), ('resolver', 'aws')):\n"
        "    assert plugins.find(kind, name) is not None, kind\n"
        "plugins.find('filesystem', 's3')()\n"
        "from petal import filesystem, open_store\n"
        "open_store('s3://bucket/prefix'); filesystem('s3://bucket/key')  # as a bare worker does\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('boto3', 'botocore', 'urllib3')])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
