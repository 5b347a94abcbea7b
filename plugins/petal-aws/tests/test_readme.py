"""The README is true: its pipelines, commands and rules work in a bucket that has what they read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from petal_aws.filesystem import open_filesystem
from petal_aws.session import client

from tests.console import blocks, environment, play

README = Path(__file__).resolve().parents[1] / "README.md"
SEND = '''\
from petal import operator


@operator
def send(lines: list[str], *, password: str) -> int:
    """Say how many there are to send."""
    assert password == "open sesame"
    return len(lines)
'''


@pytest.mark.slow
def test_its_blocks_are_true(aws_bucket: str, s3: Any, tmp_path: Path) -> None:
    """Played in order, in a bucket of the test's own in place of `my-bucket`."""
    for name, text in {"a": "well\nan ERROR\n", "b": "ERROR again\n"}.items():
        upload = open_filesystem().write(f"s3://{aws_bucket}/logs/{name}.txt", owner="test")
        upload.file.write(text.encode())
        upload.commit()
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "send.py").write_text(SEND)
    text = README.read_text(encoding="utf-8").replace("my-bucket", aws_bucket)
    (folder / "README.md").write_text(text, encoding="utf-8")
    assert play(folder / "README.md", folder, environment(tmp_path / "bin")) == []
    with open_filesystem().read(f"s3://{aws_bucket}/reports/errors.txt") as file:
        assert file.read() == b"an ERROR\nERROR again\n"


def test_its_rules_are_rules_of_a_bucket(aws_bucket: str, s3: Any) -> None:
    """S3 takes them as they stand there, and they cover what a killed process leaves."""
    [rules] = blocks(README.read_text(encoding="utf-8"), "json")
    s3.put_bucket_lifecycle_configuration(Bucket=aws_bucket, LifecycleConfiguration=json.loads(rules.text))
    kept = s3.get_bucket_lifecycle_configuration(Bucket=aws_bucket)["Rules"]
    assert {"AbortIncompleteMultipartUpload", "Expiration"} <= {key for rule in kept for key in rule}


def test_its_pipelines_run(aws_bucket: str, aws_endpoint: str, tmp_path: Path) -> None:
    """The one with a secret too, which is made here."""
    from petal import Pipeline

    name = f"etl/{aws_bucket}"
    client("secretsmanager").create_secret(Name=name, SecretString=json.dumps({"password": "open sesame"}))
    upload = open_filesystem().write(f"s3://{aws_bucket}/logs/a.txt", owner="test")
    upload.file.write(b"an ERROR\n")
    upload.commit()
    (tmp_path / "send.py").write_text(SEND)
    found = {}
    for block in blocks(README.read_text(encoding="utf-8"), "yaml"):
        text = block.text.replace("my-bucket", aws_bucket).replace("etl/db", name)
        path = tmp_path / "pipeline.yaml"
        path.write_text(text)
        found[text.partition("\n")[0]] = Pipeline.from_file(path).run().check().outputs
    assert found["# secret.yaml"] == {"send": 1}
    client("secretsmanager").delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
