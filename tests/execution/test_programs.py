"""Programs that know nothing of Petal are nodes: `protocol: json` (S6.3), with real scripts in processes of their own."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from petal import Batches, InvalidPipeline, Pipeline, Session, node, remote
from petal.cli.plan_view import plan_text
from petal.testing import FakeBackend

SCRIPT = """
import json, os, sys

inputs = json.load(sys.stdin)
params = json.loads(os.environ["PETAL_PARAMS"])
print("said beside the reply", file=sys.stderr)
if "say" in params:
    sys.stdout.write(params["say"])
else:
    print(json.dumps({"inputs": inputs, "params": params, "trace": os.environ.get("TRACEPARENT")}))
sys.exit(params.get("exit", 0))
"""


def it() -> int:
    return 1


@pytest.fixture
def fake():
    return FakeBackend()


@pytest.fixture
def session(fake):
    session = Session()
    session.register(fake)
    return session


@pytest.fixture
def command(tmp_path):
    """A user's script, and how it is started."""
    (tmp_path / "script.py").write_text(SCRIPT)
    return [sys.executable, str(tmp_path / "script.py")]


@pytest.fixture
def load(tmp_path, session, command):
    """Load a pipeline whose node `it` is the script."""

    def load(
        edges: str, *, params: str = "{}", node: str = "", execution: str = "", more: str = ""
    ) -> Pipeline:
        file = tmp_path / "pipeline.yaml"
        file.write_text(
            textwrap.dedent(more)
            + "nodes:\n"
            + "  - { id: lines, type: FileReader, params: { file_path: lines.txt } }\n"
            + "  - { id: noop, type: FileReader, params: { file_path: lines.txt } }\n"
            + f"  - {{ id: it, type: Analyse, params: {params}, {node}\n"
            + f"      execution: {{ backend: fake, command: {json.dumps(command)}, {execution} }} }}\n"
            + edges
        )
        (tmp_path / "lines.txt").write_text("one\ntwo\n")
        return Pipeline.from_file(file, session=session)

    return load


def failure(pipeline: Pipeline) -> str:
    error = pipeline.run().nodes["it"].error
    assert error is not None
    return f"{error.kind}: {error.message} ({error.hint})"


# -- a type that is not installed -------------------------------------------------------------------------------------


def test_a_script_is_a_node_of_a_type_that_nobody_has(load):
    """Its inputs are those that edges bring; a stream is a list, and the parameters are free."""
    pipeline = load("edges: [[lines, it]]", params="{ words: [1, null], nested: { a: true } }")
    assert pipeline.validate() == []
    got = pipeline.run().check().outputs["it"]
    assert got["inputs"] == [["one", "two"]]
    assert got["params"] == {"words": [1, None], "nested": {"a": True}}


def test_inputs_are_a_list_with_one_entry_each_in_order(load):
    """First those under `inputs`, then those that edges name, then an entry for every other edge."""
    edges = "edges: [[noop, it.third], [lines, it], [noop, it]]"
    got = load(edges, node="inputs: { second: [lines, noop], first: noop },").run().check().outputs["it"]
    rows = ["one", "two"]
    assert got["inputs"] == [[rows, rows], rows, rows, rows, rows]


def test_no_input_is_an_empty_list(load):
    """A source reads `[]`."""
    assert load("").run(targets=["it"]).check().outputs["it"]["inputs"] == []


def test_the_caller_may_give_a_parameter_that_the_file_does_not_name(load):
    """Nobody knows which it takes."""
    pipeline = load("", params="{ a: 1 }")
    got = pipeline.run(targets=["it"], params={"it.b": 2}).check().outputs["it"]
    assert got["params"] == {"a": 1, "b": 2}


def test_what_is_installed_does_not_change_what_a_program_is(load, tmp_path):
    """A type of the library's name is a label as any other: its ports and parameters are not looked at."""
    pipeline = load("edges: [[lines, it]]", params="{ anything: 1 }")
    text = (tmp_path / "pipeline.yaml").read_text().replace("Analyse", "RegexFilter")
    (tmp_path / "pipeline.yaml").write_text(text)
    pipeline = Pipeline.from_file(tmp_path / "pipeline.yaml", session=pipeline.session)
    assert pipeline.run().check().outputs["it"]["params"] == {"anything": 1}


