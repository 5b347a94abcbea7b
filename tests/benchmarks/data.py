"""Make the data of the benchmarks, the same everywhere: a log, events as JSON lines, and modules of functions."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks.peers import shapes

MIB = 1 << 20
WORDS = [
    "connection",
    "reset",
    "upstream",
    "cache",
    "miss",
    "shard",
    "replica",
    "commit",
    "lease",
    "token",
    "retry",
    "queue",
    "worker",
    "batch",
    "offset",
    "partition",
    "handler",
    "payload",
    "session",
    "cursor",
    "index",
    "page",
    "buffer",
    "flush",
]
#: One of 20 is drawn: 10 % ERROR, 15 % WARN, 50 % INFO, 25 % DEBUG.
LEVELS = ["ERROR"] * 2 + ["WARN "] * 3 + ["INFO "] * 10 + ["DEBUG"] * 5
ROWS_AT_ONCE = 20_000
#: Level, time, service, user, latency, message.
Fields = tuple[str, str, int, int, int, str]


def make(folder: Path) -> None:
    """Make whatever is not there yet. A file appears under its name when it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    _file(folder / "log-1024.txt", lambda path: _rows(path, 1024 * MIB, _log_line))
    log = folder / "log-1024.txt"
    _file(folder / "small.txt", lambda path: _head(path, log, 10_000))
    for mib in (128, 512):
        _file(folder / f"log-{mib}.txt", lambda path, mib=mib: _head(path, log, mib * MIB))
    for mib in (2048, 4096):
        _file(folder / f"log-{mib}.txt", lambda path, mib=mib: _repeat(path, log, mib // 1024))
    _file(folder / "events.jsonl", lambda path: _rows(path, 512 * MIB, _event))
    modules = folder / "modules"
    modules.mkdir(exist_ok=True)
    for name, text in shapes.modules():
        _file(modules / name, lambda path, text=text: path.write_text(text))


def _file(path: Path, write: Callable[[Path], object]) -> None:
    if not path.exists():
        print(f"making {path.name}", flush=True)
        part = path.with_name(f"{path.name}.part")
        write(part)
        part.rename(path)


def _rows(path: Path, size: int, row: Callable[[Fields], str]) -> None:
    """Write whole rows, as many as fit into `size` bytes."""
    fields = _fields()
    with path.open("wb") as file:
        while size:
            block = "".join(row(next(fields)) for _ in range(ROWS_AT_ONCE)).encode()
            if len(block) > size:
                block = block[: block.rfind(b"\n", 0, size) + 1]
                size = len(block)
            size -= file.write(block)


def _fields() -> Iterator[Fields]:
    draw = random.Random(42)
    messages = [" ".join(draw.choices(WORDS, k=6))[: 36 + draw.randrange(10)].strip() for _ in range(4096)]
    second = 0
    while True:
        second += 1
        bits = draw.getrandbits(64)
        day, hour, minute = 1 + second // 86400 % 28, second // 3600 % 24, second // 60 % 60
        time = f"2026-01-{day:02d}T{hour:02d}:{minute:02d}:{second % 60:02d}.{bits >> 44:07d}Z"
        level, message = LEVELS[bits % 20], messages[bits >> 5 & 4095]
        yield level, time, bits >> 17 & 63, (bits >> 23) % 1000, bits >> 33 & 1023, message


def _log_line(fields: Fields) -> str:
    level, time, service, user, latency, message = fields
    return f"{level} {time} svc-{service:02d} user={user} latency={latency} {message}\n"


def _event(fields: Fields) -> str:
    level, time, service, user, latency, message = fields
    return (
        f'{{"timestamp": "{time}", "level": "{level.strip()}", "service": "svc-{service:02d}", "user": {user}, '
        f'"latency_ms": {latency}.5, "message": "{message}", "tags": ["a{service}", "b{user}"]}}\n'
    )


def _head(path: Path, source: Path, size: int) -> None:
    """Copy the first whole lines of a file."""
    with source.open("rb") as file:
        text = file.read(size)
    path.write_bytes(text[: text.rfind(b"\n") + 1])


def _repeat(path: Path, source: Path, times: int) -> None:
    with path.open("wb") as file:
        for _ in range(times):
            with source.open("rb") as whole:
                while block := whole.read(MIB):
                    file.write(block)
