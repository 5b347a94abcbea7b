"""A cache in a folder, for the tests of it: what a node gave is put there and asked for in one call each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from petal.data.artifact import Making
from petal.data.cache import Cache
from petal.data.disk_store import DiskStore
from petal.spec.views import seen

#: How much of the long tests is run: 1 for all of it.
SCALE = float(os.environ.get("PETAL_TEST_SCALE", "0.1"))


def open_cache(folder: Path, warnings: list[str] | None = None, *, limit: int | None = None) -> Cache:
    """Open a cache whose making lies inside of its folder, as in a home."""
    store = DiskStore(folder) if limit is None else DiskStore(folder, limit=limit)
    return Cache(store, folder / "making", None if warnings is None else warnings.append)


def keep(cache: Cache, key: str, value: Any, annotation: Any = str, **how: Any) -> bool:
    """Store a value under a key."""
    view = seen(annotation)
    making = Making(cache.folder, annotation, view)
    if view.view.streams:
        for piece in value:
            making.put(piece)
    else:
        making.value(value)
    with making.finish() as artifact:
        return cache.put(key, artifact, **how)


def ask(cache: Cache, key: str, annotation: Any = str) -> Any:
    """Return what is stored under a key; None where nothing is."""
    found = cache.get(key, annotation, seen(annotation))
    if found is None:
        return None
    with found:
        if seen(annotation).view.streams:
            return [row for piece in found.stream() for row in piece]
        return found.load()


def files(folder: Path) -> Iterator[Path]:
    """Give the files of large values."""
    yield from sorted(folder.glob("??/??/*.val"))
