"""The function itself: ``petal_lambda.handler.handler`` does the tasks that Petal sends to AWS Lambda.

What is imported here, each new sandbox imports before its first task: Petal's worker, and no more.
"""

from __future__ import annotations

import os
from typing import Any

from petal.errors import WireError
from petal.spec.veil import veil_standard_streams
from petal.worker.logs import listen
from petal.worker.service import Service
from petal_lambda.envelope import body_of, envelope, room
from petal_lambda.records import Records

#: The part of the time that is left, and the seconds, which are kept for the reply.
_PART, _MOST = 0.1, 1.0


class NotForPetal(Exception):
    """An event that is no message of Petal: another program called this function, or a node with ``protocol: json``."""


class Function:
    """What one sandbox keeps from call to call: the worker with all that it has loaded, and the record of its tasks."""

    def __init__(self) -> None:
        self._service = Service(limit=room(), records=Records())

    def __call__(self, event: Any, context: Any) -> dict[str, Any]:
        """Do one task.

        Args:
            event: The envelope of a request.
            context: What Lambda says of the call.

        Returns:
            The envelope of the reply, in which is also what went wrong.

        Raises:
            NotForPetal: The event is no message of Petal.
        """
        try:
            data = body_of(event)
        except WireError as error:
            raise NotForPetal(
                f"this function is a worker of Petal, and what it was called with is not for one: {error.message}. A node "
                "calls it with `protocol: petal`, which is what an `execution` block says that names no other"
            ) from None
        return envelope(self._service.answer(data, _left(context)))

    def close(self) -> None:
        """Let go of what is kept; AWS never asks for it."""
        self._service.close()


def _left(context: Any) -> float | None:
    """Return the seconds that a task may take: what Lambda leaves, less what the reply needs."""
    ask = getattr(context, "get_remaining_time_in_millis", None)
    if ask is None:
        return None
    left = float(ask()) / 1000
    return left - min(_MOST, _PART * left)


if "AWS_LAMBDA_RUNTIME_API" in os.environ:  # the process is a sandbox: what is printed goes to CloudWatch
    veil_standard_streams()
    listen()
#: What Lambda calls: the handler of every function that `petal lambda deploy` makes.
handler = Function()
