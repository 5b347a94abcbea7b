"""Say what went wrong with a call, by tables: nothing ran, it may have run, or the function itself failed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any

from petal import EnvironmentNotReady, RemoteError, TaskLost, TimedOut
from petal_lambda.settings import LambdaSettings

#: The clocks of two machines differ by more seconds than this where AWS refuses a signature for it.
_SKEW = 240.0


class Throttled(Exception):
    """AWS asks to come back later; nothing ran.

    Args:
        reason: What AWS says.
        after: Seconds that it asks to stay away, or None.
    """

    def __init__(self, reason: str, after: float | None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after


class Expired(Exception):
    """The credentials have expired; nothing ran. The error to raise, if new ones do not help either, is the argument."""


class Means(Enum):
    """What an answer of AWS that is no reply means; of all but the last it is sure that nothing ran."""

    THROTTLED = auto()  # come back later
    LATER = auto()  # the function is being made or changed, or what it needs is: another attempt may do
    REFUSED = auto()  # another attempt will only hear it again
    TOO_LARGE = auto()
    LOST = auto()  # it may have run


#: By the HTTP status.
_STATUSES = {
    400: Means.REFUSED,
    401: Means.REFUSED,
    402: Means.REFUSED,
    403: Means.REFUSED,
    404: Means.REFUSED,
    405: Means.REFUSED,
    409: Means.LATER,
    412: Means.REFUSED,
    413: Means.TOO_LARGE,
    415: Means.REFUSED,
    429: Means.THROTTLED,
}
#: By AWS's name of the error, where its status says less: the function never started.
_CODES = {
    **dict.fromkeys(
        (
            "EC2ThrottledException",
            "EC2UnexpectedException",
            "EFSMountConnectivityException",
            "EFSMountTimeoutException",
            "ENILimitReachedException",
            "ENINotReadyException",
            "ResourceNotReadyException",
            "S3FilesMountConnectivityException",
            "S3FilesMountTimeoutException",
            "SnapStartTimeoutException",
            "SubnetIPAddressLimitReachedException",
        ),
        Means.LATER,
    ),
    **dict.fromkeys(
        (
            "CodeArtifactUserDeletedException",
            "CodeArtifactUserFailedException",
            "EC2AccessDeniedException",
            "InvalidRuntimeException",
            "InvalidSecurityGroupIDException",
            "InvalidSubnetIDException",
            "InvalidZipFileException",
            "KMSAccessDeniedException",
            "KMSDisabledException",
            "KMSInvalidStateException",
            "KMSNotFoundException",
            "RuntimeAliasDeletedException",
            "RuntimeVersionDeletedException",
        ),
        Means.REFUSED,
    ),
}
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_SKEWED = frozenset({"RequestTimeTooSkewed", "RequestInTheFuture"})
_STALE = ("Signature expired", "Signature not yet current")
_HINTS = {
    "AccessDeniedException": "who calls it needs `lambda:InvokeFunction` for exactly this function: `petal lambda policy FILE` "
    "prints the policy",
    "ResourceNotFoundException": "see `function_name`, `region` and `qualifier`, or make it: `petal lambda deploy FILE`",
    "UnrecognizedClientException": "these credentials are not known in this region: see `aws sts get-caller-identity`",
    "InvalidClientTokenId": "these credentials are not known: see `aws sts get-caller-identity`",
}
_RENEW = "renew them (`aws sso login`, or whatever hands them out here), and run again"


def of_service(error: Exception, settings: LambdaSettings, *, sent: int = 0) -> Exception:
    """Return what it means that a call has failed before the function replied.

    Args:
        error: What boto3 raised.
        settings: The function.
        sent: Bytes that were sent.

    Returns:
        :class:`Throttled`, :class:`Expired`, or the error of the task: a `RemoteError` or `EnvironmentNotReady` where nothing
        ran, a `TaskLost` where that is not known.
    """
    from botocore import exceptions as boto

    name = settings.function_name
    if isinstance(error, boto.ClientError):
        return _of_answer(error, settings, sent)
    if isinstance(error, boto.EndpointConnectionError | boto.ConnectTimeoutError | boto.ProxyConnectionError):
        return RemoteError(
            f"AWS Lambda cannot be reached, so `{name}` has not run: {error}",
            kind="infrastructure",
            code="no-lambda",
        )
    if isinstance(
        error,
        boto.NoCredentialsError
        | boto.PartialCredentialsError
        | boto.CredentialRetrievalError
        | boto.TokenRetrievalError
        | boto.NoAuthTokenError
        | boto.SSOError
        | boto.MetadataRetrievalError,
    ):
        return EnvironmentNotReady(
            f"the AWS credentials cannot be used: {error}", hint=_RENEW, code="no-credentials"
        )
    if isinstance(error, boto.ParamValidationError):
        return EnvironmentNotReady(f"`{name}` cannot be called: {error}")
    return TaskLost(
        f"the connection was lost while `{name}` was called, and it is not known what it has done: {error}"
    )


def unready(error: Exception, settings: LambdaSettings) -> EnvironmentNotReady | None:
    """Return why a function cannot be called, as far as a call tells that does not run it; None if it can."""
    found = of_service(error, settings)
    if isinstance(found, Throttled):
        return None  # it is there
    if isinstance(found, Expired):
        found = found.args[0]
    if isinstance(found, EnvironmentNotReady):
        return found
    message = found.message if isinstance(found, RemoteError) else f"AWS Lambda does not answer: {error}"
    return EnvironmentNotReady(message, code="no-lambda")


def timed_out(timeout: float, name: str) -> TimedOut:
    """Return the error of a task whose time was over before a reply came."""
    return TimedOut(
        f"it took longer than its timeout of {timeout:g}s; `{name}` may go on until its own time-out at AWS",
        hint="give it more time (`timeout`), or less to do",
    )


def no_reply(waited: float, name: str) -> TaskLost:
    """Return the error of a task to which no reply came, although the function's own time was over."""
    return TaskLost(
        f"`{name}` has not replied within {waited:g}s, and it is not known what it has done",
        hint="write the function's own time-out as `timeout` on the node's `execution` block, if it is longer",
    )


