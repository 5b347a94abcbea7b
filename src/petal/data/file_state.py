"""Say what a file was like, and whether it is so still: an output of a file that changed meanwhile is not kept (F12)."""

from __future__ import annotations

import glob
import hashlib
import os
import stat
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from petal.data.filesystems import filesystem
from petal.errors import EnvironmentNotReady
from petal.spec.url import is_url

#: Seconds for which a change may leave a file's times as they are, as the clocks of file systems tick slowly.
_TICK = 2.0
ABSENT = "absent"


class FileState(Struct, frozen=True):
    """What a file or folder was like at one time.

    Attributes:
        digest: The sha256 of its content; of a folder, of the names and contents of all files in it; ``absent``.
        stamp: Sizes and times, by which most changes are seen without reading again.
        is_fresh: Whether it was written so recently that a change might not be seen so.
    """

    digest: str
    stamp: str
    is_fresh: bool


def states_of(paths: Iterable[str | os.PathLike[str]]) -> dict[str, FileState]:
    """Read files and folders, and say what they are like; of what a URL names its file system knows the version.

    A pattern stands for all files that match it, as it does for readers.

    Raises:
        OSError: One is there and cannot be read, or is a pipe or a device, which cannot be read twice.
    """
    found: dict[str, FileState] = {}
    for path in [os.fspath(one) for one in paths]:
        if is_url(path):
            version = state_of_url(path)
            found[path] = FileState(version, version, False)
        elif _is_local_pattern(path):
            names = _matches(path)
            found[path] = FileState(_of_names(names), "", False)
            found |= {name: _state(Path(name)) for name in names}
        else:
            found[path] = _state(Path(path))
    return found


def unchanged(before: Mapping[str, FileState]) -> bool:
    """Whether files are what they were; those that were written recently are read again."""
    for path, state in before.items():
        try:
            if is_url(path) or _is_local_pattern(path):
                now = state_of_url(path) if is_url(path) else _of_names(_matches(path))
                if now != state.digest:
                    return False
            elif _stamp(Path(path))[0] != state.stamp or (
                state.is_fresh and _digest(Path(path)) != state.digest
            ):
                return False
        except OSError:
            return False
    return True


def state_of_url(url: str) -> str:
    """Say which version of a file a URL names, or of files where it is a pattern; ``absent`` where there is none.

    Raises:
        OSError: It cannot be found out.
    """
    try:
        files = filesystem(url)
        found = files.describe(url)
        if found is not None:
            return f"version {found.version} of {found.size} bytes"
        if not is_pattern(url):
            return ABSENT
        made, count = hashlib.sha256(), 0
        for one in files.find(url):
            found = files.describe(one)
            made.update(repr((one, found and (found.version, found.size))).encode(errors="surrogateescape"))
            count += 1
    except EnvironmentNotReady as error:
        raise OSError(error.message) from error
    except ValueError as error:
        raise OSError(f"{url!r}: {error}") from error
    return f"{made.hexdigest()} of {count} files" if count else ABSENT


def is_pattern(path: str) -> bool:
    """Whether a path or URL may stand for several files, as readers take it."""
    return glob.has_magic(path)


def _is_local_pattern(path: str) -> bool:
    return is_pattern(path) and not os.path.exists(path)


def _matches(pattern: str) -> list[str]:
    return sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (Path.glob takes no absolute pattern)


def _of_names(names: list[str]) -> str:
    """Return a digest of which files a pattern stands for; what each is like is said of it alone."""
    return hashlib.sha256(repr(names).encode(errors="surrogateescape")).hexdigest() if names else ABSENT


def _state(path: Path) -> FileState:
    before, latest = _stamp(path)
    now = time.time()
    digest = _digest(path)
    after, _ = _stamp(path)
    changed = after != before  # while it was read: then it never looks unchanged
    return FileState(digest, "changing" if changed else before, now - latest < _TICK)


def _stamp(path: Path) -> tuple[str, float]:
    """Return the sizes and times of a file or of all in a folder, and the latest of those times."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return ABSENT, 0.0
    made, latest = hashlib.sha256(), 0.0
    for name, one in [("", found), *_inside(path)] if stat.S_ISDIR(found.st_mode) else [("", found)]:
        said = (name, one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_mode)
        made.update(repr(said).encode(errors="surrogateescape"))
        latest = max(latest, one.st_mtime, one.st_ctime)
    return made.hexdigest(), latest


def _inside(folder: Path) -> list[tuple[str, os.stat_result]]:
    """Return all files beneath a folder, by name."""
    found = []
    for here, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(here, name)
            try:
                found.append((str(path.relative_to(folder)), path.stat()))
            except FileNotFoundError:  # a link that leads nowhere, or a file that is just removed
                continue
    return found


def _digest(path: Path) -> str:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return ABSENT
    if stat.S_ISREG(mode):
        return _of_file(path)
    if not stat.S_ISDIR(mode):
        raise OSError(f"{str(path)!r} is neither a file nor a folder: it cannot be read twice")
    made = hashlib.sha256(b"folder")
    for name, one in _inside(path):
        if stat.S_ISREG(one.st_mode):
            made.update(f"{len(name)} {name} {_of_file(path / name)}".encode(errors="surrogateescape"))
    return made.hexdigest()


def _of_file(path: Path) -> str:
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
