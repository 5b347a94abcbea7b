"""What remembers tasks: one that comes a second time is not done again (FAULTS F55)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Asked(Protocol):
    """A request that was verified and taken apart."""

    @property
    def header(self) -> Mapping[str, Any]:
        """Its header."""
        ...

    @property
    def parts(self) -> Sequence[memoryview]:
        """Its attachments."""
        ...


class Records(Protocol):
    """Knows which tasks were begun, and what was replied to those that are done, by their idempotency key."""

    def begin(self, request: Asked, seconds: float | None) -> bytes | None:
        """Note that a task begins.

        Args:
            request: Its request.
            seconds: What is left to this process, or None.

        Returns:
            The packed reply, where the task was done before; None where it is to be done now.

        Raises:
            PetalError: It must not be done now; nothing runs.
        """
        ...

    def end(self, request: Asked, reply: bytes) -> None:
        """Keep the packed reply to a task that was done. This never raises."""
        ...
