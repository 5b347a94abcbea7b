"""diskcache, made safe: bytes alone and never pickle, files of its own alone, one connection for all threads.

As it comes, diskcache unpickles whatever a row says (CVE-2025-69872), and follows whatever path a row names. This module
is imported when the first cache is opened: diskcache takes 30 ms.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import time
from pathlib import Path
from typing import Any, BinaryIO

import diskcache  # type: ignore[import-untyped]
from diskcache.core import DBNAME, MODE_BINARY, MODE_RAW  # type: ignore[import-untyped]

#: The names of files that diskcache makes.
_FILE = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{28}\.val")
_SMALL = 32 << 10
_SETTINGS = {
    "statistics": 0,
    "tag_index": 0,
    "eviction_policy": "none",
    "cull_limit": 0,
    "sqlite_synchronous": 1,
    "sqlite_journal_mode": "wal",
    "disk_min_file_size": _SMALL,
    "disk_pickle_protocol": 0,
}


class Foreign(Exception):
    """A row that was not put there by this module: nothing of it is looked at."""


class BytesDisk(diskcache.Disk):  # type: ignore[misc]
    """Writes keys of text and values of bytes; everything else is refused, on writing and on reading."""

    def put(self, key: Any) -> tuple[Any, bool]:
        """Return a key as the database has it."""
        if type(key) is not str:
            raise TypeError("keys are text")
        return key, True

    def get(self, key: Any, raw: Any) -> str:
        """Return the key of a row."""
        if type(key) is not str or not raw:
            raise Foreign("a key that is no text")
        return key

    def store(self, value: Any, read: bool, key: Any = None) -> tuple[int, int, str | None, Any]:  # noqa: ARG002
        """Put a value down: small bytes in the row, large ones in a file, a file by moving it."""
        if isinstance(value, Path):
            size = value.stat().st_size
            name, path = self._new_file()
            _move(value, Path(path))
            return size, MODE_BINARY, name, None
        if type(value) is not bytes:
            raise TypeError("values are bytes")
        if len(value) < self.min_file_size:
            return 0, MODE_RAW, None, sqlite3.Binary(value)
        name, path = self._new_file()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(value)
        return len(value), MODE_BINARY, name, None

    def fetch(self, mode: Any, filename: Any, value: Any, read: Any) -> bytes | BinaryIO:  # noqa: ARG002
        """Return the bytes of a row, or its file, open for reading."""
        if mode == MODE_RAW and type(value) is bytes and filename is None:
            return value
        if mode == MODE_BINARY and _is_ours(filename) and value is None:
            path = os.path.join(self._directory, filename)
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            return open(descriptor, "rb", buffering=0)
        raise Foreign("a value that is no bytes")

    def remove(self, file_path: Any) -> None:
        """Remove a value's file; what a foreign row names stays."""
        if _is_ours(file_path):
            super().remove(file_path)

    def _new_file(self) -> tuple[str, str]:
        name, path = self.filename()
        for folder in (Path(path).parent.parent, Path(path).parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        return name, path


class Database(diskcache.Cache):  # type: ignore[misc]
    """The cache of diskcache over one connection, which its owner lets one thread use at a time."""

    _shared: Any = None
    _owner = 0

    def __init__(self, folder: str, timeout: float) -> None:
        super().__init__(folder, timeout=timeout, disk=BytesDisk, **_SETTINGS)

    @property
    def _con(self) -> Any:
        if self._shared is not None and self._owner == os.getpid():
            return self._shared
        path = os.path.join(self._directory, DBNAME)
        self._owner = os.getpid()
        self._shared = sqlite3.connect(
            path, timeout=self._timeout, isolation_level=None, check_same_thread=False
        )
        for pragma, value in _SETTINGS.items():
            if pragma.startswith("sqlite_"):
                self.reset(pragma, value, update=False)
        return self._shared

    def close(self) -> None:
        """Close the connection."""
        shared, self._shared = self._shared, None
        if shared is not None and self._owner == os.getpid():
            shared.close()

    def value(self, key: str) -> tuple[bytes | BinaryIO, float] | None:
        """Return the bytes of a key, or its file, and when it was used; in half the time of diskcache's :meth:`get`.

        Raises:
            Foreign: The row is none of Petal's.
        """
        found = self._con.execute(
            "SELECT mode, filename, value, expire_time, access_time FROM Cache WHERE key = ? AND raw = 1",
            (key,),
        ).fetchone()
        if found is None:
            return None
        mode, filename, value, expires, used = found
        if expires is not None and not (isinstance(expires, float | int) and expires > time.time()):
            return None
        try:
            return self._disk.fetch(mode, filename, value, True), used if isinstance(used, float) else 0.0
        except OSError:  # its file is gone
            return None

    def used(self) -> int:
        """Return the bytes of all values and of the database, without what is free in it."""
        ((pages,),) = self._sql("PRAGMA page_count").fetchall()
        ((free,),) = self._sql("PRAGMA freelist_count").fetchall()
        ((size,),) = self._sql("SELECT COALESCE(SUM(size), 0) FROM Cache").fetchall()
        return int((pages - free) * self._page_size + size)

    def entries(self) -> int:
        """Return how many values there are."""
        ((found,),) = self._sql("SELECT COUNT(*) FROM Cache").fetchall()
        return int(found)

    def touch_all(self, keys: set[str]) -> None:
        """Note that values were used: those that were not for the longest time make room first."""
        now = time.time()
        with self.transact():
            self._con.executemany("UPDATE Cache SET access_time = ? WHERE key = ?", [(now, k) for k in keys])

    def oldest(self, count: int) -> list[tuple[int, Any]]:
        """Return row and key of the values that were not used for the longest time."""
        found = self._sql("SELECT rowid, key FROM Cache ORDER BY access_time LIMIT ?", (count,))
        rows: list[tuple[int, Any]] = found.fetchall()
        return rows

    def drop(self, row: int) -> bool:
        """Delete a row and its file, whatever is in it."""
        with self._transact() as (sql, cleanup):
            found = sql("SELECT filename FROM Cache WHERE rowid = ?", (row,)).fetchall()
            sql("DELETE FROM Cache WHERE rowid = ?", (row,))
            for (name,) in found:
                cleanup(name)
        return bool(found)

    def rows(self) -> list[tuple[int, Any]]:
        """Return row and key of every value, the key as it stands there."""
        found: list[tuple[int, Any]] = self._sql("SELECT rowid, key FROM Cache ORDER BY rowid").fetchall()
        return found

    def files(self) -> set[str]:
        """Return the names of the files that rows have."""
        found = self._sql("SELECT filename FROM Cache WHERE filename IS NOT NULL").fetchall()
        return {name for (name,) in found if _is_ours(name)}

    def settle(self) -> None:
        """Return when all that was written is on disk."""
        self._sql("PRAGMA wal_checkpoint(FULL)").fetchall()


def _is_ours(name: Any) -> bool:
    return type(name) is str and _FILE.fullmatch(name) is not None


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target)
        source.unlink()


def _copy(source: Path, target: Path) -> None:
    try:
        with open(source, "rb") as given, open(target, "xb") as made:
            while block := given.read(1 << 20):
                made.write(block)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


__all__ = ["DBNAME", "BytesDisk", "Database", "Foreign"]
