"""One handler for SIGINT, SIGTERM and SIGHUP: the first stops the run in order, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from petal.data.whole import whole
from petal.running.watch import Stopped


class Interrupt(Stopped):
    """A signal stopped the run.

    Attributes:
        signal: Its number.
        result: How far the run came, once that is known.
    """

    def __init__(self, number: int, result: Any = None) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.signal = number
        self.result = result


class Signals:
    """Installs the handler while a run is on; only the main thread can, elsewhere it does nothing.

    Attributes:
        received: The first signal that came, or 0.
        raising: Whether user code runs on the main thread now, so that the handler interrupts it by an exception.
    """

    def __init__(self, on_signal: Callable[[int], None], on_exit: Callable[[], None]) -> None:
        self._on_signal = on_signal
        self._on_exit = on_exit
        self._before: dict[int, Any] = {}
        self.received = 0
        self.raising = False
        self._alarm = False

    def interrupt(self) -> None:
        """Interrupt what runs on the main thread now, from another thread, as a signal would (for ``run_timeout``)."""
        main = threading.main_thread().ident
        if self._alarm and main is not None:
            signal.pthread_kill(main, signal.SIGALRM)

    def _ring(self, _number: int, _frame: FrameType | None) -> None:
        whole.then(lambda: self._raise(signal.SIGALRM))

    def _raise(self, number: int) -> None:
        if self.raising:
            self.raising = False
            raise Interrupt(number)

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            if signal.getsignal(signal.SIGALRM) is signal.SIG_DFL:
                self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._ring)
                self._alarm = True
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                current = signal.getsignal(number)
                if current in (signal.SIG_DFL, signal.default_int_handler):
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        self._alarm = False
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.received:
            try:
                self._on_exit()
            finally:
                os._exit(128 + number)
        self.received = number
        self._on_signal(number)
        whole.then(lambda: self._raise(number))
