"""Read what runs have left in their journals: which there were, how each ended, and what its nodes did (DESIGN.md §6)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from petal.data.home import Home
from petal.data.journal import lives, number_of, remove_journal
from petal.data.journal_lines import lines_of
from petal.errors import JournalError, UsageError
from petal.spec.event import (
    AttemptFailed,
    AttemptSubmitted,
    Event,
    NodeFinished,
    NodeStarted,
    NodeStored,
    RunFinished,
    RunPlanned,
    RunStarted,
    Status,
    Target,
)
from petal.spec.memory import without_collection

#: What is kept where nothing else is asked for: so many runs, and none older than so many seconds.
KEEP: Final = 1_000
OLDEST: Final = 90 * 86_400.0
_MOST_NAMED: Final = 5
#: What a node has come to that was called.
_RAN: Final = (Status.SUCCEEDED, Status.FAILED, Status.UNKNOWN)

#: What others can work with.
_USABLE: Final = ("succeeded",)

_decoder: Final = msgspec.json.Decoder(
    RunPlanned
    | RunStarted
    | NodeStarted
    | NodeFinished
    | NodeStored
    | AttemptSubmitted
    | AttemptFailed
    | RunFinished
)


class Attempt(Struct):
    """One attempt of a node.

    Attributes:
        number: From 1.
        status: ``succeeded``, ``failed``, ``unknown`` …, or ``submitted`` where nothing more is known.
        kind: The error kind.
        wait: Seconds from its failure to the next attempt.
    """

    number: int
    backend: str
    status: str = "submitted"
    kind: str | None = None
    error: str | None = None
    wait: float | None = None


class NodeRecord(Struct):
    """What is known of a node.

    Attributes:
        status: How it ended; ``running`` or ``pending`` where it has not. Where the run died, ``interrupted`` for one
            that was at work, or that could have been, for all that it waits for had ended; ``unknown`` for one whose
            effect must not happen twice.
        calls: Attempts of single calls that failed and were made again, of a node in batches.
        digest: Of the artifact that its output is stored as.
        uri: Where that is.
        targets: The files that it has published.
    """

    id: str
    type: str = ""
    backend: str = "local"
    status: str = "pending"
    cached: bool = False
    attempts: list[Attempt] = field(default_factory=list)
    calls: list[Attempt] = field(default_factory=list)
    rows: int | None = None
    seconds: float = 0.0
    kind: str | None = None
    error: str | None = None
    effects: str = "pure"
    stored: bool = False
    digest: str = ""
    uri: str = ""
    targets: list[Target] = field(default_factory=list)


class RunRecord(Struct):
    """What is known of a run.

    Attributes:
        status: How it ended; ``running`` where it has not, ``died`` where nobody is left who could end it,
            ``unreadable`` where its journal cannot be read at all.
        started: Seconds since 1970 (UTC).
        seconds: From then to its end, or to the last record.
        resumed: How often it was resumed.
        counts: How many nodes have each status.
        problems: What is wrong with the journal.
    """

    run: str
    number: int = 0
    status: str = "died"
    started: float | None = None
    seconds: float = 0.0
    resumed: int = 0
    pipeline: str = ""
    file: str | None = None
    folder: str = ""
    request: dict[str, Any] = field(default_factory=dict)
    pid: int = 0
    host: str = ""
    petal: str = ""
    python: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    nodes: list[NodeRecord] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def records(path: str | os.PathLike[str]) -> tuple[list[Event], list[str]]:
    """Read a journal.

    Args:
        path: The file.

    Returns:
        The records that are whole, in order; and what is wrong with others, one sentence each. A torn tail, which is
        what a process leaves that was killed while it wrote, is dropped and nothing wrong.

    Raises:
        JournalError: The file cannot be read.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise JournalError(
            f"cannot read the journal {str(path)!r}: {os.strerror(error.errno or 0)}",
            hint="see what is there, and whether it can be read; what is no journal can be moved away",
        ) from error
    found: list[Event] = []
    problems: list[str] = []
    for line in lines_of(data):
        if line.body is None:
            if line.whole:
                place = f"bytes {line.start:,} to {line.end:,} of {str(path)!r}"
                problems.append(f"record {line.number} ({place}) is not as it was written")
            continue
        try:
            found.append(_decoder.decode(line.body))
        except msgspec.MsgspecError as error:
            problems.append(f"record {line.number} of {str(path)!r} is none that this Petal knows: {error}")
    return found, problems


