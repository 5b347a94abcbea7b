"""Cached runs give what uncached ones give, for any pattern of hits; what may not be kept is used and not kept."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest

from petal import READS, Pipeline, cache, node, operator
from tests.data.caches import SCALE
from tests.execution.graphs import Graph, random_graph


def pipeline_of(graph: Graph, chosen: set[int], name: str) -> Pipeline:
    """Make a pipeline of a graph; some of its nodes are cached."""
    nodes = []
    for i, function in enumerate(graph.functions):
        inputs: dict[str, Any] = {"ins": [f"n{k}" for k in graph.ins[i]]} if graph.ins[i] else {}
        if graph.by[i] is not None:
            inputs["by"] = f"n{graph.by[i]}"
        policies = {"cache": {"version": "1"}} if i in chosen else {}
        after = [f"n{k}" for k in graph.after[i]]
        nodes.append(node(function, id=f"n{i}", inputs=inputs, after=after, policies=policies))
    return Pipeline.of(*nodes, name=name)


@pytest.mark.parametrize("block", range(4))
def test_cached_and_uncached_runs_give_the_same(tmp_path: Path, block: int) -> None:
    """200 random graphs at full scale, each with three patterns of cached nodes over one cache (G8)."""
    hits = 0
    for seed in range(block, max(12, int(200 * SCALE)), 4):
        rng = random.Random(seed)
        graph = random_graph(rng)
        expected = graph.expected()
        home = tmp_path / f"home{seed}"
        plain = Pipeline.run(graph.pipeline(f"g{seed}"))
        for turn in range(3):
            chosen = {i for i in range(len(graph.functions)) if rng.random() < 0.6}
            result = pipeline_of(graph, chosen, f"g{seed}").run(home=home)
            assert result.status == "succeeded", f"seed {seed}, turn {turn}"
            for name, value in result.outputs.items():
                found = list(value) if isinstance(expected[name], list) else value
                assert found == expected[name], f"seed {seed}, turn {turn}, {name}"
                assert repr(found) == repr(
                    list(plain.outputs[name]) if isinstance(expected[name], list) else plain.outputs[name]
                )
            hits += sum(n.cached for n in result.nodes.values())
    assert hits > 0


def test_a_file_that_changes_while_it_is_read_is_used_but_not_kept(tmp_path: Path) -> None:
    """The next run reads it again (F12)."""
    path, changing = tmp_path / "in.txt", [True]
    path.write_text("one")

    @operator
    def read(*, path: Annotated[Path, READS]) -> str:
        text = path.read_text()
        if changing:
            path.write_text("two")
        return text

    def run() -> Any:
        vouched = {"cache": {"version": "1"}}  # a closure that changes would be another code
        return Pipeline.of(node(read, path=path, policies=vouched), name="p").run(home=tmp_path / "home")

    assert run().outputs["read"] == "one"
    changing.clear()
    path.write_text("one")
    assert not run().nodes["read"].cached
    assert run().nodes["read"].cached


def test_runs_at_the_same_time_compute_once(tmp_path: Path) -> None:
    """The others wait for who is first."""
    calls = tmp_path / "calls"

    @cache(version="1")
    @operator
    def slow() -> int:
        with calls.open("a") as file:
            file.write("x")
        time.sleep(0.2)
        return 5

    found: list[Any] = []

    def run() -> None:
        found.append(Pipeline.of(slow, name="p").run(home=tmp_path / "home").outputs["slow"])

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [5] * 6
    assert calls.read_text() == "x"


def test_a_node_that_fails_is_not_kept(tmp_path: Path) -> None:
    """Nor are its first rows; once it succeeds it is."""
    broken = tmp_path / "broken"
    broken.touch()

    @cache(version="1")
    @operator
    def rows() -> Iterator[int]:
        yield from range(10_000)
        if broken.exists():
            raise ValueError("broken")

    pipeline = Pipeline.of(rows, name="p")
    assert pipeline.run(home=tmp_path / "home").status == "failed"
    assert list((tmp_path / "home" / "cache" / "making").iterdir()) == []
    broken.unlink()
    assert not pipeline.run(home=tmp_path / "home").nodes["rows"].cached
    result = pipeline.run(home=tmp_path / "home")
    assert result.nodes["rows"].cached
    assert list(result.outputs["rows"]) == list(range(10_000))


def test_a_time_to_live_and_a_version_are_kept_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that says neither what it reads nor a version lives as long as its time."""

    @operator
    def clock() -> float:
        return time.time()

    def run(**policy: Any) -> Any:
        return Pipeline.of(node(clock, policies={"cache": policy}), name="p").run(home=tmp_path / "home")

    first = run(ttl=100)
    assert run(ttl=100).outputs["clock"] == first.outputs["clock"]
    now = time.time()
    monkeypatch.setattr("petal.data.cache_entry.time.time", lambda: now + 101)
    assert not run(ttl=100).nodes["clock"].cached
    monkeypatch.undo()
    assert not run(version="1").nodes["clock"].cached
    assert run(version="1").nodes["clock"].cached
    assert not run(version="2").nodes["clock"].cached


