"""What this package brings to Petal: a backend, and commands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from petal import hookimpl

if TYPE_CHECKING:
    from petal import Backend


@hookimpl
def petal_backends() -> Iterable[Backend]:
    """Bring the backend; the AWS SDK is imported when a run opens it."""
    from petal_lambda.backend import AwsLambda

    return [AwsLambda()]


@hookimpl
def petal_commands() -> Iterable[Any]:
    """Bring `petal lambda`."""
    from petal_lambda.commands import commands

    return [commands]
