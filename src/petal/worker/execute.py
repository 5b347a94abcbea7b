"""Do tasks: bytes in, bytes out; whatever goes wrong is data."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from petal.data.handed import let_go
from petal.data.sealed import keyring
from petal.data.wire import LIMITS, Limits, Message, Outgoing, Spool
from petal.errors import PetalError
from petal.worker.exchange import Exchange, refusal
from petal.worker.kept import Kept
from petal.worker.logs import captured
from petal.worker.task import Task

if TYPE_CHECKING:
    from petal.interfaces.claims import ClaimCheck


def execute(data: bytes, *, limit: int | None = None, claims: ClaimCheck | None = None) -> bytes:
    """Do a task that came as one piece; nothing is kept for the next.

    Args:
        data: A request, as ``data.wire.pack`` makes it; sealed where ``$PETAL_KEYRING`` names a keyring.
        limit: Bytes that the reply may have; a larger one is put into the store, and what says so comes back.
        claims: Where large messages lie, by default in the place that ``$PETAL_CLAIMS`` names.

    Returns:
        The reply, packed. This never raises: what went wrong is in the reply.
    """
    try:
        exchange = Exchange(data, keyring(), claims, limit)
    except PetalError as error:  # there is a keyring, but it cannot be read: nothing may pass unsealed
        return refusal(error).packed()
    try:
        message = exchange.request()
    except PetalError as error:
        return exchange.refused(error)
    worker = Worker()
    try:
        with worker.answer(message) as reply:
            return exchange.reply(reply.packed())
    finally:
        worker.close()


def answer(message: Message, folder: str | None = None) -> tuple[bytes, Spool]:
    """Do a task that came in parts; nothing is kept for the next.

    Args:
        message: A request.
        folder: Where large attachments of the reply may lie, None for the temporary folder.

    Returns:
        The reply's header and its attachments. This never raises.
    """
    worker = Worker()
    try:
        reply = worker.answer(message, folder)
    finally:
        worker.close()
    return reply.header, reply.spool


class Worker:
    """Does the tasks of one process, one after the other.

    An operator that is a class has one instance for all tasks of its node; one that has a ``close`` is made anew for
    each, because only then is closing it part of the task, and can fail it.

    Args:
        shares_files: Whether the sender sees the same files, so that it can publish what a task has written.
        limits: What an attachment may be at most; None where the sender is this machine's own.
    """

    def __init__(self, *, shares_files: bool = False, limits: Limits | None = LIMITS) -> None:
        self._kept = Kept(shares_files=shares_files, limits=limits)

    def answer(self, message: Message, folder: str | None = None) -> Outgoing:
        """Do a task. This never raises.

        Args:
            message: The request.
            folder: Where large attachments of the reply may lie, None for the temporary folder.
        """
        let_go()
        task = Task(self._kept, folder)
        began = time.perf_counter()
        with captured() as records:
            try:
                header = task.run(message)
            except BaseException as error:  # SystemExit and whatever else a user's code comes up with
                header = task.failed(error)
        header |= {"logs": records.found(), "seconds": time.perf_counter() - began}
        return task.written(header)

    def close(self) -> None:
        """Let go of all that is kept, except of files that nobody has published yet."""
        self._kept.close()
