"""Keep bytes in a folder: a store on this machine's disk, over diskcache (DESIGN.md §6)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from petal.interfaces.store import StoreStats

if TYPE_CHECKING:
    from petal.data.disk_cache import Database

T = TypeVar("T")

#: Bytes that a cache may hold before what was not used for the longest time makes room.
LIMIT = 10 << 30
#: Seconds that a write waits for other processes.
_PATIENCE = 30.0
_LOCK = ".lock"
_MOST_USED = 1000
#: Seconds for which it need not be noted on disk that a value was used again: only its place in the order of use counts.
_FRESH = 3600.0
#: Bytes without which SQLite cannot work: a few pages, and the index of its log.
_LEAST = 64 << 10
#: Values that are put before it is seen to that all fits; or those that make up a hundredth of the limit.
_PUTS = 64
_FOLDER = re.compile(r"[0-9a-f]{2}")
#: File systems over the network: SQLite's locks do not hold there.
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "glusterfs"})
_NETWORK_FUSE = ("fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse")


class DiskStore:
    """A store in a folder of this machine: small values in a SQLite database, large ones as files.

    Threads and processes may use one folder at the same time. A damaged database is moved aside and a new one begun; the
    values are lost then, as from any cache.

    Args:
        folder: The folder; it is made, for its owner alone, when the first value is asked for or put.
        limit: Bytes beyond which the values that were not used for the longest time are dropped.
    """

    def __init__(self, folder: str | os.PathLike[str], *, limit: int = LIMIT) -> None:
        self.folder = Path(folder)
        self.limit = limit
        #: How often the database was found damaged and begun anew.
        self.rebuilt = 0
        self._database: Database | None = None
        self._lock = threading.RLock()
        #: Keys of values that were used, and of those that were not for a while; not noted in the database yet.
        self._used: set[str] = set()
        self._stale: set[str] = set()
        self._added = self._puts = 0  # since it was last seen to that all fits

    def get(self, key: str) -> bytes | BinaryIO | None:
        """Return a value, or None where there is none."""

        def ask(database: Database) -> bytes | BinaryIO | None:
            from petal.data.disk_cache import Foreign

            try:
                found = database.value(key)
            except Foreign:
                database.delete(key)
                return None
            if found is None:
                return None
            value, used = found
            self._used.add(key)
            if time.time() - used > _FRESH:
                self._stale.add(key)
            return value

        return self._do(ask)

    def has(self, key: str) -> bool:
        """Say whether there is a value."""
        found = self.get(key)
        if found is not None and not isinstance(found, bytes):
            found.close()
        return found is not None

    def put(self, key: str, source: bytes | Path, *, ttl: float | None = None, durable: bool = False) -> bool:
        """Keep a value; False where it is larger than the limit."""
        size = source.stat().st_size if isinstance(source, Path) else len(source)
        if size > self.limit:
            if isinstance(source, Path):
                source.unlink(missing_ok=True)
            return False
        if durable and isinstance(source, Path):
            _sync(source)

        def keep(database: Database) -> None:
            database.set(key, source, expire=ttl)
            self._added += size
            self._puts += 1
            if self._added > self.limit // 100 or self._puts >= _PUTS:
                self._added = self._puts = 0
                self._make_room(database, key)
            if durable:
                database.settle()

        self._do(keep)
        return True

    def delete(self, key: str) -> bool:
        """Forget a value, and say whether there was one."""
        return self._do(lambda database: bool(database.delete(key)))

    def keys(self) -> Iterator[str]:
        """Give the keys that there are now."""
        yield from [key for _, key in self._do(lambda database: database.rows()) if type(key) is str]

    def stats(self) -> StoreStats:
        """Say how many values there are, and how many bytes."""
        entries, size = self._do(lambda database: (database.entries(), database.used()))
        return StoreStats(entries, size, self.limit)

    def clear(self) -> int:
        """Forget everything, files without a value included; also where SQLite cannot write, as on a full disk."""

        def empty(database: Database) -> int:
            count = sum(database.drop(row) for row, _ in database.rows())
            self._sweep(database, 0.0)
            return count

        try:
            return self._do(empty)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EIO):
                raise
        return self._remove()

    def tidy(self) -> int:
        """Remove files that belong to no value, as a process leaves that is killed; return how many."""
        return self._do(lambda database: self._sweep(database, 3600.0))

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            database, self._database = self._database, None
            if database is None:
                return
            with contextlib.suppress(Exception):  # when values were used is not worth an error
                self._note_used(database, self._stale)
            database.close()

    # -- the database -------------------------------------------------------------------------------------------

    def _do(self, work: Callable[[Database], T]) -> T:
        """Do something with the database; where that is damaged, begin a new one and do it there.

        Raises:
            OSError: It cannot be done: no space, no rights, no answer.
        """
        with self._lock:
            for last in (False, True):
                try:
                    return work(self._opened())
                except OSError:
                    raise
                except sqlite3.Error as error:
                    if last or not _is_damage(error):
                        raise _as_os_error(error, self.folder) from error
                except Exception as error:
                    _raise_if_busy(error)
                    raise
                self._set_aside()
        raise AssertionError("unreachable")

    def _opened(self) -> Database:
        if self._database is not None:
            if len(self._used) >= _MOST_USED:
                self._note_used(self._database, self._stale)
            return self._database
        self._make_folder()
        with self._alone():
            # SQLite would let everybody read it where the umask does
            os.close(
                os.open(
                    self.folder / "cache.db", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
                )
            )
            self._database = _open(self.folder)
        return self._database

    def _make_folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.folder.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise OSError(errno.ENOTDIR, "it is no folder")
        if found.st_uid != os.geteuid():
            raise OSError(errno.EPERM, "it belongs to another user")
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise OSError(errno.EPERM, "others may write there")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let no other process open or replace the database meanwhile."""
        descriptor = os.open(
            self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _set_aside(self) -> None:
        """Move a damaged database aside, unless another process has done so; its values' files go."""
        path = self.folder / "cache.db"
        database, self._database = self._database, None
        if database is not None:
            with contextlib.suppress(Exception):
                database.close()
        with self._alone():
            if not self._is_damaged(path):
                return
            self.rebuilt += 1
            for before in self.folder.glob("cache.db.corrupt-*"):
                before.unlink(missing_ok=True)
            mark = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
            with contextlib.suppress(FileNotFoundError):
                path.rename(f"{path}.corrupt-{mark}")
            for rest in ("cache.db-wal", "cache.db-shm", "cache.db-journal"):
                (self.folder / rest).unlink(missing_ok=True)
            for folder in self._folders():
                shutil.rmtree(folder, ignore_errors=True)

    def _remove(self) -> int:
        """Remove the files themselves; return how many values had one. Who has the database open goes on with its own."""
        with self._lock:
            database, self._database = self._database, None
            if database is not None:
                with contextlib.suppress(Exception):
                    database.close()
            with self._alone():
                count = sum(1 for folder in self._folders() for _ in folder.glob("*/*.val"))
                for folder in self._folders():
                    shutil.rmtree(folder, ignore_errors=True)
                for path in self.folder.glob("cache.db*"):
                    path.unlink(missing_ok=True)
            return count

    def _is_damaged(self, path: Path) -> bool:
        """Look through the database; one that is not there is not damaged."""
        if not path.exists():
            return False
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=_PATIENCE)) as connection:
                found = connection.execute("PRAGMA quick_check(1)").fetchall()
                connection.execute(
                    "SELECT key, raw, mode, filename, value, size, access_time FROM Cache LIMIT 1"
                )
            _open(self.folder).close()
        except sqlite3.Error:
            return True
        return found != [("ok",)]

    def _make_room(self, database: Database, newest: str) -> None:
        """Drop what was not used for the longest time, until all fits; never what was just put."""
        database.expire()
        over = database.used() - self.limit
        if over > 0:
            self._note_used(database, self._used)
        while over > 0:
            row = next((row for row, key in database.oldest(2) if key != newest), None)
            if row is None:
                return
            database.drop(row)
            over = database.used() - self.limit

    def _note_used(self, database: Database, which: set[str]) -> None:
        """Note that values were used: all, before one of them makes room, else those that were not for a while."""
        self._used, self._stale = set(), set()
        if which:
            database.touch_all(which)

    def _sweep(self, database: Database, age: float) -> int:
        """Remove files that belong to no row and are older than some seconds: younger ones may get theirs yet."""
        known, before, count = database.files(), time.time() - age, 0
        for folder in self._folders():
            for path in folder.glob("*/*.val"):
                with contextlib.suppress(OSError):
                    if str(path.relative_to(self.folder)) not in known and path.stat().st_mtime <= before:
                        path.unlink()
                        count += 1
        return count

    def _folders(self) -> list[Path]:
        return [p for p in self.folder.iterdir() if _FOLDER.fullmatch(p.name) and p.is_dir()]


