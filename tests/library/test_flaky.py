"""Operators about failing: one that fails by chance, and one that has another tried again."""

from __future__ import annotations

from pathlib import Path

import pytest

from petal import Context, NodeFailed, Pipeline, Session, UsageError, node, operator
from petal.library.flaky import FailedOnPurpose, flaky_transformer, retry_wrapper
from petal.spec.policy import Effects, Retry

ITEMS = list(range(50))


def attempt(number=1, *, node_id="n", seed=None, probability=0.3, items=ITEMS):
    """Run one attempt; return what it gave, and whether it failed."""
    context = Context(node_id=node_id, attempt=number)
    given, stream = [], flaky_transformer(iter(items), probability=probability, seed=seed, context=context)
    try:
        while True:
            given.append(next(stream))
    except StopIteration:
        return given, False
    except FailedOnPurpose:
        return given, True


def test_it_fails_as_often_as_it_is_told():
    """Chance: of a thousand seeds about 300 fail with the default probability, none with 0, all with 1."""
    assert 250 < sum(attempt(seed=seed)[1] for seed in range(1000)) < 350
    assert not any(attempt(seed=seed, probability=0)[1] for seed in range(100))
    assert all(attempt(seed=seed, probability=1)[1] for seed in range(100))


def test_without_a_seed_chance_decides():
    """Attempts of one node differ, and so do runs."""
    assert {attempt(probability=0.5)[1] for _ in range(200)} == {True, False}


def test_a_seed_decides_each_attempt_of_each_node_by_itself():
    """The same attempt always ends alike; another attempt, or another node, may end otherwise."""
    found = [attempt(n, seed=7, probability=0.5) for n in range(1, 40)]
    assert found == [attempt(n, seed=7, probability=0.5) for n in range(1, 40)]
    assert {failed for _, failed in found} == {True, False}
    others = [attempt(1, node_id=f"n{k}", seed=7, probability=0.5)[1] for k in range(40)]
    assert set(others) == {True, False}


def test_what_passes_is_unchanged_and_a_failure_comes_after_a_few_rows():
    """A failed attempt has given some of its rows, so that one sees whether they are dropped."""
    assert attempt(probability=0) == (ITEMS, False)
    counts = set()
    for seed in range(200):
        given, failed = attempt(seed=seed, probability=1)
        assert failed
        assert given == ITEMS[: len(given)]
        counts.add(len(given))
    assert counts == set(range(10))
    assert attempt(probability=1, items=[]) == ([], True)


def test_the_error_says_that_it_is_on_purpose():
    """Nobody looks for a bug."""
    with pytest.raises(FailedOnPurpose, match=r"on purpose, with probability 1; attempt 3 was one"):
        list(flaky_transformer(probability=1, context=Context(attempt=3)))


def test_the_pipeline_of_the_brief_is_valid(tmp_path):
    """Case 9 as it is written: no input, no parameter."""
    file = tmp_path / "case9.yaml"
    file.write_text(
        "cache_io: true\nnodes:\n  - id: flaky\n    type: FlakyTransformer\n    params: {}\n    retry: 3\n"
    )
    pipeline = Pipeline.from_file(file)
    assert pipeline.validate() == []
    assert pipeline.plan().nodes[0].policies.retry == Retry(3)


OPERATORS = """
from petal import operator, retry

@operator
def glue(left: int, right: int, *, text: str = "+") -> str:
    return f"{left}{text}{right}"

@operator
@retry(max_attempts=9)
def one(*, number: int = 1) -> int:
    return number
"""


def load(folder: Path, nodes: str) -> Pipeline:
    (folder / "ops.py").write_text(OPERATORS)
    (folder / "p.yaml").write_text(f"plugins: [./ops.py]\nparams: {{ text: '-' }}\nnodes:\n{nodes}")
    return Pipeline.from_file(folder / "p.yaml", session=Session(environment={}))


def test_a_wrapper_is_the_operator_that_it_names(tmp_path):
    """Its inputs, parameters, references and output are those of the operator, its attempts those of the wrapper."""
    pipeline = load(
        tmp_path,
        "  - { id: a, type: RetryWrapper, params: { operator: one, max_attempts: 4, number: 5 } }\n"
        "  - { id: b, type: One, retry: false }\n"
        "  - { id: c, type: retry_wrapper, params: { operator: Glue, text: '${params.text}' }, inputs: { left: a, right: b } }\n",
    )
    assert pipeline.validate() == []
    plan = pipeline.plan()
    assert [n.operator for n in plan.nodes] == ["One", "One", "Glue"]
    assert set(plan.operators) == {"One", "Glue"}
    assert [n.policies.retry for n in plan.nodes] == [Retry(4), None, Retry(3)]
    assert {n.policies.effects for n in plan.nodes} == {Effects.PURE}
    result = pipeline.run().check()
    assert result.outputs["c"] == "5-1"


