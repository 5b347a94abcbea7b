"""The JSON Schema of pipeline files: what it accepts, what it rejects, and what it tells an editor."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings

from petal.config.decode import decode
from petal.config.encode import encode
from petal.config.schema import pipeline_schema, type_names
from petal.config.syntax import parse
from petal.library.flaky import retry_wrapper
from petal.spec.operator import Input, OperatorSpec, Output, Param
from petal.spec.pipeline import MISSING
from petal.spec.signature import describe
from petal.spec.views import READS
from petal.testing.specs import pipeline_specs
from tests.config.samples import FULL, SNIPPETS


class Level(Enum):
    LOW = "low"
    HIGH = "high"


class Rule(msgspec.Struct):
    """A rule."""

    field: str
    at_least: int = 0


def file_reader(ctx_free: None = None, *, file_path: Annotated[Path, READS]) -> Iterator[str]:
    """Read a text file line by line.

    Args:
        file_path: The file, relative
            to the pipeline.
    """
    yield from ()


def regex_filter(
    lines: Iterable[str], *, pattern: str, invert: bool = False, limit: int | None = None
) -> Iterator[str]:
    """Keep the lines in which a regular expression is found.

    Args:
        lines: The lines.
        pattern: The expression.
        invert: Keep the other lines.
    """
    yield from ()


def odd(
    rows: list[dict[str, int]],
    value: int = 3,
    *,
    level: Level = Level.LOW,
    rules: list[Rule] | None = None,
    mode: Literal["a", "b"] = "a",
    ratio: Annotated[float, msgspec.Meta(ge=0, le=1, description="A share.")] = 0.5,
    price: Decimal = Decimal("1.5"),
    wait: timedelta = timedelta(seconds=1),
    either: str | datetime = "x",
    fn: Callable[[int], int] = abs,
    pair: tuple[int, str] = (1, "a"),
    root: Path = Path("a"),
    late: float = float("inf"),
) -> int:
    return 0


def source() -> list[int]:
    return []


def operators() -> list[OperatorSpec]:
    found = [describe(fn) for fn in (regex_filter, odd, source)]
    reader = describe(file_reader)
    return [*found, msgspec.structs.replace(reader, inputs=())]


SCHEMA = pipeline_schema(operators())
CLOSED = pipeline_schema(operators(), closed=True)


def node(type: str, params: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"nodes": [{"id": "n", "type": type, **({} if params is None else {"params": params}), **more}]}


def accepts(schema: dict[str, Any], data: Any) -> bool:
    return jsonschema.Draft202012Validator(schema).is_valid(data)


@pytest.mark.parametrize("schema", [SCHEMA, CLOSED, pipeline_schema([]), pipeline_schema([], closed=True)])
def test_the_schema_is_a_schema(schema: dict[str, Any]) -> None:
    """It follows the 2020-12 dialect, refers only to what it defines, and is plain JSON."""
    jsonschema.Draft202012Validator.check_schema(schema)
    text = msgspec.json.encode(schema).decode()
    for name in re.findall(r'"\$ref":"#/\$defs/([^"]+)"', text):
        assert name in schema["$defs"]


@pytest.mark.parametrize("text", [FULL.replace(", more: [reader, pre.output]", ""), *SNIPPETS])
def test_pipelines_of_the_brief_and_the_design_are_accepted(text: str) -> None:
    """Every complete snippet is valid, with types that the schema does not know among them."""
    jsonschema.Draft202012Validator(SCHEMA).validate(parse(text, "x.yaml", "yaml").data)


@settings(max_examples=30, deadline=None)
@given(pipeline_specs())
@pytest.mark.slow
def test_whatever_is_written_is_accepted(spec: Any) -> None:
    """A file that Petal wrote is valid for an editor too."""
    data = encode(spec)
    assert decode(parse(msgspec.json.encode(data), "x.json", "json"))[1] == []
    jsonschema.Draft202012Validator(pipeline_schema([])).validate(data)


GOOD = [
    node("FileReader", {"file_path": "a.txt"}),
    node("file_reader", {"file_path": "${params.file}"}),
    node("RegexFilter", {"pattern": "x"}, inputs={"lines": "reader"}),
    node("RegexFilter", {"pattern": "x", "invert": "${params.invert}", "limit": None}),
    node("RegexFilter", {"pattern": "x", "lines": ["a", "b"]}),
    node("RegexFilter", {"pattern": "x", "lines": "${params.lines}"}),
    node("Source"),
    node("Odd", {"level": "high", "rules": [{"field": "a"}, {"field": "b", "at_least": "${params.n}"}]}),
    node(
        "Odd",
        {"level": "${params.level}", "rules": None, "mode": "b", "ratio": 1, "price": 2.5, "wait": "PT1S"},
    ),
    node("Odd", {"either": 7, "fn": "abs", "pair": [1, "a"], "rows": [{"a": 1}], "value": 4}),
    node("Odd", {"pair": ["${params.x}", "a"], "rules": "${params.rules}"}),
    node("Source", retry=3),
    node("Source", retry=False, timeout=False, cache=True, batch=10, effects="pure", execution="docker"),
    node("Source", retry={"max_attempts": 2, "delay": 0, "retry_on": "OSError"}, timeout="1h30m"),
    node("Source", execution={"target": "aws_lambda", "region": "${env:REGION}", "failover": ["local"]}),
    node("Source", execution={"backend": "a", "failover": [{"backend": "b", "image": "x"}, "local"]}),
    node("Source", execution={"backend": "a", "failover": {"target": "b", "protocol": "json"}}),
    {
        "nodes": {
            "a": {"type": "Source"},
            "b": {"id": "b", "type": "regex_filter", "params": {"pattern": "x"}},
        }
    },
    {
        "modules": [{"id": "m", "path": "m.yaml", "params": {"a": 1}}],
        "inputs": ["a", {"b": 1}],
        "outputs": ["m"],
    },
    {**node("Source"), "edges": [["n", "m"], {"from": "n.errors", "to": "m"}], "run_timeout": 60},
    {
        **node("Source"),
        "defaults": {"timeout": "5m", "cache": {"ttl": 3600, "version": 2}},
        "$schema": "x.json",
    },
]

BAD = [
    {},
    [],
    {"name": "x"},
    {"nodes": "reader"},
    {**node("Source"), "edgse": []},
    {**node("Source"), "name": 3},
    {**node("Source"), "cache_io": "yes"},
    {**node("Source"), "edges": [["a"]]},
    {**node("Source"), "edges": [["a", "b", "c"]]},
    {**node("Source"), "edges": ["a -> b"]},
    {**node("Source"), "defaults": {"retries": 3}},
    {**node("Source"), "run_timeout": "soon"},
    {**node("Source"), "outputs": "n"},
    {"nodes": [{"type": "Source"}]},
    {"nodes": [{"id": "n"}]},
    {"nodes": [{"id": "my node", "type": "Source"}]},
    {"nodes": {"my node": {"type": "Source"}}},
    {"nodes": {"n": {}}},
    {"modules": [{"id": "m"}]},
    {"modules": [{"id": "m", "path": "m.yaml", "retry": 3}]},
    node("FileReader"),
    node("file_reader", {}),
    node("FileReader", {"file_path": 3}),
    node("FileReader", {"file_path": "a"}, inputs={"x": "y"}),
    node("FileReader", {"file_path": "a", "mode": "b"}),
    node("RegexFilter", {"pattern": "x", "invert": "yes"}),
    node("RegexFilter", {"pattern": ["x"]}),
    node("RegexFilter", {"pattern": "x"}, inputs={"line": "reader"}),
    node("RegexFilter", {"pattern": "x", "lines": "a"}),
    node("Odd", {"level": "middle"}),
    node("Odd", {"rules": [{"at_least": 1}]}),
    node("Odd", {"ratio": 2}),
    node("Odd", {"mode": "c"}),
    node("Source", retry=0),
    node("Source", retry="3"),
    node("Source", timeout=-1),
    node("Source", timeout="30 s"),
    node("Source", timeout=True),
    node("Source", batch={"size": 0}),
    node("Source", effects="twice"),
    node("Source", execution={"image": "x"}),
    node("Source", execution={"backend": "a", "failover": [{"image": "x"}]}),
    node("Source", execution={"backend": "a", "failover": [{"backend": "b", "failover": ["c"]}]}),
    node("Source", execution={"backend": "a", "failover": [["b"]]}),
    node("Source", retires=3),
]


@pytest.mark.parametrize("schema", [SCHEMA, CLOSED], ids=["open", "closed"])
@pytest.mark.parametrize("data", GOOD)
def test_good_pipelines_are_accepted(data: dict[str, Any], schema: dict[str, Any]) -> None:
    """Known types, both spellings of their names, short forms and references are fine."""
    jsonschema.Draft202012Validator(schema).validate(data)


@pytest.mark.parametrize("schema", [SCHEMA, CLOSED], ids=["open", "closed"])
@pytest.mark.parametrize("data", BAD)
def test_obvious_mistakes_are_rejected(data: Any, schema: dict[str, Any]) -> None:
    """Misspelt keys, missing parameters, values of another type and policies that cannot work are seen."""
    assert not accepts(schema, data)


def test_unknown_types_are_wrong_only_in_the_closed_schema() -> None:
    """An operator of the user's own file is nothing an editor can know."""
    own = node("MyOwn", {"anything": [1]}, inputs={"x": "y"})
    assert accepts(SCHEMA, own)
    assert not accepts(CLOSED, own)
    assert not accepts(pipeline_schema([], closed=True), own)