class History:
    """The runs of a home.

    Args:
        home: The folder of state.
    """

    def __init__(self, home: Home) -> None:
        self._runs = home.runs

    def ids(self) -> list[str]:
        """Return the ids of all runs, the one that began last first, whatever the clock said (S5.8)."""
        return [path.stem for _, path in sorted(self._files(), reverse=True)]

    def runs(self, limit: int | None = None) -> list[RunRecord]:
        """Return what is known of each run, the one that began last first.

        Args:
            limit: How many at most, None for all.
        """
        return [self._read(run) for run in self.ids()[:limit]]

    def _read(self, run: str) -> RunRecord:
        try:
            return self.read(run)
        except JournalError as error:
            return RunRecord(run, status="unreadable", problems=[error.message])

    def find(self, prefix: str) -> str:
        """Return the id of the run that is meant.

        Args:
            prefix: The beginning of an id, where no other begins so; or ``last``.

        Raises:
            UsageError: There is none, or more than one.
        """
        ids = self.ids()
        if prefix == "last" and ids:
            return ids[0]
        if prefix in ids:
            return prefix
        found = [run for run in ids if run.startswith(prefix)] if prefix else []
        if len(found) == 1:
            return found[0]
        if not found:
            raise UsageError(
                f"there is no run `{prefix}` in {str(self._runs)!r}",
                hint="`petal runs` lists them" if ids else "no run is recorded there yet",
                code="unknown-run",
            )
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        raise UsageError(
            f"{len(found)} runs begin with `{prefix}`: {', '.join(found[:_MOST_NAMED])}{more}",
            hint="give more of the id",
            code="unknown-run",
        )

    def path(self, run: str) -> Path:
        """Return where the journal of a run is."""
        return self._runs / f"{run}.jsonl"

    @without_collection
    def read(self, run: str) -> RunRecord:
        """Return what is known of a run, given by its whole id.

        Raises:
            JournalError: Its journal cannot be read.
        """
        path = self.path(run)
        try:  # before it is read: a run that ends meanwhile has written its end by then
            alive = lives(path)
        except OSError:
            alive = False
        found, problems = records(path)
        record = _Reader(run).read(found, alive)
        record.problems = problems
        return record

    def prune(self, keep: int = KEEP, older_than: float = OLDEST, now: float | None = None) -> list[str]:
        """Remove the journals of old runs; never that of a run that lives.

        Args:
            keep: How many of the last runs are kept.
            older_than: Seconds after which a journal that nobody has written to is removed.
            now: Seconds since 1970.

        Returns:
            The ids of the runs that were removed.
        """
        now = time.time() if now is None else now
        removed = []
        for at, (_, path) in enumerate(sorted(self._files(), reverse=True)):
            try:
                old = at >= keep or now - path.stat().st_mtime > older_than
            except OSError:
                continue
            if old and remove_journal(path):
                removed.append(path.stem)
        return removed

    def _files(self) -> Iterator[tuple[int, Path]]:
        try:
            entries = [Path(e.path) for e in os.scandir(self._runs) if e.name.endswith(".jsonl")]
        except FileNotFoundError:
            return
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise JournalError(f"cannot read {str(self._runs)!r}: {reason}") from error
        for path in entries:
            yield number_of(path), path