def test_a_wrapper_keeps_the_nodes_other_policies_and_its_place_in_the_order(tmp_path):
    """Only `retry` is the wrapper's."""
    pipeline = load(
        tmp_path,
        "  - { id: a, type: one }\n"
        "  - { id: b, type: RetryWrapper, params: { operator: one }, effects: idempotent, after: [a] }\n",
    )
    assert pipeline.validate() == []
    second = pipeline.plan().nodes[1]
    assert second.policies.effects is Effects.IDEMPOTENT
    assert second.after == (0,)


def test_a_wrapper_in_python_names_an_operator_too():
    """`node("RetryWrapper", ...)` wraps a built-in operator as a file's node does."""

    @operator
    def source() -> list[int]:
        return [1, 2]

    wrapper = node(
        "RetryWrapper",
        id="w",
        inputs={"items": "source"},
        params={"operator": "NoOpTransformer", "max_attempts": 2},
    )
    pipeline = Pipeline.of(source, wrapper)
    assert pipeline.validate() == []
    assert pipeline.plan().nodes[1].policies.retry == Retry(2)
    assert pipeline.run().check().outputs["w"] == [1, 2]


def test_a_wrapper_of_a_wrapper_is_refused_in_modules_too(tmp_path):
    """A mistake inside a module stands in the module's file, at the name."""
    (tmp_path / "inner.yaml").write_text(
        "nodes:\n  - { id: x, type: RetryWrapper, params: { operator: RetryWrapper } }\n"
    )
    (tmp_path / "outer.yaml").write_text("modules:\n  - { id: m, path: inner.yaml }\n")
    (finding,) = Pipeline.from_file(tmp_path / "outer.yaml").validate()
    assert (finding.code, finding.line, finding.column) == ("bad-value", 2, 54)
    assert "`m/x` wraps a RetryWrapper" in finding.message


@pytest.mark.parametrize("how", ["retry", "wrapper"])
def test_nothing_of_a_failed_attempt_is_left(tmp_path, how):
    """The first attempt passes some lines and fails, the second passes all: the file has each line once."""
    seed = next(
        seed
        for seed in range(1000)
        if attempt(1, node_id="flaky", seed=seed, probability=0.5)[1]
        and len(attempt(1, node_id="flaky", seed=seed, probability=0.5)[0]) > 3
        and not attempt(2, node_id="flaky", seed=seed, probability=0.5)[1]
    )
    lines = "".join(f"line {i}\n" for i in range(50))
    (tmp_path / "input.txt").write_text(lines)
    own = f"probability: 0.5, seed: {seed}"
    flaky = {
        "retry": f"type: FlakyTransformer, params: {{ {own} }}, retry: {{ delay: 0 }}",
        "wrapper": f"type: RetryWrapper, params: {{ operator: FlakyTransformer, {own} }}",
    }[how]
    (tmp_path / "p.yaml").write_text(
        "nodes:\n  - { id: reader, type: FileReader, params: { file_path: input.txt } }\n"
        f"  - {{ id: flaky, {flaky}, inputs: {{ items: reader }} }}\n"
        "  - { id: writer, type: FileWriter, params: { file_path: output.txt }, inputs: { lines: flaky } }\n"
    )
    result = Pipeline.from_file(tmp_path / "p.yaml", session=Session(environment={})).run().check()
    assert (tmp_path / "output.txt").read_text() == lines
    assert result.nodes["flaky"].attempts == 2


def test_what_always_fails_fails_after_all_its_attempts():
    """The error of the last attempt is the node's."""
    flaky = node(
        "FlakyTransformer",
        id="f",
        params={"probability": 1},
        policies={"retry": {"max_attempts": 3, "delay": 0}},
    )
    result = Pipeline.of(flaky).run()
    assert result.nodes["f"].attempts == 3
    with pytest.raises(NodeFailed, match="attempt 3 was one of those"):
        result.check()


def test_a_users_own_operator_of_that_name_is_the_users(tmp_path):
    """The name is not reserved: a project's own RetryWrapper hides Petal's."""
    (tmp_path / "own.py").write_text(
        "from petal import operator\n\n@operator\ndef retry_wrapper(*, operator: str) -> str:\n    return operator\n"
    )
    (tmp_path / "p.yaml").write_text(
        "plugins: [./own.py]\nnodes:\n  - { id: a, type: RetryWrapper, params: { operator: Nothing } }\n"
    )
    assert Pipeline.from_file(tmp_path / "p.yaml").run().check().outputs["a"] == "Nothing"


def test_a_wrapper_cannot_be_called_by_itself():
    """Outside a pipeline it stands for nothing, and says so."""
    with pytest.raises(UsageError, match="stands for up to 3 attempts of `NoOpSink`"):
        retry_wrapper([], operator="NoOpSink")
