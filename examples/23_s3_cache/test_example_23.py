"""Example 23: files in S3, and a cache there, in which another machine finds what this one has computed."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from petal import Pipeline
from tests.console import environment, run
from tests.examples import Example
from tests.services.locks import alone
from tests.services.service import cache

pytestmark = pytest.mark.aws

BUCKET = "petal-example"
TIDES = """\
period,height
12.42,1.63
12.0,0.54
23.94,0.31
"""


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    """Forget the example's own modules: another test has a copy of its own."""
    yield
    sys.modules.pop("operators", None)


@pytest.fixture
def s3(aws_endpoint: str) -> Iterator[Any]:
    """S3 with the example's bucket, which no other test has meanwhile, and which is empty."""
    import boto3

    client = boto3.client("s3")
    with alone(cache() / "example-23.lock"):
        client.create_bucket(Bucket=BUCKET)
        try:
            yield client
        finally:
            for found in client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
                client.delete_object(Bucket=BUCKET, Key=found["Key"])
            client.delete_bucket(Bucket=BUCKET)
            client.close()


def test_another_machine_finds_what_this_one_has_computed(example: Example, s3: Any, tmp_path: Path) -> None:
    """It has the same files at another place, and nothing of this one's state."""
    env, command = environment(tmp_path / "bin"), "petal run pipeline.yaml --json 2>/dev/null"
    _, said = run(["petal run upload.yaml", command], example.folder, env)
    assert not cached(said)
    there = s3.get_object(Bucket=BUCKET, Key="tides.csv")["Body"].read()
    assert there.decode() == TIDES
    s3.delete_object(Bucket=BUCKET, Key="tides.csv")

    another = tmp_path / "another"
    shutil.copytree(example.folder, another, ignore=shutil.ignore_patterns(".petal"))
    [said] = run([command], another, env)
    assert cached(said) == {"reader", "tides"}
    assert s3.get_object(Bucket=BUCKET, Key="tides.csv")["Body"].read() == there


def cached(said: str) -> set[str]:
    """Return the nodes whose output was found, as `petal run --json` says."""
    return {name for name, node in json.loads(said)["nodes"].items() if node["cached"]}


def test_in_python(example: Example, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`$PETAL_CACHE` names the shared cache; what the file's run has kept there is found."""
    Pipeline.from_file("upload.yaml").run().check()
    Pipeline.from_file("pipeline.yaml").run().check()
    shutil.rmtree(".petal")
    sys.modules.pop("operators", None)
    monkeypatch.setenv("PETAL_CACHE", f"s3://{BUCKET}/cache")
    result = Pipeline.from_file("pipeline.py").run().check()
    assert result.nodes["tides"].cached


@pytest.mark.slow
@pytest.mark.timeout(300)  # many commands, and a machine that others may use
def test_the_readme_is_true(example: Example, s3: Any, tmp_path: Path) -> None:
    assert example.readme_mistakes(tmp_path) == []
