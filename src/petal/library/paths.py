"""The files that a reader's ``file_path`` stands for."""

import errno
import glob
import os
from pathlib import Path

from petal import DataError
from petal.library.names import did_you_mean

#: Stands for standard input or output.
STANDARD = Path("-")


def files(file_path: Path | list[Path]) -> list[Path]:
    """Return the files that a path, a list of paths or a glob stands for, in order.

    Raises:
        DataError: A file is missing, a folder, or a glob matches nothing.
    """
    if isinstance(file_path, list):
        return [found for one in file_path for found in files(one)]
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
    matches = [p for p in map(Path, found) if not os.path.isdir(p)]
    if not matches:
        raise DataError(
            f"no file matches {text!r}",
            hint="correct the pattern: `*` is any text in a name, `**` any folders, `?` one letter",
        )
    return matches


def missing(path: Path) -> DataError:
    """Return the error for a file that does not exist, with the names that are close."""
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


def unreadable(path: Path, error: OSError) -> DataError:
    """Return the error for a file that the system refuses to read."""
    if path == STANDARD and error.errno == errno.EBADF:
        return closed()
    if isinstance(error, FileNotFoundError):
        return missing(path)
    if isinstance(error, IsADirectoryError):
        return _folder(path)
    hint = "check the file's permissions" if isinstance(error, PermissionError) else None
    return DataError(f"cannot read {str(path)!r}: {error.strerror or error}", hint=hint)


def closed() -> DataError:
    """Return the error for standard input that the caller has closed."""
    return DataError(
        "cannot read standard input: it is closed", hint="pipe something into it, or name a file"
    )


def _folder(path: Path) -> DataError:
    return DataError(
        f"cannot read {str(path)!r}: it is a folder",
        hint=f"name a file, or a pattern such as {str(path / '*')!r} for all of its files",
    )
