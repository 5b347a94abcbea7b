"""Carry events to whoever listens; a listener that fails is left out and never harms the run (DESIGN.md §7)."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from petal.spec.event import AttemptFailed, Event, NodeFinished, NodeStarted, RunFinished, Status, as_record
from petal.spec.logs import logger

if TYPE_CHECKING:
    from logging import Logger

#: Levels of `logging`, which is imported by whoever listens.
DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40
Listener = Callable[[Event], None]


class Bus:
    """Calls every listener with every event, one event at a time.

    Args:
        listeners: Called in this order.
    """

    def __init__(self, listeners: list[Listener]) -> None:
        self._listeners = list(listeners)
        self._lock = threading.Lock()
        #: What each listener that failed raised.
        self.failures: list[tuple[Listener, Exception]] = []

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def emit(self, event: Event) -> None:
        """Hand an event to everyone."""
        with self._lock:
            for listener in self._listeners:
                try:
                    listener(event)
                except Exception as error:
                    self._listeners = [one for one in self._listeners if one is not listener]
                    self.failures.append((listener, error))
                    logger("petal.run").warning("an observer failed and is left out: %r", error)

    def standard_log(self) -> bool:
        """Log to the standard library's logger where the application listens to it; say whether it does."""
        if "logging" not in sys.modules:
            return False
        log = logger("petal.run")
        if not log.isEnabledFor(INFO) or not log.hasHandlers() or _is_silent(log):
            return False
        self._listeners.append(log_event)
        return True


def _is_silent(log: Logger | None) -> bool:
    """Whether no handler but the null one would see a record of ours."""
    from logging import NullHandler

    while log is not None:
        if any(not isinstance(h, NullHandler) for h in log.handlers):
            return False
        log = log.parent if log.propagate else None
    return True


def log_event(event: Event) -> None:
    """Write one event to the standard library's log, with its fields as ``extra``."""
    record = as_record(event)
    level = INFO
    if isinstance(event, NodeStarted):
        level = DEBUG
    elif isinstance(event, AttemptFailed):
        level = WARNING
    elif isinstance(event, NodeFinished | RunFinished) and event.status is Status.FAILED:
        level = ERROR
    extra: dict[str, Any] = {f"petal_{k}": v for k, v in record.items()}
    subject = getattr(event, "node", event.run)
    logger("petal.run").log(level, "%s %s", record.get("event"), subject, extra=extra)
