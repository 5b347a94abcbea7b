"""Random pipelines that stop at a chosen call of an operator: killed, or by an error."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

#: Operators that count their calls in a file, and stop the run at the call whose number the file `stop` holds.
OPERATORS = '''\
"""Operators that are counted, and that stop the run where they are told to."""

import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from zlib import crc32

from petal import Context, cache, open_output, operator


def step(node: str) -> None:
    """Count a call; stop if it is the one that was named."""
    file = os.open("calls.txt", os.O_RDWR | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, node.encode() + b"\\n")
        mine = os.lseek(file, 0, os.SEEK_CUR)  # behind its own line, whatever others have written meanwhile
        calls = os.pread(file, mine, 0).count(b"\\n")
    finally:
        os.close(file)
    how, _, number = Path("stop").read_text().partition(" ") if os.path.exists("stop") else ("", "", "")
    if number == str(calls):
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError("stopped on purpose")


@operator
def make(context: Context) -> list[int]:
    step(context.node_id)
    start = crc32(context.node_id.encode()) % 1000
    return list(range(start, start + 5))


@operator
def add(context: Context, *xs: list[int]) -> list[int]:
    step(context.node_id)
    return [sum(column) for column in zip(*xs)]


@cache
def keep(context: Context, *xs: list[int], salt: int = 0) -> list[int]:
    step(context.node_id)
    return [2 * x + salt for rows in xs for x in rows]


@operator(effects="once")
def charge(context: Context, *xs: list[int]) -> list[int]:
    step(context.node_id)
    return [x + 1 for rows in xs for x in rows]


@operator
def flow(context: Context, *xs: Iterable[int]) -> Iterator[int]:
    step(context.node_id)
    for rows in xs:
        for x in rows:
            yield 3 * x


@operator
def send(context: Context, xs: list[int]) -> None:
    with open("sent.txt", "a") as sent:
        sent.write(f"{context.node_id} {xs}\\n")
    step(context.node_id)


@operator(effects="idempotent")
def write(context: Context, xs: Iterable[int], *, path: Path) -> None:
    step(context.node_id)
    with open_output(path, context) as output:
        for x in xs:
            output.write(b"%d\\n" % x)
'''
_KINDS = ("add", "keep", "charge", "flow")


def make_pipeline(seed: int, folder: Path) -> int:
    """Write a random pipeline, `p.yaml`, and its operators, and return how many nodes it has."""
    rng = random.Random(seed)
    givers, nodes = ["a0"], ["  - {id: a0, type: make}"]
    for i in range(1, rng.randint(3, 7)):
        kind = rng.choice((*_KINDS, *_KINDS, "make"))
        sources = rng.sample(givers, rng.randint(1, min(2, len(givers))))
        inputs = f", inputs: {{xs: [{', '.join(sources)}]}}" if kind != "make" else ""
        if kind == "keep":
            inputs += f", params: {{salt: {i}}}"  # or two of the same inputs would find each other's output
        after = f", after: [{rng.choice(givers)}]" if rng.random() < 0.15 else ""
        nodes.append(f"  - {{id: {kind[0]}{i}, type: {kind}{inputs}{after}}}")
        givers.append(f"{kind[0]}{i}")
    for i in range(rng.randint(1, 3)):
        source = rng.choice(givers[len(givers) // 2 :])
        kind = rng.choice(("write", "write", "send"))
        params = f", params: {{path: out{i}.txt}}" if kind == "write" else ""
        nodes.append(f"  - {{id: {kind}{i}, type: {kind}, inputs: {{xs: {source}}}{params}}}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ops.py").write_text(OPERATORS)
    (folder / "p.yaml").write_text("plugins: [./ops.py]\nnodes:\n" + "\n".join(nodes) + "\n")
    return len(nodes)


def stop_at(folder: Path, how: str, number: int) -> None:
    """Have the run stop at a call: ``kill`` or ``fail``."""
    (folder / "stop").write_text(f"{how} {number}")


def go_on(folder: Path) -> None:
    """Have the run not stop any more."""
    (folder / "stop").unlink(missing_ok=True)


def calls(folder: Path) -> Counter[str]:
    """Return how often each node was called."""
    file = folder / "calls.txt"
    return Counter(file.read_text().split()) if file.exists() else Counter()


def written(folder: Path) -> dict[str, bytes]:
    """Return what the sinks wrote."""
    return {p.name: p.read_bytes() for p in sorted(folder.glob("out*.txt"))}
