"""What a real function does that goes wrong, on AWS's own emulator: each end is told apart, and the next call is well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from petal import Pipeline, Session, node
from petal.execution.result import RunResult
from petal.spec.event import Status
from petal.testing import tasks
from petal.testing.subject import giver

pytestmark = [pytest.mark.aws, pytest.mark.slow]

Run = Callable[..., RunResult]
#: A function that somebody wrote by hand: it does what the parameter `do`, Python, says, or doubles each row of its input.
FUNCTION = """\
import os, signal, sys, time

def handler(event, context):
    found = {"given": event["inputs"][0], "answer": None}
    exec(event["params"].get("do", "time.sleep(0.05); answer = [2 * n for n in given]"), globals(), found)
    return found["answer"]
"""


@pytest.fixture(scope="module")
def function(lambda_emulators: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The function, which takes two calls at a time and has two seconds for each."""
    folder = tmp_path_factory.mktemp("function")
    (folder / "app.py").write_text(FUNCTION, encoding="utf-8")
    return lambda_emulators(folder, handler="app.handler", timeout=2, concurrency=2)


@pytest.fixture
def does(function: Any, aws_credentials: None) -> Run:
    """Return a function that has a node do something on Lambda, and returns the run's result."""

    def run(
        do: str, given: Any = 1, *, settings: Mapping[str, Any] | None = None, **policies: Any
    ) -> RunResult:
        execution = {
            "backend": "aws_lambda",
            "function_name": "does",
            "endpoint_url": function.endpoint_url,
            "protocol": "json",
            **(settings or {}),
        }
        return Pipeline.of(
            node(giver(given), id="given"),
            node("Does", id="it", inputs={"given": "given"}, policies={"execution": execution, **policies}),
            session=Session(),
        ).run(params={"it.do": do}, targets=["it"])

    return run


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials, with which requests are signed; the emulator asks for none."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


#: What a function does, and what Petal says of that.
ENDS = {
    "raises": ("raise ValueError('3 is unusual')", "user", "ValueError: 3 is unusual"),
    "exits": ("os._exit(3)", "infrastructure", "has ended without a reply"),
    "leaves": ("sys.exit(3)", "infrastructure", "has ended without a reply"),
    "is killed": ("os.kill(os.getpid(), signal.SIGKILL)", "infrastructure", "signal: killed"),
    "takes too long": ("time.sleep(60)", "timeout", "its own time-out of 2s was over"),
    "replies with too much": ("answer = 'x' * 6_400_000", "user", "larger than AWS lets through"),
    "replies with no JSON": ("answer = {1, 2}", "user", "Runtime.MarshalError"),
}


@pytest.mark.parametrize("name", ENDS)
def test_each_end_of_a_function_is_told_apart(name: str, does: Run) -> None:
    """F51: the emulator marks none of them; the call after it succeeds."""
    do, kind, says = ENDS[name]
    error = does(do).nodes["it"].error
    assert error is not None
    assert (str(error.kind), says in error.message) == (kind, True), error.message
    assert does("answer = given + 1").check().outputs["it"] == 2


def test_a_function_that_does_not_start_is_no_error_of_the_users(
    lambda_emulator: Callable[..., Any], tmp_path: Path, does: Run
) -> None:
    """F54: a module that is missing there is known before anything ran, also for what must happen once."""
    (tmp_path / "app.py").write_text("import no_such_module\n", encoding="utf-8")
    broken = lambda_emulator(tmp_path, handler="app.handler")
    found = does("answer = 1", settings={"endpoint_url": broken.endpoint_url}, effects="once").nodes["it"]
    assert (found.status, str(found.error.kind), found.error.code) == (
        Status.FAILED,
        "infrastructure",
        "no-worker",
    )
    assert "no_such_module" in found.error.message


def test_a_function_that_starts_slowly_has_its_time_for_that(
    lambda_emulator: Callable[..., Any], tmp_path: Path, does: Run
) -> None:
    """F54: a cold start of two seconds is within what a reply is waited for."""
    text = f"import time\ntime.sleep(2)\n{FUNCTION}"
    (tmp_path / "app.py").write_text(text, encoding="utf-8")
    slow = lambda_emulator(tmp_path, handler="app.handler", timeout=20)
    result = does("answer = given", settings={"endpoint_url": slow.endpoint_url}, timeout=30)
    assert result.check().outputs["it"] == 1


@pytest.mark.usefixtures("aws_credentials")
def test_more_calls_than_the_function_takes_at_a_time_wait_for_their_turn(function: Any) -> None:
    """F50, a throttle storm: eight calls at a time on a function that takes two; each row comes, in its order."""
    before = function.calls
    execution = {
        "backend": "aws_lambda",
        "function_name": "does",
        "endpoint_url": function.endpoint_url,
        "protocol": "json",
    }
    policies = {"execution": execution, "batch": {"size": 1, "in_flight": 8}}
    result = Pipeline.of(
        node(giver(list(range(24))), id="given"),
        node(tasks.doubles, id="it", inputs={"rows": "given"}, policies=policies),
        session=Session(),
    ).run()
    assert list(result.check().outputs["it"]) == list(range(0, 48, 2))
    assert result.nodes["it"].attempts == 1
    assert function.calls - before < 3 * 24


def test_a_timeout_of_the_node_ends_the_wait(does: Run) -> None:
    """The function goes on until its own time is over, which nobody waits for."""
    error = does("time.sleep(60)", timeout=0.5).nodes["it"].error
    assert error is not None
    assert (error.code, "0.5s" in error.message) == ("timeout", True)
