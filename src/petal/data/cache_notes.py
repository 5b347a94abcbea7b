"""Remember how each node's output came about last, so that `petal cache explain` can say what has changed since."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import msgspec

from petal.data.cache_entry import shut

#: What stands before keys in the store: the parts of the keys of outputs, and what the nodes of a pipeline gave last.
PARTS, NOTES = "parts:", "notes:"
_encode = msgspec.json.Encoder().encode


class Notes:
    """What the nodes of pipelines gave last: read once and written once a run, so that a hit pays nothing for it.

    Two runs that end at the same time may lose a note, which makes an explanation go further back.

    Args:
        get: Returns what is stored under a name.
        put: Stores bytes under a name.
        spoilt: Told the name of what is damaged.
    """

    def __init__(
        self,
        get: Callable[[str], bytes | BinaryIO | None],
        put: Callable[[str, bytes], object],
        spoilt: Callable[[str], object],
    ) -> None:
        self._get = get
        self._put = put
        self._spoilt = spoilt
        self._lock = threading.Lock()
        self._noted: dict[str, dict[str, list[Any]]] = {}
        self._unwritten: set[tuple[str, str]] = set()

    def begin(self, pipeline: str) -> None:
        """Read what was noted of a pipeline, once; its nodes may then be noted from several threads."""
        with self._lock:
            if pipeline not in self._noted:
                self._noted[pipeline] = self._of(pipeline)

    def add(self, pipeline: str, node: str, parts: Mapping[str, str], key: str, digest: str) -> None:
        """Remember what a node gave."""
        if pipeline not in self._noted:
            self.begin(pipeline)
        noted = self._noted[pipeline]
        before = noted.get(node)
        if before is not None and before[:2] == [key, digest]:
            return
        with self._lock:
            noted[node] = [key, digest, time.time()]
            self._unwritten.add((pipeline, node))
        self._put(PARTS + key, _checked(parts))

    def last(self, pipeline: str, node: str) -> dict[str, Any] | None:
        """Return ``parts``, ``key``, ``digest`` and ``at`` (seconds since 1970), None where nothing was noted."""
        found = (self._noted.get(pipeline) or self._of(pipeline)).get(node)
        parts = self._read(PARTS + found[0]) if found is not None else None
        if found is None or parts is None:
            return None
        return {"parts": parts, "key": found[0], "digest": found[1], "at": found[2]}

    def write(self) -> None:
        """Write what was noted, beside what other processes have noted meanwhile."""
        with self._lock:
            unwritten, self._unwritten = self._unwritten, set()
            for pipeline in {pipeline for pipeline, _ in unwritten}:
                noted = self._of(pipeline)
                noted |= {node: self._noted[pipeline][node] for p, node in unwritten if p == pipeline}
                self._put(_name(pipeline), _checked(noted))

    def _of(self, pipeline: str) -> dict[str, list[Any]]:
        """Return key, digest and time by node."""
        found = self._read(_name(pipeline)) or {}
        return {node: said for node, said in found.items() if type(said) is list and len(said) == 3}

    def _read(self, name: str) -> dict[str, Any] | None:
        source = self._get(name)
        if source is None:
            return None
        data = source if isinstance(source, bytes) else source.read()
        shut(source)
        try:
            if hashlib.sha256(data[32:]).digest() == data[:32]:
                return msgspec.json.decode(data[32:], type=dict[str, Any])
        except (ValueError, msgspec.DecodeError):
            pass
        self._spoilt(name)
        return None


def is_note(name: str) -> bool:
    """Whether something in the store is a note, and no output."""
    return name.startswith((PARTS, NOTES))


def _name(pipeline: str) -> str:
    return NOTES + hashlib.sha256(pipeline.encode(errors="surrogatepass")).hexdigest()


def _checked(data: Mapping[str, Any]) -> bytes:
    """Return plain data behind its checksum."""
    text = _encode(data)
    return hashlib.sha256(text).digest() + text
