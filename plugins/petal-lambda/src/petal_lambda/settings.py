"""The `execution` block of `aws_lambda`: which function is called, and how."""

from __future__ import annotations

import re

from msgspec import Struct

from petal_lambda.envelope import LIMIT

#: What AWS takes as the name of a function: a name, an ARN or a part of one, with a version or an alias behind it or not.
_NAME = re.compile(r"[A-Za-z0-9_:$\-]{1,256}")
_ARN = re.compile(
    r"(?:arn:[^:]*:lambda:(?P<region>[^:]*):)?(?:\d{12}:)?(?:function:)?[^:]+(?::(?P<qualifier>[^:]+))?"
)
#: Seconds that any function may take, as long as AWS does not allow more; only a wait that nobody bounds looks at it.
LONGEST = 900.0
#: Bytes below which a message carries nothing.
_LEAST = 4096


class LambdaSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The ``execution`` block of ``aws_lambda``.

    Attributes:
        function_name: The function: its name, or its ARN.
        region: The region that it is in, such as `eu-central-1`; that of the ARN, or of this machine's AWS configuration,
            where nothing is said.
        qualifier: A version or an alias of the function.
        endpoint_url: Where AWS Lambda is, if not at AWS: an emulator, or a VPC endpoint.
        timeout: The function's own time-out in seconds, as it is configured at AWS: a reply is waited for so long, and a
            little longer. 900, the longest, where nothing is said.
        payload_limit: Bytes that one message may have there, either way; what is larger goes to `claims`.
        in_flight: Calls at a time at most, each with a connection.
        claims: Where messages go that are too large, such as `s3://bucket/prefix`; the function must have the same in
            `PETAL_CLAIMS`.
        dry_run: Whether AWS is asked before the run if the function is there and may be called, by a call that does not
            run it. Where nothing is said, only AWS itself is asked: its emulator would run the function.
    """

    function_name: str
    region: str | None = None
    qualifier: str | None = None
    endpoint_url: str | None = None
    timeout: float | None = None
    payload_limit: int = LIMIT
    in_flight: int = 32
    claims: str | None = None
    dry_run: bool | None = None

    def __post_init__(self) -> None:
        """Find mistakes when the pipeline is checked.

        Raises:
            ValueError: A value makes no sense.
        """
        if not _NAME.fullmatch(self.function_name) or not (found := _ARN.fullmatch(self.function_name)):
            raise ValueError(
                f"`function_name` is {self.function_name!r}, which is no function's name: write its name or its ARN"
            )
        if self.qualifier is not None and found["qualifier"] not in (None, self.qualifier):
            raise ValueError(
                f"`qualifier` is {self.qualifier!r}, but `function_name` ends with {found['qualifier']!r} already"
            )
        if self.region is not None and found["region"] not in (None, self.region):
            raise ValueError(
                f"`region` is {self.region!r}, but the function's ARN is of {found['region']!r}: leave it out"
            )
        if self.endpoint_url is not None and not self.endpoint_url.startswith(("http://", "https://")):
            raise ValueError(
                f"`endpoint_url` is {self.endpoint_url!r}, but must begin with https:// or http://"
            )
        if self.timeout is not None and self.timeout <= 0:
            raise ValueError(f"`timeout` is {self.timeout:g}, but must be above 0")
        if self.in_flight < 1:
            raise ValueError(f"`in_flight` is {self.in_flight}, but must be above 0")
        if self.payload_limit < _LEAST:
            raise ValueError(f"`payload_limit` is {self.payload_limit}, but {_LEAST} bytes are the least")


def region_in(name: str) -> str | None:
    """Return the region that a function's ARN names; None of what is no whole ARN."""
    found = _ARN.fullmatch(name)
    return found["region"] or None if found is not None else None


def called(settings: LambdaSettings) -> str:
    """Return how a message calls the function: its name, and its version or alias."""
    if settings.qualifier is None or settings.function_name.endswith(f":{settings.qualifier}"):
        return settings.function_name
    return f"{settings.function_name}:{settings.qualifier}"
