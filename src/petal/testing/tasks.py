"""Operators that go wrong, wait, write or count: what the contract of backends runs beside the hands of `kinds`."""

from __future__ import annotations

import datetime as dt
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from petal.data.files import open_output
from petal.spec.context import Context
from petal.spec.views import WRITES, Batches

#: How long a task sleeps that is to be stopped, in seconds.
LONG = 600.0


class Unusual(ValueError):
    """An exception that only this module has."""


def fails(value: int) -> int:
    """Raise an exception whose class the caller need not have."""
    raise Unusual(f"{value} is unusual: é")


def fails_late(rows: Iterable[int]) -> Iterator[int]:
    """Raise after the first rows."""
    for row in rows:
        if row == 3:
            raise Unusual("row 3")
        yield row


def cannot_be_sent(value: int):  # type: ignore[no-untyped-def]
    """Return without annotation what only an annotation can carry."""
    return {"when": [dt.date(2026, 3, value)]}


def takes_anything(value: Any) -> int:
    """Take a value without saying of which type."""
    return len(value)


def ambiguous(value: str | dt.datetime) -> str:
    """Take what cannot be told apart when it is read back."""
    return str(value)


def adds(value: int, other: int = 0, *, more: int = 0) -> int:
    """Add numbers."""
    return value + other + more


def doubles(rows: Iterable[int]) -> Iterator[int]:
    """Double each row."""
    for row in rows:
        yield 2 * row


def doubles_batches(rows: Batches[int]) -> Batches[int]:
    """Double each row, a batch at a time."""
    for batch in rows:
        yield batch * 2


class Named(NamedTuple):
    """A record."""

    id: int
    name: str


def records() -> list[Named]:
    """Give records."""
    return [Named(1, "one"), Named(2, "two")]


def numbers() -> Iterator[int]:
    """Give a stream of three numbers."""
    yield from range(3)


def turns(rows: list[int]) -> list[int]:
    """Turn the order of rows around."""
    return rows[::-1]


def merges(*streams: Iterable[int]) -> Iterator[int]:
    """Hand on one stream after the other."""
    for rows in streams:
        yield from rows


def totals(*lists: list[int]) -> list[int]:
    """Add up lists, each on its own."""
    return [sum(rows) for rows in lists]


def upset_order(rows: list[int]) -> list[int]:
    """Take longest for the first rows, so that later batches are done before earlier ones."""
    time.sleep(0.2 if 0 in rows else 0.0)
    return [row * 10 for row in rows]


def tells_context(value: int, context: Context) -> dict[str, Any]:
    """Return what the run says of itself."""
    context.log.warning("the value is %d", value)
    return {
        "node": context.node_id,
        "run": context.run_id,
        "attempt": context.attempt,
        "pipeline": context.pipeline,
        "has_key": bool(context.idempotency_key),
    }


def prints(value: int) -> int:
    """Write to stdout and stderr in every way that there is."""
    print("printed", value)
    print("to stderr", file=sys.stderr)
    os.write(1, b"written to descriptor 1\n")
    return value


def floods(value: int) -> int:
    """Write 100 MB to stdout and stderr."""
    for descriptor in (1, 2):
        for _ in range(800):
            os.write(descriptor, b"noise \xff\x00" * (1 << 13))
    return value


def sleeps(value: int) -> int:
    """Sleep for so long that it must be stopped."""
    time.sleep(LONG)
    return value


def dies(value: int) -> int:
    """Kill its own process, as the kernel does when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)
    return value


def exits(value: int) -> int:
    """End its own process."""
    os._exit(value + 2)


def writes(rows: Iterable[int], *, path: Annotated[Path, WRITES], fail_at: int | None = None) -> None:
    """Write numbers to a file, and look that nobody sees it before it is complete.

    Raises:
        Unusual: The target is there too early, or it is row ``fail_at``'s turn.
    """
    with open_output(path) as file:
        for row in rows:
            if row == fail_at:
                raise Unusual(f"row {row}")
            file.write(b"%d\n" % row)
            file.flush()
            if os.path.exists(path):
                raise Unusual(f"{path} is there before it is complete")


def writes_and_sleeps(rows: Iterable[int], *, path: Annotated[Path, WRITES]) -> None:
    """Write numbers to a file, and never finish."""
    with open_output(path) as file:
        for row in rows:
            file.write(b"%d\n" % row)
        file.flush()
        time.sleep(LONG)


def hands_bytes(value: bytes) -> bytes:
    """Return what is given."""
    return value


def counts_bytes(value: bytes) -> int:
    """Return how many bytes there are."""
    return len(value)


def fills(size: int) -> bytes:
    """Return so many bytes."""
    return bytes(size)
