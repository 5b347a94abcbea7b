"""Petal's pool of worker processes, without the pipelines that use it."""

import pool_tasks
import shapes
from common import in_turn, main, timed

from petal.execution.pool import Pool


class Message:
    """A message to a worker."""

    path = None

    def __init__(self, header: bytes, *parts: bytes) -> None:
        self.header = header
        self.parts = [memoryview(part) for part in parts]

    def packed(self) -> bytes:
        """Return all of it as one piece."""
        return b"".join([self.header, *self.parts])


def _pool() -> Pool:
    return Pool("pool_tasks:handle", size=2)


def trips() -> int:
    """Call a function that does next to nothing, in turn."""
    with _pool() as pool:
        first = int(pool.submit(Message(b"increment 0")).result().header)

        def trip(value: int) -> int:
            return int(pool.submit(Message(b"increment %d" % value)).result().header)

        return in_turn(pool_tasks.TRIPS, trip, first)


def burns() -> int:
    """Compute 8 times in two workers, from their start to the sum."""
    with timed("seconds"), _pool() as pool:
        futures = [pool.submit(Message(b"burn %d" % number)) for number in range(shapes.CPU_TASKS)]
        return sum(int(future.result().header) for future in futures)


def large() -> int:
    """Send 100 MB there and back."""
    data = bytes(pool_tasks.LARGE)
    with _pool() as pool:
        pool.submit(Message(b"increment 0")).result()
        with timed("seconds"):
            answer = pool.submit(Message(b"same", data)).result()
        assert answer.parts[0] == data
        return sum(part.nbytes for part in answer.parts)


if __name__ == "__main__":
    main(globals())
