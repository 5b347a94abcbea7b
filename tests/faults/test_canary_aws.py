"""A secret of Secrets Manager is nowhere but there: here, in workers, in AWS Lambda and its log, in S3 (F82)."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.console import environment, run
from tests.faults.canaries import Canary, Scenario, traces, write
from tests.faults.warm import Warm, warm

pytestmark = [pytest.mark.aws, pytest.mark.slow]

FUNCTION = "canary"
ON_LAMBDA = {"backend": "aws_lambda", "function_name": FUNCTION, "region": "us-east-1"}
WAYS = ("raises", "chained", "known", "logs", "prints", "opens")
PLACES: dict[str, dict[str, Any]] = {
    "local": {},
    "process": {"execution": "process"},
    "lambda": {"execution": ON_LAMBDA},
}


class World(NamedTuple):
    """A secret in Secrets Manager, a bucket, and a process that runs command lines which find both."""

    canary: Canary
    reference: str
    bucket: str
    s3: Any
    process: Warm
    function: Any


def scenarios(reference: str, bucket: str) -> list[Scenario]:
    """Return ways to fail by places to be; the operator gets the secret as a parameter, or asks for it."""
    found: list[Scenario] = []
    for place, policy in PLACES.items():
        # here and in processes other tests try the other ways, with secrets from elsewhere
        ways = WAYS if place == "lambda" else WAYS[:2]
        for i, way in enumerate(ways):
            asks = {"reference": reference} if i % 2 else {"secret": f"${{secret:{reference}}}"}
            node = {"id": "it", "type": "Fails", "params": {"how": way, **asks}, **policy}
            found.append(Scenario(f"{way}-{place}", [node], of_environment=False))
        cached = {"cache": {"version": "1"}, "params": {"reference": reference}, **policy}
        takes = {"id": "takes", "type": "Takes", "inputs": {"given": "it"}, "effects": "once"}
        for type in ("Gives", "Wraps"):
            given = {"id": "it", "type": type, **cached}
            found.append(Scenario(f"{type.lower()}-{place}", [given, takes], of_environment=False))
    return found


NAMES = [scenario.name for scenario in scenarios("aws/x#y", "z")]


@pytest.fixture(scope="module")
def world(
    aws_endpoint: str, lambda_emulators: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """What the scenarios meet; the function is packaged from one of them, for all have the same code."""
    import boto3

    folder = tmp_path_factory.mktemp("world")
    canary, name = Canary(), f"canary-{uuid.uuid4().hex[:12]}"
    vault, s3 = boto3.client("secretsmanager"), boto3.client("s3")
    vault.create_secret(Name=name, SecretString=json.dumps({"user": "me", "password": canary.text}))
    s3.create_bucket(Bucket=name)
    reference = f"aws/{name}#password"
    try:
        write(_of(scenarios(reference, name), "raises-lambda"), folder / "project", ["aws"])
        command = f"petal lambda package pipeline.json --output {folder}/canary.zip"
        [said] = run([command], folder / "project", environment(folder / "bin"))
        assert (folder / "canary.zip").is_file(), said
        function = lambda_emulators(folder / "canary.zip", handler="petal_lambda.handler.handler")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL_LAMBDA", function.endpoint_url)
            with warm(folder / "tmp") as process:
                yield World(canary, reference, name, s3, process, function)
    finally:
        for found in s3.list_objects_v2(Bucket=name).get("Contents", ()):
            s3.delete_object(Bucket=name, Key=found["Key"])
        s3.delete_bucket(Bucket=name)
        vault.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
        vault.close()
        s3.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_secret_leaves_no_trace(name: str, world: World, tmp_path: Path) -> None:
    """Neither in what the commands say and leave, nor in the function's log, nor in the bucket of the shared cache."""
    scenario, folder = _of(scenarios(world.reference, world.bucket), name), tmp_path / "project"
    write(scenario, folder, ["aws"])
    spec = json.loads((folder / "pipeline.json").read_text())
    (folder / "pipeline.json").write_text(json.dumps({**spec, "cache_io": f"s3://{world.bucket}/cache"}))
    before = len(world.function.log())
    ran = world.process.run(["run", "pipeline.json", "--debug"], folder)
    assert ran.code == scenario.code, ran.said
    said: dict[str, str | bytes] = {
        "petal run": ran.said,
        "the function's log": world.function.log()[before:],
    }
    assert any("***" in str(text) for text in said.values()), ran.said
    for question in (("show", "last"), ("plan", "pipeline.json"), ("cache", "ls")):
        said[f"petal {' '.join(question)}"] = world.process.run(question, folder).said
    for found in world.s3.list_objects_v2(Bucket=world.bucket).get("Contents", ()):
        answer = world.s3.get_object(Bucket=world.bucket, Key=found["Key"])
        said[f"s3 {found['Key']}"] = answer["Body"].read()
        said[f"s3 {found['Key']} metadata"] = repr(answer["ResponseMetadata"])
    assert traces([world.canary], folder, said) == {}


def test_the_function_knows_the_secret(world: World, tmp_path: Path) -> None:
    """The control: an operator that hands it on has it from Secrets Manager, for what comes here is the secret."""
    folder = tmp_path / "project"
    write(_of(scenarios(world.reference, world.bucket), "gives-lambda"), folder, ["aws"])
    spec = json.loads((folder / "pipeline.json").read_text())
    writer = {
        "id": "takes",
        "type": "FileWriter",
        "params": {"file_path": "given.txt"},
        "inputs": {"lines": "it"},
    }
    spec["nodes"][1:] = [writer]
    (folder / "pipeline.json").write_text(json.dumps(spec))
    ran = world.process.run(["run", "pipeline.json"], folder)
    assert ran.code == 0, ran.said
    assert world.canary.text in (folder / "given.txt").read_text()
    assert os.environ.get("PETAL_CACHE") is None


def _of(found: list[Scenario], name: str) -> Scenario:
    return next(scenario for scenario in found if scenario.name == name)