def throttled_out(throttled: Throttled, name: str, seconds: float) -> RemoteError:
    """Return the error of a task that AWS would not take for all the time that it had: its place is not to be had now."""
    return RemoteError(
        f"`{name}` was throttled for {seconds:.3g}s, and has not run: {throttled.reason}",
        kind="infrastructure",
        bases=("EnvironmentNotReady",),  # it was asked often enough: nothing but another place helps
        code="throttled",
        hint="let fewer calls be made at a time (`in_flight`), give the function more concurrency, or a longer `timeout`",
    )


def _of_answer(error: Any, settings: LambdaSettings, sent: int) -> Exception:
    """Return what an answer of AWS means that is an error."""
    answer: Mapping[str, Any] = error.response
    found, said = answer.get("Error", {}), answer.get("ResponseMetadata", {})
    code, reason = str(found.get("Code", "")), str(found.get("Message") or error)
    status, headers = said.get("HTTPStatusCode", 0), said.get("HTTPHeaders", {})
    name = settings.function_name
    means = _CODES.get(code) or _STATUSES.get(status, Means.LOST)
    told = f"{code}: {reason}" if code and code not in reason else reason
    if means is Means.THROTTLED:
        return Throttled(told, _after(answer, headers))
    if means is Means.TOO_LARGE:
        return RemoteError(
            f"AWS does not take a message of {sent:,} bytes to `{name}`, which has not run: {told}",
            kind="infrastructure",
            bases=("WireError",),  # another attempt would only meet it again
            code="message-too-large",
            hint="send less at a time (`batch`, with `max_bytes`), or let large messages lie in a store (`claims`)",
        )
    if means is Means.LATER:
        return RemoteError(
            f"`{name}` is not ready, and has not run: {told}", kind="infrastructure", code="not-ready"
        )
    if means is Means.LOST:
        return TaskLost(
            f"AWS Lambda failed while `{name}` was called, and it is not known what it has done: {told}"
        )
    if code in _EXPIRED:
        return Expired(
            EnvironmentNotReady(
                f"the AWS credentials have expired: {reason}", hint=_RENEW, code="credentials-expired"
            )
        )
    if status in (400, 403) and (clock := _clock(code, reason, headers)) is not None:
        return EnvironmentNotReady(
            f"AWS refuses the call, because {clock}: {told}",
            hint="set the clock (`timedatectl set-ntp true`), and run again",
            code="clock-skew",
        )
    return EnvironmentNotReady(
        f"AWS does not let `{name}` be called: {told}",
        hint=_HINTS.get(code),
        code="no-function" if status == 404 else None,
    )


def _after(answer: Mapping[str, Any], headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a throttle asks to stay away: AWS says so in the header, or in the body."""
    from petal_lambda.endings import plain

    body = plain(answer.get("Body", b""))
    said = answer.get("retryAfterSeconds") or headers.get("retry-after")
    if said is None and isinstance(body, dict):
        said = body.get("retryAfterSeconds")
    try:
        seconds = float(said)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return seconds if 0 <= seconds < float("inf") else None


def _clock(code: str, reason: str, headers: Mapping[str, str]) -> str | None:
    """Return what is wrong with this machine's clock, where that is why a signature is refused; None where it is not."""
    try:
        ahead = time.time() - parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        ahead = 0.0
    if abs(ahead) > _SKEW:
        return f"this machine's clock is {abs(ahead):,.0f}s {'ahead' if ahead > 0 else 'behind'}"
    if code in _SKEWED or (code == "InvalidSignatureException" and reason.startswith(_STALE)):
        return "this machine's clock and its own differ too much"
    return None
