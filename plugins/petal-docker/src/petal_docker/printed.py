"""Keep what a container prints, up to a limit: its beginning and its end."""

from __future__ import annotations

#: Bytes that are kept of the beginning, and of the end.
_FIRST, _LAST = 1 << 14, 1 << 16


class Printed:
    """What was printed; 100 MB of it cost no more than the limit."""

    def __init__(self) -> None:
        self._first = bytearray()
        self._last = bytearray()
        self._lost = 0

    def add(self, data: memoryview | bytes) -> None:
        """Take what came."""
        room = _FIRST - len(self._first)
        if room > 0:
            self._first += data[:room]
            data = data[room:]
        self._last += data[-_LAST:]
        self._lost += max(0, len(data) - _LAST)
        if len(self._last) > 2 * _LAST:
            self._cut()

    def text(self) -> str:
        """Return it as text; what is left out is said."""
        self._cut()
        middle = f"\n… {self._lost:,} bytes are left out …\n".encode() if self._lost else b""
        return bytes(self._first + middle + self._last).decode("utf-8", "replace")

    def clear(self) -> None:
        """Forget it."""
        self._first.clear()
        self._last.clear()
        self._lost = 0

    def _cut(self) -> None:
        more = len(self._last) - _LAST
        if more > 0:
            del self._last[:more]
            self._lost += more