class _Reader:
    """Makes of the records of one run what is known of it."""

    def __init__(self, run: str) -> None:
        self.run = RunRecord(run)
        self._nodes: dict[str, NodeRecord] = {}
        self._needs: dict[str, set[str]] = {}
        self._last = 0.0
        self._ended = False

    def read(self, events: list[Event], alive: bool | None) -> RunRecord:
        run = self.run
        for event in events:
            self._last = event.at
            take = _TAKES.get(type(event))
            if take is not None:
                take(self, event)
        if not self._ended:
            run.seconds = max(0.0, self._last - (run.started or self._last))
            run.status = "running" if (_seems_alive(run) if alive is None else alive) else "died"
        run.nodes = list(self._nodes.values())
        if run.status == "died":
            self._cut_off()
        for node in run.nodes:
            run.counts[node.status] = run.counts.get(node.status, 0) + 1
        return run

    def _cut_off(self) -> None:
        """Say of the nodes that a run died on what is known of them."""
        over = {node.id for node in self.run.nodes if node.status in _USABLE or node.stored}
        for node in self.run.nodes:
            if node.status == "running":
                node.status = "unknown" if node.effects == "once" else "interrupted"
            elif (
                node.status == "pending" and node.effects != "once" and self._needs.get(node.id, {""}) <= over
            ):
                node.status = (
                    "interrupted"  # of one whose effect must not happen twice the beginning is on record
                )

    def _from_before(self) -> None:
        """The run goes on: what it had begun is to begin again, but for what must not."""
        for node in self._nodes.values():
            if node.status == "running":
                node.status = "unknown" if node.effects == "once" else "pending"

    def _node(self, name: str) -> NodeRecord:
        if name not in self._nodes:
            self._nodes[name] = NodeRecord(name)
        return self._nodes[name]

    def _attempt(self, node: NodeRecord, number: int, backend: str) -> Attempt:
        """Return the attempt of that number: the last one, if it is on; otherwise one more."""
        if node.attempts and node.attempts[-1].number == number:
            return node.attempts[-1]
        node.attempts.append(Attempt(number, backend))
        return node.attempts[-1]

    def _planned(self, event: RunPlanned) -> None:
        run = self.run
        if run.started is None:
            run.started, run.number = event.at, event.number
        else:
            run.resumed += 1
            self._from_before()
        self._ended, run.status = False, "died"
        run.pipeline, run.file, run.folder = event.pipeline, event.file, event.folder
        run.request = {name: value for name, value in event.request.items() if name != "sources"}
        run.pid, run.host = event.pid, event.host
        run.petal, run.python = event.petal, event.python
        for planned in event.nodes:
            node = self._node(planned.id)
            node.type, node.backend, node.effects = planned.type, planned.backend, planned.effects
            sources = [name.partition(".")[0] for name in planned.inputs]
            self._needs[planned.id] = {*sources, *planned.after}

    def _started(self, event: NodeStarted) -> None:
        self._node(event.node).status = "running"

    def _submitted(self, event: AttemptSubmitted) -> None:
        node = self._node(event.node)
        node.status = "running"
        node.attempts.append(Attempt(event.attempt, event.backend))

    def _failed(self, event: AttemptFailed) -> None:
        node = self._node(event.node)
        if event.where:
            attempt = Attempt(event.attempt, event.backend)
            node.calls.append(attempt)
        else:
            attempt = self._attempt(node, event.attempt, event.backend)
        attempt.status = "unknown" if event.unknown else "failed"
        attempt.kind, attempt.error, attempt.wait = event.kind, event.error, event.wait

    def _stored(self, event: NodeStored) -> None:
        node = self._node(event.node)
        node.stored = True
        node.digest, node.uri = event.digest or node.digest, event.uri or node.uri
        node.targets = list(event.targets) or node.targets

    def _finished(self, event: NodeFinished) -> None:
        node = self._node(event.node)
        node.type, node.backend, node.status = event.type, event.backend, event.status.value
        node.cached, node.rows, node.seconds = event.cached, event.rows, event.seconds
        node.kind, node.error = event.kind, event.error
        if event.status in _RAN and not event.cached:
            attempt = self._attempt(node, event.attempt, event.backend)
            attempt.backend, attempt.status = event.backend, event.status.value
            attempt.kind, attempt.error = event.kind, event.error

    def _over(self, event: RunFinished) -> None:
        self._ended = True
        self.run.status, self.run.seconds = event.status.value, event.seconds


#: What is made of an event, by its type.
_TAKES: Final[dict[type, Any]] = {
    RunPlanned: _Reader._planned,
    NodeStarted: _Reader._started,
    AttemptSubmitted: _Reader._submitted,
    AttemptFailed: _Reader._failed,
    NodeStored: _Reader._stored,
    NodeFinished: _Reader._finished,
    RunFinished: _Reader._over,
}


def _seems_alive(run: RunRecord) -> bool:
    """Say whether a run lives, where the file system has no locks that would tell: by its process."""
    if run.host != socket.gethostname() or not run.pid:
        return False
    try:
        os.kill(run.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
