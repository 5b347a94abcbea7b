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


class NodeStarted(Event, frozen=True, gc=False):
    """An attempt of a node begins; ``inputs`` are short, redacted previews (S5.9)."""

    node: str
    type: str
    backend: str = "local"
    attempt: int = 1


class NodeFinished(Event, frozen=True, gc=False, omit_defaults=True):
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


class Target(Struct, frozen=True):
    """A file that a node has published, as it was then.

    Attributes:
        path: Where it is: absolute, links followed.
        digest: ``sha256:`` and the digest of its bytes, or ``file:`` and what says that a large file is the same:
            its time of modification and its number in the file system.
        size: Bytes.
    """

    path: str
    digest: str
    size: int


class NodeStored(Event, frozen=True):
    """A node's output is kept, synced and verified: an artifact or committed targets (S9.3).

    Attributes:
        digest: Of the artifact; empty for a sink.
        uri: Where the artifact is; empty for a sink.
        targets: The files that a sink has published, in that order.
        key: The key of the artifact in the cache, or empty.
        rows: Rows of the output, None for a single value.
    """

    node: str
    digest: str = ""
    uri: str = ""
    targets: tuple[Target, ...] = ()
    key: str = ""
    rows: int | None = None


class PlannedNode(Struct, frozen=True, gc=False, omit_defaults=True):
    """A node as it was planned: what resume compares with.

    Attributes:
        after: Ids of the nodes that must have succeeded before.
        inputs: Ids of the nodes that its inputs come from, in order, with ``.port`` where it is not the whole output.
        effects: ``pure``, ``idempotent`` or ``once``.
        code: Digest of its code, None where it is not known.
        config: Digest of its parameters and policies, None where it is not known.
        reads: What the files were like that it reads, by path; None where it reads none.
    """

    id: str
    type: str
    backend: str = "local"
    after: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    effects: str = "pure"
    code: str | None = None
    config: str | None = None
    reads: dict[str, str] | None = None


class RunPlanned(Event, frozen=True):
    """What a run is about to do: its journal's first record, and one more each time it is resumed.

    Attributes:
        number: Counts the runs of a home: their order, whatever the clock says (S5.8).
        pipeline: The pipeline's name.
        file: The pipeline's file, None for one made in Python.
        folder: The folder that the run was started in.
        request: What was asked for: parameters, settings, inputs, targets, backends; ``code`` has the digests of the
            user's files and ``sources`` their text, ``lost`` names the values that are not recorded as they are, ``rerun`` and ``assumed`` the
            nodes that a resumed run was told to run again, or to take as done, ``refresh`` those whose cached output is
            not used, ``""`` for all.
        nodes: The nodes, in the order of the plan.
        petal: Petal's version.
        python: Python's version.
        pid: The process.
        host: The machine.
        resumed: Whether the run goes on after it was stopped.
    """

    number: int = 0
    pipeline: str = ""
    file: str | None = None
    folder: str = ""
    request: dict[str, Any] = {}
    nodes: tuple[PlannedNode, ...] = ()
    petal: str = ""
    python: str = ""
    pid: int = 0
    host: str = ""
    resumed: bool = False


class AttemptSubmitted(Event, frozen=True):
    """An attempt is about to be sent to a backend; recorded before it is (S9.3)."""

    node: str
    attempt: int
    backend: str
    key: str


class AttemptFailed(Event, frozen=True):
    """An attempt failed, and another may follow.

    Attributes:
        kind: The error kind.
        error: What went wrong, in one line.
        wait: Seconds until the next attempt, None where there is none.
        unknown: Whether the call may have happened all the same.
        where: The rows of the call, where the node runs in batches, each of which is tried again by itself.
    """

    node: str
    attempt: int
    backend: str
    kind: str
    error: str
    wait: float | None = None
    unknown: bool = False
    where: str = ""


class RunFinished(Event, frozen=True):
    """The run ended, after ``seconds``; ``counts`` says how many nodes have each status."""

    status: Status
    seconds: float
    counts: dict[str, int]


def as_record(event: Event) -> dict[str, Any]:
    """Return an event as plain data, for logs and JSON."""
    from msgspec import to_builtins

    fields = {name: to_builtins(getattr(event, name)) for name in event.__struct_fields__}
    return {"event": type(event).__name__.lower(), **fields}
