"""`${secret:aws/NAME#key}`: found where it is used, last, and shown nowhere; what goes wrong says no part of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from petal_aws import secrets
from petal_aws.secrets import secret
from petal_aws.session import client

from petal import EnvironmentNotReady, Pipeline
from tests.console import environment, run
from tests.services.aws_stub import AwsStub, error, expired_token, internal_error

CANARY = "canary-9f2b7c11d0"


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """Nothing that another test has asked for is known."""
    secrets._known.clear()
    yield
    secrets._known.clear()


@pytest.fixture
def named(aws_endpoint: str, request: pytest.FixtureRequest) -> Iterator[Callable[[Any], str]]:
    """Return a function that makes a secret of the test's own, and returns its name."""
    made: list[str] = []

    def make(value: Any) -> str:
        name = f"petal/{abs(hash(request.node.nodeid))}/{len(made)}"
        kind = {"SecretBinary": value} if isinstance(value, bytes) else {"SecretString": value}
        made.append(client("secretsmanager").create_secret(Name=name, **kind)["ARN"])
        return name

    yield make
    for arn in made:
        client("secretsmanager").delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)


def test_a_secret_is_its_text_or_an_entry_of_it(named: Callable[[Any], str]) -> None:
    """By name and by ARN; numbers as they are written in JSON."""
    plain, pair = named(CANARY), named(json.dumps({"user": "etl", "password": CANARY, "port": 5432}))
    assert secret(plain) == CANARY
    assert [secret(f"{pair}#{key}") for key in ("user", "password", "port")] == ["etl", CANARY, "5432"]
    arn = client("secretsmanager").describe_secret(SecretId=plain)["ARN"]
    assert secret(arn) == CANARY


@pytest.mark.parametrize(
    ("value", "key", "says"),
    [
        (f'{{"password": "{CANARY}"', "password", "no JSON object"),
        (json.dumps([CANARY]), "password", "no JSON object"),
        (json.dumps({"passwort": CANARY}), "password", "no entry 'password'"),
        (json.dumps({"password": {"deep": CANARY}}), "password", "no text and no number"),
        (json.dumps({"password": None, "other": CANARY}), "password", "no text and no number"),
        (CANARY.encode(), "", "bytes and no text"),
    ],
)
def test_what_is_wrong_with_a_secret_shows_no_part_of_it(
    named: Callable[[Any], str], value: Any, key: str, says: str
) -> None:
    """Not in the message, nor in the chain of causes."""
    name = named(value)
    with pytest.raises(EnvironmentNotReady, match=says) as caught:
        secret(f"{name}#{key}" if key else name)
    assert caught.value.code == "missing-secret"
    seen: BaseException | None = caught.value
    while seen is not None:
        assert CANARY not in f"{seen} {seen!r} {vars(seen)}"
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def test_a_secret_that_is_not_there_is_named(aws_endpoint: str) -> None:
    """With where it was looked for."""
    with pytest.raises(EnvironmentNotReady, match=r"`aws/no/such`.*no secret of that name") as caught:
        secret("no/such")
    assert "AWS_REGION" in (caught.value.hint or "")
    for wrong in ("", "#key", "name#"):
        with pytest.raises(EnvironmentNotReady, match="no secret is named so"):
            secret(wrong)


def test_no_region_is_said(monkeypatch: pytest.MonkeyPatch, aws_endpoint: str) -> None:
    """Secrets Manager has one in each."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    with pytest.raises(EnvironmentNotReady, match="no region is named"):
        secret("anything")


def test_it_is_asked_for_once_in_a_while(
    named: Callable[[Any], str], aws_faults: AwsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that is called a thousand times costs one call; after some minutes a new value is seen."""
    name = named(json.dumps({"a": "first-a", "b": "first-b"}))
    assert {secret(f"{name}#a") for _ in range(1000)} == {"first-a"}
    assert secret(f"{name}#b") == "first-b"
    assert aws_faults.count("GetSecretValue") == 1
    client("secretsmanager").put_secret_value(SecretId=name, SecretString=json.dumps({"a": "second-a"}))
    assert secret(f"{name}#a") == "first-a"
    now = secrets.time.monotonic()
    monkeypatch.setattr(secrets.time, "monotonic", lambda: now + secrets.KEPT + 1)
    assert secret(f"{name}#a") == "second-a"


def test_what_passes_is_tried_again_and_what_does_not_is_said(
    named: Callable[[Any], str], aws_faults: AwsStub
) -> None:
    """A throttle and an error of the server pass; a refusal and credentials that have expired do not."""
    name = named(CANARY)
    aws_faults.answer("GetSecretValue", error(400, "ThrottlingException"), internal_error())
    assert secret(name) == CANARY
    assert aws_faults.count("GetSecretValue") == 3
    secrets._known.clear()
    aws_faults.always("GetSecretValue", error(400, "AccessDeniedException", "User: x is not authorized"))
    with pytest.raises(EnvironmentNotReady, match="not authorized") as caught:
        secret(name)
    assert "secretsmanager:GetSecretValue" in (caught.value.hint or "")
    aws_faults.always("GetSecretValue", expired_token())
    with pytest.raises(EnvironmentNotReady, match="expired") as caught:
        secret(name)
    assert caught.value.code == "aws-credentials"


def test_what_is_answered_is_not_logged(
    named: Callable[[Any], str], caplog: pytest.LogCaptureFixture
) -> None:
    """Not by the SDK either, whose parser logs every answer; the control is the SDK alone."""
    name = named(CANARY)
    with caplog.at_level("DEBUG"):
        assert secret(name) == CANARY
        assert "secretsmanager" in caplog.text
        assert CANARY not in caplog.text
        client("secretsmanager").get_secret_value(SecretId=name)
        assert CANARY in caplog.text


OPERATORS = f'''\
from petal import operator


@operator
def given() -> str:
    """Return a text."""
    return "text"


@operator
def uses(text: str, *, password: str) -> dict[str, object]:
    """Say what is known of a password."""
    return {{"length": len(password), "right": password == {CANARY!r}[::-1][::-1]}}


@operator
def shows(text: str, *, password: str) -> str:
    """Fail, and say the password, as careless code does."""
    raise ValueError("wrong password: " + password)
'''
FILE = """\
plugins: [./ops.py]
nodes:
  - {{ id: given, type: Given }}
  - id: it
    type: {type}
    inputs: {{ text: given }}
    params: {{ password: "${{secret:aws/{name}#password}}" }}
    execution: {{ backend: {backend} }}
"""


@pytest.mark.parametrize("backend", ["local", "process"])
def test_the_process_that_uses_it_resolves_it(
    named: Callable[[Any], str], backend: str, tmp_path: Path
) -> None:
    """Here or in a worker; the plan holds the reference alone, and what an error says of it is hidden."""
    name = named(json.dumps({"password": CANARY}))
    (tmp_path / "ops.py").write_text(OPERATORS)
    path = tmp_path / "etl.yaml"
    path.write_text(FILE.format(type="Uses", name=name, backend=backend))
    assert CANARY not in str(Pipeline.from_file(path).plan())
    result = Pipeline.from_file(path).run().check()
    assert result.outputs["it"] == {"length": len(CANARY), "right": True}
    path.write_text(FILE.format(type="Shows", name=name, backend=backend))
    [said] = run(["petal run etl.yaml"], tmp_path, environment(tmp_path / "bin"))
    assert "wrong password: ***" in said
    assert CANARY not in said
