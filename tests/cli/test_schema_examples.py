"""The JSON Schema that editors get accepts every pipeline file of the examples."""

import json
from pathlib import Path

import jsonschema
import pytest

from petal.config.syntax import format_of, parse

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(
    p for p in EXAMPLES.rglob("*") if format_of(p.name) and p.name not in ("pyproject.toml", "cities.json")
)


@pytest.fixture(scope="module")
def open_schema(tmp_path_factory):
    from petal.cli.main import invoke

    path = tmp_path_factory.mktemp("schema") / "petal.json"
    assert invoke(["schema", "-o", str(path)]) == 0
    return json.loads(path.read_text("utf-8"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(EXAMPLES)))
def test_every_example_is_valid(file, open_schema, petal):
    """`petal schema` knows the installed operators and is open; `petal schema FILE` is closed over the file's own."""
    format = format_of(file.name)
    data = parse(file.read_bytes(), file.name, format).data
    jsonschema.Draft202012Validator(open_schema).validate(data)
    if (
        file.name == "installed.yaml"
    ):  # its operators come from the example's package, which is not installed here
        return
    ran = petal("schema", str(file))
    assert ran.code == 0, ran.err
    closed = json.loads(ran.out)
    jsonschema.Draft202012Validator.check_schema(closed)
    jsonschema.Draft202012Validator(closed).validate(data)
    places = [node.get("execution") or {} for node in data.get("nodes", ())]
    speaks_json = any("entrypoint" in place or place.get("protocol") == "json" for place in places)
    if data.get("nodes") and not speaks_json:  # the type of a program need not be installed (S6.3)
        wrong = json.loads(json.dumps(data))
        wrong["nodes"][0]["type"] = "NoSuchOperator"
        assert not jsonschema.Draft202012Validator(closed).is_valid(wrong)
        assert jsonschema.Draft202012Validator(open_schema).is_valid(wrong)


def test_there_are_examples_in_every_format():
    """YAML, JSON and TOML are all among them."""
    assert {format_of(f.name) for f in FILES} == {"yaml", "json", "toml"}
