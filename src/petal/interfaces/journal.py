"""The journal as the engine sees it: what it cannot record, it does not do (S9.5)."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct


class Journal(Protocol):
    """Takes the records of one run, in order, from any thread."""

    def append(self, record: Struct, *, durable: bool = False) -> None:
        """Add a record.

        Args:
            record: An event of :mod:`petal.spec.event`.
            durable: Whether to return only when it and all before it would survive a power loss. Others are on disk
                soon after, and a run that is killed at once may lose them.

        Raises:
            JournalError: It cannot be written; nothing that comes later can be either.
        """
        ...
