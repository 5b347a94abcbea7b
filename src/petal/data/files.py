"""The one module that opens files for writing: beside the target, fsync, rename, fsync the folder (DESIGN.md §6)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import re
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

from msgspec import Struct

from petal.errors import OutputError
from petal.spec.context import Context


class Handed(Struct, frozen=True):
    """A file that one process has written and stored, and another is to publish (S4.5: only it knows who is late).

    Attributes:
        temporary: Where it is.
        target: Where it is to appear.
    """

    temporary: str
    target: str

    def commit(self) -> None:
        """Publish it."""
        try:
            _publish(Path(self.temporary), Path(self.target))
        except OSError as error:
            self.abort()
            raise _failure(Path(self.target), error) from error

    def abort(self) -> None:
        """Drop it; the target stays as it was."""
        with contextlib.suppress(OSError):
            Path(self.temporary).unlink()

    abandon = abort


class Output:
    """A file that becomes visible under its name only by :meth:`commit`.

    Until then the bytes are in a temporary file beside the target; :meth:`abort` leaves the target as it was.

    Args:
        target: The file to publish. A symbolic link is followed, its mode kept.
        owner: Marks the temporary file's name: run and attempt.
    """

    def __init__(self, target: str | os.PathLike[str], *, owner: str = "") -> None:
        self.target = Path(os.path.realpath(target))
        mark = owner or f"{os.getpid()}-{os.urandom(4).hex()}"
        self._temporary = self.target.with_name(f".{_short(self.target.name)}.petal-{mark}.tmp")
        self._finished = False
        try:
            self._special = _is_special(self.target)
        except OSError as error:
            raise _failure(self.target, error) from error
        self._lock: int | None = None
        self.file: BinaryIO = io.BytesIO()

    def open(self) -> BinaryIO:
        """Create the file. A signal may interrupt anywhere in here: :meth:`abort` knows its name already.

        Raises:
            OutputError: It cannot be created.
        """
        try:
            if self._special:
                descriptor = os.open(self.target, os.O_WRONLY | os.O_CLOEXEC)
            else:
                descriptor = _create(self._temporary)
        except OSError as error:
            raise _failure(self.target, error) from error
        self._lock = os.dup(descriptor)  # keeps the file locked until the end, whoever closes it
        self.file = os.fdopen(descriptor, "wb", buffering=1 << 20)
        return self.file

    def commit(self) -> None:
        """Publish the file: after this returns, a reader sees all of it, also after a power loss."""
        if self._finished:
            self.abort()
            return
        try:
            self._store()
            if not self._special:
                _publish(self._temporary, self.target)
        except OSError as error:
            self.abort()
            raise _failure(self.target, error) from error
        self._finished = True
        self._unlock()

    def hand_over(self) -> Handed | None:
        """Store the file for another process to publish; it stays locked until :meth:`commit` or :meth:`abort`.

        Returns:
            What that process needs; None where there is nothing to publish, as for a device.

        Raises:
            OutputError: It cannot be stored.
        """
        if self._finished:
            return None
        try:
            self._store()
        except OSError as error:
            self.abort()
            raise _failure(self.target, error) from error
        return None if self._special else Handed(str(self._temporary), str(self.target))

    def _store(self) -> None:
        self.file.close()
        if not self._special:
            assert self._lock is not None
            os.fsync(self._lock)

    def abort(self) -> None:
        """Drop what was written; the target stays as it was."""
        self.abandon()
        with contextlib.suppress(OSError):
            self.file.close()

    def abandon(self) -> None:
        """Drop what was written without closing the file: a thread that hangs may be using it."""
        if self._finished:
            return
        self._finished = True
        if not self._special:
            with contextlib.suppress(OSError):
                self._temporary.unlink()
        self._unlock()

    def let_go(self) -> None:
        """Unlock what another process has published or dropped."""
        self._finished = True
        self._unlock()

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


@contextlib.contextmanager
def open_output(path: str | os.PathLike[str], context: Context | None = None) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears under its name only when it is complete.

    Within a run (give the operator's Context) it is published when the node has succeeded; otherwise at the end of
    the ``with`` block. After an exception nothing of it is left, and the target is as it was.

    Args:
        path: The file to write.
        context: The Context that the operator received.

    Raises:
        OutputError: The file cannot be written or published.
    """
    opener = context._open_output if context is not None else None
    if opener is not None:
        with opener(path) as file:
            yield file
        return
    if (stream := _standard_stream(path)) is not None:
        yield stream
        stream.flush()
        return
    sweep(os.path.dirname(os.path.realpath(path)))
    output = Output(path)
    try:
        yield output.open()
    except OSError as error:
        output.abort()
        raise _failure(output.target, error) from error
    except BaseException:
        output.abort()
        raise
    output.commit()