def test_params_carry_their_texts_and_defaults() -> None:
    """Descriptions come from the docstring and from Meta, defaults from the signature where JSON has them."""
    params = SCHEMA["$defs"]["params.RegexFilter"]
    assert params["description"] == "Keep the lines in which a regular expression is found."
    assert params["required"] == ["pattern"]
    assert params["properties"]["pattern"] == {"description": "The expression.", "type": "string"}
    assert params["properties"]["invert"]["description"] == "Keep the other lines."
    assert params["properties"]["invert"]["default"] is False
    assert SCHEMA["$defs"]["params.FileReader"]["properties"]["file_path"] == {
        "description": "The file, relative to the pipeline.",
        "type": "string",
    }
    odd_params = SCHEMA["$defs"]["params.Odd"]["properties"]
    assert odd_params["ratio"]["description"] == "A share."
    assert odd_params["level"]["default"] == "low"
    assert odd_params["root"] == {"type": "string", "default": "a"}
    assert odd_params["pair"]["default"] == [1, "a"]
    assert odd_params["either"] == {"default": "x"}
    assert odd_params["fn"] == {}
    assert "default" not in odd_params["late"]


def test_a_wrapper_takes_what_the_wrapped_operator_takes() -> None:
    """Its own parameters are checked; all else, inputs included, is the other operator's."""
    schema = pipeline_schema([describe(retry_wrapper)], closed=True)
    good = node("RetryWrapper", {"operator": "Join", "on": "id"}, inputs={"left": "a", "right": "b"})
    assert accepts(schema, good)
    assert not accepts(schema, node("RetryWrapper", {"on": "id"}))
    assert not accepts(schema, node("RetryWrapper", {"operator": "Join", "max_attempts": 0}))


