"""Know what this process is writing and has not published, so that it can be dropped when the process has to end."""

from __future__ import annotations

from typing import Final, Protocol

from petal.data.whole import whole
from petal.errors import OutputError


class Writes(Protocol):
    """What has written files."""

    def abandon(self) -> None:
        """Drop them; safe in a signal handler."""


class Unpublished:
    """What this process is writing and has not published: all of it is dropped when the process is told to end."""

    def __init__(self) -> None:
        self._all: set[Writes] = set()
        self._is_over = False

    def add(self, outputs: Writes) -> None:
        """Note outputs, once they are written to.

        Raises:
            OutputError: The process is about to end.
        """
        if self._is_over:
            raise OutputError("nothing more is written: the process has been told to end")
        self._all.add(outputs)

    def discard(self, outputs: Writes) -> None:
        """Forget outputs that are published or dropped."""
        self._all.discard(outputs)

    def abandon(self) -> None:
        """Drop everything, for good; safe in a signal handler."""
        with whole.step():
            self._is_over = True
            for outputs in tuple(self._all):
                outputs.abandon()


unpublished: Final = Unpublished()
