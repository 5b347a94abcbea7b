"""The graphs and tasks that every peer gets, as modules of plain functions that bind by name, and their results."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

#: Nodes in topological order, each with the nodes that it needs; the last is the result.
Graph = list[tuple[str, list[str]]]

CPU_TASKS, WAITS = 8, 64
SHAPES = [f"{shape}_{size}" for shape in ("chain", "fan", "layered") for size in (1_000, 10_000)]
LARGEST = ["chain_100000", "layered_100000"]


def graph(name: str) -> Graph:
    """Return a graph by its name, such as `layered_1000`."""
    shape, _, size = name.partition("_")
    return {"chain": _chain, "fan": _fan, "layered": _layered}[shape](int(size))


def _chain(size: int) -> Graph:
    return [("n0", []), *((f"n{i}", [f"n{i - 1}"]) for i in range(1, size))]


def _fan(size: int) -> Graph:
    """One node, all the others after it, and one that takes them all."""
    middle = [f"n{i}" for i in range(1, size - 1)]
    return [("n0", []), *((name, ["n0"]) for name in middle), (f"n{size - 1}", middle)]


def _layered(size: int, width: int = 100) -> Graph:
    """Layers of 100 nodes, each after its neighbour above and up to two others; the last node takes the last layer."""
    draw = random.Random(42)
    nodes: Graph = []
    for at in range(size - 1):
        layer, place = divmod(at, width)
        above = {place, *draw.sample(range(width), draw.randint(0, 2))} if layer else set()
        nodes.append((f"n{at}", [f"n{(layer - 1) * width + i}" for i in sorted(above)]))
    used = {need for _, needs in nodes for need in needs}
    return [*nodes, (f"n{size - 1}", [name for name, _ in nodes if name not in used])]


def modules() -> Iterator[tuple[str, str]]:
    """Yield the file names and texts of the modules that peers import."""
    for name in [*SHAPES, *LARGEST]:
        yield f"{name}.py", "".join(_function(*node) for node in graph(name))
    for name, body, count in (("burn", "burn", CPU_TASKS), ("wait", "wait", WAITS)):
        tasks = [f"n{i}" for i in range(count)]
        text = "".join(f"def n{i}() -> int:\n    return shapes.{body}({i})\n\n\n" for i in range(count))
        yield (
            f"{name}s.py",
            f"import shapes\n\n\n{text}{_signature('total', tasks)}    return {' + '.join(tasks)}\n",
        )


def _function(name: str, needs: list[str]) -> str:
    body = f"1 + max({', '.join(needs)})" if len(needs) > 1 else f"1 + {needs[0]}" if needs else "1"
    return f"{_signature(name, needs)}    return {body}\n\n\n"


def _signature(name: str, needs: list[str]) -> str:
    return f"def {name}({', '.join(f'{need}: int' for need in needs)}) -> int:\n"


def burn(number: int) -> int:
    """Compute for about 0.4 s."""
    for _ in range(6_000_000):
        number = (number * 1103515245 + 12345) & 0x7FFFFFFF
    return number & 1


def wait(number: int) -> int:
    """Wait for 0.1 s, as for an answer from the network."""
    time.sleep(0.1)
    return number