def _open(folder: Path) -> Database:
    """Open the database of a folder.

    Raises:
        sqlite3.Error: It cannot be opened, or is none of Petal's.
        OSError: Another process keeps it.
    """
    from petal.data.disk_cache import Database

    try:
        return Database(str(folder), _PATIENCE)
    except (sqlite3.Error, OSError):
        raise
    except Exception as error:  # such as settings that nobody but another program writes
        _raise_if_busy(error)
        raise sqlite3.DatabaseError(f"it is no cache of Petal: {error}") from error


def _raise_if_busy(error: Exception) -> None:
    from diskcache import Timeout  # type: ignore[import-untyped]

    if isinstance(error, Timeout):
        raise OSError(errno.EAGAIN, "another process keeps the database locked") from error


def on_network(folder: str | os.PathLike[str], mounts: str = "/proc/self/mounts") -> str | None:
    """Return the type of the file system that a folder is on, if that is reached over the network; None elsewhere.

    Args:
        folder: The folder, which need not be there yet.
        mounts: The table of what is mounted, as Linux writes it.
    """
    path, best, kind = os.path.realpath(folder), "", ""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                _, at, found, *_ = line.split(" ")
                at = at.replace("\\040", " ")
                if len(at) >= len(best) and (path == at or path.startswith(at.rstrip("/") + "/")):
                    best, kind = at, found
    except (OSError, ValueError):
        return None
    return kind if kind in _NETWORK or kind.startswith(_NETWORK_FUSE) else None


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the database is no good, rather than that something is in the way."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # SQLite was not asked: Python could not read what it gave
        return not isinstance(error, sqlite3.OperationalError) or "decode" in str(error)
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_ERROR:  # it has other tables than ours
        return True
    return primary in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_SCHEMA,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_FORMAT,
    )


def _as_os_error(error: sqlite3.Error, folder: Path) -> OSError:
    numbers = {
        sqlite3.SQLITE_FULL: errno.ENOSPC,
        sqlite3.SQLITE_READONLY: errno.EROFS,
        sqlite3.SQLITE_BUSY: errno.EAGAIN,
        sqlite3.SQLITE_LOCKED: errno.EAGAIN,
        sqlite3.SQLITE_CANTOPEN: errno.EACCES,
        sqlite3.SQLITE_PERM: errno.EACCES,
    }
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    number = numbers.get(code, errno.EIO)
    with contextlib.suppress(OSError):
        disk = os.statvfs(folder)
        if (
            number == errno.EIO and disk.f_bavail * disk.f_frsize < _LEAST
        ):  # SQLite says only that it could not write
            number = errno.ENOSPC
    return OSError(number, str(error))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
