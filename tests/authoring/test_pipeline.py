"""Pipelines written in Python: binding by name, node(), targets, overrides, inputs, pictures and files (S2, S5.7)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from petal import (
    Batches,
    DefinitionError,
    InvalidPipeline,
    Pipeline,
    Plan,
    Session,
    UsageError,
    node,
    operator,
    retry,
)
from petal.config.decode import decode
from petal.config.syntax import parse

RAN: list[str] = []


@pytest.fixture(autouse=True)
def _fresh():
    RAN.clear()


def reader() -> Iterator[str]:
    """Read."""
    RAN.append("reader")
    yield from ["ERROR a", "ok", "ERROR b"]


def errors(reader: Iterable[str], *, prefix: str = "ERROR") -> Iterator[str]:
    RAN.append("errors")
    yield from (r for r in reader if r.startswith(prefix))


def count(errors: Iterable[str]) -> int:
    RAN.append("count")
    return sum(1 for _ in errors)


def total(reader: list[str]) -> int:
    RAN.append("total")
    return len(reader)


def sink(errors: Iterable[str]) -> None:
    RAN.append("sink")
    list(errors)


def limit(count: int, most: int = 5) -> bool:
    return count <= most


def batches() -> Batches[str]:
    RAN.append("batches")
    yield pl.Series(["x", "y"])


def lengths(batches: Iterable[str]) -> list[int]:
    return [len(b) for b in batches]


def test_an_input_binds_to_the_node_of_its_name():
    """S2.1: the signature is the wiring, whatever the order in which functions are given."""
    result = Pipeline.of(count, errors, reader, total, name="p").run().check()
    assert dict(result.outputs) == {"count": 2, "total": 3}
    assert RAN.count("reader") == 1


def test_node_places_an_operator_again_under_another_id():
    """S2.1: explicit inputs come before names; params may be given as keywords or as a mapping."""
    p = Pipeline.of(
        reader,
        node(errors, id="ok", prefix="ok"),
        node(errors, id="all", params={"prefix": ""}),
        node(count, id="n", inputs={"errors": "all"}),
        node(count, id="m", inputs={"errors": errors}),
        errors,
    )
    assert dict(p.run().check().outputs) == {"ok": ["ok"], "n": 3, "m": 2}


def test_an_input_never_binds_to_its_own_node():
    """S2.1: a node whose id is the name of its own input takes a pipeline input of that name."""

    def value(value: int) -> int:
        return value + 1

    assert Pipeline.of(value).run(inputs={"value": 4}).check().outputs["value"] == 5


def test_after_orders_without_data():
    """S2.3: a node starts only after those named in `after` have succeeded."""
    order: list[str] = []

    def slow() -> None:
        import time

        time.sleep(0.05)
        order.append("slow")

    def quick() -> int:
        order.append("quick")
        return 1

    p = Pipeline.of(node(quick, after=[slow]), slow)
    assert p.run().check().outputs["quick"] == 1
    assert order == ["slow", "quick"]


def test_after_a_failed_node_is_skipped():
    """S2.3: what comes after a failure does not run."""

    def bad() -> None:
        raise ValueError

    def later() -> int:
        raise AssertionError

    result = Pipeline.of(bad, node(later, after=["bad"])).run()
    assert result.nodes["later"].status == "skipped"


@pytest.mark.parametrize(
    ("make", "code", "says"),
    [
        (lambda: Pipeline.of(reader, reader), "duplicate-id", "two nodes have the id `reader`"),
        (lambda: Pipeline.of(reader, node(errors, id="reader")), "duplicate-id", "two nodes"),
        (lambda: node(reader, id="a b"), "bad-id", "is not an id"),
        (lambda: node(reader, id=3), "bad-id", "is not an id"),
        (lambda: node(lambda: 1), "bad-id", "is not an id"),
        (lambda: node(node(reader)), "bad-definition", "was given a node"),
        (lambda: Pipeline.of("reader"), "not-an-operator", "is not an operator"),
        (lambda: Pipeline.of(3), "not-an-operator", "is not an operator"),
        (lambda: Pipeline.of(len), "not-an-operator", "is not an operator"),
        (lambda: node(reader, policies={"retri": 3}), "bad-definition", "no policy `retri`"),
        (lambda: node(reader, policies={"retry": {"max": 3}}), "bad-definition", "policy `retry`"),
        (lambda: node(reader, policies={"timeout": "soon"}), "bad-duration", "'soon' is not a duration"),
        (lambda: node(reader, inputs=["errors"]), "bad-definition", "inputs"),
        (lambda: node(reader, inputs={"x": 3}), "bad-definition", "input `x`"),
        (lambda: node(3), "not-an-operator", "3"),
        (lambda: node(reader, after=[3]), "bad-definition", "after"),
    ],
)
def test_an_entry_that_cannot_work_is_refused(make, code, says):
    """DESIGN 2.2: node() and Pipeline.of refuse with what, why and the remedy."""
    with pytest.raises(DefinitionError) as error:
        make()
    assert says in error.value.message
    assert error.value.code == code
    assert error.value.hint


@pytest.mark.parametrize(
    ("items", "code"),
    [
        ([node(errors, inputs={"reader": "nobody"})], "unknown-node"),
        ([reader, node(errors, inputs={"lines": "reader"})], "unknown-input"),
        ([reader, node(errors, patern="x")], "unknown-param"),
        ([reader, node(errors, prefix=3)], "bad-value"),
        ([reader, node(errors, inputs={"reader": "reader.port"})], "unknown-port"),
        ([reader, node(errors, after=["nobody"])], "unknown-node"),
        ([reader, node(errors, after=["errors"])], "cycle"),
        (
            [node(errors, id="a", inputs={"reader": "b"}), node(errors, id="b", inputs={"reader": "a"})],
            "cycle",
        ),
        ([reader, errors, sink, node(total, inputs={"reader": "sink"})], None),
    ],
)
def test_mistakes_in_wiring_are_findings_before_anything_runs(items, code):
    """DESIGN 3: a pipeline with mistakes is invalid; nothing of it runs."""
    p = Pipeline.of(*items)
    found = [d for d in p.validate() if d.severity == "error"]
    assert found
    if code:
        assert code in {d.code for d in found}
    with pytest.raises(InvalidPipeline) as error:
        p.run()
    assert error.value.diagnostics
    assert RAN == []


def test_a_name_that_nobody_has_becomes_a_required_input():
    """S2.2: validate() warns with did-you-mean; run() without it is invalid before anything runs."""

    def user(readr: Iterable[str]) -> int:
        RAN.append("user")
        return len(list(readr))

    p = Pipeline.of(reader, user)
    (found,) = p.validate()
    assert found.severity == "warning"
    assert "reader" in (found.hint or "")
    with pytest.raises(InvalidPipeline, match="readr"):
        p.run()
    assert RAN == []
    assert p.run(inputs={"readr": ["a", "b"]}).check().outputs["user"] == 2


def test_an_unbound_input_with_a_default_is_an_optional_pipeline_input():
    """S2.2: run(inputs=...) reaches it; without, the default holds."""
    p = Pipeline.of(reader, errors, count, limit)
    assert p.validate() == []
    assert p.run().check().outputs["limit"] is True
    assert p.run(inputs={"most": 1}).check().outputs["limit"] is False


@pytest.mark.parametrize("value", [["a", "b"], ("a", "b"), pl.Series(["a", "b"])])
def test_a_pipeline_input_takes_every_view_of_rows(value):
    """S3.1: a stream view is fed by lists, tuples, frames."""
    p = Pipeline.of(node(errors, prefix=""))
    assert p.run(inputs={"reader": value}).check().outputs["errors"] == ["a", "b"]


@pytest.mark.parametrize("value", ["text", b"bytes", {"a": 1}, None, 3])
def test_a_pipeline_input_is_never_taken_apart(value):
    """S3.1: text, bytes and mappings are no streams; run() says so before anything runs."""
    p = Pipeline.of(reader, node(errors, id="e", inputs={"reader": "rows"}), node(total, id="rows"))
    del p
    with pytest.raises(InvalidPipeline, match="errors"):
        Pipeline.of(errors).run(inputs={"reader": value})


def test_unknown_names_in_a_request_are_usage_errors():
    """S5.2: a target, override, input or parameter that names nothing is refused with did-you-mean."""
    p = Pipeline.of(reader, errors, count)
    for request in (
        {"targets": ["cuont"]},
        {"overrides": {"cuont": 1}},
        {"inputs": {"x": 1}},
        {"params": {"errors.prefx": "a"}},
        {"params": {"eror.prefix": "a"}},
    ):
        with pytest.raises((UsageError, InvalidPipeline)):
            p.run(**request)
    assert RAN == []


def test_parameters_are_given_by_address():
    """S2.4: params={"node.param": value}."""
    p = Pipeline.of(reader, errors, count)
    assert p.run(params={"errors.prefix": "ok"}).check().outputs["count"] == 1


def test_targets_run_only_what_they_need():
    """S5.3: targets are kept, also those that somebody consumes, and nothing else runs."""
    p = Pipeline.of(reader, errors, count, total, sink)
    result = p.run(targets=["errors"]).check()
    assert dict(result.outputs) == {"errors": ["ERROR a", "ERROR b"]}
    assert sorted(RAN) == ["errors", "reader"]
    RAN.clear()
    result = p.run(targets=["errors", "count"]).check()
    assert dict(result.outputs) == {"errors": ["ERROR a", "ERROR b"], "count": 2}
    assert sorted(RAN) == ["count", "errors", "reader"]
    RAN.clear()
    assert dict(p.run(targets="sink").check().outputs) == {}
    assert sorted(RAN) == ["errors", "reader", "sink"]


def test_overrides_stand_for_a_node():
    """S5.7: the node is not run, its ancestors only if others need them."""
    p = Pipeline.of(reader, errors, count)
    result = p.run(overrides={"errors": ["x"]}).check()
    assert result.outputs["count"] == 1
    assert RAN == ["count"]
    assert "reader" not in result.nodes
    RAN.clear()
    result = Pipeline.of(reader, errors, count, total).run(overrides={"errors": []}).check()
    assert dict(result.outputs) == {"count": 0, "total": 3}
    assert sorted(RAN) == ["count", "reader", "total"]


def test_an_override_on_a_sink_means_skip():
    """S5.7: anything given for a sink keeps it from running."""
    p = Pipeline.of(reader, errors, count, sink)
    p.run(overrides={"sink": None}).check()
    assert "sink" not in RAN
    RAN.clear()
    Pipeline.of(reader, errors, sink).run(overrides={"sink": None})
    assert RAN == []


@pytest.mark.parametrize(
    "value", [["abc", "de"], ("abc", "de"), pl.Series(["abc", "de"]), iter(["abc", "de"])]
)
def test_an_override_of_a_stream_takes_any_rows(value):
    """S5.7, S3.1: rows in any view, also for a node that gives batches; two consumers both get them."""
    p = Pipeline.of(batches, lengths, node(lengths, id="again"))
    assert dict(p.run(overrides={"batches": value}).check().outputs) == {"lengths": [3, 2], "again": [3, 2]}


@pytest.mark.parametrize(
    ("target", "value"),
    [
        ("reader", "text"),
        ("reader", [1, 2]),
        ("reader", {"a": 1}),
        ("reader", None),
        ("batches", "text"),
        ("count", "three"),
        ("count", 1.5),
        ("count", None),
        ("lengths", ["a"]),
    ],
)
def test_the_value_of_an_override_is_checked_against_its_type(target, value):
    """S5.7: a value that does not fit is refused before anything runs."""
    p = Pipeline.of(reader, errors, count, batches, lengths)
    with pytest.raises((UsageError, InvalidPipeline), match=target):
        p.run(overrides={target: value})
    assert RAN == []


def test_a_dry_run_prints_the_picture_and_writes_nothing(capsys, tmp_path, monkeypatch):
    """DESIGN 3: dry=True prints what would run, returns the plan, runs and writes nothing."""
    monkeypatch.chdir(tmp_path)
    plan = Pipeline.of(reader, errors, count, name="p").run(dry=True)
    assert isinstance(plan, Plan)
    out = capsys.readouterr().out
    for name in ("reader", "errors", "count"):
        assert name in out
    assert RAN == []
    assert os.listdir(tmp_path) == []


def test_a_run_from_python_writes_nothing_on_its_own(tmp_path, monkeypatch):
    """S8.2: Pipeline.of keeps nothing on disk unless asked."""
    monkeypatch.chdir(tmp_path)
    Pipeline.of(reader, errors, count).run().check()
    assert os.listdir(tmp_path) == []


def test_a_notebook_shows_the_picture():
    """DESIGN 3: text, Mermaid and Markdown, without running anything."""
    bundle = Pipeline.of(reader, errors, count)._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/vnd.mermaid", "text/markdown"}
    for text in bundle.values():
        assert "errors" in text
    assert RAN == []


FUNCTIONS = """
from collections.abc import Iterable, Iterator
from petal import operator

