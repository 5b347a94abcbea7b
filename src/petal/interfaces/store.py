"""What a store is: a place that keeps bytes under keys, such as the cache's folder or a bucket."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Protocol

from msgspec import Struct


class StoreStats(Struct, frozen=True):
    """What a store holds.

    Attributes:
        entries: How many keys there are.
        size: Bytes of all values together, more or less.
        limit: Bytes beyond which old values make room for new ones; None where there is no limit.
    """

    entries: int
    size: int
    limit: int | None = None


class Store(Protocol):
    """Keeps bytes under keys, for threads and processes at the same time.

    A store knows nothing of what the bytes are, and nobody trusts what comes out of it: whoever puts something in proves
    by a digest that it is what comes out. So a store may lose values whenever it likes, but never mixes two.

    * Keys are text of letters, digits, ``-`` and ``:``, at most 200 characters.
    * A value that is being put is there as a whole or not at all, for every reader, also when the writer is killed.
    * What cannot be done is an ``OSError`` that says why, and harms no other value.
    """

    def get(self, key: str) -> bytes | BinaryIO | None:
        """Return a value, or None where there is none (any more).

        Returns:
            Bytes; or a file that is open for reading, with a ``fileno()``, which the caller closes. What is read from it
            stays the same even if the value is replaced or deleted meanwhile.
        """
        ...

    def has(self, key: str) -> bool:
        """Say whether there is a value, without reading it."""
        ...

    def put(self, key: str, source: bytes | Path, *, ttl: float | None = None, durable: bool = False) -> bool:
        """Keep a value, in place of the one that was there.

        Args:
            key: The key.
            source: Bytes; or a file that the store may move away: it is gone afterwards.
            ttl: Seconds after which the value may be dropped.
            durable: Whether to return only when it would survive a power loss.

        Returns:
            False where the value is larger than all that the store may hold: then it is not kept.
        """
        ...

    def delete(self, key: str) -> bool:
        """Forget a value, and say whether there was one."""
        ...

    def keys(self) -> Iterable[str]:
        """Give the keys, in any order; those that come or go meanwhile may be among them."""
        ...

    def stats(self) -> StoreStats:
        """Say what is in it."""
        ...

    def clear(self) -> int:
        """Forget everything, and return how many values that were."""
        ...

    def close(self) -> None:
        """Let go of what it holds open; twice is once."""
        ...


class AddingStore(Store, Protocol):
    """A store that can tell who was first: of several that add a value under one key, one succeeds."""

    def add(self, key: str, data: bytes, *, ttl: float | None = None) -> bool:
        """Keep a value where there is none; False, and nothing is changed, where there is one.

        Args:
            key: The key.
            data: The value.
            ttl: Seconds after which the value may be dropped.
        """
        ...
