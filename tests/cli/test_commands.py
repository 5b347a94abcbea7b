"""The other commands: what they print, and their exit codes."""

import json
from pathlib import Path

import click
import pytest

import petal as package
from petal.cli.main import COMMANDS
from petal.cli.main import petal as group
from petal.cli.reference import reference_pages


def test_no_arguments_show_the_help(petal):
    """``petal`` alone shows the commands and how to complete them."""
    ran = petal()
    assert ran.code == 0
    assert all(name in ran.out for name in COMMANDS)
    assert "_PETAL_COMPLETE=bash_source petal" in ran.out


def test_version(petal):
    """--version prints the version."""
    assert petal("--version").out == f"petal {package.__version__}\n"


@pytest.mark.parametrize(
    ("args", "text"),
    [(["rnu"], "did you mean `run`?"), (["zzz"], "`petal --help`"), (["--vresion"], "--version")],
)
def test_unknown_commands_and_options(petal, args, text):
    """An unknown command or option is a usage error with a guess."""
    ran = petal(*args)
    assert ran.code == 2
    assert text in ran.err


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_agrees_with_the_commands(petal, name):
    """The static table says of each command what the command says of itself, and --help works."""
    command = group.get_command(click.Context(group), name)
    assert command is not None
    assert (command.name, command.short_help) == (name, COMMANDS[name][1])
    assert petal(name, "--help").code == 0


def test_a_bug_is_shown_in_full(petal, chain, monkeypatch):
    """What nobody raised on purpose is shown with its traceback, as a bug of Petal, with exit code 70."""
    monkeypatch.setattr("petal.app.pipeline.Pipeline.from_file", lambda *_, **__: 1 / 0)
    ran = petal("plan", "chain.yaml")
    assert ran.code == 70
    assert "ZeroDivisionError" in ran.err
    assert "this is a bug in Petal" in ran.err


def test_plan_says_where_everything_came_from(petal, chain):
    """The plan shows the picture, stages, bindings, and each policy with its origin."""
    ran = petal("plan", "chain.yaml")
    assert ran.code == 0
    assert "[reader] ──▶ [filter] ──▶ [writer]" in ran.out
    assert "filter: RegexFilter (transformer) on local, stage 1" in ran.out
    assert "effects    idempotent (decorator)" in ran.out
    assert "retry      1 attempt (built-in)" in ran.out
    assert "lines      <- reader" in ran.out


def test_plan_as_json(petal, chain):
    """--json is the whole plan."""
    data = petal("plan", "chain.yaml", "--json").data
    node = data["nodes"][1]
    assert (node["id"], node["type"], node["kind"], node["stage"]) == (
        "filter",
        "RegexFilter",
        "transformer",
        1,
    )
    assert node["params"]["pattern"] == "^ERROR"
    assert node["inputs"] == {"lines": {"node": "reader", "port": "output"}}
    assert node["policies"]["execution"]["origin"] == "built-in"
    assert data["stages"][0]["links"][0]["spill"] is False


def test_plan_shows_what_may_spill(petal, tmp_path):
    """Branches that meet again are marked where their rows may go to disk."""
    (tmp_path / "d.yaml").write_text(
        "nodes:\n  - {id: r, type: FileReader, params: {file_path: x}}\n"
        "  - {id: a, type: RegexFilter, params: {pattern: a}}\n  - {id: b, type: RegexFilter, params: {pattern: b}}\n"
        "  - {id: m, type: ListMerger}\n  - {id: w, type: FileWriter, params: {file_path: y}}\n"
        "edges: [[r, a], [r, b], [a, m], [b, m], [m, w]]\n"
    )
    ran = petal("plan", "d.yaml")
    assert ran.code == 0
    assert "may spill to disk" in ran.out


def test_graph(petal, chain):
    """The picture comes as text, ASCII, Mermaid or DOT."""
    assert petal("graph", "chain.yaml").out.endswith("[reader] ──▶ [filter] ──▶ [writer]\n")
    assert petal("graph", "chain.yaml", "--ascii").out.isascii()
    assert "flowchart LR" in petal("graph", "chain.yaml", "--format", "mermaid").out
    assert petal("graph", "chain.yaml", "--format", "dot").out.startswith("digraph")
    assert max(map(len, petal("graph", "chain.yaml", "--width", "20").out.splitlines())) <= 20


def test_graph_of_a_pipeline_with_mistakes(petal, tmp_path):
    """What can be told is drawn, and the exit code says that it is invalid; a cycle is not drawn."""
    (tmp_path / "bad.yaml").write_text(
        "nodes:\n  - {id: a, type: Nope}\n  - {id: b, type: NoOpSink}\nedges: [[a, b]]\n"
    )
    ran = petal("graph", "bad.yaml")
    assert (ran.code, ran.out) == (3, "Pipeline: bad\n[a] ──▶ [b]\n")
    (tmp_path / "cycle.yaml").write_text(
        "nodes:\n  - {id: a, type: NoOpTransformer}\n  - {id: b, type: NoOpTransformer}\nedges: [[a, b], [b, a]]\n"
    )
    ran = petal("graph", "cycle.yaml")
    assert (ran.code, ran.out) == (3, "")
    assert "error[cycle]" in ran.err


def test_describe_lists(petal):
    """Operators, backends and codes are listed, as text and as JSON."""
    assert "RegexFilter" in petal("describe").out
    assert {"name", "kind", "summary", "origin"} == set(petal("describe", "operators", "--json").data[0])
    assert petal("describe", "backends", "--json").data[0]["name"] == "local"
    assert "bad-id" in petal("describe", "codes").out
    assert petal("describe", "bad-id", "--json").data["severity"] == "error"


