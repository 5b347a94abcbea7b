"""How many calls of one function are under way: as many as come, until AWS throttles it; then fewer, and slowly more again."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from weakref import WeakValueDictionary

#: Seconds between two looks at whether a call that waits is still wanted.
_PATIENCE = 0.1


class Limiter:
    """Lets calls of one function through.

    A throttle halves the number of calls at a time, once for all calls that were under way together, and closes the
    door to new ones for as long as AWS asks; each success after that lets a fraction of a call more through, so that
    it takes a round of calls to allow one more (additive increase, multiplicative decrease, as in TCP).

    Args:
        clock: Gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._changed = threading.Condition()
        self._clock = clock
        self._under_way = 0
        self._most = math.inf
        self._closed_until = -math.inf
        self._cut_at = -math.inf

    @property
    def most(self) -> float:
        """Calls at a time; infinite where nothing was throttled yet."""
        return self._most

    def enter(self, check: Callable[[], object]) -> float:
        """Wait until a call may be made.

        Args:
            check: Called while it waits; what it raises ends that.

        Returns:
            When it was let through: to be given to :meth:`leave`.
        """
        with self._changed:
            while (wait := self._wait()) > 0:
                check()
                self._changed.wait(min(wait, _PATIENCE))
            self._under_way += 1
            return self._clock()

    def leave(self, entered: float, throttled: float | None = None) -> None:
        """Take note that a call has ended.

        Args:
            entered: What :meth:`enter` returned.
            throttled: Seconds for which AWS asks to stay away, where the call was throttled.
        """
        with self._changed:
            now = self._clock()
            if throttled is not None:
                self._closed_until = max(self._closed_until, now + throttled)
                if entered >= self._cut_at:  # what was under way at the last cut is paid for by it
                    self._most = max(1.0, min(self._most, self._under_way) / 2)
                    self._cut_at = now
            elif self._most < math.inf:
                self._most += 1 / self._most
            self._under_way -= 1
            self._changed.notify_all()

    def _wait(self) -> float:
        """Return the seconds to wait before one looks again, 0 for none."""
        closed = self._closed_until - self._clock()
        if closed > 0:
            return closed
        return 0.0 if self._under_way + 1 <= self._most else _PATIENCE


class Limiters:
    """The limiters of functions: nodes that call the same one share its limiter, whatever else their blocks say."""

    def __init__(self) -> None:
        self._found: WeakValueDictionary[tuple[str, ...], Limiter] = WeakValueDictionary()
        self._lock = threading.Lock()

    def of(self, *function: str) -> Limiter:
        """Return the limiter of a function, by whatever makes it this one."""
        with self._lock:
            found = self._found.get(function)
            if found is None:
                found = self._found[function] = Limiter()
            return found
