"""What travels to and from a function: Lambda carries JSON, so a message of Petal is base64 within it."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from petal import WireError

#: Bytes that a request or a reply may have, as Lambda counts them: of the JSON.
LIMIT = 6_291_556
_START, _END = b'{"petal":1,"body":"', b'"}'
#: Bytes of the JSON that are not base64, with the spaces that AWS's runtime puts in.
_AROUND = len(_START) + len(_END) + 2


def room(limit: int = LIMIT) -> int:
    """Return how many bytes a message may have so that its JSON has no more than a limit."""
    return max(0, limit - _AROUND) // 4 * 3


def wrapped(message: bytes) -> bytes:
    """Return the JSON of a message."""
    return b"".join((_START, base64.b64encode(message), _END))


def envelope(message: bytes) -> dict[str, Any]:
    """Return what becomes that JSON when it is written by somebody else."""
    return {"petal": 1, "body": base64.b64encode(message).decode("ascii")}


def is_envelope(found: Any) -> bool:
    """Whether plain data is the envelope of a message."""
    return isinstance(found, dict) and found.keys() == {"petal", "body"} and isinstance(found["body"], str)


def body_of(found: Any) -> bytes:
    """Return the message in an envelope.

    Raises:
        WireError: It is none, or of another version, or damaged.
    """
    if not is_envelope(found):
        raise WireError(
            "this is no message of Petal",
            hint="a function of your own that speaks plain JSON takes `protocol: json` on its node's `execution` block",
        )
    if found["petal"] != 1:
        raise WireError(
            f"the message is in version {found['petal']!r} of the envelope, but version 1 is read here",
            hint="install the same version of Petal on both sides",
        )
    try:
        return base64.b64decode(found["body"], validate=True)
    except (binascii.Error, ValueError):
        raise WireError(
            "the body of a message is not base64",
            hint="the connection may have been cut, or the bytes changed on their way",
        ) from None
