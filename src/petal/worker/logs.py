"""Keep what a task logs, from whichever logger of the standard library, to send it back with the reply."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from petal.spec.redaction import redact

#: Records that are kept of one task, and characters of each.
RECORDS, CHARACTERS = 1000, 10_000


class Records(logging.Handler):
    """The records of one task, the first thousand."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._kept: list[list[Any]] = []
        self._dropped: logging.LogRecord | None = None
        self._count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record as plain data."""
        if self._count < RECORDS:
            self._kept.append([record.levelno, record.name, plain(_message(record)), record.created])
        else:
            self._dropped = record
        self._count += 1

    def found(self) -> list[list[Any]]:
        """Return level, logger, message and time of each record, and how many more there were."""
        if self._dropped is None:
            return self._kept
        note = f"{self._count - RECORDS:,} more log records of this task were dropped"
        return [*self._kept, [logging.WARNING, "petal.node", note, self._dropped.created]]


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception as error:
        text = f"{record.msg!r} (its arguments do not fit: {error})"
    if record.exc_info and record.exc_info[0] is not None:
        text += "\n" + logging.Formatter().formatException(record.exc_info)
    return text


def plain(text: str, limit: int = CHARACTERS) -> str:
    """Return text that every transport carries: redacted, cut, without half characters."""
    text = redact(text)
    if len(text) > limit:
        text = f"{text[:limit]}… ({len(text) - limit:,} more characters)"
    return text.encode("utf-8", "backslashreplace").decode()


def listen() -> None:
    """Let loggers make records of INFO once and for all, in a process that does nothing but tasks.

    A level that is set makes every logger of the process forget what it knows, which takes longer than many a task.
    """
    root = logging.getLogger()
    if root.level > logging.INFO:
        root.setLevel(logging.INFO)


@contextmanager
def captured() -> Iterator[Records]:
    """Capture what is logged at INFO and above until the block ends."""
    root, records = logging.getLogger(), Records()
    before = root.level
    root.addHandler(records)
    if before > logging.INFO:
        root.setLevel(logging.INFO)
    try:
        yield records
    finally:
        root.removeHandler(records)
        if before > logging.INFO and root.level == logging.INFO:  # else the task has set another
            root.setLevel(before)
