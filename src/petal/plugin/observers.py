"""Tell a plugin of events on a thread of its own, so that it can neither break nor stall the run."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from petal.spec.event import Event, RunFinished

#: Events that may wait for one observer. They are small: their values are short previews.
MOST_WAITING = 10_000
#: Seconds that all observers together have at the end of a run.
GRACE = 2.0


class Observer:
    """One plugin's ``petal_event`` during one run.

    Args:
        name: The plugin's name.
        call: Tells the plugin of one event.
        failed: Called with what the plugin raised; it is told no more.
        missed: Called with a sentence where it missed events.
    """

    def __init__(
        self,
        name: str,
        call: Callable[[Event], object],
        failed: Callable[[BaseException], None],
        missed: Callable[[str], None],
    ) -> None:
        self._name = name
        self._call = call
        self._failed = failed
        self._missed = missed
        self._waiting: deque[Event] = deque()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._ended = False
        self._dropped = 0

    def emit(self, event: Event) -> None:
        """Leave an event for the plugin and return at once. The last event of a run always finds room."""
        with self._change:
            if self._ended:
                return
            if len(self._waiting) >= MOST_WAITING and not isinstance(event, RunFinished):
                self._dropped += 1
                return
            self._waiting.append(event)
            self._change.notify()
        if self._thread is None:
            thread = threading.Thread(target=self._tell, name=f"petal-observer-{self._name}", daemon=True)
            thread.start()
            self._thread = thread

    def _tell(self) -> None:
        _here.observes = True
        with _ASIDE:
            self._tell_all()

    def _tell_all(self) -> None:
        while True:
            with self._change:
                while not self._waiting and not self._ended:
                    self._change.wait()
                if not self._waiting:
                    return
                event = self._waiting.popleft()
            _ASIDE.put_up()
            try:
                self._call(event)
            except BaseException as error:
                with self._change:
                    self._ended = True
                    self._waiting.clear()
                self._failed(error)
                return

    def end(self) -> None:
        """Take no more events."""
        with self._change:
            self._ended = True
            self._change.notify()

    def finish(self, deadline: float) -> None:
        """Wait until the plugin has taken what waits for it, at most until a time of the monotonic clock."""
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
            with self._change:
                late = len(self._waiting)
                self._waiting.clear()
            if self._thread.is_alive():
                self._missed(
                    f"was still busy {GRACE:g} s after the end of the run and missed {_events(late)}"
                    if late
                    else f"was still busy {GRACE:g} s after the end of the run and was left behind"
                )
        if self._dropped:
            self._missed(
                f"missed {_events(self._dropped)}: it fell more than {MOST_WAITING:,} behind the run"
            )


def finish(observers: Sequence[Observer]) -> None:
    """End observers and wait for them all, within one time limit."""
    deadline = time.monotonic() + GRACE
    for observer in observers:
        observer.end()
    for observer in observers:
        observer.finish(deadline)


def _events(number: int) -> str:
    return f"{number:,} event{'' if number == 1 else 's'}"


# -- what observers print -------------------------------------------------------------------------------------

_here = threading.local()


class _Divided:
    """Stands for ``sys.stdout``: for threads of observers it is stderr, for all others what it was.

    ``contextlib.redirect_stdout`` would take the prints of nodes along, which run at the same time.
    """

    def __init__(self, stdout: Any) -> None:
        self.stdout = stdout

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr if getattr(_here, "observes", False) else self.stdout, name)

    def __eq__(self, other: object) -> bool:
        return other is self or other is self.stdout

    def __hash__(self) -> int:
        return hash(self.stdout)


class _Aside:
    """Keeps ``sys.stdout`` divided while there are threads of observers, of however many runs."""

    def __init__(self) -> None:
        self._threads = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self._threads += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._threads -= 1
            if not self._threads and isinstance(sys.stdout, _Divided):
                sys.stdout = sys.stdout.stdout

    def put_up(self) -> None:
        """Divide what is stdout now: others may have put something else in its place meanwhile."""
        with self._lock:
            if sys.stdout is not None and not isinstance(sys.stdout, _Divided):
                sys.stdout = _Divided(sys.stdout)


_ASIDE = _Aside()
