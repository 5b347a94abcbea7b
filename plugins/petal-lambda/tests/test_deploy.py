"""`petal lambda deploy`, against a server that keeps functions as AWS does: what is made, changed, and left alone."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from petal_lambda.deploy import Deployed, Options, deploy
from petal_lambda.package import Wanted, package

from petal import EnvironmentNotReady, PetalError, UsageError
from tests.console import environment, run

OPERATORS = """\
from petal import operator

@operator
def words(lines: list[str]) -> list[str]:
    return [word for line in lines for word in line.split()]
"""
_NODE = (
    "  - {{ id: {id}, type: Words, inputs: {{ lines: lines }}, "
    "execution: {{ backend: aws_lambda, function_name: {function}, region: us-east-1{more} }} }}\n"
)


@pytest.fixture
def aws(aws_endpoint: str) -> Iterator[Any]:
    """A client of the server."""
    import boto3

    client = boto3.client("lambda", region_name="us-east-1")
    yield client
    client.close()


@pytest.fixture
def role(aws_endpoint: str) -> Iterator[str]:
    """The ARN of a role that functions may have."""
    import boto3

    client, name = boto3.client("iam", region_name="us-east-1"), f"role-{uuid.uuid4().hex[:12]}"
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}  # fmt: skip
    made = client.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    yield str(made["Role"]["Arn"])
    client.delete_role(RoleName=name)
    client.close()


@pytest.fixture
def function(aws: Any) -> Iterator[str]:
    """The name of a function that is not there yet."""
    name = f"words-{uuid.uuid4().hex[:12]}"
    yield name
    if name in [found["FunctionName"] for found in aws.list_functions()["Functions"]]:
        aws.delete_function(FunctionName=name)


@pytest.fixture
def pipeline(tmp_path: Path, function: str) -> Callable[..., Path]:
    """Return a function that writes a pipeline whose node calls the function, with further settings as YAML."""
    (tmp_path / "operators.py").write_text(OPERATORS)

    def write(more: str = "") -> Path:
        path = tmp_path / "pipeline.yaml"
        node = _NODE.format(id="words", function=function, more=more)
        path.write_text(f"plugins: [./operators.py]\ninputs: [lines]\nnodes:\n{node}")
        return path

    return write


def only(found: list[Deployed]) -> Deployed:
    (one,) = found
    return one


def test_a_function_is_made_then_left_alone_then_changed(
    pipeline: Callable[..., Path], function: str, role: str, aws: Any, tmp_path: Path
) -> None:
    """What is as it should be is not touched; what is not, is; and what somebody else has set, stays."""
    file = pipeline(", timeout: 30, claims: 's3://bucket/claims'")
    made = only(deploy(file, options=Options(role=role, memory=1024, environment={"STAGE": "test"})))
    assert made.did[0].startswith("created (python")
    found = aws.get_function_configuration(FunctionName=function)
    assert found["Handler"] == "petal_lambda.handler.handler"
    assert found["Runtime"] == f"python{sys.version_info[0]}.{sys.version_info[1]}"
    assert (found["MemorySize"], found["Timeout"], found["Role"]) == (1024, 30, role)
    assert found["Environment"]["Variables"] == {"STAGE": "test", "PETAL_CLAIMS": "s3://bucket/claims"}
    assert made.arn == found["FunctionArn"]
    zip = package(file, tmp_path / "same.zip", Wanted())
    assert found["CodeSha256"] == base64.b64encode(bytes.fromhex(zip.sha256)).decode()

    again = only(deploy(file))
    assert again.did == ()

    (tmp_path / "operators.py").write_text(OPERATORS + "# changed\n")
    changed = only(deploy(file, options=Options(timeout=90, environment={"LEVEL": "2"})))
    assert changed.did[0].startswith("code updated")
    assert changed.did[1] == "configuration updated (Environment, Timeout)"
    found = aws.get_function_configuration(FunctionName=function)
    assert (found["MemorySize"], found["Timeout"]) == (1024, 90)
    assert found["Environment"]["Variables"] == {
        "STAGE": "test",
        "LEVEL": "2",
        "PETAL_CLAIMS": "s3://bucket/claims",
    }


def test_a_function_that_is_not_there_needs_a_role(pipeline: Callable[..., Path], function: str) -> None:
    with pytest.raises(UsageError, match=f"there is no function `{function}` yet") as caught:
        deploy(pipeline())
    assert "--role" in str(caught.value.hint)


def test_an_alias_follows_what_is_deployed(
    pipeline: Callable[..., Path], function: str, role: str, aws: Any, tmp_path: Path
) -> None:
    """A run calls one version to its end: the alias is moved, versions never change."""
    file = pipeline(", qualifier: live")
    first = only(deploy(file, options=Options(role=role)))
    assert first.arn.endswith(f":{function}:live")
    assert "qualifier" not in " ".join(first.notes)
    before = aws.get_alias(FunctionName=function, Name="live")["FunctionVersion"]
    assert only(deploy(file)).did == ()
    (tmp_path / "operators.py").write_text(OPERATORS + "# changed\n")
    second = only(deploy(file))
    assert second.did[-1].startswith("alias `live` is version")
    assert aws.get_alias(FunctionName=function, Name="live")["FunctionVersion"] != before


def test_a_version_cannot_be_deployed_to(pipeline: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="what a version is never changes"):
        deploy(pipeline(", qualifier: '3'"))


def test_a_package_that_was_made_before_is_deployed_as_it_is(
    pipeline: Callable[..., Path], function: str, role: str, aws: Any, tmp_path: Path
) -> None:
    file = pipeline()
    package(file, tmp_path / "made.zip")
    (tmp_path / "operators.py").write_text(OPERATORS + "# changed since\n")
    deploy(file, options=Options(role=role, zip=str(tmp_path / "made.zip")))
    digest = hashlib.sha256((tmp_path / "made.zip").read_bytes()).digest()
    assert (
        aws.get_function_configuration(FunctionName=function)["CodeSha256"]
        == base64.b64encode(digest).decode()
    )
    (tmp_path / "not.zip").write_text("no zip")
    with pytest.raises(UsageError, match="no package of a function"):
        deploy(file, options=Options(role=role, zip=str(tmp_path / "not.zip")))
    with pytest.raises(UsageError, match="cannot read"):
        deploy(file, options=Options(role=role, zip=str(tmp_path / "nowhere.zip")))


def test_a_zip_goes_by_way_of_a_bucket_where_one_is_named(
    pipeline: Callable[..., Path], function: str, role: str, aws: Any, aws_bucket: str, tmp_path: Path
) -> None:
    """The direct way takes 50 MB; this one takes what unpacked has 250 MB."""
    file = pipeline()
    made = only(deploy(file, Wanted(by_bucket=True), Options(role=role, bucket=aws_bucket)))
    assert made.did[0].startswith("created (python")
    zip = package(file, tmp_path / "same.zip")
    digest = base64.b64encode(bytes.fromhex(zip.sha256)).decode()
    assert aws.get_function_configuration(FunctionName=function)["CodeSha256"] == digest
    assert only(deploy(file, Wanted(by_bucket=True), Options(bucket=aws_bucket))).did == ()
    (tmp_path / "operators.py").write_text(OPERATORS + "# changed\n")
    with pytest.raises(PetalError, match="cannot be put into the bucket"):
        deploy(file, options=Options(bucket=f"{aws_bucket}-not"))


def test_each_function_of_a_pipeline_gets_what_its_own_nodes_need(
    tmp_path: Path, function: str, role: str, aws: Any
) -> None:
    (tmp_path / "operators.py").write_text(OPERATORS)
    other = f"{function}-other"
    nodes = _NODE.format(id="one", function=function, more="") + _NODE.format(
        id="two", function=other, more=""
    )
    (tmp_path / "pipeline.yaml").write_text(f"plugins: [./operators.py]\ninputs: [lines]\nnodes:\n{nodes}")
    try:
        done = deploy(tmp_path / "pipeline.yaml", options=Options(role=role))
        assert sorted(one.function for one in done) == [function, other]
        only(deploy(tmp_path / "pipeline.yaml", Wanted(function=other)))
        with pytest.raises(UsageError, match="the nodes call 2 functions"):
            deploy(tmp_path / "pipeline.yaml", options=Options(zip="x.zip"))
    finally:
        aws.delete_function(FunctionName=other)


def test_keys_on_one_side_alone_are_noted(
    pipeline: Callable[..., Path], role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signed messages would be refused by a function that has no keys to answer with."""
    (tmp_path / "keys.toml").write_text(f'a = "{"k" * 40}"\n')
    monkeypatch.setenv("PETAL_KEYRING", str(tmp_path / "keys.toml"))
    found = only(deploy(pipeline(), options=Options(role=role)))
    assert [note for note in found.notes if "no keyring to answer with" in note]
    monkeypatch.delenv("PETAL_KEYRING")
    found = only(
        deploy(pipeline(), options=Options(environment={"PETAL_KEYRING": "env:KEYS", "KEYS": "k" * 40}))
    )
    assert [note for note in found.notes if "signed messages alone" in note]


@pytest.mark.usefixtures("aws_endpoint")
def test_what_aws_refuses_and_what_does_not_answer_is_told(
    pipeline: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(PetalError, match="AWS refuses to deploy"):
        deploy(pipeline(), options=Options(role="arn:aws:iam::123456789012:role/no-such-role"))
    with pytest.raises(EnvironmentNotReady, match="does not answer"):
        deploy(
            pipeline(", endpoint_url: 'http://127.0.0.1:1'"), options=Options(role="arn:aws:iam::1:role/x")
        )


def test_the_command_says_what_it_did_and_prints_the_arn(
    pipeline: Callable[..., Path], function: str, role: str, tmp_path: Path
) -> None:
    file = pipeline()
    kept = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    command = f"petal lambda deploy {file.name}"
    first, again, as_json, bad = run(
        [
            f"{command} --role {role} 2>&1",
            f"{command} 2>&1",
            f"{command} --json",
            f"{command} --env X; echo $?",
        ],
        tmp_path,
        environment(tmp_path / "bin") | kept,
    )
    assert f"`{function}`: created (" in first
    assert first.endswith(f":{function}\n")
    assert "nothing to do: it is as it should be" in again
    assert json.loads(as_json)[0]["did"] == []
    assert bad.endswith("2\n")
