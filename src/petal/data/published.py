"""Say what a published file was, and later whether it is still the same (S9.3)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from petal.spec.event import Target
from petal.spec.url import is_url

#: Up to this many bytes a file is known by the digest of its bytes, which takes some 10 ms at most. Of a larger one that
#: would slow a run that does little more than write it by a tenth: it is known by its number in the file system and
#: the time of its last modification. Rewritten or copied, even with the same bytes, it counts as another.
HASHED: Final = 16 << 20


def described(path: Path, target: Path) -> Target:
    """Describe a file that is stored and about to be published.

    Args:
        path: Where it is now.
        target: Where it will be.

    Raises:
        OSError: It cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if found.st_size <= HASHED:
            digest = "sha256:" + _sha256(descriptor)
        else:
            digest = f"file:{found.st_mtime_ns}-{found.st_ino}"
        return Target(str(target), digest, found.st_size)
    finally:
        os.close(descriptor)


def is_same(target: Target) -> bool:
    """Say whether a file is there and still what was published."""
    if is_url(target.path):
        from petal.data import uploads

        return uploads.is_same(target)
    try:
        path = Path(target.path)
        return path.stat().st_size == target.size and described(path, path).digest == target.digest
    except OSError:
        return False


def _sha256(descriptor: int) -> str:
    import hashlib  # with OpenSSL: only runs that keep a journal need it

    found, at = hashlib.sha256(), 0
    while piece := os.pread(descriptor, 1 << 20, at):
        found.update(piece)
        at += len(piece)
    return found.hexdigest()
