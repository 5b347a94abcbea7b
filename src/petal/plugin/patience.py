"""Bound how long Petal waits for what a plugin does."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

#: Seconds that a plugin may take which nothing names; 0 for no limit.
VARIABLE = "PETAL_PLUGIN_TIMEOUT"
_SECONDS = 15.0
#: What catches the first interruption, as a bare ``except`` does, gets another after so many seconds.
_AGAIN = 1.0


class TooSlow(BaseException):
    """A plugin took too long. No ``Exception``: a plugin that tries one import after another must not swallow it."""


def limit() -> float:
    """Return the seconds to wait, 0 for as long as it takes."""
    try:
        return max(0.0, float(os.environ.get(VARIABLE, _SECONDS)))
    except ValueError:
        return _SECONDS


@contextmanager
def patience(name: str, *, needed: bool) -> Iterator[None]:
    """Interrupt the block where it takes too long; say on stderr what it waits for where the block is needed.

    An alarm does both, because Python on another thread could only be left behind, with its import locks held. So there
    is no limit off the main thread, where the application uses the alarm itself, or within C code that does not return.

    Args:
        name: The plugin's name.
        needed: Whether something names the plugin, so that it is waited for.

    Raises:
        TooSlow: The time is over.
    """
    seconds = limit()
    if not seconds or not _alarm_is_free():
        yield
        return
    active = True

    def ring(*_: Any) -> None:
        nonlocal active
        if not active:
            return
        if not needed:
            raise TooSlow(f"it took more than {seconds:g} s")
        active = False
        print(
            f"still waiting for plugin `{name}` after {seconds:g} s; `-p no:{name}` leaves it out",
            file=sys.stderr,
            flush=True,
        )

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
        try:
            yield
        finally:
            active = False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _alarm_is_free() -> bool:
    return (
        threading.current_thread() is threading.main_thread()
        and signal.getitimer(signal.ITIMER_REAL)[0] == 0
        and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    )


def in_time(function: Callable[[], T]) -> T:
    """Call a function on a thread of its own, and leave it behind where it takes too long.

    Raises:
        TooSlow: The time is over. The thread goes on; it does not hold up the end of the process.
        BaseException: What the function raised.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    seconds = limit()
    thread = threading.Thread(target=call, name="petal-plugin", daemon=True)
    thread.start()
    thread.join(seconds or None)
    if thread.is_alive():
        raise TooSlow(f"it took more than {seconds:g} s")
    if errors:
        raise errors[0]
    return results[0]
