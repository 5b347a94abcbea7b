"""What pools of processes are given to do; Petal's calls `handle`, which finds the function by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import shapes

#: Calls in turn of which one is the figure; bytes that go there and come back.
TRIPS, LARGE = 2_000, 100 << 20


def increment(number: int) -> int:
    """Do next to nothing."""
    return number + 1


def same(data: bytes) -> bytes:
    """Return what was sent."""
    return data


class Parts:
    """The attachments of a reply."""

    path = None

    def __init__(self, parts: Sequence[memoryview] = ()) -> None:
        self.parts = parts

    def close(self) -> None:
        """Do nothing: there is no file."""


def handle(
    header: bytes, parts: Sequence[memoryview], folder: str, emit: Callable[[bytes], None]
) -> tuple[bytes, Parts]:
    """Do one task: `name number`, or the name alone with attachments."""
    name, _, number = header.partition(b" ")
    if name == b"same":
        return b"", Parts(parts)
    function = {b"increment": increment, b"burn": shapes.burn}[name]
    return b"%d" % function(int(number)), Parts()
