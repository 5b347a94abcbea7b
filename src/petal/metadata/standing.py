"""What the journal of a run that was stopped says of each node: done, stored, or not known (S9.3)."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from petal.spec.event import (
    AttemptFailed,
    AttemptSubmitted,
    Event,
    NodeFinished,
    NodeStored,
    PlannedNode,
    RunFinished,
    RunPlanned,
    Status,
    Target,
)
from petal.spec.url import is_url

#: What starts the code digest of an operator that is installed, and not the user's own file.
INSTALLED: Final = "petal "
#: What starts the sentence of a node whose files have changed.
READS: Final = "reads "


class Standing(Struct):
    """What is known of a node.

    Attributes:
        status: How it ended, None where it has not.
        since: When an attempt began whose end is not known, in seconds since 1970.
        key: The key of its output in the cache, or empty.
        rows: The rows that it gave.
        targets: The files that it has published.
        assumed: Whether somebody has said that it is done.
    """

    status: Status | None = None
    since: float | None = None
    key: str = ""
    rows: int | None = None
    targets: tuple[Target, ...] = ()
    assumed: bool = False

    @property
    def ran(self) -> bool:
        """Whether it did its work, or may have done it."""
        return self.returned or self.since is not None or self.assumed

    @property
    def returned(self) -> bool:
        """Whether it ended well: what is stored was given at its end."""
        return self.status is Status.SUCCEEDED or bool(self.key or self.targets)


class Standings:
    """Reads the events of a run, in order.

    A run that is resumed begins with what was planned: what has changed since the last time, what was asked to run
    again, and all that is behind these start afresh.

    Args:
        batched: Ids of the nodes in batches: a call of theirs that failed is not the end of an attempt.

    Attributes:
        nodes: What is known of each node, by id.
        planned: What was planned last.
        ended: How the run ended, None where it has not.
    """

    def __init__(self, batched: Collection[str] = ()) -> None:
        self.nodes: dict[str, Standing] = {}
        self.planned: RunPlanned | None = None
        self.ended: Status | None = None
        self._batched = batched

    def read(self, events: Iterable[Event]) -> Standings:
        """Take note of events."""
        for event in events:
            if isinstance(event, RunPlanned):
                self._plan(event)
            elif isinstance(event, RunFinished):
                self.ended = event.status
            else:
                name = getattr(event, "node", None)
                if name is not None:
                    self._note(self.nodes.setdefault(name, Standing()), event)
        return self

    def _plan(self, event: RunPlanned) -> None:
        if self.planned is not None:
            afresh = set(event.request.get("rerun", ())) | set(
                changed_nodes(self.planned, event, published(self.nodes))
            )
            for name in behind(event.nodes, afresh):
                self.nodes[name] = Standing()
        for name in event.request.get("assumed", ()):
            self.nodes[name] = Standing(assumed=True)
        self.planned, self.ended = event, None

    def _note(self, node: Standing, event: Event) -> None:
        if isinstance(event, AttemptSubmitted):
            node.since, node.status = event.at, None
        elif isinstance(event, AttemptFailed):
            if not event.unknown and event.node not in self._batched:
                node.since, node.status = None, Status.FAILED
        elif isinstance(event, NodeStored):
            node.since = None  # what is stored was given at its end
            node.key, node.rows = event.key or node.key, event.rows if event.key else node.rows
            node.targets = event.targets or node.targets
        elif isinstance(event, NodeFinished):
            if event.status is Status.CANCELLED and (node.returned or event.attempt == 0):
                if event.attempt == 0:
                    node.since = None  # it was to begin, and never did
                return
            node.status = event.status
            node.rows = event.rows if event.rows is not None else node.rows
            if event.status is Status.UNKNOWN:
                node.since = node.since or event.at
            elif event.status is not Status.CANCELLED:  # it was stopped: how far it came is not known
                node.since = None


def changed_nodes(
    before: RunPlanned, now: RunPlanned, written: Collection[str] = frozenset()
) -> dict[str, str]:
    """Say of each node whose code, configuration, files or place in the pipeline have changed, what of it; by id.

    Args:
        before: What was planned.
        now: What is planned.
        written: Files that the run itself has published, which may be others than before.
    """
    files = changed_files(before, now)
    old = {node.id: node for node in before.nodes}
    found: dict[str, str] = {}
    for node in now.nodes:
        was = old.pop(node.id, None)
        if was is None:
            found[node.id] = "is new"
        elif was.type != node.type:
            found[node.id] = f"was a `{was.type}` and is a `{node.type}`"
        elif (was.inputs, was.after) != (node.inputs, node.after):
            found[node.id] = "has other inputs"
        elif was.config != node.config or was.effects != node.effects:
            found[node.id] = "has other parameters or policies"
        elif _has_other_code(was.code or "", node.code or "", bool(files)):
            found[node.id] = "has other code"
        else:
            files_read = _changed_reads(was, node, written)
            if files_read:
                found[node.id] = f"{READS}{', '.join(files_read)}, which changed"
    return found


def changed_files(before: RunPlanned, now: RunPlanned) -> list[str]:
    """Name the files of the user's code that have changed; one that is new changes nothing unless another names it."""
    old: Mapping[str, str] = before.request.get("code", {})
    new: Mapping[str, str] = now.request.get("code", {})
    return [file for file, digest in old.items() if new.get(file) != digest]


def lost_nodes(before: RunPlanned, now: RunPlanned) -> list[str]:
    """Name the nodes that are no longer there."""
    left = {node.id for node in now.nodes}
    return [node.id for node in before.nodes if node.id not in left]


def behind(nodes: Iterable[PlannedNode], names: Iterable[str]) -> set[str]:
    """Return these nodes and all that wait for one of them, directly or not; ``nodes`` are in the order of the plan."""
    found = set(names)
    for node in nodes:
        before: tuple[Any, ...] = (*[name.partition(".")[0] for name in node.inputs], *node.after)
        if not found.isdisjoint(before):
            found.add(node.id)
    return found


def published(nodes: Mapping[str, Standing]) -> set[str]:
    """Return the files that nodes have published, links followed."""
    return {target.path for node in nodes.values() for target in node.targets}


def _changed_reads(was: PlannedNode, now: PlannedNode, written: Collection[str]) -> list[str]:
    """Name the files that a node reads and that are not as they were, but for those that the run has written."""
    found = []
    for path, stamp in (was.reads or {}).items():
        made_meanwhile = not stamp and bool(was.inputs or was.after)  # by a node before it, as it may be
        changed = (now.reads or {}).get(path, stamp) != stamp and not made_meanwhile
        real = path if is_url(path) else os.path.realpath(path)
        if changed and real not in written:
            found.append(path)
    return found


def _has_other_code(was: str, now: str, other_files: bool) -> bool:
    installed = was.startswith(INSTALLED) or now.startswith(INSTALLED)
    return was != now and (installed or other_files)
