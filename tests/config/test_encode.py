"""Writing a pipeline as a file: short forms, round trips, and what no file can carry."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petal.config.decode import decode
from petal.config.encode import encode, to_text
from petal.config.syntax import parse
from petal.errors import UsageError
from petal.spec.pipeline import MISSING, EdgeSpec, ModuleSpec, NodeSpec, PipelineSpec
from petal.spec.policy import NO_POLICIES, Batch, Cache, Effects, Execution, Policies, Retry
from petal.testing.specs import pipeline_specs

FORMATS = ("yaml", "json", "toml")


def read(text: str, format: Any) -> PipelineSpec:
    spec, findings = decode(parse(text, f"x.{format}", format))
    assert findings == []
    return spec


def of_node(**said: Any) -> dict[str, Any]:
    policies = Policies(**said)
    found = encode(PipelineSpec(nodes=(NodeSpec("n", "T", policies=policies),)))["nodes"][0]
    assert (
        decode(
            parse(to_text(PipelineSpec(nodes=(NodeSpec("n", "T", policies=policies),)), "json"), "x", "json")
        )[0]
        .nodes[0]
        .policies
        == policies
    )
    return {k: v for k, v in found.items() if k not in ("id", "type")}


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=35, deadline=None)
@given(data=st.data())
def test_every_pipeline_comes_back_equal(format: Any, data: st.DataObject) -> None:
    """What is written in any format is read back as an equal spec, without a finding."""
    spec = data.draw(pipeline_specs())
    assert read(to_text(spec, format), format) == spec


@settings(max_examples=15, deadline=None)
@given(pipeline_specs())
@pytest.mark.slow
def test_encoding_is_canonical(spec: PipelineSpec) -> None:
    """Writing, reading and writing again gives the same text."""
    text = to_text(spec, "yaml")
    assert to_text(read(text, "yaml"), "yaml") == text


@settings(max_examples=15, deadline=None)
@given(pipeline_specs())
@pytest.mark.slow
def test_formats_carry_the_same_model(spec: PipelineSpec) -> None:
    """YAML to TOML to JSON and back changes nothing."""
    for format in FORMATS:
        spec_again = read(to_text(spec, format), format)
        assert encode(spec_again) == encode(spec)


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ({}, {}),
        ({"retry": Retry()}, {"retry": 3}),
        ({"retry": Retry(5)}, {"retry": 5}),
        ({"retry": False}, {"retry": False}),
        ({"retry": Retry(2, delay=0.5)}, {"retry": {"max_attempts": 2, "delay": "0.5s"}}),
        ({"retry": Retry(delay=0.0)}, {"retry": {"max_attempts": 3, "delay": 0}}),
        ({"retry": Retry(retry_on=("OSError",))}, {"retry": {"max_attempts": 3, "retry_on": ["OSError"]}}),
        ({"timeout": 30.0}, {"timeout": "30s"}),
        ({"timeout": 5400.0}, {"timeout": "1h30m"}),
        ({"timeout": 1.23456789}, {"timeout": 1.23456789}),
        ({"timeout": 1e-7}, {"timeout": 1e-7}),
        ({"timeout": False}, {"timeout": False}),
        ({"cache": Cache()}, {"cache": True}),
        ({"cache": False}, {"cache": False}),
        ({"cache": Cache(ttl=3600.0, version="2")}, {"cache": {"ttl": "1h", "version": "2"}}),
        ({"batch": Batch()}, {"batch": 1000}),
        ({"batch": Batch(10)}, {"batch": 10}),
        ({"batch": Batch(10, 8)}, {"batch": {"size": 10, "in_flight": 8}}),
        ({"effects": Effects.ONCE}, {"effects": "once"}),
        ({"execution": Execution("docker")}, {"execution": "docker"}),
        (
            {"execution": Execution("docker", (Execution("local"),), {"image": "x"})},
            {"execution": {"backend": "docker", "image": "x", "failover": ["local"]}},
        ),
        (
            {"execution": Execution("a", (Execution("docker", (), {"image": "x"}), Execution("local")))},
            {"execution": {"backend": "a", "failover": [{"backend": "docker", "image": "x"}, "local"]}},
        ),
    ],
)
def test_policies_are_written_short(said: dict[str, Any], written: dict[str, Any]) -> None:
    """Each policy takes the shortest form that means the same."""
    assert of_node(**said) == written


def test_keys_stand_in_the_order_of_the_design() -> None:
    """The canonical order is that of DESIGN.md, at every level."""
    policies = Policies(Execution("docker"), Retry(), 1.0, Cache(), Batch(), Effects.PURE)
    node = NodeSpec("n", "T", {"a": 1}, {"x": "m"}, ("m",), policies)
    spec = PipelineSpec(
        "p", ("./o.py",), {"a": 1}, {"i": MISSING}, True, Policies(timeout=1.0), 60.0,
        (node,), (EdgeSpec("m", "n"),), (ModuleSpec("m", "m.yaml", {"a": 1}, {"x": "n"}, ("n",)),), {"o": "n"},
    )  # fmt: skip
    data = encode(spec)
    assert list(data) == [
        "name", "plugins", "params", "inputs", "cache_io", "defaults", "run_timeout", "nodes", "edges", "modules", "outputs",
    ]  # fmt: skip
    assert list(data["nodes"][0]) == [
        "id", "type", "params", "inputs", "execution", "retry", "timeout", "cache", "batch", "effects", "after",
    ]  # fmt: skip
    assert list(data["modules"][0]) == ["id", "path", "params", "inputs", "after"]
    assert data["edges"] == [["m", "n"]]
    assert data["run_timeout"] == "1m"


@pytest.mark.parametrize(
    ("inputs", "written"),
    [
        ({"a": MISSING, "b": MISSING}, ["a", "b"]),
        ({"a": 1, "b": None}, {"a": 1, "b": None}),
        ({"a": MISSING, "b": [1]}, ["a", {"b": [1]}]),
    ],
)
def test_inputs_are_a_list_when_one_is_required(inputs: dict[str, Any], written: Any) -> None:
    """A list says which inputs must be given; with defaults for all it is a mapping."""
    assert encode(PipelineSpec(inputs=inputs, nodes=(NodeSpec("n", "T"),)))["inputs"] == written


class Colour(enum.Enum):
    RED = "red"


class Word(enum.StrEnum):
    A = "a"


class Point(msgspec.Struct):
    x: int
    at: Any = None


@dataclass
class Box:
    wide: Decimal


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Path("a/b.txt"), "a/b.txt"),
        (dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC), "2026-01-02T03:04:00+00:00"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.time(3, 4), "03:04:00"),
        (Decimal("1.10"), "1.10"),
        (Colour.RED, "red"),
        (Word.A, "a"),
        ((1, (2,)), [1, [2]]),
        ({"a": {"b": (Path("c"),)}}, {"a": {"b": ["c"]}}),
        (Box(Decimal(2)), {"wide": "2"}),
        (Point(1, Path("a")), {"x": 1, "at": "a"}),
        (None, None),
    ],
)
def test_objects_with_one_plain_form_are_written(value: Any, written: Any) -> None:
    """Paths, dates, enums, tuples and records become plain data of exact types."""
    found = encode(PipelineSpec(nodes=(NodeSpec("n", "T", {"p": value}),)))["nodes"][0]["params"]["p"]
    assert found == written
    assert type(found) is type(written)


def endless() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (len, "is the function or class `len`"),
        (lambda row: row, "is the function or class"),
        (dict, "is the function or class `dict`"),
        ({1, 2}, "is a set"),
        ([frozenset()], "is a set"),
        (b"raw", "is bytes"),
        (object(), "is a `object`"),
        ({"deep": [object()]}, "is a `object`"),
        ({1: "a"}, "has the key 1"),
        (Point(1, object()), "holds a `object`"),
        (endless(), "nested"),
    ],
)
def test_what_no_file_can_carry_is_refused_by_name(value: Any, problem: str) -> None:
    """The refusal names node and parameter, and says what to do instead."""
    with pytest.raises(UsageError) as caught:
        encode(PipelineSpec(nodes=(NodeSpec("n1", "T", {"ok": 1, "bad": value}),)))
    assert caught.value.message.startswith("parameter 'bad' of node 'n1'")
    assert problem in caught.value.message
    assert caught.value.hint
    assert caught.value.node == "n1"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (PipelineSpec(params={"a": len}), "parameter 'a' is the function"),
        (PipelineSpec(inputs={"a": len}), "input 'a' is the function"),
        (
            PipelineSpec(nodes=(NodeSpec("n", "T", policies=Policies(Execution("d", (), {"a": len}))),)),
            "execution setting 'a' of node 'n' is the function",
        ),
        (
            PipelineSpec(nodes=(NodeSpec("n", "T", policies=Policies(Execution("d", (), {"target": 1}))),)),
            "cannot be called 'target'",
        ),
    ],
)
def test_refusals_outside_of_params_name_their_place(spec: PipelineSpec, message: str) -> None:
    """Pipeline parameters, inputs and execution settings are named as such."""
    with pytest.raises(UsageError, match=message):
        encode(spec)


def test_none_is_refused_in_toml_alone() -> None:
    """TOML has no null: leaving the key out would mean the default instead."""
    spec = PipelineSpec(nodes=(NodeSpec("n", "T", {"p": [None]}),))
    assert read(to_text(spec, "yaml"), "yaml") == spec
    assert read(to_text(spec, "json"), "json") == spec
    with pytest.raises(UsageError, match="parameter 'p' of node 'n' is None, which TOML cannot say"):
        to_text(spec, "toml")


def test_infinity_is_refused_in_json_alone() -> None:
    """JSON has no infinities and no NaN."""
    spec = PipelineSpec(nodes=(NodeSpec("n", "T", {"p": float("inf")}),))
    assert read(to_text(spec, "yaml"), "yaml") == spec
    assert read(to_text(spec, "toml"), "toml") == spec
    with pytest.raises(UsageError, match="parameter 'p' of node 'n' is inf, which JSON cannot say"):
        to_text(spec, "json")


def test_nodes_without_policies_share_one_struct() -> None:
    """No struct is made for a node that says nothing about how it is run."""
    spec = read(to_text(PipelineSpec(nodes=(NodeSpec("n", "T"),)), "yaml"), "yaml")
    assert spec.nodes[0].policies is NO_POLICIES
    assert spec.defaults is NO_POLICIES


def test_references_are_written_as_they_stand() -> None:
    """`to_yaml` and `convert` never bake a reference in (S8.3)."""
    spec = PipelineSpec(nodes=(NodeSpec("n", "T", {"key": "${secret:env/KEY}", "cost": "$${x}"}),))
    assert "'${secret:env/KEY}'" in to_text(spec, "yaml") or "${secret:env/KEY}" in to_text(spec, "yaml")
    assert read(to_text(spec, "yaml"), "yaml") == spec