def test_two_programs_of_one_type_have_ports_of_their_own(session, command):
    """What one node binds says nothing of another."""
    policies = {"execution": {"backend": "fake", "command": command}}

    def one() -> int:
        return 1

    pipeline = Pipeline.of(
        one,
        node("Script", id="first", inputs={"a": "one"}, policies=policies),
        node("Script", id="second", inputs={"b": "first", "c": "one"}, policies=policies, more=2),
        session=session,
    )
    got = pipeline.run().check().outputs["second"]
    assert got["inputs"][0]["inputs"] == [1]
    assert (got["inputs"][1], got["params"]) == (1, {"more": 2})


def test_a_function_gets_one_payload(session, fake, tmp_path):
    """Where no program is started, `{inputs, operator_id, type, params}` is all that is sent, and the reply the bare output."""
    seen = []

    def function(payload: bytes) -> bytes:
        seen.append(json.loads(payload))
        return b'"a reply"'

    named = FakeBackend("functions", function=function)
    session.register(named, "functions")
    (tmp_path / "p.yaml").write_text(
        "inputs: { text: some text }\n"
        "nodes: [{ id: transform, type: Analyser, inputs: { text: text }, params: { n: 1 },\n"
        "  execution: { backend: functions, protocol: json } }]\n"
    )
    pipeline = Pipeline.from_file(tmp_path / "p.yaml", session=session)
    assert pipeline.run().check().outputs["transform"] == "a reply"
    assert seen == [
        {"inputs": ["some text"], "operator_id": "transform", "type": "Analyser", "params": {"n": 1}}
    ]


def test_secrets_are_put_in_for_a_program_that_knows_no_references(load, monkeypatch, fake):
    """Its parameter is the secret, and the plan holds the reference."""
    monkeypatch.setenv("TOKEN", "a-long-secret")
    pipeline = load("", params='{ token: "${secret:env/TOKEN}" }')
    assert pipeline.run(targets=["it"]).check().outputs["it"]["params"] == {"token": "a-long-secret"}
    assert "a-long-secret" not in plan_text(pipeline.plan())


# -- values -----------------------------------------------------------------------------------------------------------


class Pair(NamedTuple):
    left: int
    right: str


class Wrapped(msgspec.Struct, rename="camel"):
    long_name: int


class Reply(msgspec.Struct):
    inputs: tuple[int, str]
    params: dict[str, int]


@dataclass
class Order:
    id: int
    lines: list[Pair]
    more: Wrapped | None = None


def test_records_are_dicts_and_frames_lists_of_dicts(session, fake, command):
    """Dataclasses, NamedTuples, Structs by the names that they encode, DataFrames, tuples and paths."""
    import polars as pl

    def order() -> Order:
        return Order(1, [Pair(1, "a")], Wrapped(5))

    def frame() -> pl.DataFrame:
        return pl.DataFrame({"a": [1, 2], "b": ["x", None]})

    def series() -> Batches[int]:
        yield pl.Series([1, 2])
        yield pl.Series([3])

    def others() -> tuple[int, Path]:
        return (1, Path("a/b"))

    inputs = {name: name for name in ("order", "frame", "series", "others")}
    it = node(
        "Script", id="it", inputs=inputs, policies={"execution": {"backend": "fake", "command": command}}
    )
    got = Pipeline.of(order, frame, series, others, it, session=session).run().check().outputs["it"]
    assert got["inputs"] == [
        {"id": 1, "lines": [{"left": 1, "right": "a"}], "more": {"longName": 5}},
        [{"a": 1, "b": "x"}, {"a": 2, "b": None}],
        [1, 2, 3],
        [1, "a/b"],
    ]