@operator
def reader(n: int = 4) -> Iterator[str]:
    for i in range(n):
        yield ("ERROR " if i % 2 else "ok ") + str(i)

@operator(name="Keep", rowwise=True)
def errors(reader: Iterable[str], *, prefix: str = "ERROR", flags: list[str] = []) -> Iterator[str]:
    yield from (r for r in reader if r.startswith(prefix))

@operator
def concat(*lists: Iterable[str]) -> list[str]:
    return [x for xs in lists for x in xs]

@operator
def done(all: list[str], label: str) -> str:
    return label + ",".join(all)
"""


@pytest.mark.parametrize("format", ["yaml", "json", "toml"])
def test_a_pipeline_goes_to_a_file_and_back(format, tmp_path, monkeypatch):
    """DESIGN 3: Python to file to Python gives an equal specification and an equal run."""
    (tmp_path / "ops.py").write_text(FUNCTIONS)
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    from petal.code.loader import load_file

    ops: Any = load_file(Path("ops.py"))
    p = Pipeline.of(
        ops.reader,
        node(ops.errors, id="ok", inputs={"reader": "reader"}, prefix="ok", flags=["a", "no", "1"]),
        node(ops.errors, id="errors", after=["ok"], policies={"effects": "pure", "retry": False}),
        node(ops.concat, id="all", inputs={"lists": ["ok", "errors", "ok"]}),
        ops.done,
        name="round trip",
    )
    text = {"yaml": p.to_yaml, "json": p.to_json, "toml": p.to_toml}[format]()
    spec, findings = decode(parse(text.encode(), f"p.{format}", format))
    assert findings == []
    assert spec == p.spec
    (tmp_path / f"p.{format}").write_text(text)
    again = Pipeline.from_file(f"p.{format}", session=Session())
    assert again.spec == p.spec
    assert {"yaml": again.to_yaml, "json": again.to_json, "toml": again.to_toml}[format]() == text
    for inputs in ({"label": "a"}, {"label": "b", "n": 7}):
        assert dict(again.run(inputs=inputs).check().outputs) == dict(p.run(inputs=inputs).check().outputs)


@pytest.mark.parametrize("format", ["yaml", "json", "toml"])
def test_every_policy_goes_to_a_file_and_back(format):
    """DESIGN 3: the policies of nodes are written and read back as they are."""
    blocks: list[dict[str, Any]] = [
        {"retry": 3},
        {"retry": {"max_attempts": 2, "delay": 0.5, "retry_on": ["TimeoutError", "throttle"]}},
        {"timeout": "1h30m", "cache": True},
        {"timeout": False, "cache": {"ttl": 3600.0, "version": "2"}},
        {"batch": 10, "effects": "once"},
        {"execution": {"backend": "docker", "image": "x:1", "failover": ["local"]}},
    ]
    p = Pipeline.of(*(node(reader, id=f"n{i}", policies=b) for i, b in enumerate(blocks)), name="policies")
    text = {"yaml": p.to_yaml, "json": p.to_json, "toml": p.to_toml}[format]()
    spec, findings = decode(parse(text.encode(), f"p.{format}", format))
    assert findings == []
    assert spec == p.spec


def test_from_module_takes_operators_in_order(tmp_path):
    """S7.2: all operators defined in a file, in order."""
    (tmp_path / "etl.py").write_text(
        FUNCTIONS.replace("concat(*lists: Iterable[str])", "all(errors: list[str])").replace(
            "[x for xs in lists for x in xs]", "errors"
        )
    )
    p = Pipeline.from_module(tmp_path / "etl.py")
    assert [n.id for n in p.spec.nodes] == ["reader", "errors", "all", "done"]
    assert p.run(inputs={"label": ">"}).check().outputs["done"] == ">ERROR 1,ERROR 3"


def test_lambdas_and_nested_functions_are_operators_here():
    """S7.2: what has no importable name still runs in this process."""
    p = Pipeline.of(node(lambda: 3, id="three"), node(lambda three: three + 1, id="four"))
    assert p.run().check().outputs["four"] == 4


def test_two_operators_of_one_name_are_an_error():
    """S2.5: a clash within one scope names both."""

    def make(n: int) -> Any:
        @operator(name="Same")
        def op() -> int:
            return n

        op.__qualname__ = f"op{n}"
        return op

    with pytest.raises(DefinitionError, match="two operators are called Same"):
        Pipeline.of(node(make(1), id="a"), node(make(2), id="b"))


def test_policies_of_a_node_do_not_touch_the_function():
    """S1.1: node(policies=...) speaks for the node alone."""

    @retry
    def op() -> int:
        return 1

    before = dict(op.__dict__)
    node(op, policies={"retry": 5})
    assert op.__dict__ == before
