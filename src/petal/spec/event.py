"""Facts about a run: statuses, and one frozen struct per event. The journal is the file of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct


class Status(StrEnum):
    """How a run or a node ended (S5.2)."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class Event(Struct, frozen=True, tag_field="event", tag=str.lower):
    """What every event carries: the run and the wall-clock time in seconds since 1970 (UTC)."""

    run: str
    at: float


class RunStarted(Event, frozen=True):
    """A run begins: the pipeline's name and how many nodes it will run."""

    pipeline: str
    nodes: int


class NodeStarted(Event, frozen=True):
    """An attempt of a node begins; ``inputs`` are short, redacted previews (S5.9)."""

    node: str
    type: str
    backend: str = "local"
    attempt: int = 1


class NodeFinished(Event, frozen=True):
    """A node ended.

    Attributes:
        status: How it ended.
        seconds: Wall-clock time from its start to its end.
        own_seconds: Seconds in its own code, without the nodes it streams from; of many items an estimate.
        rows_in: Rows taken from each stream input, by input; values are not counted.
        rows: Rows of its output stream, list or frame; None for another value.
        batches: Batches it gave, None where its output is no stream of batches.
        error: What went wrong, in one line.
        kind: The error kind.
        inputs: Short redacted previews of the inputs, by name.
        output: Short redacted preview of the output.
    """

    node: str
    type: str
    status: Status
    seconds: float = 0.0
    attempt: int = 1
    backend: str = "local"
    cached: bool = False
    rows_in: dict[str, int] | None = None
    rows: int | None = None
    batches: int | None = None
    own_seconds: float = 0.0
    error: str | None = None
    kind: str | None = None
    inputs: dict[str, str] | None = None
    output: str | None = None


class NodeStored(Event, frozen=True):
    """A node's output is kept, synced and verified: an artifact or a committed target (S9.3)."""

    node: str
    digest: str
    uri: str


class AttemptSubmitted(Event, frozen=True):
    """An attempt is about to be sent to a backend; recorded before it is (S9.3)."""

    node: str
    attempt: int
    backend: str
    key: str


class RunFinished(Event, frozen=True):
    """The run ended, after ``seconds``; ``counts`` says how many nodes have each status."""

    status: Status
    seconds: float
    counts: dict[str, int]


def as_record(event: Event) -> dict[str, Any]:
    """Return an event as plain data, for logs and JSON."""
    import msgspec

    record: dict[str, Any] = msgspec.to_builtins(event)
    return record
