"""Turn what a task raised into data: nothing of it is ever imported or made again on the other side."""

from __future__ import annotations

from typing import Any

from petal.errors import PetalError, RemoteError, RowError, TaskLost
from petal.running.tracebacks import user_traceback
from petal.spec.operator import OperatorSpec
from petal.worker.logs import plain

#: Characters of a message, and of a traceback.
_MESSAGE, _TRACEBACK = 100_000, 200_000


class Interrupted(BaseException):
    """Ends a task from a signal handler, because its time is over; no Exception, so that user code does not swallow it.

    Args:
        reason: What the reply says.
    """

    def __init__(self, reason: PetalError) -> None:
        super().__init__(reason.message)
        self.reason = reason


def error_data(error: BaseException, spec: OperatorSpec | None) -> dict[str, Any]:
    """Describe an exception.

    Args:
        error: What was raised.
        spec: The operator that was called, None when it was not found.
    """
    if isinstance(error, Interrupted):
        error = error.reason.with_traceback(error.__traceback__)
    known = isinstance(error, PetalError)
    expected = known or spec is None or spec.ref.startswith("petal.library")
    found: dict[str, Any] = {
        "kind": _kind(error),
        "type": "" if known else type(error).__name__,
        # what is Petal's own has no `type`, and is known by the first of these
        "bases": [kind.__name__ for kind in type(error).__mro__[0 if known else 1 : -1]],
        "message": plain(_text(error), _MESSAGE),
        "traceback": plain(_traceback(error, expected), _TRACEBACK),
        "code": None,
        "hint": None,
    }
    if isinstance(error, PetalError):
        found["code"] = error.code
        found["hint"] = plain(error.hint) if error.hint else None
    if isinstance(error, RowError):
        found["row"], found["field"] = error.row, error.field
    return found


def _kind(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "out_of_memory"
    return error.kind if isinstance(error, RemoteError | TaskLost) else "user"


def _text(error: BaseException) -> str:
    if isinstance(error, PetalError):
        return f"{error.location}: {error.message}" if error.location is not None else error.message
    try:
        return str(error)
    except Exception as second:
        return f"its text cannot be had: {type(second).__name__}"


def _traceback(error: BaseException, expected: bool) -> str:
    try:
        return str(getattr(error, "traceback", "")) or user_traceback(error, expected=expected)
    except Exception as second:  # a __repr__ or a source file of the user's
        return f"(the traceback cannot be written: {type(second).__name__})"