def test_cache_io_keeps_what_can_be_kept(tmp_path: Path) -> None:
    """Sources that say nothing and sinks run; the plan says why."""
    (tmp_path / "ops.py").write_text(
        "from petal import operator\n\n\n@operator\ndef numbers() -> list[int]:\n    return [1, 2]\n\n\n"
        "@operator\ndef total(numbers: list[int]) -> int:\n    return sum(numbers)\n\n\n"
        "@operator\ndef tell(total: int):\n    return total\n"
    )
    (tmp_path / "p.yaml").write_text(
        "plugins: [./ops.py]\ncache_io: true\nnodes:\n"
        "  - {id: numbers, type: Numbers}\n  - {id: total, type: Total}\n  - {id: tell, type: Tell}\n"
        "edges: [[numbers, total], [total, tell]]\n"
    )
    pipeline = Pipeline.from_file(str(tmp_path / "p.yaml"))
    assert pipeline.run().status == "succeeded"
    assert {k for k, n in pipeline.run().nodes.items() if n.cached} == {"total"}
    origins = {n.id: n.policies.origins["cache"] for n in pipeline.plan().nodes if n.policies is not None}
    assert origins == {
        "numbers": "cache_io, but it does not say what it reads",
        "total": "cache_io",
        "tell": "cache_io, but it may do more than return a value (`effects: once`)",
    }


def test_a_cached_consumer_of_a_stream_that_others_read(tmp_path: Path) -> None:
    """The stream is read once, whether the consumer's output is found or not."""
    reads = tmp_path / "reads"

    @operator
    def numbers() -> Iterator[int]:
        with reads.open("a") as file:
            file.write("x")
        yield from range(20_000)

    @cache
    @operator
    def even(numbers: Iterable[int]) -> Iterator[int]:
        yield from (n for n in numbers if n % 2 == 0)

    @operator
    def largest(numbers: Iterable[int]) -> int:
        return max(numbers)

    for turn in range(2):
        result = Pipeline.of(numbers, even, largest, name="p").run(home=tmp_path / "home")
        assert result.outputs["largest"] == 19_999
        assert len(list(result.outputs["even"])) == 10_000
        assert result.nodes["even"].cached == bool(turn)
        assert os.path.getsize(reads) == turn + 1


LIVE = """
import logging, pathlib, sys
import pipe
from petal import Pipeline
logging.basicConfig()
path = pathlib.Path("helper.py")
path.write_text(path.read_text().replace(sys.argv[1], sys.argv[2], 1))
result = Pipeline.of(pipe.start, pipe.answer, name="live").run(home=".petal").check()
print(result.outputs["answer"], result.nodes["answer"].cached)
"""
HELPER = """
def add(x: int) -> int:
    return x + 1
class Rule:
    STEP = 10
    def step(self, x: int) -> int:
        return x + self.STEP * 2
"""
PIPE = """
import helper
from petal import cache, operator
@operator
def start() -> int:
    return 1
@operator
@cache
def answer(start: int) -> int:
    return {uses}
"""


@pytest.mark.parametrize(
    "uses",
    [
        "helper.add(helper.Rule().step(start))",
        "getattr(helper, 'add')(getattr(helper, 'Rule')().step(start))",
    ],
)
@pytest.mark.parametrize(
    ("before", "after", "value"),
    [("x + 1", "x + 3", 24), ("STEP = 10", "STEP = 20", 42), ("STEP * 2", "STEP * 3", 32)],
)
def test_what_is_edited_after_its_import_is_used_and_not_kept(
    tmp_path: Path, before: str, after: str, value: int, uses: str
) -> None:
    """A live process runs what it imported: that is not stored as what the file says now, and the warning names it."""
    (tmp_path / "helper.py").write_text(HELPER)
    (tmp_path / "pipe.py").write_text(PIPE.format(uses=uses))

    def live(*words: str) -> tuple[str, str]:
        command = [sys.executable, "-c", LIVE, *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip(), done.stderr

    said, told = live(before, after)
    assert said == "22 False"
    assert "has been changed on disk since it was imported" in told
    assert live("", "") == (f"{value} False", "")
    assert live("", "") == (f"{value} True", "")  # the positive control: what is not edited is kept
