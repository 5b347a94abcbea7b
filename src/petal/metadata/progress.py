"""Show on a terminal how far a run is, with rich where it is installed; only for runs that take a while."""

from __future__ import annotations

import sys
import threading
import time
from typing import IO, TYPE_CHECKING, Any, Final

from petal.metadata.console import seconds_text
from petal.spec.event import Event, NodeFinished, NodeStarted, RunFinished, RunStarted

if TYPE_CHECKING:
    from types import TracebackType

#: Runs that are over sooner never pay for importing rich.
PATIENCE: Final = 0.6
_MOST_NAMES: Final = 3


class Progress:
    """Keeps a line at the bottom of a terminal while a run is on (a listener of the bus).

    Events change counters only; the line is drawn from them a few times a second, by a thread of rich's.

    Args:
        stream: The terminal.
        patience: Seconds before the line appears.
    """

    def __init__(self, stream: IO[str], *, patience: float = PATIENCE) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._timer = threading.Timer(patience, self._show)
        self._timer.daemon = True
        self._live: Any = None
        self._closed = False
        self._began = time.monotonic()
        self._total = self._done = 0
        #: What is said of each node that runs, behind its id.
        self._running: dict[str, str] = {}

    def __enter__(self) -> Progress:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, NodeStarted):
            self._running[event.node] = f" (attempt {event.attempt})" if event.attempt > 1 else ""
        elif isinstance(event, NodeFinished):
            self._running.pop(event.node, None)
            self._done += 1
        elif isinstance(event, RunStarted):
            self._total = event.nodes
        elif isinstance(event, RunFinished):
            self.close()

    def write(self, line: str) -> None:
        """Write a line above the progress."""
        with self._lock:
            if self._live is None:
                self._stream.write(line + "\n")
                self._stream.flush()
                return
            from rich.text import Text

            self._live.console.print(Text.from_ansi(line), soft_wrap=True)

    def close(self) -> None:
        """Take the line away; twice is fine."""
        self._timer.cancel()
        with self._lock:
            self._closed = True
            if self._live is not None:
                self._live.stop()
                self._live = None

    def text(self) -> str:
        """Return what the line says now."""
        names = [node + more for node, more in self._running.copy().items()]
        shown = ", ".join(names[:_MOST_NAMES]) + (
            f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        )
        running = f"  running: {shown}" if names else ""
        return f"{self._done}/{self._total} nodes  {seconds_text(time.monotonic() - self._began)}{running}"

    def _show(self) -> None:
        """Draw the line, after the patience is over; without rich there is none."""
        try:
            from rich.console import Console
            from rich.live import Live
            from rich.text import Text
        except ImportError:
            return
        with self._lock:
            if self._closed:
                return
            self._live = Live(
                get_renderable=lambda: Text(self.text(), no_wrap=True, overflow="ellipsis", style="dim"),
                console=Console(file=self._stream),
                refresh_per_second=8,
                transient=True,
                redirect_stdout=sys.stdout.isatty(),  # to the same terminal; anywhere else it is data
            )
            self._live.start()