def test_an_editor_can_list_the_types() -> None:
    """Each type name stands as a constant with the operator's summary."""
    choices = SCHEMA["$defs"]["node"]["properties"]["type"]["anyOf"]
    assert {"const": "FileReader", "description": "Read a text file line by line."} in choices
    assert {"const": "file_reader", "description": "Read a text file line by line."} in choices


def test_the_schema_does_not_depend_on_the_order_of_operators() -> None:
    """The same operators give the same text, so a generated file has no needless changes."""
    assert msgspec.json.encode(pipeline_schema(reversed(operators()))) == msgspec.json.encode(SCHEMA)


def test_the_first_of_two_operators_with_one_name_counts() -> None:
    """Scopes are searched in order (S2.5), so the caller's order decides."""
    first = OperatorSpec("A", "m:A", "function", params=(Param("x", int),))  # type: ignore[arg-type]
    second = OperatorSpec("A", "n:A", "function")  # type: ignore[arg-type]
    assert list(pipeline_schema([first, second])["$defs"]["params.A"]["properties"]) == ["x"]


@pytest.mark.parametrize(
    ("name", "ref", "names"),
    [
        ("RegexFilter", "m:regex_filter", ["RegexFilter", "regex_filter"]),
        ("Model", "m:Model", ["Model"]),
        ("model", "m:score", ["model"]),
        ("Score", "m:score", ["Score", "score"]),
    ],
)
def test_type_names(name: str, ref: str, names: list[str]) -> None:
    """A function's own name is accepted too, unless `@operator(name=...)` gave another."""
    assert type_names(OperatorSpec(name, ref, "function")) == names  # type: ignore[arg-type]


def test_annotations_that_nobody_can_describe_take_anything() -> None:
    """Missing and odd annotations never stop the schema."""
    strange = OperatorSpec(
        "Strange",
        "m:strange",
        "function",  # type: ignore[arg-type]
        inputs=(Input("a"), Input("b", "not resolved")),
        params=(
            Param("c"),
            Param("d", object()),
            Param("e", 3, default=object()),
            Param("f", int, default=None),
        ),
        outputs=(Output("output", MISSING),),
    )
    schema = pipeline_schema([strange])
    jsonschema.Draft202012Validator.check_schema(schema)
    anything = {"a": 1, "b": [2], "c": {"x": 1}, "d": "y", "e": None, "f": None}
    assert accepts(schema, node("Strange", anything))
