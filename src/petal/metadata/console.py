"""Show a run to people: one plain line for each node as it ends, and one for the run."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from petal.spec.event import AttemptFailed, Event, NodeFinished, RunFinished, RunStarted, Status
from petal.spec.logs import when_used
from petal.spec.policy import ErrorKind
from petal.spec.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_UNICODE: Final = {Status.SUCCEEDED: "✔", Status.FAILED: "✘", Status.UNKNOWN: "?"}
_ASCII: Final = {Status.SUCCEEDED: "ok", Status.FAILED: "FAILED", Status.UNKNOWN: "?"}
#: The mark of an attempt that failed and is followed by another one.
_AGAIN_UNICODE, _AGAIN_ASCII, _AGAIN_COLOUR = "↻", "again", "33"
_COLOURS: Final = {Status.SUCCEEDED: "32", Status.FAILED: "31", Status.UNKNOWN: "33"}


class Console:
    """Writes a line per node that ends, one per attempt that is made again, and a summary (a listener of the bus).

    Args:
        write: Takes each line, without its end.
        nodes: Ids and type names of the nodes that will run, for the width of the columns.
        unicode: Whether lines may hold characters beyond ASCII.
        colour: Whether to colour the marks.
        attempts: How many attempts a node has in all, by its id, where it has several.
        places: Where a node may run, by its id, where it fails over: its backend, then the others.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        nodes: Iterable[tuple[str, str]] = (),
        *,
        unicode: bool = True,
        colour: bool = False,
        attempts: Mapping[str, int] | None = None,
        places: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._write = write
        self._attempts = attempts or {}
        self._places = places or {}
        self._moves: dict[str, int] = {}
        self._colour = colour
        self._unicode = unicode
        self._marks = _UNICODE if unicode else _ASCII
        names = list(nodes)
        self._id_width = min(32, max((len(i) for i, _ in names), default=0))
        self._type_width = min(24, max((len(t) for _, t in names), default=0))
        self._mark_width = 1 if unicode else 6
        self._pipeline = "the run"

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, NodeFinished):
            self._write(self._node(event))
        elif isinstance(event, AttemptFailed):
            self._write(self._again(event))
        elif isinstance(event, RunStarted):
            self._pipeline = event.pipeline
        elif isinstance(event, RunFinished):
            self._write(self._run(event))

    def _node(self, event: NodeFinished) -> str:
        parts = [event.node.ljust(self._id_width), event.type.ljust(self._type_width)]
        if event.status is not Status.SUCCEEDED:
            parts.append(event.status.value)
        rows = rows_text(event, "→" if self._unicode else "->")
        parts += [rows] if rows else []
        if event.seconds:
            parts.append(seconds_text(event.seconds))
        if event.cached:
            parts.append("cached")
        if event.attempt > 1:
            where = f" on {event.backend}" if event.node in self._places else ""
            parts.append(f"attempt {event.attempt}{where}")
        if event.error:
            parts.append(_first_line(event.error))
        return self._line(event.status, "  ".join(parts))

    def _again(self, event: AttemptFailed) -> str:
        most = self._attempts.get(event.node, 0)
        # Moves to another backend and throttled calls are not among those that the node has.
        number = f"{event.attempt} of {most}" if event.attempt <= most else f"{event.attempt}"
        places = self._places.get(event.node, ())
        if places:
            number = f"{event.attempt} on {event.backend}"
        text = f"{event.node.ljust(self._id_width)}  attempt {number} failed: {_first_line(event.error)}"
        following = self._next_place(event, places)
        if following is not None:
            text += f"; next on {following}"
        elif event.wait is not None:
            text += f"; again in {seconds_text(event.wait)}" if event.wait > 0 else "; again at once"
        mark = _AGAIN_UNICODE if self._unicode else _AGAIN_ASCII
        return self._marked(mark, _AGAIN_COLOUR, text)

    def _next_place(self, event: AttemptFailed, places: Sequence[str]) -> str | None:
        """Say where a node, or a call of one in batches, goes from here; None where it stays."""
        if event.kind != ErrorKind.INFRASTRUCTURE or event.wait is None:
            return None
        if event.where:
            place = places.index(event.backend) + 1 if event.backend in places else len(places)
        else:
            place = self._moves[event.node] = self._moves.get(event.node, 0) + 1
        return places[place] if place < len(places) else None

    def _run(self, event: RunFinished) -> str:
        counts = ", ".join(
            f"{event.counts[s.value]:,} {s.value}" for s in Status if event.counts.get(s.value)
        )
        return self._line(
            event.status, f"{self._pipeline}: {counts or 'no nodes'} in {seconds_text(event.seconds)}"
        )

    def _line(self, status: Status, text: str) -> str:
        mark = self._marks.get(status, "–" if self._unicode else "-")
        return self._marked(mark, _COLOURS.get(status, "2"), text)

    def _marked(self, mark: str, colour: str, text: str) -> str:
        mark = mark.ljust(self._mark_width)
        if self._colour:
            mark = f"\x1b[{colour}m{mark}\x1b[0m"
        return f"{mark} {printable(redact(text), self._unicode)}".rstrip()


@contextmanager
def showing_logs(
    write: Callable[[str], None], *, unicode: bool = True, quiet: bool = False
) -> Iterator[None]:
    """Show what nodes log through ``context.log``, as lines ``node: message``, while the block runs.

    Args:
        write: Takes each line, without its end.
        unicode: Whether lines may hold characters beyond ASCII.
        quiet: Whether only warnings and errors are wanted.
    """
    with ExitStack() as stack:

        def begin() -> None:
            from petal.metadata.node_logs import showing  # with `logging`, which most short runs never need

            stack.enter_context(showing(lambda line: write(printable(line, unicode)), quiet=quiet))

        stack.callback(when_used(begin))
        yield


def rows_text(event: NodeFinished, arrow: str) -> str:
    """Return what went in and came out, such as ``120 → 17 rows``; empty when nothing was counted."""
    taken = sum(event.rows_in.values()) if event.rows_in else None
    if event.rows is None:
        return "" if taken is None else f"{_rows(taken)} in"
    return _rows(event.rows) if taken is None else f"{taken:,} {arrow} {_rows(event.rows)}"


def _first_line(error: str) -> str:
    return error.splitlines()[0][:200] if error else ""


def _rows(number: int) -> str:
    return f"{number:,} row{'' if number == 1 else 's'}"


def seconds_text(seconds: float) -> str:
    """Return a time as people read it: ``0.12s``, ``2m05s``, ``1h02m``."""
    if seconds < 60:
        return f"{seconds:.2f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"


def printable(text: str, unicode: bool) -> str:
    """Escape what cannot be shown, or could steer a terminal."""
    if text.isprintable() and (unicode or text.isascii()):
        return text
    return "".join(
        c if c.isprintable() and (unicode or c.isascii()) else c.encode("unicode_escape").decode()
        for c in text
    )
