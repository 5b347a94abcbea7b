"""The folder where Petal keeps its state: ``.petal/`` beside the pipeline, or ``$PETAL_HOME`` (S8.2)."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from petal.data.files import write_text
from petal.errors import EnvironmentNotReady

NAME: Final = ".petal"
VARIABLE: Final = "PETAL_HOME"
_REMEDY: Final = f"name another folder with `--home` or ${VARIABLE}"


class Home:
    """A folder of state. Nothing is made or looked at before :meth:`create`.

    Args:
        path: The folder.

    Attributes:
        path: The folder, absolute.
        runs: Where the journals are, one file per run.
        cache: Where the cache is.
        spill: Where streams that outgrow memory are put down.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser().absolute()
        self.runs = self.path / "runs"
        self.cache = self.path / "cache"
        self.spill = self.path / "spill"

    def create(self) -> Home:
        """Make the folder, where it is not there, and see that it can be used and is the user's own (F07, F81).

        Raises:
            EnvironmentNotReady: It cannot be written, or others could change what is in it.
        """
        try:
            self._make(self.path)
            self.check()
            for folder in (self.runs, self.cache, self.spill):
                self._make(folder)
            if not os.access(self.runs, os.W_OK | os.X_OK):
                raise OSError(_reason(self.runs), os.strerror(_reason(self.runs)))
            if not (self.path / ".gitignore").exists():
                write_text(self.path / ".gitignore", "*\n")
        except EnvironmentNotReady:
            raise
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise _refused(f"cannot keep state in {str(self.path)!r}: {reason}", _REMEDY) from error
        return self

    def check(self) -> None:
        """See that nobody else could have put there what is read from it.

        Raises:
            EnvironmentNotReady: It is a link, another user's, or writable for others.
        """
        try:
            found = self.path.lstat()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise _refused(f"cannot use {str(self.path)!r}: {reason}", _REMEDY) from error
        if stat.S_ISLNK(found.st_mode):
            raise _refused(f"{str(self.path)!r} is a symbolic link", f"{_REMEDY}, by its real path")
        if not stat.S_ISDIR(found.st_mode):
            raise _refused(f"{str(self.path)!r} is not a folder", _REMEDY)
        if found.st_uid != os.geteuid():
            raise _refused(
                f"{str(self.path)!r} belongs to another user (uid {found.st_uid}), who could change what is in it",
                _REMEDY,
            )
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise _refused(
                f"{str(self.path)!r} can be written by others, who could change what is in it",
                f"run `chmod 700 {self.path}`, or {_REMEDY}",
            )

    @staticmethod
    def _make(folder: Path) -> None:
        with contextlib.suppress(FileExistsError):
            try:
                folder.mkdir(mode=0o700)
            except FileNotFoundError:
                folder.parent.mkdir(parents=True, exist_ok=True)
                folder.mkdir(mode=0o700)

    def __repr__(self) -> str:
        return f"Home({str(self.path)!r})"


def home_for(folder: str | os.PathLike[str], environment: Mapping[str, str]) -> Home:
    """Return the home of a pipeline.

    Args:
        folder: Where the pipeline's file is.
        environment: The environment variables; ``$PETAL_HOME`` wins.
    """
    named = environment.get(VARIABLE)
    return Home(named) if named else Home(Path(folder) / NAME)


def find_home(start: str | os.PathLike[str], environment: Mapping[str, str]) -> Home | None:
    """Search for a home upward from a folder, as commands do that read what runs have left (S8.2).

    Args:
        start: The folder to begin with.
        environment: The environment variables; ``$PETAL_HOME`` wins.

    Returns:
        The first that is there, None where there is none.

    Raises:
        EnvironmentNotReady: It is there, and others could change what is in it.
    """
    named = environment.get(VARIABLE)
    if named:
        homes = [Home(named)]
    else:
        place = Path(start).absolute()
        homes = [Home(folder / NAME) for folder in (place, *place.parents)]
    for home in homes:
        if home.runs.is_dir() or home.cache.is_dir():
            home.check()
            return home
    return None


def _reason(folder: Path) -> int:
    """Say why a folder cannot be written: its file system, or its mode."""
    with contextlib.suppress(OSError):
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            return errno.EROFS
    return errno.EACCES


def _refused(message: str, hint: str) -> EnvironmentNotReady:
    return EnvironmentNotReady(message, hint=hint, code="home")
