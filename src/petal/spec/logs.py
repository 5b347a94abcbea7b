"""Petal's loggers, made when something is logged: a run that logs nothing does not pay for importing `logging`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

_waiting: list[Callable[[], None]] = []


def logger(name: str) -> logging.Logger:
    """Return a logger of the standard library, below ``petal``, which is silent unless the application listens."""
    import logging

    own = logging.getLogger("petal")
    if not own.handlers:
        own.addHandler(logging.NullHandler())
    while _waiting:
        _waiting.pop()()
    return logging.getLogger(name)


def when_used(action: Callable[[], None]) -> Callable[[], None]:
    """Do something before the first record is written: now, where anybody has imported ``logging``.

    Returns:
        Forgets it, if it has not been done.
    """
    if "logging" in sys.modules:
        action()
    else:
        _waiting.append(action)

    def forget() -> None:
        if action in _waiting:
            _waiting.remove(action)

    return forget
