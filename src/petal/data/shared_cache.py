"""A cache that several machines share, in a store that nobody trusts: entries are verified, and signed where there are keys."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from petal.data.artifact_bytes import Pile
from petal.data.cache_entry import (
    Label,
    checked_end,
    is_over,
    read_label,
    read_label_alone,
    sealed,
    shut,
    signed,
)
from petal.errors import PetalError

if TYPE_CHECKING:
    from petal.data.artifact import Artifact
    from petal.data.signing import Keyring
    from petal.interfaces.store import Store

T = TypeVar("T")

#: What stands before the keys of outputs, and of what is said of them, so that it can be asked for without the output.
OUTPUT, LABEL = "out:", "label:"
#: In what is said of an output that was fetched: the place that it came from.
FROM = "from"
_PIECE = 1 << 18


class SharedStats(Struct):
    """What was asked of a shared cache since it was opened.

    Attributes:
        fetched: Outputs that were found, verified, and taken over.
        stored: Outputs that were put there.
        damaged: Entries that were not what they should be.
        unsigned: Entries that were not signed by one of the keys.
    """

    fetched: int = 0
    stored: int = 0
    damaged: int = 0
    unsigned: int = 0


class Fetched(Struct, frozen=True):
    """An output that was fetched: its label, and its entry as this machine's own store keeps it."""

    label: Label
    source: bytes | Path


class SharedCache:
    """Outputs of nodes in a store that other machines use as well.

    A store that fails harms no run: there is one warning, and from then on nothing is asked of it.

    Args:
        url: Where it is; for messages.
        open_store: Opens the store, when something is first asked of it.
        ring: Returns the keys that entries are signed with, and must be; None where they are not. It is called once.
        warn: Told, in one sentence, that it cannot be used, and of entries that are not signed.
    """

    def __init__(
        self,
        url: str,
        open_store: Callable[[], Store],
        ring: Callable[[], Keyring | None] = lambda: None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self.url = url
        self.stats = SharedStats()
        #: Why nothing more is asked of it, None while all is well.
        self.problem: str | None = None
        self._open = open_store
        self._store: Store | None = None
        self._ring = ring
        self._keys: Keyring | None = None
        self._warn = warn
        self._lock = threading.Lock()

    def fetch(self, key: str, folder: str | None) -> Fetched | None:
        """Return the output of a key, its signature and digest verified; None where there is none to be used.

        Args:
            key: The key.
            folder: Where a large one is written, None for the temporary folder.
        """

        def take(store: Store) -> Fetched | None:
            source = store.get(OUTPUT + key)
            if source is None:
                return None
            try:
                return self._checked(source, key, folder)
            finally:
                shut(source)

        found = self._guarded(take)
        if found is not None:
            self.stats.fetched += 1
        return found

    def look(self, key: str) -> Label | None:
        """Return what is said of an output that is there and may be used, without fetching it; for showing."""

        def ask(store: Store) -> Label | None:
            source = store.get(LABEL + key)
            if source is None:
                return None
            try:
                end = self._end(source)
                label = None if end is None else read_label_alone(source, key, end)
            finally:
                shut(source)
            return label if label is not None and not is_over(label) and store.has(OUTPUT + key) else None

        return self._guarded(ask)

    def put(self, key: str, label: Label, artifact: Artifact, folder: str | None) -> bool:
        """Store an output that was made here, and say whether it is there now.

        Args:
            key: The key.
            label: What is said of it.
            artifact: The output, open.
            folder: Where a copy of a large one is written, None for the temporary folder.
        """

        def keep(store: Store) -> bool:
            said = signed(sealed(label), self._keys)
            source = artifact.copied(said, folder)
            try:
                kept = store.put(OUTPUT + key, source, ttl=label.ttl)
            finally:
                if isinstance(source, Path):
                    source.unlink(missing_ok=True)
            return kept and store.put(LABEL + key, said, ttl=label.ttl)

        if not self._guarded(keep):
            return False
        self.stats.stored += 1
        return True

    def close(self) -> None:
        """Close the store, and say how many entries were not used for want of a signature."""
        with self._lock:
            store, self._store = self._store, None
        if self.stats.unsigned > 1:
            self._say(f"{self.stats.unsigned} outputs in {self.url} were not used: {_UNSIGNED}")
            self.stats.unsigned = 0
        if store is not None:
            self._guarded(lambda _: store.close(), store)

    # -- inside -----------------------------------------------------------------------------------------------

    def _checked(self, source: bytes | BinaryIO, key: str, folder: str | None) -> Fetched | None:
        """Return an entry with the label of one's own, if it is what it should be; its bytes are read once."""
        end = self._end(source)
        if end is None:
            return None
        label = read_label(source, key, end)
        if label is None:
            self.stats.damaged += 1
            return None
        if is_over(label):
            return None
        pile = Pile(folder)
        try:
            at = 0
            while at < label.size and (piece := _piece(source, at, min(_PIECE, label.size - at))):
                pile.add(piece)
                at += len(piece)
            if pile.hash.hexdigest() != label.digest:
                self.stats.damaged += 1
                return None
            copy = pile.stored()
        finally:
            pile.close()
        label = replace(label, about={**label.about, FROM: self.url})
        try:
            return Fetched(label, copy.with_label(sealed(label)))
        finally:
            copy.close()

    def _end(self, source: bytes | BinaryIO) -> int | None:
        """Return where an entry ends without its signature; None where it may not be used."""
        try:
            end = checked_end(source, self._keys)
        except ValueError:
            self.stats.damaged += 1
            return None
        if end is None:
            with self._lock:
                self.stats.unsigned += 1
                is_first = self.stats.unsigned == 1
            if is_first:
                self._say(f"an output in {self.url} is not used: {_UNSIGNED}")
        return end

    def _guarded(self, work: Callable[[Store], T], store: Store | None = None) -> T | None:
        """Do something with the store; where that fails, say so once and ask nothing more of it."""
        if self.problem is not None and store is None:
            return None
        try:
            return work(store or self._opened())
        except (
            Exception
        ) as error:  # a plugin's store should raise OSError alone, but a cache must not fail a run
            with self._lock:
                is_first, self.problem = self.problem is None, _reason(error)
            if is_first:
                self._say(
                    f"the shared cache {self.url} cannot be used: {self.problem}; the run goes on without it"
                )
            return None

    def _opened(self) -> Store:
        with self._lock:
            if self._store is None:
                self._keys = self._ring()
                self._store = self._open()
            return self._store

    def _say(self, text: str) -> None:
        if self._warn is not None:
            self._warn(text)


_UNSIGNED = "not signed by a key of $PETAL_KEYRING, so anybody who may write there could have made it"


def _piece(source: bytes | BinaryIO, at: int, size: int) -> bytes | memoryview:
    return (
        memoryview(source)[at : at + size]
        if isinstance(source, bytes)
        else os.pread(source.fileno(), size, at)
    )


def _reason(error: Exception) -> str:
    if isinstance(error, PetalError):
        return error.message
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return f"{type(error).__name__}: {error}"