@pytest.mark.parametrize("name", ["RegexFilter", "regex_filter"])
def test_describe_an_operator(petal, name):
    """An operator is described by its signature and docstring, under either name."""
    data = petal("describe", name, "--json").data
    assert data["inputs"][0] | {"description": ""} == {
        "name": "lines",
        "type": "Batches[str]",
        "view": "batches",
        "variadic": False,
        "required": True,
        "description": "",
    }
    pattern, invert = data["params"]
    assert pattern["required"]
    assert invert["default"] is False
    assert pattern["description"].startswith("The regular expression")
    text = petal("describe", name).out
    assert "Parameters\n  pattern  str   required" in text
    assert "Example\n  nodes:" in text


def test_describe_operators_of_a_file(petal, etl):
    """-f shows a pipeline's own operators."""
    ran = petal("describe", "-f", "etl.py", "Numbers")
    assert "Count from zero." in ran.out
    assert "count  int  = 5  How far." in ran.out


def test_describe_something_unknown(petal):
    """An unknown name is a usage error with a guess."""
    ran = petal("describe", "RegexFiltr")
    assert ran.code == 2
    assert "`RegexFilter`" in ran.err


def test_every_builtin_operator_can_be_described(petal):
    """No operator of the library breaks a view of it."""
    for record in petal("describe", "--json").data:
        assert petal("describe", record["name"]).code == 0
        assert record["summary"]


@pytest.mark.parametrize("name", ["operators.md", "diagnostics.md", "cli.md"])
def test_the_reference_is_fresh(name):
    """The committed pages are what the code says now; `petal describe --markdown src/petal/reference` writes them."""
    folder = Path(package.__file__).parent / "reference"
    assert (folder / name).read_text() == reference_pages()[name]


def test_markdown_is_written(petal, tmp_path):
    """--markdown writes the pages into a folder."""
    assert petal("describe", "--markdown", "ref").code == 0
    assert sorted(p.name for p in (tmp_path / "ref").iterdir()) == [
        "cli.md",
        "diagnostics.md",
        "operators.md",
    ]


def test_schema(petal, chain):
    """The schema is open without a file, closed with one, and -o writes it."""
    node_type = petal("schema").data["$defs"]["node"]["properties"]["type"]
    assert {"type": "string", "minLength": 1} in node_type["anyOf"]
    assert petal("schema", "chain.yaml", "-o", "s.json").code == 0
    closed = json.loads((chain / "s.json").read_text())["$defs"]["node"]["properties"]["type"]
    assert {"type": "string", "minLength": 1} not in closed["anyOf"]


@pytest.mark.parametrize("form", ["yaml", "json", "toml"])
def test_convert_there_and_back(petal, chain, form):
    """A pipeline survives the way through each format."""
    assert petal("convert", "chain.yaml", f"other.{form}").code == 0
    assert petal("run", f"other.{form}", "-q").code == 0
    back = petal("convert", f"other.{form}", "-", "--to", "json")
    assert back.data["edges"] == [["reader", "filter"], ["filter", "writer"]]


def test_convert_keeps_references(petal, tmp_path):
    """References stay references, and their values are never looked up."""
    (tmp_path / "p.yaml").write_text("nodes:\n  - {id: a, type: Unknown, params: {x: '${env:NOT_SET}'}}\n")
    assert "${env:NOT_SET}" in petal("convert", "p.yaml", "-", "--to", "toml").out


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["chain.yaml", "input.txt"], 2, "--to FORMAT"),
        (["chain.yaml", "-"], 2, "--to FORMAT"),
        (["chain.yaml", "chain.yaml"], 2, "--force"),
        (["input.txt", "x.json"], 2, "no pipeline file"),
        (["nope.yaml", "x.json"], 2, "no file"),
        (["broken.yaml", "x.json"], 3, "error[syntax]"),
    ],
)
def test_convert_refuses(petal, chain, args, code, text):
    """What cannot be converted is refused, and nothing is written."""
    (chain / "broken.yaml").write_text("nodes: [\n")
    before = (chain / "chain.yaml").read_text()
    ran = petal("convert", *args)
    assert ran.code == code
    assert text in ran.err
    assert not (chain / "x.json").exists()
    assert (chain / "chain.yaml").read_text() == before


def test_convert_force(petal, chain):
    """--force overwrites."""
    (chain / "x.json").write_text("old")
    assert petal("convert", "chain.yaml", "x.json", "--force").code == 0
    assert json.loads((chain / "x.json").read_text())["nodes"][0]["id"] == "reader"


def test_plugins(petal):
    """The built-in plugin is listed with what it brings."""
    assert petal("plugins").out.startswith("built-in")
    first = petal("plugins", "--json").data[0]
    assert (first["name"], first["state"]) == ("built-in", "on")
    assert "FileReader" in first["brings"]


def test_describe_several(petal):
    """Several names are described one after the other; as JSON they are an array."""
    ran = petal("describe", "Limit", "cycle")
    assert ran.code == 0
    assert ran.out.startswith("Limit")
    assert "\n\ncycle (error)" in ran.out
    assert [r.get("name") or r["code"] for r in petal("describe", "Limit", "cycle", "--json").data] == [
        "Limit",
        "cycle",
    ]
    assert petal("describe", "Limit", "codes").err.startswith("error: `codes` is a list of its own")
