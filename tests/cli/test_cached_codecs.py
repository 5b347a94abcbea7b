"""Outputs that a plugin's codec wrote are found again by whoever reads the cache: resume, replay, explain (S6.4, S9)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ran

Petal = Callable[..., Ran]

OPERATORS = '''\
"""Values that no annotation describes, and the codec that writes them."""

import os
from collections.abc import Iterator
from pathlib import Path

from petal import cache, hookimpl, operator, register_plugin


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y


class PointCodec:
    name = "point-1"

    def takes(self, value):
        return type(value) is Point

    def encode(self, value):
        return f"{value.x} {value.y}".encode()

    def decode(self, data):
        return Point(*map(int, bytes(data).split()))


@register_plugin
class Brings:
    @hookimpl
    def petal_codecs(self):
        return [PointCodec()]


def note(what):
    with open("calls", "a") as calls:
        calls.write(what + "\\n")


@cache(version="1")
@operator
def start() -> Point:
    note("start")
    return Point(3, 4)


@operator(effects="once")
def paid(start: Point) -> Point:
    note("paid")
    return Point(start.x + 1, start.y)


@cache(version="1")
@operator
def track(paid: Point) -> Iterator[Point]:
    note("track")
    for step in range(5000):
        yield Point(paid.x + step, paid.y)


@operator
def ends(track: Iterator[Point]) -> list[int]:
    note("ends")
    if not Path("fine").exists():
        raise ValueError("not yet")
    found = list(track)
    return [found[0].x, found[-1].x, len(found)]
'''
PIPELINE = "plugins: [./ops.py]\nnodes:\n" + "".join(
    f"  - {{id: {name}, type: {name}}}\n" for name in ("start", "paid", "track", "ends")
)


@pytest.fixture
def folder(tmp_path: Path, petal: Petal) -> Path:
    """A folder with a run whose last node failed."""
    (tmp_path / "ops.py").write_text(OPERATORS)
    (tmp_path / "p.yaml").write_text(PIPELINE)
    ran = petal("run", "p.yaml")
    assert ran.code == 1, ran.err
    assert "not yet" in ran.err
    return tmp_path


def calls(folder: Path) -> Counter[str]:
    """Return how often each node's code has run."""
    return Counter((folder / "calls").read_text().split())


def test_a_resumed_run_uses_what_a_codec_wrote(folder: Path, petal: Petal) -> None:
    """A value, a stream and the output of an effect are read back by their codec: only what failed runs again."""
    (folder / "fine").touch()
    ran = petal("run", "p.yaml", "--resume", "--json")
    assert ran.code == 0, ran.err
    assert calls(folder) == {"start": 1, "paid": 1, "track": 1, "ends": 2}
    assert "3 of 4 nodes are done" in ran.err
    assert petal("run", "p.yaml", "--json").data["nodes"]["start"]["cached"], "the entry is still there"


def test_a_replayed_node_gets_what_a_codec_wrote(folder: Path, petal: Petal) -> None:
    """Its input is the recorded one, and nothing runs first."""
    (folder / "fine").touch()
    ran = petal("replay", "last", "ends")
    assert ran.code == 0, ran.err
    assert ran.out.strip() == "[4, 5003, 5000]"
    assert "recorded output is used of: track" in ran.err
    assert calls(folder) == {"start": 1, "paid": 1, "track": 1, "ends": 2}


def test_what_a_codec_wrote_is_explained(folder: Path, petal: Petal) -> None:
    """The verdict is a hit, and looking does not remove the entry."""
    found = {v["node"]: v["hit"] for v in petal("cache", "explain", "p.yaml", "--json").data}
    assert found == {"start": True, "track": True}
