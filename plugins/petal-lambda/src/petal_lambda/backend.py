"""The backend `aws_lambda`: a node's task is done by a function of AWS Lambda."""

from __future__ import annotations

from typing import TYPE_CHECKING

from petal import Capabilities
from petal_lambda.envelope import LIMIT, room
from petal_lambda.limiter import Limiters
from petal_lambda.settings import LambdaSettings

if TYPE_CHECKING:
    from petal_lambda.session import LambdaSession


class AwsLambda:
    """Calls functions of AWS Lambda, with this machine's AWS credentials.

    It does not claim to stop tasks: AWS has no call that ends an invocation. A function with Petal's handler stops its
    task by itself when its time is over, and AWS ends any function at its own time-out.
    """

    name = "aws_lambda"
    capabilities = Capabilities(limit=room(LIMIT), protocols=("petal", "json"))
    settings = LambdaSettings

    def __init__(self) -> None:
        self._limiters = Limiters()

    def open(self, settings: LambdaSettings, folder: str | None) -> LambdaSession:  # noqa: ARG002
        """Look for credentials, region and the function, without running it.

        Raises:
            EnvironmentNotReady: Something of that is missing; the message says what.
        """
        from petal_lambda.session import LambdaSession

        return LambdaSession(settings, self._limiters)
