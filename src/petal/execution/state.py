"""What one run knows: values, trunks, results, the stop flag. Shared by its threads; each list cell has one writer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from petal.data.adapters import adapt, batch_rows, to_container
from petal.data.files import Outputs
from petal.data.spill import Codec, Counted, Kept
from petal.errors import OutputError
from petal.execution.branches import Branch, Trunk
from petal.execution.units import Units
from petal.interfaces.source import Operator
from petal.running.loop import LoopThread
from petal.spec.operator import OperatorSpec
from petal.spec.pipeline import MISSING
from petal.spec.plan import Plan
from petal.spec.views import Seen, View

if TYPE_CHECKING:
    from petal.data.artifact import Artifact


class Pieces(Protocol):
    """The pieces of a stream, to be read as often as somebody likes."""

    @property
    def rows(self) -> int:
        """How many rows there are."""

    def pieces(self) -> Iterator[Any]:
        """Give the pieces in order."""


class Listed:
    """Pieces in memory."""

    def __init__(self, pieces: list[Any]) -> None:
        self._pieces = pieces

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(map(len, self._pieces))

    def pieces(self) -> Iterator[Any]:
        """Give the pieces in order."""
        return iter(self._pieces)


class Stored:
    """The pieces of a stream that an artifact keeps."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self._artifact.rows or 0

    def pieces(self) -> Iterator[Any]:
        """Give the pieces in order."""
        return self._artifact.stream()


class Collected:
    """A whole stream, seen by each consumer in its own view; every view of all rows at once is built once (S4.1)."""

    def __init__(self, pieces: Pieces, seen: Seen) -> None:
        self._pieces = pieces
        self._seen = seen
        self._views: list[tuple[Seen, Any]] = []
        self._lock = threading.Lock()

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self._pieces.rows

    def pieces(self) -> Iterator[Any]:
        """Give the pieces in order, as often as somebody asks."""
        return self._pieces.pieces()

    def view(self, wanted: Seen, name: str) -> Any:
        """Return the rows as ``wanted``."""
        if wanted.view.streams:
            return adapt(self.stream(), self._seen, wanted, name)
        with self._lock:
            for seen, view in self._views:
                if seen == wanted:
                    return view
            self._views.append((wanted, adapt(self.stream(), self._seen, wanted, name)))
            return self._views[-1][1]

    def stream(self) -> Iterator[Any]:
        """Give the rows again, as items or batches."""
        if self._seen.view is View.BATCHES:
            return self.pieces()
        return (row for piece in self.pieces() for row in piece)


class Ported(dict[str, Any]):
    """What a node with several streams gave, by port, as far as somebody takes it at once."""


class LeafStream:
    """A leaf's stream, kept until somebody reads it: list, Series or DataFrame by its view (S5.3)."""

    def __init__(self, kept: Kept | Counted | Collected, seen: Seen) -> None:
        self._kept = kept
        self._seen = seen
        self._loaded: Any = MISSING
        self._lock = threading.Lock()

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self._kept.rows

    def load(self) -> Any:
        """Read the rows into memory, once."""
        assert not isinstance(self._kept, Counted)
        with self._lock:
            if self._loaded is MISSING:
                pieces = list(self._kept.pieces())
                if self._seen.view is View.BATCHES:
                    pieces = list(adapt(iter(pieces), self._seen, Seen(View.BATCHES), "output"))
                    is_series = bool(pieces) and not hasattr(pieces[0], "columns")
                    kind = "polars.Series" if is_series or _scalar(self._seen) else "polars.DataFrame"
                    self._loaded = to_container(pieces, kind, self._seen.element)
                else:
                    self._loaded = [row for piece in pieces for row in batch_rows(piece)]
            return self._loaded

    def stream(self) -> Iterator[Any]:
        """Give the rows once, as items or batches."""
        assert not isinstance(self._kept, Counted)
        if isinstance(self._kept, Collected):
            return self._kept.stream()
        if self._seen.view is View.BATCHES:
            return self._kept.pieces()
        return (row for piece in self._kept.pieces() for row in piece)

    def close(self) -> None:
        """Drop what is kept."""
        if isinstance(self._kept, Kept):
            self._kept.close()


