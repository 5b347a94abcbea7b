"""Operators whose outputs cannot be cached."""

import threading
from collections.abc import Iterator

from petal import operator

LOCK = threading.Lock()


@operator
def readings() -> Iterator[str]:
    yield "1"


@operator
def named(path: str) -> str:
    return path


@operator
def guarded(lines: list[str]) -> int:
    with LOCK:
        return len(lines)


@operator
def locks(lines: list[str]) -> list[threading.Lock]:
    return [threading.Lock() for _ in lines]


@operator
def published(lines: list[str]) -> None:
    print(len(lines))
