"""The one module that opens files for writing: beside the target, fsync, rename, fsync the folder (DESIGN.md §6)."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

from msgspec import Struct

from petal.data.busy import Held, hold
from petal.data.published import described
from petal.data.publishing import create, failure, is_special, publish, standard_stream, sweep, temporary_of
from petal.data.unpublished import unpublished
from petal.data.whole import whole
from petal.errors import OutputError
from petal.spec.context import Context
from petal.spec.event import Target
from petal.spec.url import is_url

if TYPE_CHECKING:
    from petal.data.uploads import HandedUpload, UploadOutput


class Handed(Struct, frozen=True):
    """A file that one process has written and stored, and another is to publish (S4.5: only it knows who is late).

    Attributes:
        temporary: Where it is.
        target: Where it is to appear.
    """

    temporary: str
    target: str

    def store(self) -> None:
        """Do nothing: it is stored."""

    def described(self) -> Target:
        """Describe the file."""
        return described(Path(self.temporary), Path(self.target))

    def commit(self) -> None:
        """Publish it."""
        try:
            publish(Path(self.temporary), Path(self.target))
        except OSError as error:
            self.abort()
            raise failure(Path(self.target), error) from error

    def abort(self) -> None:
        """Drop it; the target stays as it was."""
        with contextlib.suppress(OSError):
            os.unlink(self.temporary)  # noqa: PTH108

    abandon = abort


class Output:
    """A file that becomes visible under its name only by :meth:`commit`.

    Until then the bytes are in a temporary file beside the target; :meth:`abort` leaves the target as it was.

    Args:
        target: The file to publish. A symbolic link is followed, its mode kept.
        owner: Marks the temporary file's name: run and attempt.
        run: The run that writes it, and that no other run may write it beside; empty outside of runs, where the last
            to publish wins.
    """

    def __init__(self, target: str | os.PathLike[str], *, owner: str = "", run: str = "") -> None:
        self.target = Path(os.path.realpath(target))
        mark = owner or f"{os.getpid()}-{os.urandom(4).hex()}"
        self._temporary = temporary_of(self.target, mark)
        self._finished = self._stored = False
        self._run = run
        self._held: Held | None = None
        try:
            self._special = is_special(self.target)
        except OSError as error:
            raise failure(self.target, error) from error
        self._lock: int | None = None
        self.file: BinaryIO = io.BytesIO()

    def open(self) -> BinaryIO:
        """Create the file.

        Raises:
            OutputError: It cannot be created, or another run is writing it.
        """
        try:
            if self._special:  # may wait for its reader, and can be stopped meanwhile
                return self._opened(os.open(self.target, os.O_WRONLY | os.O_CLOEXEC))
            with whole.step():
                if self._finished:  # abandoned meanwhile
                    raise _stopped(self.target)
                if self._run:
                    self._held = hold(self.target, self._run)
                return self._opened(create(self._temporary))
        except OSError as error:
            raise failure(self.target, error) from error

    def _opened(self, descriptor: int) -> BinaryIO:
        self._lock = os.dup(descriptor)  # keeps the file locked until the end, whoever closes it
        self.file = os.fdopen(descriptor, "wb", buffering=1 << 20)
        return self.file

    def store(self) -> None:
        """See that what was written would survive a power loss; it is still not to be seen.

        Raises:
            OutputError: It cannot be stored, and is dropped: what a failed fsync has lost is not known.
        """
        if self._finished or self._stored:
            return
        try:
            self.file.close()
            if not self._special:
                assert self._lock is not None
                os.fsync(self._lock)
        except OSError as error:
            self.abort()
            raise failure(self.target, error) from error
        self._stored = True

    def described(self) -> Target | None:
        """Describe the file, once it is stored; None where there is nothing to publish, as for a device."""
        return None if self._special or self._finished else described(self._temporary, self.target)

    def commit(self) -> None:
        """Publish the file: after this returns, a reader sees all of it, also after a power loss.

        Raises:
            OutputError: It cannot be stored or published.
        """
        if self._finished:
            self.abort()
            return
        self.store()
        try:
            if not self._special:
                publish(self._temporary, self.target)
        except OSError as error:
            self.abort()
            raise failure(self.target, error) from error
        with whole.step():
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
        self.store()
        return None if self._special else Handed(str(self._temporary), str(self.target))

    def abort(self) -> None:
        """Drop what was written; the target stays as it was."""
        self.abandon()
        with contextlib.suppress(OSError):
            self.file.close()

    def abandon(self) -> None:
        """Drop what was written without closing the file: a thread that hangs may be using it."""
        with whole.step():
            if self._finished:
                return
            self._finished = True
            if not self._special:
                with contextlib.suppress(OSError):
                    os.unlink(self._temporary)  # noqa: PTH108
            self._unlock()

    def let_go(self) -> None:
        """Unlock what another process has published or dropped."""
        self._finished = True
        self._unlock()

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)
        held, self._held = self._held, None
        if held is not None:
            held.release()


def _output(path: str | os.PathLike[str], *, owner: str = "", run: str = "") -> Output | UploadOutput:
    if not is_url(path):
        return Output(path, owner=owner, run=run)
    from petal.data.uploads import UploadOutput

    return UploadOutput(str(path), owner=owner or f"{os.getpid()}-{os.urandom(4).hex()}", run=run)


def _failure(output: Output | UploadOutput, error: OSError) -> OSError:
    if isinstance(output, Output):
        return failure(output.target, error)
    from petal.data.uploads import failed

    return failed(output.target, error)


@contextlib.contextmanager
def open_output(path: str | os.PathLike[str], context: Context | None = None) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears under its name only when it is complete.

    Within a run (give the operator's Context) it is published when the node has succeeded; otherwise at the end of
    the ``with`` block. After an exception nothing of it is left, and the target is as it was. Several files of one
    node are published in the order in which they were opened: open the data first, and last what names them.

    Args:
        path: The file to write, by its path or, as text, its URL.
        context: The Context that the operator received.

    Raises:
        OutputError: The file cannot be written or published, or another run is writing it (code ``target-busy``).
        EnvironmentNotReady: No plugin brings the URL's scheme.
    """
    opener = context._open_output if context is not None else None
    if opener is not None:
        with opener(path) as file:
            yield file
        return
    if (stream := standard_stream(path)) is not None:
        yield stream
        stream.flush()
        return
    if not is_url(path):
        sweep(os.path.dirname(os.path.realpath(path)))
    output = _output(path)
    try:
        yield output.open()
    except OSError as error:
        output.abort()
        raise _failure(output, error) from error
    except BaseException:
        output.abort()
        raise
    output.commit()


