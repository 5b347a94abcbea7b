"""The folder where Petal keeps its state: ``.petal/`` beside the pipeline, or ``$PETAL_HOME`` (S8.2)."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from petal.data.files import write_text
from petal.data.publishing import sweep
from petal.errors import EnvironmentNotReady, UsageError
from petal.spec.url import is_url

NAME: Final = ".petal"
VARIABLE: Final = "PETAL_HOME"
_REMEDY: Final = f"name another folder with `--home` or ${VARIABLE}"
#: What a home always has, and all that Petal puts at its top.
_SIGNS: Final = frozenset({"runs", "cache"})
_OWN: Final = _SIGNS | {"spill", ".gitignore"}


class Home:
    """A folder of state. Nothing is made or looked at before :meth:`create`.

    Args:
        path: The folder.

    Attributes:
        path: The folder, absolute.
        runs: Where the journals are, one file per run.
        cache: Where the cache is.
        spill: Where streams that outgrow memory are put down.

    Raises:
        UsageError: The name is empty, which would stand for the current folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not os.fspath(path):
            raise UsageError(
                "the name of the folder of state is empty",
                hint=f"name one, as in `--home ./{NAME}`, or leave `--home` out",
            )
        self.path = Path(path).expanduser().absolute()
        self.runs = self.path / "runs"
        self.cache = self.path / "cache"
        self.spill = self.path / "spill"

    def create(self) -> Home:
        """Make the folder, where it is not there, and see that it can be used and is the user's own (F07, F81).

        Raises:
            EnvironmentNotReady: It cannot be written, others could change what is in it, or it holds other things.
        """
        try:
            self._make(self.path)
            self.check()
            shared = self._is_shared()
            for folder in (self.runs, self.cache, self.spill):
                self._make(folder)
            if not os.access(self.runs, os.W_OK | os.X_OK):
                raise OSError(_reason(self.runs), os.strerror(_reason(self.runs)))
            if not shared and not (self.path / ".gitignore").exists():
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
            raise _refused(
                f"{str(self.path)!r} is a symbolic link, which could be made to lead elsewhere between two looks at it, "
                "and state with it",
                f"name the folder that it leads to: `--home {shlex.quote(os.path.realpath(self.path))}`, or ${VARIABLE}",
            )
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
        if not os.access(self.path, os.R_OK | os.X_OK):
            raise self._closed(self.path)

    def has(self, path: Path) -> bool:
        """Say whether something is there beneath the folder.

        Raises:
            EnvironmentNotReady: The folder cannot be looked into.
        """
        try:
            return path.exists()
        except PermissionError as error:
            self.check()  # which knows more of why
            raise self._closed(path.parent) from error

    def _closed(self, folder: Path) -> EnvironmentNotReady:
        reason = os.strerror(errno.EACCES)
        return _refused(f"cannot read {str(folder)!r}: {reason}", f"run `chmod 700 {folder}`, or {_REMEDY}")

    def _is_shared(self) -> bool:
        """Say whether things of others are in it too, which git must go on to see.

        Raises:
            EnvironmentNotReady: They are all that is in it: it is no home, but most likely somebody's project.
        """
        found = {one.name for one in self.path.iterdir()}
        if found <= _OWN:
            return False
        sweep(str(self.path))  # what is left of a run that was killed while it made the home
        found = {one.name for one in self.path.iterdir() if not one.name.startswith("..gitignore.petal-")}
        if found <= _OWN:
            return False
        if found.isdisjoint(_SIGNS):
            raise _refused(
                f"{str(self.path)!r} is no folder of state: it holds other files, and no run of Petal",
                f"name a folder of its own, which Petal makes, as in `--home {self.path / NAME}`",
            )
        return True

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


def home_beside(file: str, environment: Mapping[str, str]) -> Home:
    """Return the home of a pipeline by its file: beside it, or in the current folder where the file is fetched."""
    return home_for("." if is_url(file) else Path(file).absolute().parent, environment)


def find_home(start: str | os.PathLike[str], environment: Mapping[str, str]) -> Home | None:
    """Search for a home upward from a folder, as commands do that read what runs have left (S8.2).

    Args:
        start: The folder to begin with.
        environment: The environment variables; ``$PETAL_HOME`` wins.

    Returns:
        The first that is there, None where there is none.

    Raises:
        EnvironmentNotReady: It is there, and it cannot be read, or others could change what is in it.
    """
    named = environment.get(VARIABLE)
    if named:
        homes = [Home(named)]
    else:
        place = Path(start).absolute()
        homes = [Home(folder / NAME) for folder in (place, *place.parents)]
    for home in homes:
        if home.path.is_symlink():
            home.check()
        if any(home.has(folder) and folder.is_dir() for folder in (home.runs, home.cache)):
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
