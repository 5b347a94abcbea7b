"""Say what AWS or the way to it did wrong: whether it may pass, and in words as an ``OSError``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

#: What may be tried again although the status does not say so: the request was too much, cut, damaged or in the way.
_PASSING: Final = frozenset(
    {
        "BadDigest",
        "ConditionalRequestConflict",
        "IncompleteBody",
        "OperationAborted",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "XAmzContentChecksumMismatch",
        "XAmzContentSHA256Mismatch",
    }
)
_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
#: They say that the time of the request is wrong; the last one says other things as well.
_SKEWED: Final = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"})
#: Seconds by which clocks may differ before AWS minds.
_TOLERATED: Final = 240
_MISSING: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_LOGIN: Final = (
    "log in (`aws sso login`), or set $AWS_PROFILE, or $AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY"
)


class ExpiredCredentials(PermissionError):
    """The credentials have expired, and where they come from there are no others."""


class ClockSkewed(PermissionError):
    """The clock of this machine is so wrong that AWS refuses what it says."""


class Damaged(ConnectionError):
    """What came is not what is stored, also when it was fetched anew."""


def code_of(error: Any) -> str:
    """Return the code of what AWS answered, such as ``AccessDenied``; empty where it did not answer."""
    return str(_answer(error).get("Error", {}).get("Code", ""))


def status_of(error: Any) -> int:
    """Return the HTTP status of what AWS answered; 0 where it did not answer."""
    return int(_answer(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_missing(error: Any) -> bool:
    """Whether there is no such object."""
    return code_of(error) in _MISSING


def is_hidden(error: Any) -> bool:
    """Whether access is refused as it is to an object that is not there, where listing is not allowed."""
    return code_of(error) == "AccessDenied" and "s3:GetObject" not in _message(error)


def is_occupied(error: Any) -> bool:
    """Whether a condition of a write does not hold: what must not be there is, or what must be is another or gone."""
    return status_of(error) == 412


def is_expired(error: Any) -> bool:
    """Whether the credentials have expired, so that reading them anew may help."""
    return code_of(error) in _EXPIRED


def is_passing(error: BaseException) -> bool:
    """Whether the same call may succeed a moment later."""
    from botocore.exceptions import ConnectionError as NoConnection
    from botocore.exceptions import FlexibleChecksumError, HTTPClientError, IncompleteReadError, SSLError
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    if isinstance(error, SSLError):
        return False
    if code_of(error) or status_of(error):
        return code_of(error) in _PASSING or status_of(error) == 429 or status_of(error) >= 500
    lost = (HTTPClientError, NoConnection, IncompleteReadError, FlexibleChecksumError, ResponseParserError)
    return isinstance(error, (*lost, HTTPError, Damaged))


def explained(error: BaseException, what: str = "", tries: int = 1) -> OSError:
    """Return an error of Python's that says in one sentence what is wrong, and where there is one, the remedy.

    Args:
        error: What botocore or urllib3 raised.
        what: What it is about, put in front.
        tries: How often it was tried.
    """
    kind, text = _words(error)
    if tries > 1:
        text = f"{text} (tried {tries} times)"
    return kind(f"{what}: {text}" if what else text)


def _words(error: BaseException) -> tuple[type[OSError], str]:
    from botocore import exceptions

    if isinstance(error, Damaged):
        return Damaged, str(error)
    if code_of(error) or status_of(error):
        return _answered(error)
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return PermissionError, f"there are no credentials for AWS ({error}); {_LOGIN}"
    if isinstance(
        error, exceptions.SSOError | exceptions.TokenRetrievalError | exceptions.CredentialRetrievalError
    ):
        return ExpiredCredentials, f"the credentials for AWS cannot be had: {error}; {_LOGIN}"
    if isinstance(error, exceptions.NoRegionError):
        return OSError, "no region is named; set $AWS_REGION, or `region` in the profile in ~/.aws/config"
    if isinstance(error, exceptions.ReadTimeoutError | exceptions.ConnectTimeoutError) or "timed out" in str(
        error
    ):
        return TimeoutError, f"AWS does not answer in time: {error}"
    if is_passing(error):
        return ConnectionError, f"the connection to AWS failed: {error}"
    return OSError, f"{error}"


def _answered(error: Any) -> tuple[type[OSError], str]:
    """Say what is meant by an error that AWS has answered."""
    code, status, message = code_of(error), status_of(error), _message(error)
    said = f"{code}: {message}" if message and message != code else code or str(status)
    skew = _skew(error)
    if code in _SKEWED or (
        code in ("InvalidSignatureException", "SignatureDoesNotMatch") and abs(skew) > _TOLERATED
    ):
        return (
            ClockSkewed,
            f"AWS refuses the request for its time ({code}): {_apart(skew)}; set the clock (NTP)",
        )
    if is_expired(error):
        return (
            ExpiredCredentials,
            f"the credentials have expired ({code}), and there are no newer ones; {_LOGIN}",
        )
    if is_passing(error):
        return ConnectionError, f"AWS answers with an error of its own ({status} {said})"
    if code == "NoSuchBucket":
        return FileNotFoundError, "there is no such bucket"
    if is_missing(error):
        return FileNotFoundError, "there is no such object"
    if is_occupied(error):
        return FileExistsError, f"something else is there by now ({said})"
    if code == "AccessDenied" and is_hidden(error):
        return (
            PermissionError,
            f"AWS refuses it, or there is no such object and listing is not allowed ({said})",
        )
    if status in (401, 403):
        return PermissionError, f"AWS refuses it ({said})"
    return OSError, f"AWS answers {status} ({said})"


def _message(error: Any) -> str:
    return str(_answer(error).get("Error", {}).get("Message", ""))


def _answer(error: Any) -> Mapping[str, Any]:
    """Return what AWS answered; nothing where it did not, which botocore's errors of the connection say by a None."""
    return getattr(error, "response", None) or {}


def _skew(error: Any) -> float:
    """Return by how many seconds this machine's clock is ahead of the one that answered; 0 where that is not known."""
    try:
        theirs = parsedate_to_datetime(_answer(error)["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, TypeError, ValueError):
        return 0.0
    return (datetime.now(UTC) - theirs.astimezone(UTC)).total_seconds()


def _apart(skew: float) -> str:
    if abs(skew) < 1:
        return "this machine's clock and AWS's differ"
    return f"this machine's clock is {abs(skew):,.0f} s {'ahead of' if skew > 0 else 'behind'} AWS's"
