"""Which nodes may be cached: what cannot be is an error where it is asked for, and left out elsewhere (S9.1, S9.2)."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated, Any

import pytest

from petal import READS, Pipeline, node, operator
from petal.spec.diagnostic import Diagnostic

LOCK = threading.Lock()


@operator
def silent() -> list[int]:
    return [1]


@operator
def declared(*, path: Annotated[Path, READS]) -> list[int]:
    return [len(str(path))]


@operator
def text_of(path: str) -> str:
    return path


@operator
def squares(count: int) -> list[int]:
    return [n * n for n in range(count)]


@operator
def guarded(silent: list[int]) -> int:
    with LOCK:
        return len(silent)


@operator
def locks(silent: list[int]) -> list[threading.Lock]:
    return [threading.Lock() for _ in silent]


@operator
def held(locks: list[Any]) -> int:
    return len(locks)


@operator
def sink(silent: list[int]) -> None:
    print(silent)


def found(*nodes: Any) -> list[Diagnostic]:
    return Pipeline.of(*nodes).validate()


def cached(target: Any, policy: Any = True, **params: Any) -> Any:
    """Place an operator in a pipeline, cached."""
    return node(target, policies={"cache": policy}, params=params)


@pytest.mark.parametrize(
    ("nodes", "code", "words"),
    [
        ([cached(silent)], "uncacheable", "no node feeds it"),
        ([cached(text_of, path="a.txt")], "uncacheable", "does not say what it reads"),
        ([silent, cached(guarded)], "uncacheable", "uses `LOCK`, which is a live `_thread.lock`"),
        ([silent, cached(locks)], "cannot-cache", "its output"),
        ([silent, locks, cached(held)], "cannot-cache", "its input `locks`"),
        ([silent, cached(sink)], "uncacheable", "it returns nothing"),
    ],
)
def test_what_cannot_be_cached_is_an_error(nodes: list[Any], code: str, words: str) -> None:
    """It names the node, the reason and a remedy."""
    (finding,) = found(*nodes)
    assert finding.code == code
    assert words in finding.message
    assert finding.hint


@pytest.mark.parametrize(
    "nodes",
    [
        [cached(silent, {"ttl": 60})],
        [cached(silent, {"version": "1"})],
        [cached(silent, {"depends_on": [__file__]})],
        [cached(declared, path="a.txt")],
        [cached(squares, count=3)],
        [silent, cached(guarded, {"version": "1"})],
    ],
)
def test_what_says_enough_can_be_cached(nodes: list[Any]) -> None:
    """A source with a time, a version or files; a function of numbers; code that its author vouches for."""
    assert found(*nodes) == []


def test_what_only_defaults_mean_is_left_out(tmp_path: Path) -> None:
    """Without a finding; the policy says why."""
    (tmp_path / "ops.py").write_text(Path(__file__).read_text().partition("def found(")[0])
    nodes = "\n".join(
        f"  - {{ id: {n}, type: {n.title()} }}" for n in ("silent", "guarded", "locks", "held", "sink")
    )
    edges = "[[silent, guarded], [silent, locks], [locks, held], [silent, sink]]"
    (tmp_path / "p.yaml").write_text(
        f"plugins: [./ops.py]\ncache_io: true\nnodes:\n{nodes}\nedges: {edges}\n"
    )
    pipeline = Pipeline.from_file(str(tmp_path / "p.yaml"))
    assert pipeline.validate() == []
    policies = {n.id: n.policies for n in pipeline.plan().nodes}
    assert all(p is not None and p.cache is None for p in policies.values())
    assert {name: p.origins["cache"] for name, p in policies.items() if p is not None and p.origins} == {
        "silent": "cache_io, but it does not say what it reads",
        "guarded": "cache_io, but its code cannot be told apart from other code",
        "locks": "cache_io, but its output cannot be written",
        "held": "cache_io, but its input `locks` cannot be written",
    }


def test_standard_input_is_read_once() -> None:
    """Nobody can read it again to see whether it is the same."""
    (finding,) = found(cached("FileReader", file_path="-"))
    assert (finding.code, "standard input" in finding.message) == ("uncacheable", True)


def test_files_are_relative_to_what_names_them(tmp_path: Path) -> None:
    """A node's to the pipeline's file, a decorator's to its Python file (S8.1)."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "ops.py").write_text(
        "from petal import cache, operator\n\n\n@cache(depends_on=['data.txt'])\n@operator\n"
        "def said() -> int:\n    return 1\n\n\n@operator\ndef plain() -> int:\n    return 1\n"
    )
    (tmp_path / "p.yaml").write_text(
        "plugins: [./lib/ops.py]\nnodes:\n  - {id: said, type: Said}\n"
        "  - {id: plain, type: Plain, cache: {depends_on: [data.txt]}}\n"
    )
    plan = Pipeline.from_file(str(tmp_path / "p.yaml")).plan()
    files = {n.id: n.policies.cache.depends_on for n in plan.nodes if n.policies and n.policies.cache}
    assert files == {"said": (str(tmp_path / "lib/data.txt"),), "plain": (str(tmp_path / "data.txt"),)}


def test_a_value_that_is_given_needs_no_cache() -> None:
    """A node that does not run is not looked at."""
    pipeline = Pipeline.of(cached(silent))
    assert pipeline.run(overrides={"silent": [1]}).status == "succeeded"


def test_a_file_that_is_not_there_is_a_warning_that_names_it() -> None:
    """A path that is misspelt would let edits of the file that is meant go unnoticed; the run is not refused."""
    (finding,) = found(cached(silent, {"depends_on": [__file__, "nofile.txt"]}))
    assert (finding.code, finding.severity) == ("missing-file", "warning")
    assert "'nofile.txt'" in finding.message
    assert "correct the path" in (finding.hint or "")
