"""What is stored of a run that was stopped is given to its consumers in every view, as if it had just been made."""

from __future__ import annotations

from pathlib import Path

import pytest

from petal import Pipeline

OPERATORS = """\
import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import polars as pl

from petal import Batches, operator


class Row(NamedTuple):
    n: int
    name: str


class Parts(NamedTuple):
    even: list[int]
    odd: list[int]
    count: int


def begun(name: str) -> None:
    with open("calls.txt", "a") as calls:
        calls.write(name + "\\\\n")
    if os.environ.get("FAIL") and name == "gate":
        raise ValueError("stopped on purpose")


@operator(effects="once")
def items() -> Iterator[int]:
    begun("items")
    yield from range(20_000)


@operator(effects="once")
def batches() -> Batches[dict[str, Any]]:
    begun("batches")
    for start in (0, 3):
        yield pl.DataFrame({"n": range(start, start + 3), "name": ["a", "b", None]})


@operator(effects="once")
def frame() -> pl.DataFrame:
    begun("frame")
    return pl.DataFrame({"n": [1, 2, 3], "name": ["x", "y", None]})


@operator(effects="once")
def parts() -> Parts:
    begun("parts")
    return Parts([0, 2, 4], [1, 3], 5)


@operator(effects="once")
def value() -> dict[str, tuple[int, ...]]:
    begun("value")
    return {"a": (1, 2)}


@operator(effects="once")
def untyped():
    begun("untyped")
    return {"a": [1, 2.5, None]}


@operator
def gate() -> int:
    begun("gate")
    return 0


@operator
def streamed(items: Iterable[int], gate: int) -> Iterator[int]:
    for item in items:
        yield item + gate


@operator
def listed(items: list[int], gate: int) -> int:
    return sum(items) + gate


@operator
def bare(items, gate):
    return len(list(items)) + gate


@operator
def framed(batches: pl.DataFrame, gate: int) -> int:
    return batches.height + gate


@operator
def rows(frame: Iterable[dict[str, Any]], gate: int) -> list[str]:
    return [str(row) for row in frame]


@operator
def whole(frame: pl.DataFrame, gate: int) -> str:
    return str(frame.to_dict(as_series=False))


@operator
def evens(even: Iterable[int], gate: int) -> list[int]:
    return list(even)


@operator
def both(odd: list[int], count: int, gate: int) -> str:
    return f"{odd} {count}"


@operator
def values(value: dict[str, tuple[int, ...]], gate: int) -> str:
    return repr(value)


@operator
def anything(untyped, gate):
    return repr(untyped)
"""
NODES = """\
plugins: [./ops.py]
nodes:
  - {id: items, type: items}
  - {id: batches, type: batches}
  - {id: frame, type: frame}
  - {id: parts, type: parts}
  - {id: value, type: value}
  - {id: untyped, type: untyped}
  - {id: gate, type: gate, after: [items, batches, frame, parts, value, untyped]}
  - {id: streamed, type: streamed}
  - {id: listed, type: listed}
  - {id: bare, type: bare}
  - {id: framed, type: framed}
  - {id: rows, type: rows}
  - {id: whole, type: whole}
  - {id: evens, type: evens, inputs: {even: parts.even}}
  - {id: both, type: both, inputs: {odd: parts.odd, count: parts.count}}
  - {id: values, type: values}
  - {id: anything, type: anything}
"""
STORED = ("items", "batches", "frame", "parts", "value", "untyped")


def test_every_view_of_what_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams, batches, frames, ports and values of nodes that ran once are the same after a resume as without one."""
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ops.py").write_text(OPERATORS.replace("\\\\n", "\\n"))
        (tmp_path / name / "p.yaml").write_text(NODES)
    monkeypatch.chdir(tmp_path / "whole")
    expected = dict(Pipeline.from_file("p.yaml").run().check().outputs)
    assert len(expected) == 10
    monkeypatch.chdir(tmp_path / "stopped")
    monkeypatch.setenv("FAIL", "1")
    assert Pipeline.from_file("p.yaml").run().nodes["gate"].error is not None
    monkeypatch.delenv("FAIL")
    result = Pipeline.from_file("p.yaml").run(resume="last").check()
    assert dict(result.outputs) == expected
    assert [name for name, node in result.nodes.items() if node.cached] == list(STORED)
    assert sorted(Path("calls.txt").read_text().split()) == sorted([*STORED, "gate", "gate"])
