"""A backend that is a fake: it calls the worker's code in this process, through bytes, and fails when it is told to."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from msgspec import Struct

from petal.errors import PetalError, TaskLost, WireError
from petal.interfaces.backend import Backend, Capabilities, Reply, Task
from petal.plugin.markers import hookimpl
from petal.worker.execute import execute

#: Tasks that the fake runs at a time.
_AT_ONCE = 8


class FakeSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The ``execution`` block of the fake.

    Attributes:
        label: Anything; it is kept with what was sent.
    """

    label: str = ""


class Sent(Struct, frozen=True):
    """What one task sent.

    Attributes:
        node: The node's id.
        attempt: The attempt, from 1.
        key: The idempotency key.
        timeout: Seconds that the task may take, or None.
        settings: The node's ``execution`` block.
        message: The message, as one piece.
    """

    node: str
    attempt: int
    key: str
    timeout: float | None
    settings: Mapping[str, Any]
    message: bytes


class FakeBackend:
    """A fake of a backend, for tests of what drives backends: everything is encoded, nothing goes anywhere.

    It cannot stop a task and says so (``kills=False``). Register it: ``session.register(FakeBackend())``.

    Args:
        name: What an ``execution`` block calls it.
        fails: Errors in place of replies, by the node's id; such a task does not run.
        loses: Ids of nodes whose tasks run but whose replies are lost.
        delay: Seconds that each task waits before it runs.
        limit: Bytes that one message may have, or None.

    Attributes:
        sent: What was sent so far, in order.
    """

    settings = FakeSettings

    def __init__(
        self,
        name: str = "fake",
        *,
        fails: Mapping[str, PetalError] | None = None,
        loses: Collection[str] = (),
        delay: float = 0.0,
        limit: int | None = None,
    ) -> None:
        self.name = name
        self.capabilities = Capabilities(has_code=True, limit=limit)
        self.sent: list[Sent] = []
        self._fails = dict(fails or {})
        self._loses = frozenset(loses)
        self._delay = delay

    def open(self, settings: FakeSettings, folder: str | None) -> FakeSession:  # noqa: ARG002
        """Open the fake for one run."""
        return FakeSession(self)

    @hookimpl
    def petal_backends(self) -> Iterable[Backend]:
        """Bring itself."""
        return [self]

    def take(self, task: Task) -> bytes:
        """Note what a task sends, and return it.

        Raises:
            WireError: The message is larger than the fake takes.
        """
        message = bytes(task.payload.packed())
        self.sent.append(Sent(task.node, task.attempt, task.key, task.timeout, dict(task.settings), message))
        limit = self.capabilities.limit
        if limit is not None and len(message) > limit:
            raise WireError(
                f"the message of `{task.node}` has {len(message)} bytes, and `{self.name}` (a fake) takes {limit}"
            )
        return message

    def answer(self, task: Task, message: bytes) -> Reply:
        """Run a task and return its reply, unless the fake was told otherwise.

        Raises:
            PetalError: It was.
        """
        time.sleep(self._delay)
        node = task.node
        error = self._fails.get(node)
        if error is not None:
            raise error
        reply = execute(message)
        if node in self._loses:
            raise TaskLost(f"the reply of `{node}` was lost on purpose, by the fake `{self.name}`")
        return task.payload.answered(reply)


class FakeSession:
    """The fake, open for one run: its tasks run on threads of this process."""

    def __init__(self, backend: FakeBackend) -> None:
        self.capabilities = backend.capabilities
        self._backend = backend
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="petal-fake")

    def submit(self, task: Task) -> Future[Reply]:
        """Start a task; its message is taken as bytes at once, since its attachments may not outlive this call."""
        try:
            message = self._backend.take(task)
        except PetalError as error:
            failed: Future[Reply] = Future()
            failed.set_exception(error)
            return failed
        return self._threads.submit(self._backend.answer, task, message)

    def cancel(self, future: Future[Reply]) -> None:
        """Keep a task from starting; one that runs goes on to its end."""
        future.cancel()

    def close(self, grace: float) -> None:  # noqa: ARG002
        """Wait for the tasks that run: a thread cannot be stopped."""
        self._threads.shutdown(wait=True, cancel_futures=True)
