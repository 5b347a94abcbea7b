"""Secrets of AWS Secrets Manager: `${secret:aws/NAME}`, or with `#key` one entry of a secret that is a JSON object."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from petal import EnvironmentNotReady
from petal_aws.failures import ExpiredCredentials, code_of
from petal_aws.patience import Patience, patiently
from petal_aws.session import client

#: Seconds for which a secret is not asked for again: a node may be called thousands of times.
KEPT: Final = 300.0
_PATIENCE: Final = Patience(attempts=5, seconds=30.0)
_ARN: Final = re.compile(r"arn:[^:]*:secretsmanager:([a-z0-9-]+):")

_lock = threading.Lock()
#: What was asked for in this process, by name: the text and until when it is good.
_known: dict[tuple[Any, ...], tuple[str, float]] = {}


def secret(name: str) -> str:
    """Return a secret, as it is now in Secrets Manager, or was a few minutes ago.

    Args:
        name: The secret's name or ARN; behind ``#`` the key of its entry, for a secret that is a JSON object.

    Raises:
        EnvironmentNotReady: It cannot be had: code ``missing-secret``, or ``aws-credentials`` where AWS does not know who
            asks. The message holds no part of a secret.
    """
    identity, mark, key = name.partition("#")
    if not identity or (mark and not key):
        raise _missing(name, "no secret is named so", "write ${secret:aws/NAME} or ${secret:aws/NAME#key}")
    text = _text(identity, name)
    return _entry(text, key, name) if mark else text


def _text(identity: str, name: str) -> str:
    """Return all of a secret; threads that need it at the same time ask once."""
    account = [
        os.environ.get(f"AWS_{part}") for part in ("PROFILE", "ACCESS_KEY_ID", "REGION", "ENDPOINT_URL")
    ]
    here = (os.getpid(), identity, *account, os.environ.get("AWS_DEFAULT_REGION"))
    with _lock:
        text, until = _known.get(here, ("", 0.0))
        if time.monotonic() < until:
            return text
        text = _asked(identity, name)
        _known[here] = text, time.monotonic() + KEPT
        return text


def _asked(identity: str, name: str) -> str:
    region = _ARN.match(identity)

    def ask() -> Any:
        manager = client("secretsmanager", region=region[1] if region else None)
        return manager.get_secret_value(SecretId=identity)

    try:
        with _unlogged():
            answer = patiently(_PATIENCE, ask)
    except OSError as error:
        raise _refused(name, error) from error
    if "SecretString" not in answer:
        raise _missing(name, "it holds bytes and no text", "store it as text, bytes for example in base64")
    return str(answer["SecretString"])


@contextmanager
def _unlogged() -> Iterator[None]:
    """Keep botocore from logging what this thread is answered, as it does on level DEBUG: nobody knows yet what to hide."""
    import logging

    me = threading.get_ident()

    def is_other(_: logging.LogRecord) -> bool:
        return threading.get_ident() != me

    loggers = [
        logging.getLogger(name) for name in ("botocore.parsers", "botocore.endpoint", "botocore.hooks")
    ]
    for logger in loggers:
        logger.addFilter(is_other)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(is_other)


def _refused(name: str, error: OSError) -> EnvironmentNotReady:
    """Say why a secret cannot be had; nothing that AWS says of it holds any part of it."""
    code = code_of(error.__cause__)
    if code == "ResourceNotFoundException":
        remedy = (
            "create it, or correct the name; it is looked for in the region of this process ($AWS_REGION)"
        )
        return _missing(name, "Secrets Manager has no secret of that name here", remedy)
    if code == "AccessDeniedException":
        return _missing(
            name, str(error), "allow secretsmanager:GetSecretValue on its ARN to whoever runs this"
        )
    if isinstance(error, PermissionError):
        kind = "aws-credentials"
        hint = (
            None if isinstance(error, ExpiredCredentials) else "see who asks: `aws sts get-caller-identity`"
        )
        return EnvironmentNotReady(f"cannot get the secret `aws/{name}`: {error}", hint=hint, code=kind)
    return EnvironmentNotReady(f"cannot get the secret `aws/{name}`: {error}", code="secrets-manager")


def _entry(text: str, key: str, name: str) -> str:
    """Return one entry of a secret that is a JSON object; no message shows what is in it."""
    import json

    try:
        entries = json.loads(text)
    except ValueError:
        entries = None
    if not isinstance(entries, dict):
        # Without a cause: it would show the text.
        raise _missing(
            name, "it is no JSON object, so it has no entries", "write ${secret:aws/NAME} for all of it"
        ) from None
    if key not in entries:
        raise _missing(name, f"it has no entry {key!r}", "correct what is behind the `#`, or add the entry")
    value = entries[key]
    if isinstance(value, bool | None) or not isinstance(value, str | int | float):
        raise _missing(name, f"its entry {key!r} is no text and no number", "store it as text")
    return value if isinstance(value, str) else json.dumps(value)


def _missing(name: str, why: str, hint: str) -> EnvironmentNotReady:
    return EnvironmentNotReady(f"cannot get the secret `aws/{name}`: {why}", hint=hint, code="missing-secret")
