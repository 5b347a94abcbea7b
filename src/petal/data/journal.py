"""Write the journal of a run: append-only, checksummed, written in time, synced on demand (DESIGN.md §6, S9.5)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import Final

from msgspec import Struct

from petal.data.journal_lines import end_of_records, lines_for
from petal.data.publishing import sync_folder
from petal.errors import JournalError

#: Seconds that a record may wait in memory, and records that may: some 64 KiB.
_PATIENCE: Final = 0.05
_MANY: Final = 200
#: Seconds in which who merely looks whether a run lives lets go of its journal.
_GLANCE: Final = 0.5
_REMEDY: Final = "name another folder with `--home` or $PETAL_HOME"


class JournalFile:
    """The journal of one run, locked as long as it is open, so that anyone can see whether the run lives.

    Records are written in batches, by the thread that has added many or by one of the journal's own soon after.
    Threads that want theirs durable at the same time share one fsync.

    Args:
        path: The file.
        resume: Whether it is there already: a torn tail is cut off, and records go behind what is left.

    Raises:
        JournalError: It cannot be opened, or the run to be resumed still lives.
    """

    def __init__(self, path: str | os.PathLike[str], *, resume: bool = False) -> None:
        self.path = Path(path)
        self._pending: deque[Struct] = deque()
        self._rest = b""
        self._failure: OSError | None = None
        self._ended = False
        self._folder_synced = False
        self._dirty = False
        #: How often what is pending was taken, and which of these times was the last to be synced.
        self._takes = self._synced = 0
        self._writing = threading.Lock()
        self._awake = False
        self._wake, self._closing = threading.Event(), threading.Event()
        self._flusher: threading.Thread | None = None
        self._starting = threading.Lock()
        self._file = self._open(resume)

    def append(self, record: Struct, *, durable: bool = False) -> None:
        """Add a record; see :class:`petal.interfaces.journal.Journal`.

        Raises:
            JournalError: It, or one before it, could not be written, or the journal is closed.
        """
        if self._failure is not None or self._ended:
            raise self._error()
        pending = self._pending
        pending.append(record)
        if durable:
            self._sync()
        elif not self._awake:
            self._rouse()
        elif len(pending) >= _MANY and self._writing.acquire(blocking=False):
            try:
                self._write()
            finally:
                self._writing.release()

    def close(self) -> None:
        """Write and sync the rest, and let the file go; twice is fine.

        Raises:
            JournalError: A record could not be written, now or before.
        """
        with self._starting:
            if self._ended:
                return
            self._ended = True
        self._closing.set()
        self._wake.set()
        if self._flusher is not None:
            self._flusher.join()
        try:
            with self._writing:
                self._write()
                if self._dirty:
                    self._fsync()
        finally:
            with self._writing:  # who comes later must not write to whatever gets its number next
                file, self._file = self._file, -1
            os.close(file)

    # -- inside -----------------------------------------------------------------------------------------------

    def _open(self, resume: bool) -> int:
        flags = os.O_RDWR | os.O_APPEND if resume else os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        try:
            file = os.open(self.path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._error(error) from error
        try:
            if not _locked(file):
                raise JournalError(
                    f"run {self.path.stem} has not ended: its journal is in use",
                    hint="wait until it has ended, or stop it",
                )
            if not os.fstat(file).st_nlink:
                raise JournalError(
                    f"run {self.path.stem} has just been removed", hint="`petal runs` lists the others"
                )
            if resume:
                _cut_torn_tail(file)
        except OSError as error:
            os.close(file)
            raise self._error(error) from error
        except BaseException:
            os.close(file)
            raise
        return file

    def _rouse(self) -> None:
        """See that what is pending is written soon."""
        self._awake = True
        if self._flusher is None:
            with self._starting:
                if self._flusher is None and not self._ended:
                    self._flusher = threading.Thread(target=self._flush, name="petal-journal", daemon=True)
                    self._flusher.start()
        self._wake.set()

    def _flush(self) -> None:
        """Write what is pending a little after the first of it came, until the journal is closed."""
        while True:
            self._wake.wait()
            if self._closing.wait(_PATIENCE):
                return
            self._wake.clear()
            # closed just now: what was to wake this thread for that may have been cleared
            if self._closing.is_set():
                return
            self._awake = False  # who comes from now on wakes this thread again
            with self._writing, contextlib.suppress(JournalError):
                self._write()

    def _sync(self) -> None:
        seen = self._takes  # a later one takes this thread's record
        with self._writing:
            if self._synced > seen and self._failure is None:
                return
            self._write()
            taken = self._takes
            self._fsync()
            self._synced = taken

    def _write(self) -> None:
        """With the lock held: write all that is pending."""
        if self._failure is not None:
            raise self._error()
        self._takes += 1
        pending = self._pending
        self._rest += lines_for([pending.popleft() for _ in range(len(pending))])
        if not self._rest:
            return
        self._dirty = True
        try:
            while self._rest:
                self._rest = self._rest[os.write(self._file, self._rest) :]
        except OSError as error:
            self._failure = error
            raise self._error() from error

    def _fsync(self) -> None:
        try:
            os.fsync(self._file)
            if not self._folder_synced:
                sync_folder(self.path.parent)
                self._folder_synced = True
        except OSError as error:  # what was lost is not known, and another fsync would not say
            self._failure = error
            raise self._error() from error
        self._dirty = False

    def _error(self, error: OSError | None = None) -> JournalError:
        error = error or self._failure
        if error is None:
            return JournalError(f"the journal {str(self.path)!r} is closed: its run has ended")
        reason = os.strerror(error.errno) if error.errno else str(error)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = f"free some space on that disk, or {_REMEDY}" if full else f"check that folder, or {_REMEDY}"
        return JournalError(f"cannot write the journal {str(self.path)!r}: {reason}", hint=hint)


def lives(path: str | os.PathLike[str]) -> bool | None:
    """Say whether the run of a journal lives; None where the file system cannot tell.

    Raises:
        OSError: The file cannot be read.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(file)
    return False


