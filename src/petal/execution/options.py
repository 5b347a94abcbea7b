"""How a run is to be done: what its caller decides beyond the plan."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from petal.execution.result import NodeResult
from petal.interfaces.journal import Journal
from petal.spec.event import Event

if TYPE_CHECKING:
    from petal.data.files import Outputs
    from petal.data.signing import Keyring
    from petal.execution.cached import Caching
    from petal.execution.remote import Opener


class Options(Struct, frozen=True):
    """How to run.

    Attributes:
        workers: Threads at most for nodes that run at the same time; stages have their own.
        fail_fast: Whether the first failure stops everything else.
        grace: Seconds that threads have to stop after a signal.
        folder: Where streams spill, None for the temporary folder.
        emit: Called with every event, from several threads; None when nobody listens.
        previews: Whether events carry the first rows of inputs and outputs.
        handle_signals: Whether SIGINT and SIGTERM stop the run in an orderly way.
        window: Batches in memory per buffer, None for the default.
        keep: Whether the streams that nobody consumes are kept for who asks for the outputs; else they are counted.
        opener: Opens a backend by name, settings and folder; None where all nodes run here.
        folders: Folders whose Python must be importable in other processes.
        base: The folder of the pipeline, by which a worker with a copy of its files finds them; None where there is none.
        ring: The keys that seal messages to backends, or None.
        publish: Called instead of publishing what a node has written, in a worker process.
        journal: Takes what must outlive the run; None where nothing is kept.
        caching: Keeps what nodes gave from run to run; None where nothing is cached.
        refresh: Nodes whose outputs are made again, whatever is cached; ``""`` stands for all.
        random: Gives numbers from 0 to 1, for the jitter of waits.
        run_id: The run's id, in a worker process or where a run is resumed; None for a new one.
        done: Where a run is resumed, all nodes of the pipeline, in order: how those ended that are not in the plan any
            more, None for the others.
    """

    workers: int = 64
    fail_fast: bool = False
    grace: float = 3.0
    folder: str | None = None
    emit: Callable[[Event], None] | None = None
    previews: bool = False
    handle_signals: bool = True
    window: int | None = None
    keep: bool = True
    opener: Opener | None = None
    folders: tuple[str, ...] = ()
    base: str | None = None
    ring: Keyring | None = None
    publish: Callable[[str, Outputs], None] | None = None
    run_id: str | None = None
    journal: Journal | None = None
    caching: Caching | None = None
    refresh: frozenset[str] = frozenset()
    random: Callable[[], float] | None = None
    done: Mapping[str, NodeResult | None] = {}


def new_run_id(now: float | None = None) -> str:
    """Make a run id: UTC time and 8 random characters (S5.8)."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    return f"{stamp}-{os.urandom(4).hex()}"
