"""Write files that URLs name: like those beside which a temporary file lies, they appear when they are committed."""

from __future__ import annotations

import _thread
import contextlib
import io
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from msgspec import Struct

from petal.data.busy import Held, hold
from petal.data.filesystems import filesystem
from petal.data.whole import whole
from petal.errors import OutputError, PetalError
from petal.spec.event import Target

if TYPE_CHECKING:
    from petal.interfaces.filesystem import Description, Upload

#: Seconds that the end of a process waits for all uploads to be taken back; then the file systems' own rules see to it.
_PATIENCE = 2.0
_waited = 0.0


class HandedUpload(Struct, frozen=True):
    """A file that another process has uploaded, and this one is to publish (S4.5: only it knows who is late).

    Attributes:
        temporary: The upload, as the other process names it.
        target: The URL at which it is to appear.
    """

    temporary: str
    target: str

    def store(self) -> None:
        """Do nothing: it is stored."""

    def described(self) -> None:
        """Nothing: what it is like is known when it is published."""
        return

    def commit(self) -> Target:
        """Publish it, and describe it.

        Raises:
            OutputError: It cannot be published.
        """
        upload = _of(self.target, lambda: filesystem(self.target).take_over(self.target, self.temporary))
        return published(self.target, upload)

    def abort(self) -> None:
        """Drop it; the target stays as it was."""
        with contextlib.suppress(Exception):
            filesystem(self.target).take_over(self.target, self.temporary).abort()

    def abandon(self) -> None:
        """Drop it, waiting no longer than the end of a process can; safe in a signal handler."""
        _in_time(self.abort)


class UploadOutput:
    """A file that becomes visible at its URL only by :meth:`commit`; see :class:`petal.data.files.Output`.

    Args:
        url: The file to publish.
        owner: Marks the upload: run and attempt.
        run: The run that writes it, and that no other run of this machine may write it beside.
    """

    def __init__(self, url: str, *, owner: str, run: str = "") -> None:
        self.target = str(url)
        self.file: BinaryIO = io.BytesIO()
        self._owner = owner
        self._run = run
        self._upload: Upload | None = None
        self._held: Held | None = None
        self._finished = self._stored = False

    def open(self) -> BinaryIO:
        """Begin the upload.

        Raises:
            OutputError: It cannot be begun, or another run is writing the file.
            EnvironmentNotReady: Nobody brings the URL's scheme.
        """
        if self._run:
            self._held = hold(self.target, self._run)
        upload = _of(self.target, lambda: filesystem(self.target).write(self.target, owner=self._owner))
        with whole.step():
            late = self._finished  # abandoned meanwhile
            self._upload = upload
        if late:
            upload.abort()
            raise OutputError(f"cannot write {self.target!r}: the run has been stopped")
        self.file = upload.file
        return self.file

    def store(self) -> None:
        """See that all that was written has been sent; it is still not to be seen.

        Raises:
            OutputError: It cannot be stored, and is dropped.
        """
        if self._finished or self._stored:
            return
        assert self._upload is not None
        try:
            self._upload.store()
        except OSError as error:
            self.abort()
            raise failed(self.target, error) from error
        self._stored = True

    def described(self) -> None:
        """Nothing: what it is like is known when it is published."""
        return

    def commit(self) -> Target | None:
        """Publish the file, and describe it; None where it was dropped.

        Raises:
            OutputError: It cannot be stored or published.
        """
        if self._finished:
            return None
        self.store()
        assert self._upload is not None
        try:
            found = published(self.target, self._upload)
        except OSError:
            self.abort()
            raise
        with whole.step():
            self._finished = True
            self._unlock()
        return found

    def hand_over(self) -> HandedUpload | None:
        """Store the file for another process to publish; None where it was dropped.

        Raises:
            OutputError: It cannot be stored.
        """
        if self._finished:
            return None
        self.store()
        assert self._upload is not None
        try:
            return HandedUpload(self._upload.hand_over(), self.target)
        except OSError as error:
            self.abort()
            raise failed(self.target, error) from error

    def abort(self) -> None:
        """Drop what was written; the target stays as it was."""
        upload = self._dropped()
        if upload is not None:
            with contextlib.suppress(Exception):
                upload.abort()

    def abandon(self) -> None:
        """Drop what was written, waiting no longer than the end of a process can; a thread may be writing it still."""
        upload = self._dropped()
        if upload is not None:
            _in_time(upload.abort)

    def let_go(self) -> None:
        """Forget what another process has published or dropped."""
        self._finished = True
        self._unlock()

    def _dropped(self) -> Upload | None:
        with whole.step():
            if self._finished:
                return None
            self._finished = True
            self._unlock()
            return self._upload

    def _unlock(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.release()


def published(url: str, upload: Upload) -> Target:
    """Publish an upload, and describe what is published.

    Raises:
        OutputError: It cannot be published.
    """
    try:
        found = upload.commit()
    except OSError as error:
        raise failed(url, error) from error
    return Target(url, digest_of(found), found.size)


def digest_of(found: Description) -> str:
    """Return what tells a version of a file from others."""
    return f"version:{found.version}"


def is_same(target: Target) -> bool:
    """Say whether a file is there and still what was published."""
    try:
        found = filesystem(target.path).describe(target.path)
    except (OSError, PetalError):
        return False
    return found is not None and found.size == target.size and digest_of(found) == target.digest


def failed(url: str, error: OSError) -> OSError:
    """Return the error that says which file could not be written, and why.

    What another attempt may not meet again (the connection, a time-out) stays of its kind, so that ``retry`` does it.
    """
    if isinstance(error, PetalError):
        return error
    text = f"cannot write {url!r}: {error.strerror or error}"
    if isinstance(error, ConnectionError):
        return ConnectionError(text)
    if isinstance(error, TimeoutError):
        return TimeoutError(text)
    return OutputError(text, hint=_hint(error))


def _hint(error: OSError) -> str | None:
    if isinstance(error, FileNotFoundError):
        return "make the bucket first, or correct the URL"
    if isinstance(error, PermissionError):
        return "see that whoever runs this may write there"
    return None


def _of(url: str, begin: Callable[[], Upload]) -> Upload:
    """Begin or take over an upload; what is wrong with the URL itself is an error of the same kind."""
    try:
        return begin()
    except OSError as error:
        raise failed(url, error) from error
    except ValueError as error:
        raise OutputError(f"cannot write {url!r}: {error}", hint="correct the URL") from error


def _in_time(call: Callable[[], object]) -> None:
    """Call on a thread, and wait for it a short time; no lock is taken, so a signal handler may do it."""
    global _waited
    done: list[bool] = []

    def work() -> None:
        try:
            call()
        finally:
            done.append(True)

    try:
        _thread.start_new_thread(work, ())
    except RuntimeError:  # the interpreter is ending
        return
    began = time.monotonic()
    until = began + _PATIENCE - _waited
    while not done and time.monotonic() < until:
        time.sleep(0.005)
    _waited += time.monotonic() - began
