"""What a backend is: something that takes messages to `petal.worker.execute` and brings the replies back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from concurrent.futures import Future

    from petal.interfaces.claims import ClaimCheck


class Capabilities(Struct, frozen=True, kw_only=True):
    """What a backend can do, as data that the planner looks at before the run.

    Attributes:
        kills: Whether a task whose time is over, or that is cancelled, is really stopped.
        shares_files: Whether its tasks see the driver's file system under the same paths.
        has_code: Whether the pipeline's own Python files are there already, so that nothing must be shipped.
        limit: Bytes that one message may have, or None; larger ones go by claim check where the backend is told of a place.
        protocols: What its tasks may speak: ``petal``, and ``json`` where it takes plain JSON to programs (S6.3).
    """

    kills: bool = False
    shares_files: bool = False
    has_code: bool = False
    limit: int | None = None
    protocols: tuple[str, ...] = ("petal",)


class Plain(Struct, frozen=True):
    """What a program gets that speaks plain JSON (``protocol: json``, S6.3) and is started for one task.

    Its standard output is to be one value of JSON, and nothing else, which :meth:`Payload.answered` takes. A function that
    is called with one value gets :meth:`Payload.packed` instead: ``{"inputs", "operator_id", "type", "params"}``.

    Attributes:
        stdin: The list of inputs.
        environment: ``PETAL_PARAMS``, the parameters as JSON; ``TRACEPARENT`` and, where there is one, ``TRACESTATE``.
    """

    stdin: bytes
    environment: dict[str, str]


class Payload(Protocol):
    """A message that is ready to be sent.

    A backend that takes one piece of bytes, and brings one back, needs to know nothing of what is in it:
    ``payload.answered(send(payload.packed()))`` holds for either protocol.
    """

    @property
    def plain(self) -> Plain | None:
        """What a program gets, for ``protocol: json``; None for ``protocol: petal``, which a worker of Petal speaks."""
        ...

    @property
    def header(self) -> bytes:
        """Its header, JSON."""
        ...

    @property
    def parts(self) -> Sequence[memoryview]:
        """Its attachments."""
        ...

    @property
    def path(self) -> str | None:
        """The file that holds the attachments one after the other, where they are in one."""
        ...

    def packed(self, limit: int | None = None, claims: ClaimCheck | None = None) -> bytes:
        """Return all of it as one piece, for a backend that knows bytes only; sealed where there is a keyring.

        Args:
            limit: Bytes that the transport carries, or None.
            claims: Where it is put if it has more: then what is returned says where it lies.

        Raises:
            RemoteError: It is too large, or cannot be put there; nothing was sent.
        """
        ...

    def answered(self, data: Any, output: str = "", claims: ClaimCheck | None = None) -> Reply:
        """Return the reply that came as one piece; where there is a keyring, its seal is verified first.

        Args:
            data: What came.
            output: What the task printed, where that came another way.
            claims: Where the reply is taken from, if what came says that it lies there.

        Raises:
            WireError: It is damaged, too large, or not sealed as it must be.
            ClaimLost: It lies in a store, and cannot be had there.
        """
        ...


class Task(Struct, frozen=True, kw_only=True):
    """One attempt of one call.

    Attributes:
        node: The node's id.
        run: The run's id.
        attempt: The attempt, from 1.
        key: The idempotency key, the same for all attempts.
        payload: The message.
        timeout: Seconds after which the task is to be stopped, or None.
        settings: The node's ``execution`` block.
        on_event: Called with what the task tells while it runs, from any thread.
    """

    node: str
    run: str
    attempt: int
    key: str
    payload: Payload
    timeout: float | None = None
    settings: dict[str, Any]
    on_event: Callable[[bytes], None] | None = None


class Reply(Protocol):
    """What comes back: a message, and what the task printed."""

    @property
    def header(self) -> bytes:
        """Its header, JSON."""
        ...

    @property
    def parts(self) -> Sequence[memoryview]:
        """Its attachments, valid as long as the reply is held."""
        ...

    @property
    def output(self) -> str:
        """What the task wrote to stdout and stderr, cut to a limit."""
        ...


class BackendSession(Protocol):
    """A backend that is open for one run."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do, with the settings that it was opened with."""
        ...

    def submit(self, task: Task) -> Future[Reply]:
        """Start a task. The future fails with a PetalError when no reply can come: ``worker-died``, ``timeout``."""
        ...

    def cancel(self, future: Future[Reply]) -> None:
        """Stop a task, or keep it from starting."""
        ...

    def close(self, grace: float) -> None:
        """Stop everything and free what is held, within so many seconds."""
        ...


class Backend(Protocol):
    """Where nodes can run."""

    @property
    def name(self) -> str:
        """What an ``execution`` block calls it."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    @property
    def settings(self) -> type[Struct]:
        """The keys of its ``execution`` block, with types and defaults; unknown ones are refused."""
        ...

    def open(self, settings: Any, folder: str | None) -> BackendSession:
        """Open it for one run, before any node of it runs.

        Here it looks for all that its tasks need: an engine or a service that answers, an image, a function. What is
        missing stops the run before anything has happened, or moves nodes that fail over to their next place. It is
        opened too where nodes only fail over to it, and may be closed without a task.

        Args:
            settings: An instance of :attr:`settings`, as the nodes' ``execution`` blocks say, with secrets resolved.
            folder: Where large messages may lie, None for the temporary folder.

        Raises:
            EnvironmentNotReady: Something is missing; the message says what, the hint how to come by it.
        """
        ...
