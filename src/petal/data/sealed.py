"""Seal a request and its reply where there is a keyring; without one they pass as they are (DESIGN.md §5)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from petal.data.signing import Keyring, digest, seal, unseal
from petal.errors import EnvironmentNotReady

#: The environment variable that says where the keyring is, on both sides: see :meth:`Keyring.open`.
VARIABLE = "PETAL_KEYRING"
#: Seconds for which a request is good beyond its own time-out, and one without a time-out.
_MARGIN, _LONGEST = 300.0, 86_400.0


def keyring(resolve: Callable[[str], str] | None = None) -> Keyring | None:
    """Return the keyring that the environment names, None where it names none.

    Args:
        resolve: Resolves references; by default, as in a worker, installed plugins do.

    Raises:
        EnvironmentNotReady: It cannot be read.
        UsageError: It is no keyring.
    """
    source = os.environ.get(VARIABLE)
    return Keyring.open(source, resolve or _resolved) if source else None


def _resolved(reference: str) -> str:
    """Return what the installed plugin of a reference's scheme resolves it to.

    Raises:
        EnvironmentNotReady: There is none.
    """
    from petal.data.stores import installed

    scheme, _, name = reference.partition("/")
    resolver = installed().find("resolver", scheme)
    if resolver is None:
        raise EnvironmentNotReady(
            f"no plugin here resolves `{reference}`", hint="install the plugin that brings this resolver"
        )
    return str(resolver(name))


class Asked:
    """The sender's side of one request.

    Args:
        ring: The keys.
        run: The run's id.
        node: The node's id.
        key: The idempotency key.
        attempt: The attempt.
        timeout: Seconds that the task may take, or None.
    """

    def __init__(
        self, ring: Keyring, *, run: str, node: str, key: str, attempt: int, timeout: float | None
    ) -> None:
        self._ring = ring
        self._about: dict[str, Any] = {"run": run, "node": node, "key": key, "attempt": attempt}
        self._ttl = _LONGEST if timeout is None else timeout + _MARGIN
        self._sent = b""

    def sealed(self, request: bytes) -> bytes:
        """Seal the request."""
        self._sent = seal(request, self._ring, purpose="request", ttl=self._ttl, **self._about)
        return self._sent

    def opened(self, reply: Any) -> memoryview:
        """Open the reply.

        Raises:
            SignatureError: It is not sealed, or not as the reply to this request.
        """
        return unseal(reply, self._ring, purpose="reply", reply_to=digest(self._sent), **self._about)


class Answered:
    """The worker's side of one request.

    Args:
        ring: The keys, None where this worker has none.
        request: What came.
    """

    def __init__(self, ring: Keyring | None, request: Any) -> None:
        self._ring = ring
        self._request = request

    def opened(self) -> Any:
        """Open the request.

        Raises:
            SignatureError: It is not sealed as it must be.
        """
        return self._request if self._ring is None else unseal(self._request, self._ring, purpose="request")

    def sealed(self, reply: bytes, header: Mapping[str, Any]) -> bytes:
        """Seal the reply to a request with this header."""
        if self._ring is None:
            return reply
        return seal(
            reply,
            self._ring,
            purpose="reply",
            run=str(header.get("run", "")),
            node=str(header.get("operator_id", "")),
            key=str(header.get("key", "")),
            attempt=int(header.get("attempt", 0)),
            ttl=_MARGIN,
            reply_to=digest(bytes(self._request)),
        )
