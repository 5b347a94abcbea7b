"""Do tasks that come one by one, each as one piece of bytes, for as long as a process lives: what a function calls."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from petal.data.sealed import keyring
from petal.data.wire import Message
from petal.errors import PetalError, RemoteError, TaskLost, TimedOut
from petal.spec.policy import duration_text
from petal.worker.exchange import Exchange, refusal
from petal.worker.execute import Worker
from petal.worker.failures import Interrupted

if TYPE_CHECKING:
    from petal.data.signing import Keyring
    from petal.interfaces.claims import ClaimCheck
    from petal.interfaces.records import Records

#: Seconds after which the keys are read again, since they are changed while a process lives.
_FRESH = 300.0


class Service:
    """Answers requests, and keeps from one to the next what was loaded, and operators that are classes.

    Call it from one thread, best the main one: only there can a task be stopped whose time is over.

    Args:
        limit: Bytes that a reply may have on its way; a larger one goes into the store.
        claims: Where large messages lie, by default in the place that ``$PETAL_CLAIMS`` names.
        records: Knows which tasks were done before; None where nobody asks twice.
    """

    def __init__(
        self,
        *,
        limit: int | None = None,
        claims: ClaimCheck | None = None,
        records: Records | None = None,
    ) -> None:
        self._limit = limit
        self._claims = claims
        self._records = records
        self._worker = Worker()
        self._ring: Keyring | None = None
        self._read = float("-inf")

    def answer(self, data: bytes, seconds: float | None = None) -> bytes:
        """Do a task. This never raises.

        Args:
            data: A request; sealed where ``$PETAL_KEYRING`` names a keyring.
            seconds: What is left to this process, less what the reply needs; nothing runs where it is 0 or less. None
                where it has all the time that the request gives it.

        Returns:
            The reply; what went wrong is in it.
        """
        try:
            exchange = Exchange(data, self._keyring(), self._claims, self._limit)
        except PetalError as error:  # there is a keyring, but it cannot be read: nothing may pass unsealed
            return refusal(error).packed()
        try:
            message = _hurried(exchange.request(), seconds)
            known = None if self._records is None else self._records.begin(message, seconds)
        except PetalError as error:
            return exchange.refused(error)
        if known is None:
            try:
                known = self._done(message, seconds)
            except BaseException as error:  # a signal that came late, while the reply was written
                self._worker.close()
                self._worker = Worker()
                reason = (
                    error.reason
                    if isinstance(error, Interrupted)
                    else TaskLost(f"{type(error).__name__}: {error}")
                )
                return exchange.refused(reason)
            if self._records is not None:
                self._records.end(message, known)
        return exchange.reply(known)

    def close(self) -> None:
        """Let go of all that is kept."""
        self._worker.close()

    # -- inside -----------------------------------------------------------------------------------------------

    def _keyring(self) -> Keyring | None:
        if time.monotonic() - self._read > _FRESH:
            self._ring, self._read = keyring(), time.monotonic()
        return self._ring

    def _done(self, message: Message, seconds: float | None) -> bytes:
        """Do a task, and return the packed reply; the task is stopped when its time is over."""
        asked = message.header.get("deadline")
        with _stopping(asked, _too_late(asked, seconds)), self._worker.answer(message) as reply:
            return reply.packed()


def _hurried(message: Message, seconds: float | None) -> Message:
    """Return a request whose deadline is that of this process, where that is the earlier one.

    Raises:
        RemoteError: There is no time left.
    """
    if seconds is None:
        return message
    if seconds <= 0:
        raise RemoteError(
            "there was no time left to the worker when the task reached it: nothing was run",
            kind="timeout",
            code="no-time",
            hint="give the function that does it more time",
        )
    asked = message.header.get("deadline")
    least = min(seconds, asked) if isinstance(asked, int | float) else seconds
    return Message({**message.header, "deadline": least}, message.parts)


def _too_late(limit: Any, seconds: float | None) -> TimedOut:
    if limit is None or limit != seconds:
        return TimedOut(
            f"it took longer than its timeout of {duration_text(limit or 0)}, and was stopped",
            hint="give it more time (`timeout`), or less to do",
        )
    return TimedOut(
        f"it was stopped after {limit:.3g}s, while the worker still had time to say so",
        hint="give the function that does it more time, or the task less to do (`batch`)",
    )


@contextmanager
def _stopping(seconds: Any, reason: TimedOut) -> Iterator[None]:
    """Interrupt what the main thread does after so many seconds; on another thread, and without a limit, do nothing."""
    if not isinstance(seconds, int | float) or threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(*_: object) -> None:
        raise Interrupted(reason)

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, max(float(seconds), 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
