"""What Petal tells an operator about the run it is part of."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import IO, TYPE_CHECKING, Any

from petal.spec.logs import logger

if TYPE_CHECKING:
    import logging


class Context:
    """The run as an operator sees it; annotate a parameter with it to receive one.

    ``Context()`` on its own, outside any run, is complete too: operators that take one stay unit-testable.

    Attributes:
        run_id: The run, or "" outside one.
        node_id: The node, or "".
        attempt: The attempt of this node, from 1.
        pipeline: The pipeline's name.
        deadline: ``time.monotonic()`` at which the attempt times out, or None.
        idempotency_key: Stable over all attempts of this node; pass it to what must not happen twice.
        columns: The columns that consumers need of this node's output, or None for all (a hint to readers).
    """

    __slots__ = (
        "_cancelled",
        "_open_output",
        "_secret",
        "_trace",
        "attempt",
        "columns",
        "deadline",
        "idempotency_key",
        "node_id",
        "pipeline",
        "run_id",
    )

    def __init__(
        self,
        *,
        run_id: str = "",
        node_id: str = "",
        attempt: int = 1,
        pipeline: str = "",
        deadline: float | None = None,
        idempotency_key: str = "",
        columns: tuple[str, ...] | None = None,
        cancelled: Callable[[], bool] | None = None,
        open_output: Callable[[Any], AbstractContextManager[IO[bytes]]] | None = None,
        secret: Callable[[str], str] | None = None,
        trace: dict[str, str] | None = None,
    ) -> None:
        self.run_id = run_id
        self.node_id = node_id
        self.attempt = attempt
        self.pipeline = pipeline
        self.deadline = deadline
        self.idempotency_key = idempotency_key
        self.columns = columns
        self._cancelled = cancelled
        self._open_output = open_output
        self._secret = secret
        self._trace = trace

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger of the standard library whose records name run and node."""
        from logging import LoggerAdapter

        extra = {"run": self.run_id, "node": self.node_id, "attempt": self.attempt}
        return LoggerAdapter(logger("petal.node"), extra)

    @property
    def trace(self) -> dict[str, str]:
        """``traceparent`` and maybe ``tracestate``: headers for the operator's own requests, the same at each look."""
        if self._trace is None:  # made for who asks: most operators never do
            from petal.spec.trace import new_span

            self._trace = new_span(self.run_id)
        return dict(self._trace)

    @property
    def cancelled(self) -> bool:
        """Whether the run is being stopped; long loops look at it."""
        return self._cancelled is not None and self._cancelled()

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline, or None when there is none."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def secret(self, name: str) -> str:
        """Return a secret by its reference, such as ``env/API_KEY``."""
        if self._secret is None:
            raise LookupError(f"no secrets are configured: {name!r}")
        return self._secret(name)

    def __repr__(self) -> str:
        return f"Context(run_id={self.run_id!r}, node_id={self.node_id!r}, attempt={self.attempt})"
