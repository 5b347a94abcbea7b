"""Example 09: the brief's case 9 word for word, and a pipeline that shows what a cache and retries are good for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from petal import Pipeline
from petal.execution.result import RunResult
from tests.config.samples import CASE_9
from tests.examples import Example

MISSING = b"petal-nonesuch\nclick\npolars\n"


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    """Forget the example's own modules: another test has a copy of its own."""
    yield
    for name in ("operators", "naming"):
        sys.modules.pop(name, None)


def run(file: str) -> RunResult:
    return Pipeline.from_file(file).run().check()


def cached(result: RunResult) -> set[str]:
    return {name for name, node in result.nodes.items() if node.cached}


@pytest.mark.parametrize("file", ["pipeline.yaml", "pipeline.py"])
def test_the_first_run_tries_again_and_the_second_finds_everything(example: Example, file: str) -> None:
    first = run(file)
    assert Path("missing.txt").read_bytes() == MISSING
    assert first.nodes["flaky"].attempts == 2
    assert cached(first) == set()

    Path("missing.txt").unlink()
    second = run(file)
    assert Path("missing.txt").read_bytes() == MISSING
    assert cached(second) == {"reader", "flaky", "missing"}
    assert second.nodes["flaky"].attempts == 0


def test_both_pipelines_share_what_is_cached(example: Example) -> None:
    run("pipeline.yaml")
    assert cached(run("pipeline.py")) == {"flaky", "missing"}


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("[0]", "[0].upper()", {"reader", "flaky"}),
        ('"""Return', '"""Give', {"reader", "flaky", "missing"}),
    ],
)
def test_an_edit_of_the_helper(example: Example, before: str, after: str, found: set[str]) -> None:
    run("pipeline.yaml")
    text = Path("naming.py").read_text()
    assert before in text
    Path("naming.py").write_text(text.replace(before, after))
    for name in ("operators", "naming"):
        sys.modules.pop(name, None)
    assert cached(run("pipeline.yaml")) == found


def test_the_file_of_the_brief_is_its_own_and_runs(example: Example) -> None:
    assert Path("brief.yaml").read_text() == CASE_9
    result = Pipeline.from_file("brief.yaml").run(params={"flaky.seed": 9})
    assert result.check().nodes["flaky"].attempts == 2


def test_the_file_of_the_brief_fails_when_chance_is_against_it_three_times(example: Example) -> None:
    result = Pipeline.from_file("brief.yaml").run(params={"flaky.probability": 1.0})
    assert (result.status, result.nodes["flaky"].attempts) == ("failed", 3)


def test_a_wrapper_does_the_same(example: Example) -> None:
    result = run("wrapper.yaml")
    assert result.nodes["flaky"].attempts == 2
    assert Path("passed.txt").read_bytes() == Path("input.txt").read_bytes()


def test_the_readme_is_true(example: Example, tmp_path: Path) -> None:
    assert example.readme_mistakes(tmp_path) == []
