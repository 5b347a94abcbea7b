"""Take the name of a function apart: a name, or an ARN, with a version or an alias behind it or not."""

from __future__ import annotations

import re

from msgspec import Struct

from petal_lambda.settings import LambdaSettings

_NAME = re.compile(
    r"(?:arn:(?P<partition>[^:]*):lambda:(?P<region>[^:]*):)?(?:(?P<account>\d{12}):)?(?:function:)?"
    r"(?P<name>[^:]+)(?::(?P<qualifier>[^:]+))?"
)


class FunctionName(Struct, frozen=True):
    """A function as an `execution` block calls it; what it does not say is empty.

    Attributes:
        name: Its name alone.
        qualifier: A version or an alias.
        region: Its region.
        account: The number of the account.
        partition: `aws`, `aws-cn`, `aws-us-gov`.
    """

    name: str
    qualifier: str
    region: str
    account: str
    partition: str

    def arn(self) -> str:
        """Return its ARN, with version or alias."""
        qualifier = f":{self.qualifier}" if self.qualifier else ""
        return f"arn:{self.partition}:lambda:{self.region}:{self.account}:function:{self.name}{qualifier}"


def name_of(settings: LambdaSettings) -> FunctionName:
    """Return which function an `execution` block calls."""
    found = _NAME.fullmatch(settings.function_name)
    assert found is not None, "checked by LambdaSettings"
    region = settings.region or found["region"] or ""
    return FunctionName(
        found["name"],
        settings.qualifier or found["qualifier"] or "",
        region,
        found["account"] or "",
        found["partition"] or partition_of(region),
    )


def partition_of(region: str) -> str:
    """Return the partition that a region belongs to."""
    starts = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
    return next((name for start, name in starts.items() if region.startswith(start)), "aws")
