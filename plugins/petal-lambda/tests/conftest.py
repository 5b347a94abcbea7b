"""What the tests of functions share: a stub of AWS whose function is Petal's worker, or plain Python, and a way to call it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from petal_lambda.envelope import body_of, envelope

from petal import Pipeline, Session, node
from petal.execution.result import RunResult
from petal.testing.subject import giver
from petal.worker.execute import execute
from tests.services.aws_stub import AwsStub

#: The function that tests call.
NAME = "petal-test"


def works(payload: Any) -> Any:
    """Do what Petal's handler does with a message."""
    return envelope(execute(body_of(payload)))


@pytest.fixture
def worker(aws_stub: AwsStub) -> AwsStub:
    """The stub of AWS, whose function is a worker of Petal."""
    aws_stub.function = works
    return aws_stub


@pytest.fixture
def run(aws_stub: AwsStub) -> Callable[..., RunResult]:
    """Return a function that runs an operator in the function, and returns the run's result.

    Its arguments are the operator, its input, and policies of the node; ``settings`` are those of its block.
    """
    assert aws_stub.url

    def run(
        operator: Any, value: Any, *, settings: Mapping[str, Any] | None = None, **policies: Any
    ) -> RunResult:
        execution = {"backend": "aws_lambda", "function_name": NAME, **(settings or {})}
        name = "given" if isinstance(operator, str) else operator.__code__.co_varnames[0]
        return Pipeline.of(
            node(giver(value), id="given"),
            node(operator, id="it", inputs={name: "given"}, policies={"execution": execution, **policies}),
            name="functions",
            session=Session(),
        ).run(targets=["it"])

    return run
