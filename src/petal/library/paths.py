"""The files that a reader's ``file_path`` stands for, by path or by URL."""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from petal import URL, DataError
from petal.library.names import did_you_mean

if TYPE_CHECKING:
    from petal import FileSystem

#: A file: on this machine, or where a plugin finds what a URL names.
File: TypeAlias = Path | URL
#: Stands for standard input or output.
STANDARD = Path("-")
#: Bytes that are copied at a time.
_PIECE = 1 << 20

T = TypeVar("T")


def files(file_path: File | list[File]) -> list[File]:
    """Return the files that a path, a URL, a pattern or a list of these stands for, in order.

    Raises:
        DataError: A file is missing, a folder, or a pattern matches nothing.
        OSError: It cannot be found out now; trying again may help.
        EnvironmentNotReady: Nobody brings a URL's scheme.
    """
    if isinstance(file_path, list):
        return [found for one in file_path for found in files(one)]
    if isinstance(file_path, URL):
        return _at(file_path)
    if file_path == STANDARD:
        return [file_path]
    if os.path.exists(file_path):
        if os.path.isdir(file_path):
            raise _folder(file_path)
        return [file_path]
    text = str(file_path)
    if not glob.has_magic(text):
        raise missing(file_path)
    found = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 (Path.glob takes no absolute pattern)
    matches: list[File] = [p for p in map(Path, found) if not os.path.isdir(p)]
    if not matches:
        raise _no_match(text)
    return matches


def missing(path: File) -> DataError:
    """Return the error for a file that does not exist, with the names that are close."""
    if isinstance(path, URL):
        return DataError(f"there is no file {str(path)!r}", hint="write it first, or correct the URL")
    folder = path.parent
    if not os.path.isdir(folder):
        return DataError(
            f"there is no file {str(path)!r}: its folder does not exist",
            hint=f"create {str(folder)!r}, or correct the path",
        )
    try:
        guess = did_you_mean(path.name, sorted(p.name for p in folder.iterdir()))
    except OSError:
        guess = ""
    return DataError(f"there is no file {str(path)!r}", hint=guess or "create it, or correct the path")


def unreadable(path: File, error: OSError) -> Exception:
    """Return the error for a file that cannot be read.

    What a network did not bring, and another attempt may, stays of its kind, so that ``retry`` makes that attempt.
    """
    if path == STANDARD and error.errno == errno.EBADF:
        return closed()
    if isinstance(error, FileNotFoundError):
        return missing(path)
    if isinstance(path, URL):
        return _not_brought(path, error)
    if isinstance(error, IsADirectoryError):
        return _folder(path)
    hint = "check the file's permissions" if isinstance(error, PermissionError) else None
    return DataError(f"cannot read {str(path)!r}: {error.strerror or error}", hint=hint)


def closed() -> DataError:
    """Return the error for standard input that the caller has closed."""
    return DataError(
        "cannot read standard input: it is closed", hint="pipe something into it, or name a file"
    )


@contextmanager
def telling(path: File) -> Iterator[None]:
    """Say of an error of the system, or of a file system, which file could not be read.

    Raises:
        DataError: It cannot be read.
        OSError: It cannot be read now; trying again may help.
    """
    try:
        yield
    except OSError as error:
        raise unreadable(path, error) from error


@contextmanager
def local(path: File) -> Iterator[Path]:
    """Give a file a path on this machine as long as it is read: what a URL names is copied to a temporary file.

    Raises:
        OSError: It cannot be read, or there is no room for the copy; see :func:`telling`.
    """
    if isinstance(path, Path):
        yield path
        return
    import shutil
    import tempfile

    with tempfile.NamedTemporaryFile(prefix="petal-", suffix=path.suffix) as copy:
        with asked(path, lambda files: files.read(path)) as stream:
            shutil.copyfileobj(stream, copy, _PIECE)
            copy.flush()
        yield Path(copy.name)


def asked(url: URL, ask: Callable[[FileSystem], T]) -> T:
    """Ask the file system of a URL something.

    Raises:
        DataError: It is no URL that could name a file.
        OSError: There is no answer; see :func:`telling`.
        EnvironmentNotReady: Nobody brings its scheme.
    """
    from petal import filesystem

    try:
        return ask(filesystem(url))
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"cannot read {str(url)!r}: {error}", hint="correct the URL") from error


def _at(url: URL) -> list[File]:
    with telling(url):
        if asked(url, lambda files: files.describe(url)) is not None:
            return [url]
        if not glob.has_magic(url):
            raise missing(url)
        found: list[File] = [URL(one) for one in asked(url, lambda files: list(files.find(url)))]
    if not found:
        raise _no_match(str(url))
    return found


def _not_brought(url: URL, error: OSError) -> Exception:
    text = f"cannot read {str(url)!r}: {error.strerror or error}"
    for kind in (ConnectionError, TimeoutError):
        if isinstance(error, kind):
            return kind(text)
    if isinstance(error, PermissionError):
        return DataError(text, hint="see that whoever runs this may read there")
    return OSError(text)


def _no_match(text: str) -> DataError:
    return DataError(
        f"no file matches {text!r}",
        hint="correct the pattern: `*` is any text in a name, `**` any folders, `?` one letter",
    )


def _folder(path: Path) -> DataError:
    return DataError(
        f"cannot read {str(path)!r}: it is a folder",
        hint=f"name a file, or a pattern such as {str(path / '*')!r} for all of its files",
    )