def test_what_json_has_no_word_for_names_node_place_and_remedy(session, fake, command):
    """A set deep within, and a key that is no text, each at its place; nothing is sent."""
    for value, place, kind in (
        ({"a": [{"b": {1}}]}, "input `x`, at .a[0].b", "set"),
        ([{1: 2}], "input `x`, at [0], the key 1", "int"),
        ("\udc80", "input `x`", "str"),
        (1e400, "input `x`", "float inf"),
    ):

        def given(*, value=value):
            return value

        policies = {"execution": {"backend": "fake", "command": command}}
        pipeline = Pipeline.of(
            given, node("Script", id="it", inputs={"x": "given"}, policies=policies), session=session
        )
        error = pipeline.run().nodes["it"].error
        assert error is not None
        assert error.node == "it"
        assert f"{place}: plain JSON has no word for {kind}" in error.message
        assert error.hint
    assert fake.sent == []


def test_a_value_that_contains_itself_is_an_error(session, command):
    """It is not followed for ever."""

    def given():
        value: list[object] = []
        value.append(value)
        return value

    policies = {"execution": {"backend": "fake", "command": command}}
    it = node("Script", id="it", inputs={"x": "given"}, policies=policies)
    assert "contains itself" in failure(Pipeline.of(given, it, session=session))


# -- replies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("say", "expected"),
    [
        ("hello, this is no JSON", "hello, this is no JSON"),
        ("", "replied with nothing"),
        ("NaN", "is not JSON"),
        ('{"a": 1, "a": 2}', "a key comes twice"),
        ("[1, 2", "is not JSON"),
        ("x" * 5000, r"x{190,200}… \(5,000 bytes\)"),
        ("[" * 100_000, "containers inside one another"),
    ],
    ids=["text", "nothing", "NaN", "twice", "torn", "long", "deep"],
)
def test_a_reply_that_is_not_json_shows_what_came(load, say, expected):
    """The error is the user's, is typed, and shows the beginning of what came."""
    pipeline = load("", params=json.dumps({"say": say}))
    error = pipeline.run(targets=["it"]).nodes["it"].error
    assert error is not None
    assert (error.code, str(error.kind)) == ("wire", "user")
    assert re.search(expected, error.message), error.message
    assert len(error.message) < 500


def test_a_program_that_fails_is_a_failed_node_with_what_it_printed(load):
    """Its exit code is named, and its standard error is the traceback."""
    error = load("", params="{ exit: 3 }").run(targets=["it"]).nodes["it"].error
    assert error is not None
    assert "ended with exit code 3" in error.message
    assert "said beside the reply" in error.traceback


def test_a_program_is_stopped_when_its_time_is_over(session):
    """Its time-out is an error of that kind."""
    sleeps = [sys.executable, "-c", "import time; time.sleep(600)"]
    policies = {"execution": {"backend": "fake", "command": sleeps}, "timeout": "1s"}
    error = Pipeline.of(node("Script", id="it", policies=policies), session=session).run().nodes["it"].error
    assert error is not None
    assert str(error.kind) == "timeout"


def test_a_function_of_python_says_what_the_ports_of_its_program_are(session, command):
    """Its body never runs; inputs bind by name, defaults are sent, and the reply is read by its annotation."""

    @remote("fake", command=command)
    def program(number: int, text: str = "default", *, more: int = 7) -> Reply:
        raise AssertionError("it ran here")

    def number() -> int:
        return 42

    got = Pipeline.of(number, program, session=session).run().check().outputs["program"]
    assert got == Reply((42, "default"), {"more": 7})


def test_rows_of_a_program_are_read_by_the_element_that_is_declared(session):
    """A list of rows feeds streams; a row of another type is an error."""
    says = [
        sys.executable,
        "-c",
        "print('[{\"long_name\": 1}, {\"long_name\": 2}]'.replace('long_name', 'longName'))",
    ]

    @remote("fake", command=says)
    def rows() -> list[Wrapped]: ...  # type: ignore[empty-body]

    def total(rows) -> int:
        return sum(row.long_name for row in rows)

    assert Pipeline.of(rows, total, session=session).run().check().outputs["total"] == 3

    @remote("fake", command=[sys.executable, "-c", "print('{}')"])
    def it() -> list[Wrapped]: ...  # type: ignore[empty-body]

    assert "should be rows, but the program replied with one object" in failure(
        Pipeline.of(it, session=session)
    )


# -- which protocol ---------------------------------------------------------------------------------------------------