class Outputs:
    """The outputs that one attempt of a node has opened, committed or aborted together."""

    def __init__(self, owner: str, claim: Callable[[str], None] | None = None) -> None:
        self._owner = owner
        self._claim = claim
        self._open: list[Output | Handed] = []
        self._swept: set[str] = set()
        self._lock = threading.Lock()
        self._ended = False

    @contextlib.contextmanager
    def open(self, path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
        """Open an output that :meth:`commit` publishes; the block's own failure aborts it."""
        if (stream := _standard_stream(path)) is not None:
            yield stream
            stream.flush()
            return
        real = os.path.realpath(path)
        if self._claim is not None and not real.startswith("/dev/"):
            self._claim(real)
        folder = os.path.dirname(real)
        if folder not in self._swept:
            self._swept.add(folder)
            sweep(folder)
        output = Output(path, owner=f"{self._owner}-{len(self._open)}-{os.urandom(3).hex()}")
        with self._lock:
            late = self._ended
            if not late:
                self._open.append(output)
        if late:
            raise OutputError(f"cannot write {str(output.target)!r}: the run has been stopped")
        try:
            yield output.open()
            output.file.flush()
        except OSError as error:
            output.abort()
            raise _failure(output.target, error) from error
        except BaseException:
            output.abort()
            raise

    @property
    def targets(self) -> list[Path]:
        """The files that would be published."""
        return [Path(o.target) for o in self._open]

    def hand_over(self) -> list[Handed]:
        """Store all that is open for another process to publish; :meth:`let_go` ends the matter.

        Raises:
            OutputError: One cannot be stored.
        """
        self._ended = True
        return [handed for o in self._open if isinstance(o, Output) and (handed := o.hand_over()) is not None]

    def let_go(self) -> None:
        """Unlock what was handed over and is published by now."""
        for output in self._open:
            if isinstance(output, Output):
                output.let_go()
        self._open.clear()

    def adopt(self, handed: list[Handed]) -> None:
        """Take over what another process has written, to commit or abort it with the rest.

        Raises:
            OutputError: Another node of this run writes the same file.
        """
        self._open += handed
        for one in handed:
            if self._claim is not None:
                self._claim(one.target)

    def commit(self) -> None:
        """Publish all, in the order in which they were opened."""
        self._ended = True
        for i, output in enumerate(self._open):
            try:
                output.commit()
            except BaseException:
                for rest in self._open[i:]:
                    rest.abort()
                raise
        self._open.clear()

    def abort(self) -> None:
        """Drop all."""
        with self._lock:
            self._ended = True
        for output in self._open:
            output.abort()
        self._open.clear()

    def abandon(self) -> None:
        """Drop all that a thread which does not stop has opened or will open; safe in a signal handler."""
        self._ended = True
        for output in tuple(self._open):
            output.abandon()


def _standard_stream(path: str | os.PathLike[str]) -> IO[bytes] | None:
    """Return stdout or stderr for ``-`` and their device names: what they lead to is written, never replaced."""
    stream = {"-": sys.stdout, "/dev/stdout": sys.stdout, "/dev/fd/1": sys.stdout}.get(os.fspath(path))
    if os.fspath(path) in ("/dev/stderr", "/dev/fd/2"):
        stream = sys.stderr
    elif stream is None and os.fspath(path) not in ("-", "/dev/stdout", "/dev/fd/1"):
        return None
    if stream is None:
        raise OutputError("cannot write to stdout: it is closed", hint="name a file")
    return getattr(stream, "buffer", None)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a small text file atomically, as UTF-8."""
    with open_output(path) as file:
        file.write(text.encode())


_TEMPORARY = re.compile(r"\..*\.petal-[0-9A-Za-z-]+\.tmp", re.DOTALL)


def _create(path: Path) -> int:
    """Make a temporary file, locked as long as its owner lives."""
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with contextlib.suppress(OSError):  # a file system without locks: then nobody sweeps either
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # swept away before it was locked


def sweep(folder: str) -> None:
    """Remove temporary files whose owners were killed: those that nobody holds a lock on (FAULTS F01)."""
    with contextlib.suppress(OSError):
        stale = [e.path for e in os.scandir(folder) if ".petal-" in e.name and _TEMPORARY.fullmatch(e.name)]
        for path in stale:
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    Path(path).unlink()
                finally:
                    os.close(descriptor)


def _short(name: str) -> str:
    """Cut a file's name so that the name of its temporary file is not too long."""
    return os.fsencode(name)[:160].decode(errors="ignore")


def _is_special(path: Path) -> bool:
    """Whether the target is a device, pipe or terminal, which cannot be replaced."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise
        return False
    if stat.S_ISDIR(mode):
        raise OutputError(
            f"cannot write {str(path)!r}: it is a folder", hint="name a file inside it", code="output"
        )
    return not stat.S_ISREG(mode)


def _publish(temporary: Path, target: Path) -> None:
    _keep_mode(target, temporary)
    os.replace(temporary, target)
    _sync_folder(target.parent)


def _keep_mode(target: Path, temporary: Path) -> None:
    try:
        mode = stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return
    os.chmod(temporary, mode)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that cannot
            raise
    finally:
        os.close(descriptor)


_HINTS = {
    errno.ENOENT: "create the folder first, or correct the path",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EACCES: "check the permissions of the folder",
    errno.EROFS: "the file system is mounted read-only: choose another folder",
    errno.ENOSPC: "free some space on that disk; the target is as it was",
}


def _failure(target: Path, error: OSError) -> OutputError:
    if isinstance(error, OutputError):
        return error
    reason = os.strerror(error.errno) if error.errno else str(error)
    found: Any = OutputError(f"cannot write {str(target)!r}: {reason}", hint=_HINTS.get(error.errno or 0))
    result: OutputError = found
    return result
