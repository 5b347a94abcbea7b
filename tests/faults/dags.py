"""Random pipelines of values, streams, frames, fan-out, batches and retries, whose nodes say when their code runs."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

OPERATORS = '''
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import polars as pl

from petal import Context, open_output, operator


def effect(context: Context) -> None:
    """Note that a node's code runs."""
    file = os.open("effects", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{context.node_id}\\n".encode())
    os.close(file)


class Summary(NamedTuple):
    """What is known of some numbers."""

    total: int
    rows: list[int]


@operator
def numbers(*, count: int, context: Context) -> Iterator[int]:
    effect(context)
    yield from range(count)


@operator
def one(*, value: int, context: Context) -> int:
    effect(context)
    return value


@operator
def add(rows: Iterable[int], *, by: int, context: Context) -> Iterator[int]:
    effect(context)
    for row in rows:
        yield row + by


@operator
def odd(rows: Iterable[int], *, context: Context) -> Iterator[int]:
    effect(context)
    return (row for row in rows if row % 2)


@operator
def flaky(rows: Iterable[int], *, by: int, context: Context) -> Iterator[int]:
    effect(context)
    for at, row in enumerate(rows):
        if at == by and context.attempt == 1:
            raise ConnectionError("not yet")
        yield row - by


@operator
def squares(rows: list[int], *, context: Context) -> list[int]:
    effect(context)
    return [row * row % 1000 for row in rows]


@operator
def shaky(rows: list[int], *, context: Context) -> list[int]:
    effect(context)
    if context.attempt == 1:
        raise ConnectionError("not yet")
    return [row * 3 for row in rows]


@operator
def total(rows: Iterable[int], *, context: Context) -> int:
    effect(context)
    return sum(rows) % 10_007


@operator
def mix(a: int, b: int, *, context: Context) -> int:
    effect(context)
    return (a * 31 + b) % 1009


@operator
def scale(rows: Iterable[int], k: int, *, context: Context) -> Iterator[int]:
    effect(context)
    for row in rows:
        yield row * (k % 7 + 1)


@operator
def frame(rows: Iterable[int], *, context: Context) -> pl.DataFrame:
    effect(context)
    return pl.DataFrame({"n": list(rows)}, schema={"n": pl.Int64})


@operator
def column(frame: pl.DataFrame, *, context: Context) -> Iterator[int]:
    effect(context)
    yield from frame["n"].to_list()


@operator
def summary(rows: Iterable[int], *, context: Context) -> Summary:
    effect(context)
    found = list(rows)
    return Summary(sum(found) % 997, found[::2])


@operator(effects="idempotent")
def write(rows: Iterable[int], *, path: str, context: Context) -> None:
    effect(context)
    with open_output(path, context) as file:
        for row in rows:
            file.write(b"%d\\n" % row)


@operator(effects="idempotent")
def write_value(value: int, *, path: str, context: Context) -> None:
    effect(context)
    with open_output(path, context) as file:
        file.write(str(value).encode())
'''

#: Operator -> kinds of its inputs by name, kind of its output.
_KINDS: dict[str, tuple[dict[str, str], str]] = {
    "numbers": ({}, "stream"),
    "one": ({}, "value"),
    "add": ({"rows": "stream"}, "stream"),
    "odd": ({"rows": "stream"}, "stream"),
    "flaky": ({"rows": "stream"}, "stream"),
    "squares": ({"rows": "stream"}, "stream"),
    "shaky": ({"rows": "stream"}, "stream"),
    "total": ({"rows": "stream"}, "value"),
    "mix": ({"a": "value", "b": "value"}, "value"),
    "scale": ({"rows": "stream", "k": "value"}, "stream"),
    "frame": ({"rows": "stream"}, "frame"),
    "column": ({"frame": "frame"}, "stream"),
    "summary": ({"rows": "stream"}, "summary"),
}
_RETRY = "retry: { max_attempts: 3, delay: 1ms, jitter: false }"


class Dag(NamedTuple):
    """A random pipeline.

    Attributes:
        nodes: A line of YAML for each node.
        inner: The ids of the nodes whose output may be cached.
        targets: What the sinks write.
    """

    nodes: list[str]
    inner: list[str]
    targets: list[str]

    @property
    def called(self) -> set[str]:
        """The ids of the nodes that run in any case: one in batches is not called for a stream without rows."""
        return {node.partition(",")[0].removeprefix("id: ") for node in self.nodes if "batch:" not in node}

    def text(self, *, cached: bool) -> str:
        """Return the pipeline file."""
        head = ["name: dag", "plugins: [./operators.py]", *(["cache_io: true"] if cached else []), "nodes:"]
        return "\n".join([*head, *(f"  - {{ {node} }}" for node in self.nodes), ""])

    def write(self, folder: Path, *, cached: bool) -> None:
        """Write the pipeline and its operators into a folder."""
        (folder / "operators.py").write_text(OPERATORS)
        (folder / "pipeline.yaml").write_text(self.text(cached=cached))


def random_dag(chance: random.Random) -> Dag:
    """Make a pipeline of 4 to 12 nodes, and a sink for each output that nobody reads."""
    nodes = ["id: n0, type: numbers, params: { count: 700 }, cache: { version: a }"]
    nodes += ["id: n1, type: one, params: { value: 5 }, cache: { version: a }"]
    given: dict[str, list[str]] = {"stream": ["n0"], "value": ["n1"], "frame": []}
    read: set[str] = set()
    for at in range(2, chance.randint(4, 12)):
        name = chance.choice([n for n, (needs, _) in _KINDS.items() if all(given[k] for k in needs.values())])
        needs, gives = _KINDS[name]
        inputs = {port: chance.choice(given[kind]) for port, kind in needs.items()}
        read |= set(inputs.values())
        nodes.append(_node(chance, f"n{at}", name, inputs))
        if gives == "summary":
            given["value"].append(f"n{at}.total")
            given["stream"].append(f"n{at}.rows")
        else:
            given[gives].append(f"n{at}")
    inner = [f"n{at}" for at in range(len(nodes))]
    targets = []
    for kind, sink, port in (("stream", "write", "rows"), ("value", "write_value", "value")):
        for source in given[kind]:
            if source not in read or chance.random() < 0.2:
                path = f"{source.replace('.', '_')}.txt"
                targets.append(path)
                where = f"inputs: {{ {port}: {source} }}, params: {{ path: {path} }}"
                nodes.append(f"id: w{len(targets)}, type: {sink}, {where}")
    return Dag(nodes, inner, targets)


def _node(chance: random.Random, name: str, operator: str, inputs: dict[str, str]) -> str:
    parts = [f"id: {name}", f"type: {operator}"]
    if operator in ("numbers", "one"):
        key = "count" if operator == "numbers" else "value"
        parts += [f"params: {{ {key}: {chance.randint(0, 900)} }}", "cache: { version: a }"]
    if inputs:
        parts.append(f"inputs: {{ {', '.join(f'{k}: {v}' for k, v in inputs.items())} }}")
    if operator in ("add", "flaky"):
        parts.append(f"params: {{ by: {chance.randint(1, 99)} }}")
    if operator in ("squares", "shaky"):
        parts.append(f"batch: {chance.choice((1, 50, 333, 5000))}" if operator == "squares" else "batch: 200")
    if operator in ("flaky", "shaky"):
        parts.append(_RETRY)
    return ", ".join(parts)
