"""`petal lambda policy`: each action by its name, each resource as narrow as AWS lets it be named (FAULTS 3.4)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from petal_lambda.policy import Policies, policies

from petal import EnvironmentNotReady, UsageError
from tests.console import environment, run

ACCOUNT = "123456789012"
PIPELINE = """\
plugins: [./operators.py]
inputs: [texts]
defaults: {}
nodes:
  - id: score
    type: Score
    inputs: { texts: texts }
    params: { key: "${secret:aws/scores/api#token}" }
    execution:
      backend: aws_lambda
      function_name: score
      region: eu-central-1
      qualifier: live
      claims: s3://messages/petal/score
  - id: own
    type: Own
    inputs: { texts: score }
    execution:
      backend: aws_lambda
      protocol: json
      function_name: arn:aws-cn:lambda:cn-north-1:999999999999:function:own
"""
OPERATORS = """\
from petal import operator

@operator
def score(texts: list[str], *, key: str) -> list[str]:
    return texts
"""


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    (tmp_path / "operators.py").write_text(OPERATORS)
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    return tmp_path / "pipeline.yaml"


@pytest.fixture
def found(pipeline: Path) -> Policies:
    return policies(
        pipeline,
        account=ACCOUNT,
        records="s3://messages/records",
        secrets=["petal/keyring"],
        logs=True,
        cleans=True,
    )


def statements(found: Policies) -> Iterator[tuple[str, dict[str, Any]]]:
    for whose, document in {"runner": found.runner, **found.functions}.items():
        assert document["Version"] == "2012-10-17"
        for statement in document["Statement"]:
            yield whose, statement


def rights(document: dict[str, Any]) -> dict[str, list[str]]:
    """Return the resources by action."""
    return {action: s["Resource"] for s in document["Statement"] for action in s["Action"]}


def test_no_action_is_a_pattern_and_no_resource_is_everything(found: Policies) -> None:
    """A `*` stands at the end alone, behind a bucket and a prefix or the name of the function's own log."""
    for _, statement in statements(found):
        assert statement["Effect"] == "Allow"
        assert not [action for action in statement["Action"] if "*" in action]
        for resource in statement["Resource"]:
            head, star, rest = resource.partition("*")
            assert (star, rest) in {("", ""), ("*", "")}, resource
            if star:
                is_prefix = head.startswith("arn:aws:s3:::messages/") and head.endswith("/")
                is_log = head.endswith(":log-group:/aws/lambda/score:log-stream:")
                assert is_prefix or is_log, resource


def test_who_runs_it_may_call_exactly_its_functions_and_handle_its_messages(found: Policies) -> None:
    assert rights(found.runner) == {
        "lambda:InvokeFunction": [
            f"arn:aws:lambda:eu-central-1:{ACCOUNT}:function:score:live",
            "arn:aws-cn:lambda:cn-north-1:999999999999:function:own",
        ],
        "s3:PutObject": ["arn:aws:s3:::messages/petal/score/in/*"],
        "s3:GetObject": ["arn:aws:s3:::messages/petal/score/out/*"],
        "s3:DeleteObject": [
            "arn:aws:s3:::messages/petal/score/in/*",
            "arn:aws:s3:::messages/petal/score/out/*",
        ],
    }


def test_a_function_has_the_mirror_image_and_the_secrets_that_its_operators_take(found: Policies) -> None:
    """No List, no Delete; of a program of somebody's own, Petal says nothing."""
    assert list(found.functions) == ["score"]
    by_name = {s["Sid"]: (s["Action"], s["Resource"]) for s in found.functions["score"]["Statement"]}
    assert by_name["ReadLargeMessages"] == (["s3:GetObject"], ["arn:aws:s3:::messages/petal/score/in/*"])
    assert by_name["SendLargeReplies"] == (["s3:PutObject"], ["arn:aws:s3:::messages/petal/score/out/*"])
    assert by_name["RecordTasks"] == (["s3:GetObject", "s3:PutObject"], ["arn:aws:s3:::messages/records/*"])
    secret = f"arn:aws:secretsmanager:eu-central-1:{ACCOUNT}:secret:"
    assert by_name["ReadSecrets"][1] == [f"{secret}petal/keyring-??????", f"{secret}scores/api-??????"]
    assert by_name["WriteLogs"][0] == ["logs:CreateLogStream", "logs:PutLogEvents"]


def test_what_is_not_asked_for_is_not_there(pipeline: Path) -> None:
    """Neither logs nor records nor deleting; without a qualifier there is a note."""
    found = policies(pipeline, account=ACCOUNT)
    assert {s["Sid"] for _, s in statements(found)} == {
        "CallFunctions",
        "SendLargeMessages",
        "ReadLargeReplies",
        "ReadLargeMessages",
        "SendLargeReplies",
        "ReadSecrets",
    }
    assert [note for note in found.notes if "`own`" in note and "qualifier" in note]
    assert [note for note in found.notes if "--cleanup" in note]


@pytest.mark.parametrize("url", ["s3://messages", "s3://messages/", "https://messages/x"])
def test_a_whole_bucket_is_refused(pipeline: Path, url: str) -> None:
    with pytest.raises(UsageError, match="no place in a bucket"):
        policies(pipeline, account=ACCOUNT, records=url)


def test_without_a_node_there_the_command_says_so(pipeline: Path) -> None:
    backends = {"score": "local", "own": "local"}
    pipeline.write_text(PIPELINE.partition("  - id: own")[0])
    with pytest.raises(UsageError, match="needs no rights"):
        policies(pipeline, account=ACCOUNT, backends={"score": backends["score"]})


def test_an_account_that_nobody_says_is_asked_of_aws_and_its_silence_told(
    pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(EnvironmentNotReady, match="of which AWS account") as caught:
        policies(pipeline)
    assert "--account" in str(caught.value.hint)


def test_the_command_prints_one_policy_as_aws_takes_it(pipeline: Path, tmp_path: Path) -> None:
    """`--of runner` prints that document alone, on stdout; notes go to stderr."""
    commands = [
        f"petal lambda policy pipeline.yaml --account {ACCOUNT} --of runner 2>/dev/null",
        f"petal lambda policy pipeline.yaml --account {ACCOUNT} --of score 2>/dev/null",
        f"petal lambda policy pipeline.yaml --account {ACCOUNT} --of nobody; echo $?",
        "petal lambda policy pipeline.yaml --account 12; echo $?",
    ]
    runner, function, nobody, wrong = run(commands, tmp_path, environment(tmp_path / "bin"))
    assert json.loads(runner)["Statement"][0]["Sid"] == "CallFunctions"
    assert json.loads(function)["Statement"][0]["Sid"] == "ReadLargeMessages"
    assert "there are: runner, score" in nobody
    assert nobody.endswith("2\n")
    assert "12 digits" in wrong
