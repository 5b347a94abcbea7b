"""Hide secrets in what is shown without Petal: uncaught exceptions, records of any logger, and what is printed."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

from petal.spec.redaction import hides, redact

_lock = threading.Lock()
_guarded: list[bool] = []


def guard() -> None:
    """Hide secrets, from now on, in records of the standard library's loggers and in exceptions that nobody catches.

    The first secret of a process asks for it. Handlers and hooks that are there stay; they are given less to show.
    """
    with _lock:
        if _guarded:
            return
        _guarded.append(True)
    import logging

    logging.setLogRecordFactory(_making(logging.getLogRecordFactory()))
    sys.excepthook = _showing(sys.excepthook)
    threading.excepthook = _showing_thread(threading.excepthook)


class Veiled:
    """A text stream that hides secrets in what is written to it: for stdout and stderr, where anybody prints.

    What goes past it it does not see: to the descriptor, or to the binary ``buffer``, where a sink writes its data.

    Args:
        stream: Where the text goes.
    """

    def __init__(self, stream: Any) -> None:
        self._stream: Any = stream._stream if isinstance(stream, Veiled) else stream

    def write(self, text: str) -> int:
        """Write text without secrets, and say how long it was with them."""
        self._stream.write(redact(text) if hides() else text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "_stream":  # not there yet, in a copy that is being made
            raise AttributeError(name)
        return getattr(self._stream, name)

    def __eq__(self, other: object) -> bool:
        return self._stream is (other._stream if isinstance(other, Veiled) else other)

    def __hash__(self) -> int:
        return id(self._stream)


def veiled(stream: Any) -> TextIO:
    """Return a stream that hides secrets and writes what is left to another one; None stays None."""
    found: Any = stream if stream is None or isinstance(stream, Veiled) else Veiled(stream)
    return found  # type: ignore[no-any-return]


@contextmanager
def veiling() -> Iterator[None]:
    """Hide secrets in what is printed while the block runs."""
    with redirect_stdout(veiled(sys.stdout)), redirect_stderr(veiled(sys.stderr)):
        yield


def veil_standard_streams() -> None:
    """Hide secrets in what this process prints from now on: for processes that are workers and nothing else."""
    sys.stdout, sys.stderr = veiled(sys.stdout), veiled(sys.stderr)


def _making(before: Callable[..., Any]) -> Callable[..., Any]:
    """Return a factory of log records that hides secrets in what another one makes."""

    def made(*args: Any, **named: Any) -> Any:
        record = before(*args, **named)
        if hides():
            _clean(record)
        return record

    return made


def _clean(record: Any) -> None:
    import logging

    try:
        text = record.getMessage()
    except Exception:  # its arguments do not fit: who formats it says so
        return
    shown = redact(text)
    if shown != text:
        record.msg, record.args = shown, ()
    if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
        text = logging.Formatter().formatException(record.exc_info)
        shown = redact(text)
        if shown != text:
            record.exc_text = shown


def _showing(before: Callable[..., Any]) -> Callable[..., Any]:
    """Return a hook for uncaught exceptions that shows those with secrets in them itself, and leaves others alone."""

    def show(kind: Any, error: Any, trace: Any) -> None:
        text = _safe_text(kind, error, trace)
        if text is None:
            before(kind, error, trace)
        else:
            sys.stderr.write(text)

    return show


def _showing_thread(before: Callable[..., Any]) -> Callable[..., Any]:
    def show(args: Any) -> None:
        text = _safe_text(args.exc_type, args.exc_value, args.exc_traceback)
        if text is None:
            before(args)
        elif sys.stderr is not None:
            name = args.thread.name if args.thread is not None else threading.get_ident()
            sys.stderr.write(f"Exception in thread {name}:\n{text}")

    return show


def _safe_text(kind: Any, error: Any, trace: Any) -> str | None:
    """Return a traceback with its secrets hidden, None where there are none in it."""
    if not hides():
        return None
    import traceback

    text = "".join(traceback.format_exception(kind, error, trace))
    shown = redact(text)
    return shown if shown != text else None
