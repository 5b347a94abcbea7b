"""Keep bytes in a folder, a file for each key: a store that several machines share by mounting it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from petal.errors import UsageError
from petal.interfaces.store import StoreStats

_KEY = re.compile(r"[0-9A-Za-z:-]{1,200}")
#: A file that is being written: no key begins so.
_MAKING = ".making-"
_SMALL = 1 << 18
#: Seconds after which a file that is being written belongs to nobody.
_ABANDONED = 86_400.0


class FolderStore:
    """A store in a folder: a value is one file, written beside its place and renamed when it is whole.

    The folder may be used by several machines at once. It is made for its owner alone, when the first value is put; in one
    that is there already, whoever may read or write the folder's files for its group may so its values.

    Args:
        folder: The folder, absolute.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._mode = 0

    def get(self, key: str) -> bytes | BinaryIO | None:
        """Return a value, or None where there is none: small ones as bytes, large ones as a file that is open."""
        try:
            descriptor = os.open(self._path(key), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        file = open(descriptor, "rb", buffering=0)  # noqa: SIM115 (the caller closes a large one)
        if os.fstat(descriptor).st_size > _SMALL:
            return file
        with file:
            return file.read()

    def put(self, key: str, source: bytes | Path, *, ttl: float | None = None, durable: bool = False) -> bool:  # noqa: ARG002
        """Keep a value. How long it is good is not kept: see :meth:`drop_older`."""
        made = self._made(key, source, durable=durable)
        try:
            os.replace(made, self._path(key))
        except BaseException:
            made.unlink(missing_ok=True)
            raise
        self._settle(durable=durable)
        if isinstance(source, Path):
            source.unlink(missing_ok=True)
        return True

    def add(self, key: str, data: bytes, *, ttl: float | None = None) -> bool:  # noqa: ARG002
        """Keep a value where there is none; False, and nothing is changed, where there is one. Of several one succeeds."""
        made = self._made(key, data, durable=True)
        try:
            os.link(made, self._path(key))
        except FileExistsError:
            return False
        finally:
            made.unlink(missing_ok=True)
        self._settle(durable=True)
        return True

    def has(self, key: str) -> bool:
        """Say whether there is a value."""
        return self._path(key).is_file()

    def delete(self, key: str) -> bool:
        """Forget a value, and say whether there was one."""
        try:
            self._path(key).unlink()
        except FileNotFoundError:
            return False
        return True

    def keys(self) -> Iterator[str]:
        """Give the keys that there are now."""
        for entry in self._entries():
            yield _key(entry.name)

    def stats(self) -> StoreStats:
        """Say how many values there are, and how many bytes."""
        sizes: list[int] = []
        for entry in self._entries():
            with contextlib.suppress(FileNotFoundError):
                sizes.append(entry.stat(follow_symlinks=False).st_size)
        return StoreStats(len(sizes), sum(sizes))

    def clear(self) -> int:
        """Forget everything, and return how many values that were."""
        return sum(self.delete(key) for key in list(self.keys()))

    def drop_older(self, seconds: float) -> int:
        """Forget what was put more than so many seconds ago, and what was never written to its end; return how many."""
        count, now = 0, time.time()
        for entry in self._entries(making=True):
            with contextlib.suppress(OSError):
                age = seconds if not entry.name.startswith(_MAKING) else _ABANDONED
                if entry.stat(follow_symlinks=False).st_mtime < now - age:
                    Path(entry.path).unlink()
                    count += 1
        return count

    def close(self) -> None:
        """Let go of nothing: nothing is held open."""

    # -- inside -----------------------------------------------------------------------------------------------

    def _path(self, key: str) -> Path:
        """Return the file of a key, which is a name in the folder whatever it is (FAULTS F79).

        Raises:
            OSError: It is no key.
        """
        if _KEY.fullmatch(key) is None:
            raise OSError(errno.EINVAL, f"{key[:80]!r} is no key")
        return self.folder / key.replace(":", "_")

    def _entries(self, *, making: bool = False) -> Iterator[os.DirEntry[str]]:
        try:
            found = os.scandir(self.folder)
        except FileNotFoundError:
            return
        with found:
            for entry in found:
                is_value = _KEY.fullmatch(_key(entry.name)) is not None
                if (is_value or (making and entry.name.startswith(_MAKING))) and entry.is_file(
                    follow_symlinks=False
                ):
                    yield entry

    def _made(self, key: str, source: bytes | Path, *, durable: bool) -> Path:
        """Write a value beside its place, and return where."""
        self._path(key)
        mode = self._folder_mode()
        path = self.folder / f"{_MAKING}{os.getpid()}-{os.urandom(8).hex()}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with open(descriptor, "wb", buffering=0) as file:
                for block in _blocks(source):
                    rest = memoryview(block)
                    while rest:
                        rest = rest[file.write(rest) :]
                os.fchmod(file.fileno(), mode)
                if durable:
                    os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def _folder_mode(self) -> int:
        """See that there is a folder which not everybody may change, and return the mode of its files.

        Raises:
            OSError: It cannot be made, or is open to everybody.
        """
        if not self._mode:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.folder.stat()
            if found.st_mode & stat.S_IWOTH:
                raise OSError(errno.EPERM, f"everybody may write to {str(self.folder)!r}: `chmod o-w` it")
            self._mode = 0o600 | (found.st_mode & 0o064)
        return self._mode

    def _settle(self, *, durable: bool) -> None:
        if durable:
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with contextlib.suppress(OSError):  # a file system that cannot
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)


def open_folder(url: str) -> FolderStore:
    """Open the store of a folder: ``file:///a/folder``.

    Raises:
        UsageError: The URL names no folder of this machine.
    """
    found = urlsplit(url)
    path = unquote(found.path)
    is_here = found.netloc in ("", "localhost") and path.startswith("/") and "\0" not in path
    if not is_here or found.query or found.fragment:
        raise UsageError(
            f"{url!r} names no folder of this machine",
            hint="write its path from `/`, as in `file:///shared/folder`",
        )
    return FolderStore(path)


def _key(name: str) -> str:
    return name.replace("_", ":")


def _blocks(source: bytes | Path) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with open(source, "rb") as file:
        while block := file.read(1 << 20):
            yield block
