"""Show what nodes log as plain lines."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from petal.spec.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def showing(write: Callable[[str], None], *, quiet: bool) -> Iterator[None]:
    """Write the records of nodes, as lines ``node: message``, while the block runs.

    Args:
        write: Takes each line, without its end.
        quiet: Whether only warnings and errors are wanted.
    """
    logger = logging.getLogger("petal.node")
    handler = _Lines(write)
    handler.setLevel(logging.WARNING if quiet else logging.INFO)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(min(logger.getEffectiveLevel(), handler.level))
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


class _Lines(logging.Handler):
    """Writes records as plain lines; a message of several lines is indented from the second on."""

    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless a handler that the pipeline's own code set up writes it to the same place."""
        try:
            if not _is_shown(record):
                text = f"{getattr(record, 'node', '') or record.name}: {redact(self.format(record))}"
                first, *rest = text.splitlines()
                for line in (first, *("  " + line for line in rest)):
                    self._write(line.replace("\t", "    "))
        except Exception:
            self.handleError(record)


def _is_shown(record: logging.LogRecord) -> bool:
    return any(
        isinstance(h, logging.StreamHandler)
        and h.stream in (sys.stdout, sys.stderr)
        and record.levelno >= h.level
        for h in logging.getLogger().handlers
    )
