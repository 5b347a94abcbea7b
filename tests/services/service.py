"""What the tests' services have in common: one for all tests of a user, which stops with the last that uses it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.services.locks import Hold, alone


def cache() -> Path:
    """Return the folder that the tests' services keep between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "petal-tests"


class Service(ABC):
    """A service whose state lies in one folder; two with the same folder, in any process, are the same service.

    Args:
        folder: Where its data, its log and its locks lie.
    """

    #: What it is called where tests are counted that were not run without it.
    name: str
    #: The variable of the environment by which it is found.
    variable: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._kept = self.folder / "kept"

    @property
    @abstractmethod
    def address(self) -> str:
        """The value of its variable."""

    @abstractmethod
    def prepare(self) -> None:
        """Install and make what a start needs.

        Raises:
            Unavailable: It cannot run here; the text says what is missing.
        """

    @abstractmethod
    def is_running(self) -> bool:
        """Return whether it answers."""

    @abstractmethod
    def left(self) -> list[str]:
        """Return what of it is on the machine beside its folder: nothing, after a stop."""

    @abstractmethod
    def environment(self, base: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Return an environment, this process's unless another is given, with the service in it."""

    @abstractmethod
    def _launch_if_needed(self) -> None:
        """Start it unless it runs as it should. Under the lock."""

    @abstractmethod
    def _end(self) -> None:
        """End it with all that a killed one has left. Under the lock."""

    def start(self, *, keep: bool = True) -> str:
        """Start it if it does not run, and return its address.

        Args:
            keep: It runs until :meth:`stop`; else until the last holder lets go.

        Raises:
            Unavailable: It cannot run here; the text says what is missing.
        """
        self.prepare()
        with self.alone():
            self._launch_if_needed()
            if keep:
                self._kept.touch()
        return self.address

    def stop(self) -> None:
        """End it; nothing of it is left on the machine but its folder."""
        with self.alone():
            self._stop()

    def hold(self) -> Hold:
        """Say that this process uses it, until :meth:`let_go` or the process's death."""
        return Hold(self.folder / "users.lock")

    def let_go(self, hold: Hold) -> None:
        """Stop using it; the last one stops it unless it was started to stay."""
        with self.alone():
            if hold.let_go() and not self._kept.exists() and self.left():
                self._stop()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only one who starts or stops it."""
        with alone(self.folder / "service.lock"):
            yield

    def _stop(self) -> None:
        self._end()
        self._kept.unlink(missing_ok=True)
