"""What is missing is said before anything runs: settings, credentials, region, the function itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from petal_lambda.backend import AwsLambda
from petal_lambda.clients import client_of
from petal_lambda.settings import LambdaSettings, called

from petal import EnvironmentNotReady
from petal.execution.result import RunResult
from petal.testing import tasks
from tests.services import aws_stub as faults
from tests.services.aws_stub import AwsStub

Run = Callable[..., RunResult]
_ARN = "arn:aws:lambda:eu-central-1:123456789012:function:sentiment"


def opened(**settings: Any) -> None:
    """Open the backend with settings, and close it."""
    found = msgspec.convert({"function_name": "f", **settings}, LambdaSettings)
    AwsLambda().open(found, None).close(1.0)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"function_name": ""}, "function_name"),
        ({"function_name": "my function"}, "function_name"),
        ({"function_name": "https://x.lambda-url.us-east-1.on.aws/"}, "function_name"),
        ({"function_name": "f:live", "qualifier": "dev"}, "qualifier"),
        ({"function_name": _ARN, "region": "us-east-1"}, "region"),
        ({"endpoint_url": "localhost:9000"}, "endpoint_url"),
        ({"timeout": 0}, "timeout"),
        ({"in_flight": 0}, "in_flight"),
        ({"payload_limit": 100}, "payload_limit"),
        ({"function": "f"}, "function"),
    ],
)
def test_settings_that_make_no_sense_are_found_when_the_pipeline_is_checked(
    settings: dict[str, Any], says: str
) -> None:
    """The error names the key."""
    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.convert({"function_name": "f", **settings}, LambdaSettings)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"function_name": "f"}, "f"),
        ({"function_name": "f", "qualifier": "live"}, "f:live"),
        ({"function_name": "f:live", "qualifier": "live"}, "f:live"),
        ({"function_name": _ARN, "qualifier": "3"}, f"{_ARN}:3"),
        ({"function_name": f"{_ARN}:3"}, f"{_ARN}:3"),
    ],
)
def test_a_function_is_called_with_its_version(settings: dict[str, Any], name: str) -> None:
    """Name or ARN, and the qualifier once."""
    assert called(msgspec.convert(settings, LambdaSettings)) == name


@pytest.fixture
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that nobody has set up for AWS."""
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.usefixtures("_nobody")
class TestThisMachine:
    """What a machine must have."""

    def test_without_credentials_the_error_says_how_to_come_by_them(self) -> None:
        """Nothing is sent to find that out."""
        with pytest.raises(EnvironmentNotReady, match="no AWS credentials") as found:
            opened(region="us-east-1")
        assert "aws configure" in (found.value.hint or "")

    def test_without_a_region_the_error_says_where_to_write_one(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`region` of the block, or of the AWS configuration."""
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        with pytest.raises(EnvironmentNotReady, match="region") as found:
            opened()
        assert "`region`" in (found.value.hint or "")

    def test_a_profile_that_does_not_exist_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the AWS SDK says of the configuration is said before the run."""
        monkeypatch.setenv("AWS_PROFILE", "nobody")
        with pytest.raises(EnvironmentNotReady, match="nobody"):
            opened(region="us-east-1")

    def test_the_region_is_that_of_the_arn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of a function that is named by its ARN nothing more need be said."""
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        opened(function_name=_ARN, dry_run=False)
        client = client_of(LambdaSettings(function_name=_ARN))
        assert client.meta.region_name == _ARN.split(":")[3]
        client.close()


def test_a_plan_imports_no_sdk() -> None:
    """boto3 takes a quarter of a second: it is loaded when a run opens the backend."""
    code = (
        "import sys; from petal_lambda import plugin; plugin.petal_backends(); print('boto3' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


class TestTheFunction:
    """What AWS says before the run."""

    def test_where_nobody_listens_the_address_is_named(self, aws_stub: AwsStub) -> None:
        """An emulator that was not started."""
        aws_stub.close()
        with pytest.raises(EnvironmentNotReady, match="answers at http://127"):
            opened()

    def test_an_emulator_is_not_asked_by_a_dry_run(self, aws_stub: AwsStub) -> None:
        """It would run the function."""
        opened()
        assert aws_stub.calls == []

    def test_a_dry_run_asks_and_runs_nothing(self, aws_stub: AwsStub) -> None:
        """One call, which says that it is one."""
        aws_stub.answer("Invoke", faults.raw(204, b""))
        opened(dry_run=True)
        [call] = aws_stub.calls
        assert (call.headers["x-amz-invocation-type"], call.body) == ("DryRun", b"")

    @pytest.mark.parametrize(
        ("status", "code", "hint"),
        [
            (404, "ResourceNotFoundException", "petal lambda deploy"),
            (403, "AccessDeniedException", "lambda:InvokeFunction"),
            (403, "UnrecognizedClientException", "get-caller-identity"),
            (403, "ExpiredTokenException", "sso login"),
        ],
    )
    def test_what_keeps_it_from_being_called_is_said(
        self, status: int, code: str, hint: str, aws_stub: AwsStub
    ) -> None:
        """With what to do about it."""
        aws_stub.always("Invoke", faults.error(status, code, "it is not so"))
        with pytest.raises(EnvironmentNotReady, match="it is not so") as found:
            opened(dry_run=True)
        assert hint in (found.value.hint or "")
        assert aws_stub.count("Invoke") == 1

    def test_one_that_is_throttled_just_now_is_there(self, aws_stub: AwsStub) -> None:
        """Its tasks will wait for their turn."""
        aws_stub.always("Invoke", faults.throttled(1))
        opened(dry_run=True)
        assert aws_stub.count("Invoke") == 1

    def test_a_run_ends_before_its_first_node(self, aws_stub: AwsStub, run: Run) -> None:
        """No node runs where one of them could not."""
        aws_stub.always("Invoke", faults.error(404, "ResourceNotFoundException", "Function not found"))
        with pytest.raises(EnvironmentNotReady, match="`it` cannot run on `aws_lambda`"):
            run(tasks.adds, 1, settings={"dry_run": True})

    def test_a_node_that_fails_over_goes_on_where_it_can(self, aws_stub: AwsStub, run: Run) -> None:
        """The function is not there: its second place is."""
        aws_stub.always("Invoke", faults.error(404, "ResourceNotFoundException", "Function not found"))
        result = run(tasks.adds, 1, settings={"dry_run": True, "failover": ["local"]}).check()
        assert (result.outputs["it"], result.nodes["it"].backend) == (1, "local")


_BRIEF = """\
nodes:
  - id: reader
    type: FileReader
    params: { file_path: "input.txt" }

  - id: lambda_transform
    type: SentimentAnalyzer
    inputs: { lines: reader }
    execution:
      backend: aws_lambda
      function_name: petal-sentiment-analyze
      region: us-east-1
      protocol: json

  - id: writer
    type: FileWriter
    params: { file_path: "output.txt" }

edges:
  - [lambda_transform, writer]
"""


def test_a_function_written_by_hand_is_a_node(
    aws_stub: AwsStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The brief's example: a function that knows nothing of Petal gets inputs, node and type, and gives rows."""
    seen: list[Any] = []

    def analyze(payload: Any) -> Any:
        seen.append(payload)
        return [f"{line}: good" for line in payload["inputs"][0]]

    aws_stub.function = analyze
    monkeypatch.chdir(tmp_path)
    Path("input.txt").write_text("a\nb\n")
    Path("etl.yaml").write_text(_BRIEF)
    done = subprocess.run(
        [sys.executable, "-m", "petal", "run", "etl.yaml", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert Path("output.txt").read_text() == "a: good\nb: good\n"
    wanted = {
        "inputs": [["a", "b"]],
        "operator_id": "lambda_transform",
        "type": "SentimentAnalyzer",
        "params": {},
    }
    assert seen == [wanted]
    assert json.loads(done.stdout)["status"] == "succeeded"