def test_a_program_behind_the_protocol_petal_is_told_of_the_other(session):
    """Its JSON is no message of a worker; the error names `protocol: json`."""

    class Speaks(FakeBackend):
        def answer(self, task, message):
            return task.payload.answered(b'{"answer": 1}')

    session.register(Speaks("worker"), "worker")

    policies = {"execution": {"backend": "worker"}}
    said = failure(Pipeline.of(node(it, policies=policies), session=session))
    assert "`protocol: json`" in said


def test_a_header_without_the_petal_field_is_told_of_the_other_protocol(session):
    """A framed reply that is JSON of another kind is no reply either."""
    from petal.data.wire import pack

    class Speaks(FakeBackend):
        def answer(self, task, message):
            return task.payload.answered(pack({"answer": 1}, []))

    session.register(Speaks("worker"), "worker")

    said = failure(Pipeline.of(node(it, policies={"execution": {"backend": "worker"}}), session=session))
    assert "no reply of a worker of Petal" in said
    assert "`protocol: json`" in said


def test_a_worker_behind_the_protocol_json_is_told_of_the_other(session):
    """What came is a message of Petal; the error names `protocol: petal`."""
    from petal.data.wire import pack

    session.register(FakeBackend("worker", function=lambda _: pack({"petal": 1}, [])), "worker")
    it = node("Script", id="it", policies={"execution": {"backend": "worker", "protocol": "json"}})
    assert "`protocol: petal`" in failure(Pipeline.of(it, session=session))


def test_a_block_that_names_a_program_may_speak_petal_all_the_same(session, command):
    """`protocol: petal` is said: the type is looked up, and a message is sent."""

    policies = {"execution": {"backend": "fake", "command": command, "protocol": "petal"}}
    assert Pipeline.of(node(it, policies=policies), session=session).run().check().outputs["it"] == 1


def test_another_backend_on_the_command_line_leaves_the_program_behind(load, session):
    """The block is not that backend's: the type must be installed after all."""
    import msgspec.structs

    pipeline = load("")
    request = msgspec.structs.replace(pipeline._request(), backends={"it": "process"})
    assert [f.code for f in pipeline.planned(request).findings] == ["unknown-operator"]


def test_the_protocol_is_written_and_read_back(load):
    """A file that is written of the pipeline says the same."""
    pipeline = load("", execution="protocol: json, unsigned: true")
    for text, suffix in (
        (pipeline.to_json(), "json"),
        (pipeline.to_toml(), "toml"),
        (pipeline.to_yaml(), "yaml"),
    ):
        file = Path(pipeline.part.folder, f"copy.{suffix}")
        file.write_text(text)
        execution = Pipeline.from_file(file, session=pipeline.session).spec.nodes[2].policies.execution
        assert execution is not None
        assert (execution.protocol, execution.unsigned) == ("json", True)
        assert set(execution.settings) == {"command"}


# -- keys -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def sealed(monkeypatch):
    monkeypatch.setenv("PETAL_KEYRING", "env:KEYS")
    monkeypatch.setenv("KEYS", json.dumps({"2026-11": "k" * 40}))


def test_plain_json_needs_leave_to_pass_unsigned_where_there_is_a_keyring(load, sealed):
    """Without `unsigned: true` nothing runs, and the finding says what to write."""
    with pytest.raises(InvalidPipeline) as found:
        load("").run()
    (finding,) = found.value.diagnostics
    assert finding.code == "needs-unsigned"
    assert "`unsigned: true`" in (finding.hint or "")


def test_a_node_with_leave_runs_and_the_plan_shows_it(load, sealed):
    """What is sent is plain JSON; the plan says so in words."""
    pipeline = load("", execution="unsigned: true")
    assert pipeline.run(targets=["it"]).check().outputs["it"]["inputs"] == []
    assert "plain JSON, unsigned (node)" in plan_text(pipeline.plan())


def test_leave_changes_nothing_for_the_protocol_petal(session, sealed):
    """`unsigned` there would promise what does not happen: it is refused."""

    policies = {"execution": {"backend": "fake", "unsigned": True}}
    found = Pipeline.of(node(it, policies=policies), session=session).validate()
    assert [f.code for f in found] == ["bad-policy"]
