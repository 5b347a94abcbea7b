"""Carry events to whoever listens; a listener that fails is left out and never harms the run (DESIGN.md §7)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from petal.spec.event import Event, NodeFinished, NodeStarted, RunFinished, Status, as_record

Listener = Callable[[Event], None]
_log = logging.getLogger("petal.run")
logging.getLogger("petal").addHandler(logging.NullHandler())


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
            for listener in tuple(self._listeners):
                try:
                    listener(event)
                except Exception as error:
                    self._listeners.remove(listener)
                    self.failures.append((listener, error))
                    _log.warning("an observer failed and is left out: %r", error)

    def standard_log(self) -> bool:
        """Log to the standard library's logger where the application listens to it; say whether it does."""
        if not _log.isEnabledFor(logging.INFO) or not _log.hasHandlers() or _is_silent():
            return False
        self._listeners.append(log_event)
        return True


def _is_silent() -> bool:
    """Whether no handler but the null one would see a record of ours."""
    logger: logging.Logger | None = _log
    while logger is not None:
        if any(not isinstance(h, logging.NullHandler) for h in logger.handlers):
            return False
        logger = logger.parent if logger.propagate else None
    return True


def log_event(event: Event) -> None:
    """Write one event to the standard library's log, with its fields as ``extra``."""
    record = as_record(event)
    level = logging.INFO
    if isinstance(event, NodeStarted):
        level = logging.DEBUG
    elif isinstance(event, NodeFinished | RunFinished) and event.status is Status.FAILED:
        level = logging.ERROR
    extra: dict[str, Any] = {f"petal_{k}": v for k, v in record.items()}
    subject = getattr(event, "node", event.run)
    _log.log(level, "%s %s", record.get("event"), subject, extra=extra)
