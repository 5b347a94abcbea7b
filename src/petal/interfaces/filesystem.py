"""What a file system is: something that reads and writes the files that URLs of one scheme name, such as a bucket's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO, Protocol

from msgspec import Struct


class Description(Struct, frozen=True):
    """What is known of a file without reading it.

    Attributes:
        size: Its bytes.
        version: Changes whenever its content does, and is the same in every process: an ETag, a number of the version.
            The cache and runs that go on trust it.
    """

    size: int
    version: str


class Upload(Protocol):
    """A file that is being written, and that nobody sees until it is committed.

    Calls come from one thread at a time; :meth:`abort` may come from another while one of them is at work.

    Attributes:
        file: Takes the bytes, in order; it cannot seek. It may keep a part in memory, never all of a large file. Closing
            it publishes nothing.
    """

    file: BinaryIO

    def store(self) -> None:
        """Take the end of what is written: all of it is sent, and checked, before this returns.

        A few megabytes may be kept for :meth:`commit` where that sends them at once or not at all. Twice is once.

        Raises:
            OSError: It cannot be stored.
        """
        ...

    def hand_over(self) -> str:
        """Store all of it where it outlives this process, for another one to commit: this one touches it no more.

        Returns:
            What :meth:`FileSystem.take_over` needs there, some hundred characters.

        Raises:
            OSError: It cannot be stored.
        """
        ...

    def commit(self) -> Description:
        """Publish the file: from now on whoever reads the URL gets all of it, and before this the old file or none.

        Returns:
            What is published, as :meth:`FileSystem.describe` says it.

        Raises:
            OSError: It cannot be published, and what was there before is still there; where that is not known, as after a
                reply that was lost, this finds out and says so only if it cannot.
        """
        ...

    def abort(self) -> None:
        """Drop what was written; what was there before stays. Twice is once, after :meth:`commit` it does nothing.

        It raises nothing: what cannot be removed is left for the file system's own rules, such as a bucket's lifecycle.
        """
        ...


class FileSystem(Protocol):
    """Reads and writes files by URL, for library readers and writers, ``open_input`` and ``open_output``.

    There is one for each scheme and process, made when the first of its URLs is opened; threads share it. Making it
    contacts nobody.

    * URLs are given as the user wrote them, with the scheme; a key may hold any character.
    * What cannot be done is an ``OSError`` whose text says why: ``FileNotFoundError`` where there is no such file or
      bucket, ``PermissionError`` where it is refused, ``TimeoutError`` or ``ConnectionError`` where trying again may help
      (it has then been tried as often as is sensible). The URL need not be in the text, the remedy may be.
    * A URL that cannot be one of the scheme, as without a bucket, is a ``ValueError``.
    """

    def describe(self, url: str) -> Description | None:
        """Say what a file is like, without reading it; None where there is no such file."""
        ...

    def find(self, pattern: str) -> Iterable[str]:
        """Return the URLs of the files that a pattern stands for, sorted.

        Args:
            pattern: A URL with ``*`` for any text in a name, ``**`` for any folders (also none), ``?`` for one letter,
                ``[...]`` for one of several, as in :func:`glob.glob`. They stand for what lies behind the bucket or host.
        """
        ...

    def read(self, url: str) -> BinaryIO:
        """Open a file for reading from its beginning to its end.

        Returns:
            A stream, which the caller closes. It holds a few megabytes at most, and gives the bytes of one version: where
            the file is replaced meanwhile, or fewer bytes come than there are, it raises ``OSError`` and never ends early.
        """
        ...

    def write(self, url: str, *, owner: str) -> Upload:
        """Begin to write a file.

        Args:
            url: The file.
            owner: Who writes it, run and attempt: letters, digits and ``-``. No two uploads have the same one.
        """
        ...

    def take_over(self, url: str, token: str) -> Upload:
        """Return an upload that another process has begun and handed over, to commit or abort it; nothing can be added.

        Args:
            url: The file.
            token: What :meth:`Upload.hand_over` returned there. It may come from a worker that is not trusted: it names an
                upload to this URL, and can mean nothing else.
        """
        ...