class Outputs:
    """The outputs that one attempt of a node has opened, committed or aborted together.

    They are published in the order in which they were opened: data first, and last a manifest that names it.

    Args:
        owner: Marks the names of temporary files: run and attempt.
        claim: Called with each target; raises where another node of the run writes it.
        run: The run; another run that writes one of the targets at the same time is refused.
        describe: Whether :meth:`store` and :meth:`commit` say what the files are, as a journal wants to know.
    """

    def __init__(
        self,
        owner: str,
        claim: Callable[[str], None] | None = None,
        *,
        run: str = "",
        describe: bool = False,
    ) -> None:
        self._owner = owner
        self._claim = claim
        self._run = run
        self._describe = describe
        self._open: list[Output | Handed | UploadOutput | HandedUpload] = []
        self._held: list[Held] = []
        self._stored: list[Target | None] | None = None
        self._swept: set[str] = set()
        self._ended = False

    @contextlib.contextmanager
    def open(self, path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
        """Open an output that :meth:`commit` publishes; the block's own failure aborts it."""
        if (stream := standard_stream(path)) is not None:
            yield stream
            stream.flush()
            return
        real = str(path) if is_url(path) else os.path.realpath(path)
        if self._claim is not None and not real.startswith("/dev/"):
            self._claim(real)
        unpublished.add(self)
        if not is_url(path):
            self._sweep(os.path.dirname(real))
        output = _output(path, owner=f"{self._owner}-{len(self._open)}-{os.urandom(3).hex()}", run=self._run)
        with whole.step():
            if self._ended:
                raise _stopped(output.target)
            self._open.append(output)
        try:
            yield output.open()
            output.file.flush()
        except OSError as error:
            output.abort()
            raise _failure(output, error) from error
        except BaseException:
            output.abort()
            raise

    def _sweep(self, folder: str) -> None:
        if folder not in self._swept:
            self._swept.add(folder)
            sweep(folder)

    @property
    def targets(self) -> list[str]:
        """The files that would be published, by path or URL."""
        return [str(o.target) for o in self._open]

    def hand_over(self) -> list[Handed | HandedUpload]:
        """Store all that is open for another process to publish; :meth:`let_go` ends the matter.

        Raises:
            OutputError: One cannot be stored.
        """
        self._ended = True
        own = [o for o in self._open if not isinstance(o, Struct)]
        return [handed for o in own if (handed := o.hand_over()) is not None]

    def let_go(self) -> None:
        """Unlock what was handed over and is published by now."""
        for output in self._open:
            if not isinstance(output, Struct):
                output.let_go()
        self._open.clear()
        unpublished.discard(self)

    def adopt(self, handed: Sequence[Handed | HandedUpload]) -> None:
        """Take over what another process has written, to commit or abort it with the rest.

        Raises:
            OutputError: Another node of this run, or another run, writes the same file.
        """
        with whole.step():
            late = self._ended
            if not late:
                self._open += handed
        if late:
            for one in handed:
                one.abort()
            raise OutputError("nothing more is written: the run has been stopped")
        for one in handed:
            if self._claim is not None:
                self._claim(one.target)
            with whole.step():
                if self._ended:  # and all of it is dropped
                    return
                held = hold(one.target, self._run) if self._run else None
                if held is not None:
                    self._held.append(held)

    def store(self) -> list[Target]:
        """See that all that was written would survive a power loss, before any of it is published.

        Returns:
            What will be published, in that order, as far as it is known before: of URLs it is not. Empty where nobody
            wants it described.

        Raises:
            OutputError: Something cannot be stored; all is dropped.
        """
        self._ended = True
        if self._stored is None:
            try:
                for output in self._open:
                    output.store()
                self._stored = [self._described(o) if self._describe else None for o in self._open]
            except BaseException:
                self.abort()
                raise
        return [target for target in self._stored if target is not None]

    def commit(self) -> list[Target]:
        """Publish all, in the order in which they were opened.

        Returns:
            What was published; empty where nobody wants it described.

        Raises:
            OutputError: Something cannot be stored or published: that and what would have followed is dropped.
        """
        self.store()
        assert self._stored is not None
        found: list[Target | None] = []
        for i, output in enumerate(self._open):
            try:
                if isinstance(output, Output | Handed):
                    output.commit()
                    found.append(self._stored[i])
                else:
                    found.append(output.commit())
            except BaseException:
                for rest in self._open[i:]:
                    rest.abort()
                self._release()
                raise
        self._open.clear()
        self._release()
        return [target for target in found if target is not None] if self._describe else []

    @staticmethod
    def _described(output: Output | Handed | UploadOutput | HandedUpload) -> Target | None:
        try:
            return output.described()
        except OSError as error:
            raise failure(Path(output.target), error) from error

    def _release(self) -> None:
        unpublished.discard(self)
        while self._held:
            self._held.pop().release()

    def abort(self) -> None:
        """Drop all."""
        with whole.step():
            self._ended = True
        for output in self._open:
            output.abort()
        self._open.clear()
        self._release()

    def abandon(self) -> None:
        """Drop all that a thread which does not stop has opened or will open; safe in a signal handler."""
        with whole.step():
            self._ended = True
            for output in tuple(self._open):
                output.abandon()
            self._release()


def _stopped(target: Path | str) -> OutputError:
    return OutputError(f"cannot write {str(target)!r}: the run has been stopped")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a small text file atomically, as UTF-8."""
    with open_output(path) as file:
        file.write(text.encode())