def _scalar(seen: Seen) -> bool:
    return seen.element in (str, int, float, bool, bytes)


def _untold(*_: Any) -> None:
    pass


def _commit(_node: str, outputs: Outputs) -> None:
    outputs.commit()


class RunState:
    """Everything that the units of one run share."""

    def __init__(
        self,
        plan: Plan,
        operators: dict[str, Operator],
        units: Units,
        run_id: str,
        folder: str | None,
        window: int | None,
        keep: bool,
        sessions: Any = None,
        publish: Callable[[str, Outputs], None] | None = None,
    ) -> None:
        count = len(plan.nodes)
        self.plan = plan
        self.operators = operators
        self.units = units
        self.run_id = run_id
        self.folder = folder
        self.keep = keep
        self.sessions = sessions
        self.publish = publish or _commit
        #: Whether what is published is to be described for a journal.
        self.describe = False
        #: Told of each call of a batch that failed and is made again.
        self.again: Callable[[int, int, str, BaseException, float, str], None] = _untold
        self.away = units.away
        self.specs: list[OperatorSpec] = [plan.operators[n.operator] for n in plan.nodes]
        self.values: list[Any] = [MISSING] * count
        self.uses: list[int] = list(units.consumers)
        self.targets = set(plan.targets)
        self.stop: list[str] = []
        self.loop = LoopThread()
        self.lock = threading.Lock()
        self.outputs: set[Outputs] = set()
        self._writers: dict[str, str] = {}
        self.trunks: dict[int, Trunk] = {}
        self.readers: dict[tuple[int, str, int], Branch] = {}
        self.branches_of: dict[int, list[Branch]] = {}
        for source, feeds in units.branches.items():
            seen = units.seen[source]
            waited = source in units.collected or source in units.waited_for
            trunk = Trunk(
                [f.spill for f in feeds],
                waited_for=waited,
                wanted=source in self.targets,
                codec=Codec() if source in units.ports else Codec(seen.element),
                folder=folder,
                stop=self.stop,
                window=window,
                ports=[f.port for f in feeds],
            )
            self.trunks[source] = trunk
            for feed, branch in zip(feeds, trunk.branches, strict=True):
                self.readers[(feed.target, feed.input, feed.position)] = branch
                self.branches_of.setdefault(feed.target, []).append(branch)

    def claim(self, node: str, target: str) -> None:
        """Let one node write a file; a second one that wants the same file is refused (S5.10).

        Raises:
            OutputError: Another node of this run writes it.
        """
        with self.lock:
            writer = self._writers.setdefault(target, node)
        if writer != node:
            raise OutputError(
                f"cannot write {target!r}: node `{writer}` of this run writes it too",
                hint="give each its own file; mark the parameter `Annotated[Path, WRITES]` to hear of it before the run",
            )

    def halt(self, reason: str) -> None:
        """Raise the stop flag and wake every stream that waits."""
        self.stop.append(reason)
        for trunk in self.trunks.values():
            trunk.wake()

    def abort_outputs(self, *, in_use: bool) -> None:
        """Drop every output that is not published yet; ``in_use`` where a thread may still write to one."""
        with self.lock:
            pending = list(self.outputs)
        for outputs in pending:
            if in_use:
                outputs.abandon()
            else:
                outputs.abort()

    def abandon_outputs(self) -> None:
        """Drop every output at once, whoever holds which lock: the process is about to exit."""
        for outputs in tuple(self.outputs):
            outputs.abandon()

    def cancelled(self) -> Callable[[], bool]:
        """Return what a Context's ``cancelled`` asks."""
        stop = self.stop
        return lambda: bool(stop)
