"""Short steps of the writer that a signal must not cut in two: what it would raise comes right after them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final


class Whole:
    """Marks a step of the main thread as one that is done whole; handlers ask :meth:`then` before they raise.

    Python runs a signal's handler between two instructions, so also between a file's coming to be and the note of
    it, after which nobody would remove the file.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._later: Callable[[], None] | None = None
        self._main = threading.main_thread().ident

    def __enter__(self) -> None:
        if threading.get_ident() == self._main:
            self._depth += 1

    def __exit__(self, *_: object) -> None:
        if threading.get_ident() == self._main:
            self._depth -= 1
            if not self._depth and self._later is not None:
                later, self._later = self._later, None
                later()

    def then(self, act: Callable[[], None]) -> None:
        """Act now, or at the end of the step that is under way; for handlers of signals, on the main thread."""
        if self._depth:
            self._later = act
        else:
            act()


whole: Final = Whole()
