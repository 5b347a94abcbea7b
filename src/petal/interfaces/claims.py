"""What a claim check is: where messages lie that are too large for their transport, as :class:`petal.Claims` keeps them."""

from __future__ import annotations

from typing import Any, Literal, Protocol

#: ``in`` for a request, which the sender puts and the worker gets; ``out`` for a reply.
Way = Literal["in", "out"]


class ClaimCheck(Protocol):
    """Takes messages, and gives them back for the small message that says where they lie."""

    def put(self, data: bytes, way: Way, run: str) -> bytes:
        """Keep a message, and return the header of the small one that goes instead.

        Raises:
            RemoteError: It cannot be kept; nothing was sent.
        """
        ...

    def get(self, header: bytes, way: Way, run: str | None) -> Any:
        """Return the message that a header names, anything with a buffer; its size and digest are verified.

        Args:
            header: The header of a small message.
            way: What the message must be.
            run: The run that it must be of; None where the receiver cannot know.

        Raises:
            WireError: It names something that is not to be read here.
            ClaimLost: What it names cannot be had.
        """
        ...

    def settle(self, *headers: bytes) -> None:
        """Forget messages that nobody needs any more, in the background; empty headers name none."""
        ...
