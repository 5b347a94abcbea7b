"""The frame of a message: a mark, the length of its header, the header, and attachments one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from petal.data.limits import Limits
from petal.errors import RemoteError, WireError

#: The first bytes of a message; the number is the layout's.
MAGIC = b"PTL1"
#: How the header of a message begins that says where the message itself lies; nothing else of Petal's begins so.
CLAIM = b'{"petal":1,"claim":{'
#: What may have happened to a message that is not whole.
TORN = "the connection may have been cut, or the bytes changed on their way"
_START = len(MAGIC) + 4


def joined(header: bytes, parts: Sequence[memoryview] = ()) -> bytes:
    """Make one piece of bytes of a header and attachments.

    Raises:
        WireError: The header is too long.
    """
    if len(header) >> 32:
        raise WireError("a header has more than 4 GiB", hint="send less in one message")
    return b"".join((MAGIC, len(header).to_bytes(4, "big"), header, *parts))


def split(data: Any, limits: Limits | None) -> tuple[bytes, memoryview]:
    """Return a message's header and what is behind it.

    Raises:
        WireError: It is no message, is damaged, or is larger than the limit.
    """
    view = memoryview(data).cast("B")
    if limits is not None and limits.bytes is not None and view.nbytes > limits.bytes:
        raise WireError(
            f"a message has {view.nbytes:,} bytes, but at most {limits.bytes:,} are read",
            hint="send less in one message, or let the attachments travel beside it",
        )
    if view[: len(MAGIC)] != MAGIC or view.nbytes < _START:
        raise WireError(
            "this is no message of Petal",
            hint="a program of its own that speaks plain JSON takes `protocol: json` on its `execution` block",
        )
    end = _START + int.from_bytes(view[len(MAGIC) : _START], "big")
    if end > view.nbytes:
        raise WireError("a message ends in the middle of its header", hint=TORN)
    return bytes(view[_START:end]), view[end:]


def sizes_of(header: Mapping[str, Any], there: int) -> list[int]:
    """Return the sizes of the attachments, which must be exactly what is there.

    Raises:
        WireError: They are not.
    """
    sizes = header.get("parts", [])
    if type(sizes) is not list or not all(type(s) is int and s >= 0 for s in sizes):
        raise WireError("a message does not say how long its attachments are", hint=TORN)
    if sum(sizes) != there:
        raise WireError(
            f"a message should have {sum(sizes):,} bytes of attachments, but has {there:,}", hint=TORN
        )
    return sizes


def cut(view: memoryview, sizes: Sequence[int]) -> list[memoryview]:
    """Cut attachments apart, without copying them."""
    parts, at = [], 0
    for size in sizes:
        parts.append(view[at : at + size])
        at += size
    return parts


def too_large(size: int, limit: int, hint: str) -> RemoteError:
    """Return the error of a request that its transport cannot carry.

    Nothing was sent, so its outcome is known; another attempt would only meet it again, another place may not.
    """
    return RemoteError(
        f"the message has {size:,} bytes, but its transport carries at most {limit:,}",
        kind="infrastructure",
        bases=("WireError",),
        hint=hint,
        code="message-too-large",
    )
