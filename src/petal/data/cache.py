"""Keep outputs of nodes under keys that say how they came about: verified when read, never trusted (DESIGN.md §6)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import Struct

from petal.data.artifact import Artifact, open_artifact
from petal.data.cache_entry import SCHEMA, Label, digest_of_entry, is_over, read_label, sealed, shut
from petal.data.cache_lock import alone
from petal.data.cache_notes import Notes, is_note
from petal.data.codecs import Codecs
from petal.data.publishing import sweep
from petal.data.shared_cache import OUTPUT, SharedCache
from petal.interfaces.store import Store, StoreStats
from petal.spec.redaction import hidden, redact

#: What stands before the keys of outputs in the store.
_OUTPUT = OUTPUT


class Entry(Struct, frozen=True):
    """An entry as ``petal cache ls`` shows it; ``problem`` says why it cannot be served, if so."""

    key: str
    label: Label | None
    problem: str | None = None


class CacheStats(Struct):
    """What was asked of a cache since it was opened.

    Attributes:
        hits: Outputs that were found, verified, and given.
        misses: Outputs that were not there.
        stored: Outputs that were put there.
        damaged: Entries that were not what they should be, and were deleted; each is a miss too.
        expired: Entries whose time was over; each is a miss too.
    """

    hits: int = 0
    misses: int = 0
    stored: int = 0
    damaged: int = 0
    expired: int = 0


class Cache:
    """Outputs of nodes in a store, by key. Threads and processes may use one store at the same time.

    A store that fails harms no run: there is one warning, and from then on everything is a miss.

    Args:
        store: Keeps the bytes.
        folder: Where outputs are written before they are stored, and locks lie; for a store on this machine's disk a
            folder on the same disk, so that nothing is copied. It is made when it is needed.
        warn: Told once, in one sentence, that the cache cannot be used, and of each output that may not be stored.
        codecs: Those of plugins, which read what they wrote; None where none take part.
        shared: What other machines use as well: it is asked for what is not here, and gets what is made here. None for none.
    """

    def __init__(
        self,
        store: Store,
        folder: str | os.PathLike[str],
        warn: Callable[[str], None] | None = None,
        codecs: Codecs | None = None,
        shared: SharedCache | None = None,
    ) -> None:
        self.stats = CacheStats()
        #: Why nothing more is read or stored, None while all is well.
        self.problem: str | None = None
        self._store = store
        self._folder = Path(folder)
        self._warn = warn
        self._codecs = codecs
        self.shared = shared
        self._ready = False
        self._notes = Notes(self._fetch, self._store_note, self._spoilt)

    # -- outputs ------------------------------------------------------------------------------------------------

    @property
    def folder(self) -> str | None:
        """Where outputs are to be written, for :class:`petal.data.artifact.Making`; None for the temporary folder."""
        if self.problem is not None or not self._make_folder():
            return None
        return str(self._folder)

    def get(self, key: str, annotation: Any, seen: Any) -> Artifact | None:
        """Return the output that is stored under a key, its bytes verified; None where there is none.

        An entry that is damaged, foreign or of another version is deleted, and counted. The caller closes the artifact.

        Args:
            key: The key, of :func:`petal.data.cache_key.key_of`.
            annotation: The annotation of the output port, or MISSING.
            seen: The view in which the output flows.
        """
        found = self._own(key, annotation, seen)
        if found is None and self._brought(key):
            found = self._own(key, annotation, seen)
        if found is None:
            self.stats.misses += 1
        else:
            self.stats.hits += 1
        return found

    def _own(self, key: str, annotation: Any, seen: Any) -> Artifact | None:
        """Return an output that is stored here."""
        source = self._fetch(_OUTPUT + key)
        if source is None:
            return None
        label = read_label(source, key)
        if label is not None and is_over(label):
            shut(source)
            self.stats.expired += 1
            return None
        found = None
        if label is not None:
            found = open_artifact(source, label.size, label.digest, annotation, seen, self._codecs)
        else:
            shut(source)
        if found is None:
            self.stats.damaged += 1
            self._delete(_OUTPUT + key)
        return found

    def _brought(self, key: str) -> bool:
        """Take an output over from the shared cache, and say whether it is here now."""
        if self.shared is None or self.problem is not None:
            return False
        fetched = self.shared.fetch(key, self.folder)
        return fetched is not None and self._kept(key, lambda: fetched.source, fetched.label.ttl)

    def _kept(
        self, key: str, source: Callable[[], bytes | Path], ttl: float | None, *, durable: bool = False
    ) -> bool:
        """Put an output into the store; where that fails, it is not used any more."""
        data: bytes | Path | None = None
        try:
            data = source()
            return self._store.put(_OUTPUT + key, data, ttl=ttl, durable=durable)
        except OSError as error:
            if isinstance(data, Path):
                data.unlink(missing_ok=True)
            self._give_up(error)
            return False

    def put(
        self,
        key: str,
        artifact: Artifact,
        *,
        ttl: float | None = None,
        about: Mapping[str, str] | None = None,
        durable: bool = False,
        shares: bool = True,
    ) -> bool:
        """Store an output. The artifact stays as it is, open for whoever reads it.

        Args:
            key: The key.
            artifact: The output, fresh from its making: it is stored once.
            ttl: Seconds for which it is good.
            about: What is to be shown of it: pipeline, node, operator.
            durable: Whether to return only when it would survive a power loss.
            shares: Whether it is put into the shared cache as well.

        Returns:
            Whether it was stored: not where the store fails, it is larger than the store, or it holds a secret.
        """
        if self.problem is not None:
            return False
        about = {name: redact(text) for name, text in (about or {}).items()}
        secrets = hidden()
        if secrets and artifact.find([s.encode() for s in secrets]):
            self._say(f"the output of `{about.get('node', '?')}` holds a secret, so it is not cached")
            return False
        label = Label(SCHEMA, key, artifact.digest, artifact.size, artifact.rows, time.time(), ttl, about)
        kept = self._kept(key, lambda: artifact.save(sealed(label)), ttl, durable=durable)
        if kept:
            self.stats.stored += 1
        elif self.problem is None:
            self._say(
                f"the output of `{about.get('node', '?')}` ({artifact.size:,} bytes) is larger than the cache"
            )
        if shares and self.shared is not None:
            self.shared.put(key, label, artifact, self.folder)
        return kept

    def alone(self, key: str, stop: Callable[[], bool]) -> AbstractContextManager[bool]:
        """Let one thread of all processes compute what belongs under a key, while the others wait for it.

        Args:
            key: The key.
            stop: Asked while waiting; when it says yes, waiting ends without the lock.

        Returns:
            A context, which says whether another one was waited for: then the output is there now, most likely.
        """
        return alone(self._folder / f"{key}.lock", lambda: self.folder is not None, stop)

    # -- what was, to compare with ------------------------------------------------------------------------------

    def begin(self, pipeline: str) -> None:
        """Open the store, and read what is remembered of a pipeline, before its nodes ask all at once."""
        self._notes.begin(pipeline)

    def note(self, pipeline: str, node: str, parts: Mapping[str, str], key: str, digest: str) -> None:
        """Remember how a node's output came about, for :meth:`last`; it is written when the cache is closed."""
        self._notes.add(pipeline, node, parts, key, digest)

    def last(self, pipeline: str, node: str) -> dict[str, Any] | None:
        """Return what was noted of a node last: ``parts``, ``key``, ``digest``, ``at``; None where nothing was."""
        return self._notes.last(pipeline, node)

    # -- looking after it ---------------------------------------------------------------------------------------

    def look(self, key: str) -> Entry:
        """Return what is stored under a key, or why it would not be given; for showing.

        Its bytes are not verified, and nothing is counted or deleted.
        """
        return self._entry(_OUTPUT + key, verify=False)

    def entries(self) -> Iterator[Entry]:
        """Give what is stored, in no order; labels are read, bytes are not verified."""
        for name in self._keys():
            if name.startswith(_OUTPUT):
                yield self._entry(name, verify=False)
            elif not is_note(name):
                yield Entry(name, None, "not put there by Petal")

    def verify(self) -> list[Entry]:
        """Read everything, delete what is damaged or expired, and return that."""
        bad = []
        for name in self._keys():
            if is_note(name):
                continue
            entry = self._entry(name, verify=True)
            if entry.problem is not None:
                bad.append(entry)
                self._delete(name)
        tidy = getattr(self._store, "tidy", None)
        if tidy is not None:
            self._guarded(tidy)
        return bad

    def clear(self, *, node: str | None = None, pipeline: str | None = None) -> int:
        """Forget outputs: all, or those of one node or pipeline; return how many.

        Args:
            node: The node's id.
            pipeline: The pipeline's name.
        """
        if node is None and pipeline is None:
            count = None
            with contextlib.suppress(
                OSError
            ):  # a full disk: then what is there can be removed, and not be listed
                count = sum(name.startswith(_OUTPUT) for name in self._store.keys())  # noqa: SIM118 (no dictionary)
            removed: int = self._guarded(self._store.clear) or 0
            return removed if count is None else count
        chosen = [
            entry.key
            for entry in self.entries()
            if entry.label is not None
            and node in (None, entry.label.about.get("node"))
            and pipeline in (None, entry.label.about.get("pipeline"))
        ]
        return sum(self._delete(_OUTPUT + key) for key in chosen)

    def forget(self, key: str) -> bool:
        """Forget one output, and say whether there was one."""
        return self._delete(_OUTPUT + key)

    def size(self) -> StoreStats:
        """Say how many entries there are, notes included, and how many bytes."""
        return self._guarded(self._store.stats) or StoreStats(0, 0)

    def close(self) -> None:
        """Write what was noted, and close the store."""
        if not self._ready:
            self._tidy()  # nothing was made, but what a run that was killed has left goes all the same
        self._notes.write()
        with contextlib.suppress(OSError):
            self._store.close()
        if self.shared is not None:
            self.shared.close()

    # -- the store ----------------------------------------------------------------------------------------------

    def _entry(self, name: str, *, verify: bool) -> Entry:
        key = name.removeprefix(_OUTPUT)
        source = self._fetch(name)
        if source is None:
            return Entry(key, None, "nothing is stored")
        label = read_label(source, key)
        problem = None
        if label is None:
            problem = "damaged, or of another version of Petal"
        elif is_over(label):
            problem = "expired"
        elif verify and digest_of_entry(source, label.size) != label.digest:
            problem = "damaged: its bytes are not those that were stored"
        shut(source)
        return Entry(key, label, problem)

    def _store_note(self, name: str, data: bytes) -> None:
        self._guarded(lambda: self._store.put(name, data))

    def _spoilt(self, name: str) -> None:
        self.stats.damaged += 1
        self._delete(name)

    def _delete(self, name: str) -> bool:
        return bool(self._guarded(lambda: self._store.delete(name)))

    def _keys(self) -> list[str]:
        return self._guarded(lambda: [*self._store.keys()]) or []

    def _fetch(self, name: str) -> bytes | BinaryIO | None:
        found: bytes | BinaryIO | None = self._guarded(lambda: self._store.get(name))
        return found

    def _guarded(self, work: Callable[[], Any]) -> Any:
        if self.problem is not None:
            return None
        try:
            return work()
        except OSError as error:
            self._give_up(error)
            return None

    def _give_up(self, error: OSError) -> None:
        """Go on without the cache; say so once."""
        if self.problem is None:
            reason = os.strerror(error.errno) if error.errno else str(error)
            self.problem = f"the cache in {str(self._folder.parent)!r} cannot be used: {reason}"
            self._say(f"{self.problem}; the run goes on without it")

    def _make_folder(self) -> bool:
        if not self._ready:
            try:
                self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._folder.mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                self._give_up(error)
                return False
            self._tidy()
            self._ready = True
        return True

    def _tidy(self) -> None:
        """Remove what processes that were killed have left: files in the making, and locks that nobody holds."""
        sweep(str(self._folder))
        locks: list[Path] = []
        with contextlib.suppress(OSError):  # a folder that is closed to us has nothing of ours
            locks += self._folder.glob("*.lock")
        for path in locks:
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if os.fstat(descriptor).st_nlink:  # else it is another's by now
                        path.unlink()
                finally:
                    os.close(descriptor)

    def _say(self, text: str) -> None:
        if self._warn is not None:
            self._warn(text)