def remove_journal(path: str | os.PathLike[str]) -> bool:
    """Remove the journal of a run that does not live; say whether it is gone now."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)  # noqa: PTH108
    except OSError:
        return False
    finally:
        os.close(file)
    return True


def next_number(runs: Path) -> int:
    """Return the number of a new run: one more than that of the one before it, whatever the clock says (S5.8).

    Args:
        runs: The folder of the journals.

    Raises:
        JournalError: It cannot be kept.
    """
    path = runs / ".number"
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with contextlib.suppress(OSError):  # a file system without locks: two may get the same
                fcntl.flock(file, fcntl.LOCK_EX)
            text = os.pread(file, 32, 0).strip()
            number = int(text) + 1 if text.isdigit() else highest_number(runs) + 1
            os.pwrite(file, b"%-20d\n" % number, 0)
            return number
        finally:
            os.close(file)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise JournalError(f"cannot write {str(path)!r}: {reason}", hint=_REMEDY) from error


def highest_number(runs: Path) -> int:
    """Return the highest number in the first records of all journals, 0 where there is none."""
    return max(
        (number_of(entry.path) for entry in os.scandir(runs) if entry.name.endswith(".jsonl")), default=0
    )


def number_of(path: str | os.PathLike[str]) -> int:
    """Return the number of a run as its journal's first record says it, 0 where there is none."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            head = os.pread(file, 4096, 0)
        finally:
            os.close(file)
    except OSError:
        return 0
    digits = head.partition(b'"number":')[2][:20].partition(b",")[0]
    return int(digits) if digits.isdigit() else 0


def _locked(file: int) -> bool:
    """Lock a journal; who merely looks whether the run lives holds it for an instant."""
    until = time.monotonic() + _GLANCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
        except OSError:
            return True  # a file system without locks: nobody can tell
        else:
            return True


def _cut_torn_tail(file: int) -> None:
    size = os.fstat(file).st_size
    pieces, at = [], 0
    while piece := os.pread(file, 1 << 20, at):
        pieces.append(piece)
        at += len(piece)
    end = end_of_records(b"".join(pieces))
    if end < size:
        os.ftruncate(file, end)
        os.fsync(file)
