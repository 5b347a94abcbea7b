"""How a node is to be run: the policies that decorators, files and the command line set.

In each policy field of :class:`Policies`, ``None`` means "not said here" and ``False`` means "switched off here",
so that a node can undo what ``defaults`` asks for.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

from petal.errors import DefinitionError

#: Keys of an ``execution`` block that are Petal's own; all others are its backend's settings.
EXECUTION_KEYS = ("backend", "target", "failover", "protocol", "unsigned")
#: How a node's inputs and output are written (S6.3).
PROTOCOLS = ("petal", "json")
#: Settings that name a program of the user's own: it speaks plain JSON, unless the block says otherwise.
PROGRAM_SETTINGS = frozenset({"entrypoint", "command"})


class Effects(StrEnum):
    """What a second execution of a node would do."""

    PURE = "pure"
    IDEMPOTENT = "idempotent"
    ONCE = "once"


class ErrorKind(StrEnum):
    """Whose fault an error is, as far as retry and failover care."""

    USER = "user"
    INFRASTRUCTURE = "infrastructure"
    TIMEOUT = "timeout"
    THROTTLE = "throttle"
    OUT_OF_MEMORY = "out_of_memory"
    UNKNOWN = "unknown"


class Execution(Struct, frozen=True, gc=False, omit_defaults=True):
    """Where a node runs: the backend, its settings, where to go when it is down, and how the two talk (S6.3).

    Attributes:
        backend: The backend's name.
        failover: Where to go when it is down, in order: each a place of its own, with settings and no failover.
        settings: The backend's own keys.
        protocol: ``petal`` or ``json``; None for what fits the settings, see :attr:`speaks_json`.
        unsigned: Whether plain JSON, which carries no seal, may pass although there is a keyring.
    """

    backend: str = "local"
    failover: tuple[Execution, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    protocol: str | None = None
    unsigned: bool = False

    @property
    def speaks_json(self) -> bool:
        """Whether inputs and output travel as plain JSON, to a program that knows nothing of Petal."""
        if self.protocol is None:
            return not PROGRAM_SETTINGS.isdisjoint(self.settings)
        return self.protocol == "json"

    @property
    def places(self) -> tuple[Execution, ...]:
        """Where the node may run: its backend, then those that it fails over to."""
        return (self, *self.failover)


class Retry(Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """How often and when to try again; ``max_attempts`` counts all attempts, times are in seconds."""

    max_attempts: int = 3
    delay: float = 1.0
    backoff: float = 2.0
    max_delay: float = 60.0
    jitter: bool = True
    retry_on: tuple[str, ...] = ()
    abort_on: tuple[str, ...] = ()


class Cache(Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """Keep a node's output; ``ttl`` in seconds, ``depends_on`` are files whose content counts."""

    ttl: float | None = None
    version: str | None = None
    depends_on: tuple[str, ...] = ()


class Batch(Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """Cut a node's stream input into calls of ``size`` rows, or ``max_bytes`` bytes, ``in_flight`` at a time."""

    size: int = 1000
    in_flight: int = 1
    ordered: bool = True
    over: str | None = None
    max_bytes: int | None = None


class Policies(Struct, frozen=True, gc=False, omit_defaults=True):
    """All policies said in one place; None is "not said", False is "switched off"."""

    execution: Execution | None = None
    retry: Retry | bool | None = None
    timeout: float | bool | None = None
    cache: Cache | bool | None = None
    batch: Batch | bool | None = None
    effects: Effects | None = None


#: The names of the policies, in the order in which they are shown and written.
POLICY_NAMES: tuple[str, ...] = ("execution", "retry", "timeout", "cache", "batch", "effects")
NO_POLICIES = Policies()

_DURATION = re.compile(
    r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?"
)
_UNITS = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)


def seconds(value: object) -> float:
    """Read a duration: a number of seconds or text like ``30s``, ``5m``, ``1h30m`` or ``250ms``.

    Raises:
        DefinitionError: The value is no positive duration.
    """
    result: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        result = float(value)
    elif isinstance(value, str):
        text = value.strip()
        match = _DURATION.fullmatch(text)
        if text and match:
            result = sum(float(g) * u for g, u in zip(match.groups(), _UNITS, strict=True) if g is not None)
    if result is None or not 0 < result < float("inf"):
        raise DefinitionError(
            f"{value!r} is not a duration",
            hint="write a positive number of seconds, or text like '30s', '5m', '1h30m' or '250ms'",
            code="bad-duration",
        )
    return result


def duration_text(value: float) -> str:
    """Write a duration in seconds the short way that :func:`seconds` reads back."""
    if value < 0.1:
        return f"{value * 1000:g}ms"
    if value < 1 or value != int(value):
        return f"{value:g}s"
    left, text = int(value), ""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            text += f"{count}{unit}"
    return text
