"""Short steps of the writer that are done whole: no signal cuts them in two, and no exit comes between them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

#: Seconds that an exit waits for a step of another thread; a step takes microseconds, unless a file system hangs.
_PATIENCE: Final = 1.0


class Whole:
    """One step at a time, done whole: handlers of signals ask :meth:`then` before they raise.

    Python runs a signal's handler between two instructions, so also between a file's coming to be and the note of
    it, after which nobody would remove the file; and a process may end while another of its threads is there.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._later: Callable[[], None] | None = None
        self._main = threading.main_thread().ident

    @contextmanager
    def step(self) -> Iterator[None]:
        """Do the block whole, after the step of another thread; but nobody waits for ever, the exit least of all."""
        is_main = threading.get_ident() == self._main
        self._depth += is_main
        mine = self._lock.acquire(timeout=_PATIENCE)
        try:
            yield
        finally:
            if mine:
                self._lock.release()
            self._depth -= is_main
            if is_main and not self._depth and self._later is not None:
                later, self._later = self._later, None
                later()

    def then(self, act: Callable[[], None]) -> None:
        """Act now, or at the end of the step that is under way; for handlers of signals, on the main thread."""
        if self._depth:
            self._later = act
        else:
            act()


whole: Final = Whole()
