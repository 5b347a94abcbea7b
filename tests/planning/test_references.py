"""References in parameters (S8.3), and what paths are relative to (S8.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petal import InvalidPipeline, Pipeline, Session, node, operator
from petal.planning.references import Unresolvable, resolve
from petal.planning.request import Request
from tests.planning.wiring import load, param, write

OPS = "plugins: [./ops.py]\n"


def named(params: str, top: str = "") -> str:
    return OPS + top + f"nodes:\n  - {{ id: n, type: Named, params: {{ x: 1, {params} }} }}\n"


def test_a_reference_alone_is_the_value_itself(tmp_path: Path) -> None:
    """``${params.n}`` keeps the type of the parameter; within text it is written out."""
    pipeline = load(tmp_path, named("number: '${params.n}', text: 'n=${params.n}!'", "params: { n: 5 }\n"))
    plan = pipeline.plan()
    assert param(plan, "n.number") == 5
    assert param(plan, "n.text") == "n=5!"
    assert param(pipeline.plan(params={"n": 8}), "n.number") == 8


def test_the_environment_is_text_read_by_the_annotation(tmp_path: Path) -> None:
    """``${env:N}`` is text, and becomes a number where the parameter is one."""
    text = named("number: '${env:N}', text: '${env:N}', flag: '${env:F}'")
    plan = load(tmp_path, text, N="12", F="true").plan()
    assert (param(plan, "n.number"), param(plan, "n.text"), param(plan, "n.flag")) == (12, "12", True)
    with pytest.raises(InvalidPipeline, match="`number` of `n`"):
        load(tmp_path, text, N="twelve", F="true").plan()


def test_a_variable_that_is_not_set_is_an_error_at_its_place(tmp_path: Path) -> None:
    """An unset variable is found by validation, at the value that names it."""
    (finding,) = load(tmp_path, named("text: 'a ${env:NOT_THERE}'")).validate()
    assert (finding.code, finding.line, finding.column) == ("unset-variable", 3, 49)


def test_an_escape_is_a_literal(tmp_path: Path) -> None:
    """``$${`` is written ``${`` and nothing in it is looked up."""
    plan = load(tmp_path, named("text: '$${params.nix} ${params.a}'", "params: { a: '$${x}' }\n")).plan()
    assert param(plan, "n.text") == "${params.nix} ${x}"


def test_what_a_reference_gives_is_not_looked_at_again(tmp_path: Path) -> None:
    """One pass: a value that holds ``${…}`` stays as it is (F75)."""
    text = named("text: '${env:EVIL}'")
    assert (
        param(load(tmp_path, text, EVIL="${params.secret}\nx: [1]").plan(), "n.text")
        == "${params.secret}\nx: [1]"
    )


def test_a_secret_stays_a_reference(tmp_path: Path) -> None:
    """Secrets are revealed by the process that uses them: the plan holds the reference."""
    plan = load(tmp_path, named("text: 'key=${secret:env/KEY}'"), KEY="hidden").plan()
    assert param(plan, "n.text") == "key=${secret:env/KEY}"
    assert "hidden" not in repr(plan)


def test_parameters_may_use_those_above_them(tmp_path: Path) -> None:
    """``params`` may refer to each other from top to bottom; a loop or a later one is an error."""
    pipeline = load(tmp_path, named("text: '${params.b}'", "params: { a: x, b: '${params.a}y' }\n"))
    assert param(pipeline.plan(), "n.text") == "xy"
    assert param(pipeline.plan(params={"a": "z"}), "n.text") == "zy"
    (finding,) = load(tmp_path, named("text: t", "params: { b: '${params.a}', a: x }\n")).validate()
    assert finding.code == "unknown-reference"
    assert "stand above it" in str(finding.hint)


def test_references_reach_into_lists_and_mappings(tmp_path: Path) -> None:
    """A reference may stand anywhere inside a value, and is reported exactly there."""
    text = "params: { k: name }\nnodes:\n  - { id: k, type: KeyExtractor, params: { keys: [a, '${params.k}'], records: [] } }\n"
    assert param(load(tmp_path, text).plan(), "k.keys") == ["a", "name"]
    (finding,) = load(tmp_path, text.replace("params.k", "params.nix")).validate()
    assert (finding.line, finding.column) == (3, 54)


def test_literals_of_a_file_are_strict(tmp_path: Path) -> None:
    """A file's literals are not converted: text is no number and a number no text (S8.3)."""
    for wrong in ("number: '5'", "text: 5", "flag: 'true'", "flag: 1", "number: 1.5", "number: true"):
        assert [f.code for f in load(tmp_path, named(wrong)).validate()] == ["bad-value"], wrong


@pytest.mark.parametrize(
    ("address", "text", "value"),
    [
        ("f.pattern", "123", "123"),
        ("f.invert", "true", True),
        ("f.invert", "false", False),
        ("l.count", "12", 12),
        ("s.by", '["a", "b"]', ["a", "b"]),
        ("r.file_path", "a.csv", "a.csv"),
    ],
)
def test_text_from_the_command_line_is_read_by_the_annotation(
    tmp_path: Path, address: str, text: str, value: Any
) -> None:
    """``--set f.pattern=123`` is a string, ``--set l.count=12`` a number (S8.3)."""
    nodes = """\
nodes:
  - { id: f, type: RegexFilter, params: { pattern: x, lines: [a] } }
  - { id: r, type: CsvReader, params: { file_path: x } }
  - { id: s, type: Sort, params: { by: [x] }, inputs: { records: r } }
  - { id: l, type: Limit, params: { count: 1 }, inputs: { records: s } }
"""
    request = Request(params={address: text}, text=frozenset({address}), folder="/here")
    planned = load(tmp_path, nodes).planned(request)
    if value is None:
        assert [f.code for f in planned.findings] == ["bad-value"]
        assert "given for this run" in planned.findings[0].message
        return
    assert planned.plan is not None
    assert param(planned.plan, address) == (Path("/here", value) if address == "r.file_path" else value)


def test_values_from_python_are_as_they_are(tmp_path: Path) -> None:
    """A parameter given in Python is not read as text: ``"5"`` is no number."""
    pipeline = load(tmp_path, named("number: 1"))
    assert param(pipeline.plan(params={"n.number": 5}), "n.number") == 5
    with pytest.raises(InvalidPipeline, match="given for this run"):
        pipeline.plan(params={"n.number": "5"})


def test_names_are_never_interpolated(tmp_path: Path) -> None:
    """Ids, types, keys and the ends of edges hold no references (S8.3)."""
    text = "params: { t: EmptySource }\nnodes:\n  - { id: a, type: '${params.t}' }\n  - { id: '${params.t}', type: EmptySource }\n"
    text += "  - { id: c, type: NoOpSink, inputs: { items: '${params.t}' } }\n"
    text += "  - { id: d, type: NoOpSink, inputs: { items: '${params.x}' } }\n"
    assert [f.code for f in load(tmp_path, text).validate()] == ["bad-value", "bad-id", "bad-reference"]


def test_conversion_bakes_nothing_in(tmp_path: Path) -> None:
    """What is written back holds the references, never their values (S8.3)."""
    text = named("number: '${params.n}', text: '${env:N} ${secret:env/K} $${x}'", "params: { n: 5 }\n")
    pipeline = load(tmp_path, text, N="v", K="hidden")
    pipeline.plan(params={"n": 9})
    for written in (pipeline.to_yaml(), pipeline.to_json(), pipeline.to_toml()):
        for reference in ("${params.n}", "${env:N}", "${secret:env/K}", "$${x}"):
            assert reference in written
        assert "hidden" not in written


# -- paths (S8.1) -----------------------------------------------------------------------------------------------


def test_paths_are_relative_to_the_file_that_wrote_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ``Path`` of a file is relative to that file, in modules too, wherever the command runs (S8.1)."""
    monkeypatch.chdir("/")
    write(
        tmp_path / "sub",
        "inner.yaml",
        OPS + "nodes:\n  - { id: n, type: Named, params: { x: 1, path: a.txt } }\n",
    )
    (tmp_path / "pyproject.toml").write_text("", "utf-8")
    text = named("path: b.txt") + "modules:\n  - { id: m, path: sub/inner.yaml }\n"
    pipeline = load(tmp_path, text)
    assert param(pipeline.plan(), "m/n.path") == tmp_path / "sub" / "a.txt"
    assert param(pipeline.plan(), "n.path") == tmp_path / "b.txt"


def test_paths_from_the_caller_are_relative_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ``Path`` from Python or the command line is relative to the current folder (S8.1)."""
    pipeline = load(tmp_path, named("path: b.txt"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert param(pipeline.plan(params={"n.path": "c.txt"}), "n.path") == here / "c.txt"
    reader = Pipeline.of(node("FileReader", id="r", file_path="c.txt"))
    assert param(reader.plan(), "r.file_path") == here / "c.txt"
    absolute = Pipeline.of(node("FileReader", id="r", file_path="/x/c.txt"))
    assert param(absolute.plan(), "r.file_path") == Path("/x/c.txt")


def test_plain_text_is_no_path(tmp_path: Path) -> None:
    """A parameter that is annotated ``str`` is never touched (S8.1)."""
    assert param(load(tmp_path, named("text: a.txt")).plan(), "n.text") == "a.txt"


def test_standard_input_is_no_file(tmp_path: Path) -> None:
    """``-`` stays what it is."""
    text = "nodes:\n  - { id: r, type: FileReader, params: { file_path: '-' } }\n"
    assert param(load(tmp_path, text).plan(), "r.file_path") == Path("-")


# -- values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "value", "words"),
    [
        (int, "x", "'x' is text, but int is wanted"),
        (int, None, "nothing (null) is given, but int is wanted"),
        (list[int], [1, "x"], "'x' is text, but int is wanted (at `[1]`)"),
        (dict[str, int], {"a": "x"}, "{'a': 'x'} holds `str` where `int` is wanted (at `[...]`)"),
    ],
)
def test_a_wrong_value_is_told_in_words(annotation: Any, value: Any, words: str) -> None:
    """The message names the value, its kind, and what is wanted."""

    def n(*, p):  # type: ignore[no-untyped-def]
        return 1

    n.__annotations__["p"] = annotation
    (finding,) = Pipeline.of(node(operator(n), p=value)).validate()
    assert finding.message == f"`p` of `n`: {words}"


class Settings(msgspec.Struct):
    """A record that a parameter takes."""

    size: int
    names: list[str] = []


def test_a_record_names_its_field() -> None:
    """A struct's missing and wrong fields are named with their path."""

    @operator
    def n(*, p: Settings) -> int:
        return p.size

    assert Pipeline.of(node(n, p={"size": 3})).validate() == []
    (missing,) = Pipeline.of(node(n, p={"names": []})).validate()
    assert missing.message == "`p` of `n`: the field `size` is missing"
    (wrong,) = Pipeline.of(node(n, p={"size": 1, "names": ["a", 5]})).validate()
    assert wrong.message == "`p` of `n`: 5 is a whole number, but str is wanted (at `.names[1]`)"


_TEXT = st.text(st.sampled_from("ab$%{}.: ") | st.characters(), max_size=20)


@settings(max_examples=200, deadline=None)
@given(
    _TEXT,
    st.dictionaries(st.sampled_from("ab"), _TEXT | st.integers()),
    st.dictionaries(st.sampled_from("AB"), _TEXT),
)
def test_resolving_any_text_gives_a_value_or_a_report(
    text: str, params: dict[str, Any], environment: dict[str, str]
) -> None:
    """Whatever a text holds, it is resolved or every reason is reported; without ``${`` it is unchanged (F75)."""
    reports: list[str] = []
    try:
        value = resolve(text, params, environment, (), lambda path, code, message, hint: reports.append(code))
    except Unresolvable:
        assert reports
    else:
        assert not reports
        if "${" not in text:
            assert value == text


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_an_escaped_text_comes_back(text: str) -> None:
    """Writing ``$${`` for every ``${`` makes any text a literal."""
    escaped = text.replace("${", "$${")
    assert resolve(escaped, {}, {}, (), lambda *_: pytest.fail("reported")) == text


@settings(max_examples=50, deadline=None)
@given(value=st.text(max_size=20))
def test_no_value_of_the_environment_changes_a_plan_but_its_own_parameter(
    value: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A variable's value reaches the one parameter that names it, as it is."""
    folder = tmp_path_factory.mktemp("env")
    path = write(folder, "p.yaml", named("text: '${env:V}'"))
    plan = Pipeline.from_file(path, session=Session(environment={"V": value})).plan()
    assert param(plan, "n.text") == value
    assert len(plan.nodes) == 1
