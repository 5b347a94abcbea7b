"""Do the tasks that the pool's worker processes get: one after the other, on the same machine as the sender."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from petal.data.wire import Message, Spool
from petal.worker.execute import Worker

_worker = Worker(shares_files=True, limits=None)


def handle(
    header: bytes,
    parts: Sequence[memoryview],
    folder: str | None,
    emit: Callable[[bytes], None],  # noqa: ARG001
) -> tuple[bytes, Spool]:
    """Do one task.

    Args:
        header: The request's header, JSON.
        parts: Its attachments.
        folder: Where large attachments of the reply may lie.
        emit: Not used: one call has nothing to tell before its end.

    Returns:
        The reply's header and attachments.
    """
    reply = _worker.answer(Message(json.loads(header), parts), folder)
    return reply.header, reply.spool
