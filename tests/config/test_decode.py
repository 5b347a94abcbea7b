"""Reading a pipeline file: every mistake at its exact place, short forms, and what is kept beside mistakes.

In the sources below ``«`` marks the place where the finding is expected; it is removed before parsing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petal.config.decode import decode
from petal.config.syntax import Document, parse
from petal.spec.codes import CODES
from petal.spec.diagnostic import Diagnostic, Severity
from petal.spec.pipeline import MISSING, EdgeSpec, ModuleSpec, NodeSpec, PipelineSpec
from petal.spec.policy import NO_POLICIES, Batch, Cache, Effects, Execution, Policies, Retry
from tests.config.samples import FULL, SNIPPETS

MARK = "«"
NODE = "nodes: [{id: n, type: T}]\n"


def marks(source: str) -> list[tuple[int, int]]:
    """Return the line and column of each mark, as they are without the marks."""
    places = []
    for number, line in enumerate(source.split("\n"), start=1):
        for i, match in enumerate(re.finditer(MARK, line)):
            places.append((number, match.start() - i + 1))
    return places


def read(source: str, format: Any = "yaml") -> tuple[PipelineSpec, list[Diagnostic]]:
    return decode(parse(source.replace(MARK, ""), f"etl.{format}", format))


def good(source: str, format: Any = "yaml") -> PipelineSpec:
    spec, findings = read(source, format)
    assert findings == []
    return spec


YAML_MISTAKES = [
    # the whole file
    ("empty-pipeline", "«"),
    ("empty-pipeline", "«# only a comment\n"),
    ("empty-pipeline", "«name: x\n"),
    ("empty-pipeline", "«nodes: []\n"),
    ("empty-pipeline", "name: x\n«modules:\n"),
    ("wrong-type", "«- id: n\n"),
    ("wrong-type", "«hello\n"),
    # the top level
    ("unknown-key", NODE + "«edgse: []\n"),
    ("unknown-key", NODE + "«steps: []\n"),
    ("wrong-type", NODE + "name: «12\n"),
    ("wrong-type", NODE + "name: «[x]\n"),
    ("bad-value", NODE + "name: «'  '\n"),
    ("wrong-type", NODE + "cache_io: «yes\n"),
    ("wrong-type", NODE + "params: «[a]\n"),
    ("wrong-type", NODE + "plugins: «{a: b}\n"),
    ("wrong-type", NODE + "plugins:\n  - ./a.py\n  - «3\n"),
    ("bad-value", NODE + "plugins: ['«${env:HOME}/x.py']\n".replace("'«", "«'")),
    ("bad-policy", NODE + "run_timeout: «5 minutes\n"),
    ("bad-policy", NODE + "run_timeout: «true\n"),
    ("wrong-type", NODE + "run_timeout: «[1]\n"),
    ("wrong-type", "nodes: «5\n"),
    ("wrong-type", "nodes: «reader\n"),
    ("wrong-type", NODE + "defaults: «5m\n"),
    ("unknown-key", NODE + "defaults: {«timeuot: 5m}\n"),
    ("bad-policy", NODE + "defaults:\n  timeout: «-1\n"),
    # inputs and outputs of the pipeline
    ("wrong-type", NODE + "inputs: «day\n"),
    ("wrong-type", NODE + "inputs: [a, «5]\n"),
    ("wrong-type", NODE + "inputs: [a, «{b: 1, c: 2}]\n"),
    ("bad-id", NODE + "inputs: [«a b]\n"),
    ("bad-id", NODE + "inputs: {«1a: x}\n"),
    ("bad-id", NODE + "inputs: [{«1a: x}]\n"),
    ("duplicate-name", NODE + "inputs: [a, b, «a]\n"),
    ("duplicate-name", NODE + "inputs: [a, {«a: 1}]\n"),
    ("wrong-type", NODE + "outputs: «n\n"),
    ("wrong-type", NODE + "outputs: {o: «3}\n"),
    ("bad-reference", NODE + "outputs: {o: «n/x}\n"),
    ("bad-id", NODE + "outputs: {«o.p: n}\n"),
    ("bad-reference", NODE + "outputs: [«n.errors]\n"),
    ("duplicate-name", NODE + "outputs: [n, «n]\n"),
    # nodes
    ("missing-key", "nodes:\n  - «type: T\n"),
    ("missing-key", "nodes:\n  - «id: n\n"),
    ("missing-key", "nodes:\n  - «id: n\n    type:\n"),
    ("missing-key", "nodes:\n  - «reader: {type: T}\n"),
    ("unknown-key", "nodes:\n  - id: n\n    «typ: T\n"),
    ("unknown-key", "nodes:\n  - «name: n\n    type: T\n"),
    ("unknown-key", "nodes:\n  - {id: n, type: T, «retires: 3}\n"),
    ("unknown-key", "nodes:\n  - {id: n, type: T, «zzz: 3}\n"),
    ("wrong-type", "nodes:\n  - «reader\n"),
    ("wrong-type", "nodes:\n  - «\n".replace("«\n", "«null\n")),
    ("wrong-type", "nodes:\n  - {id: «7, type: T}\n"),
    ("wrong-type", "nodes:\n  - {id: n, type: «[T]}\n"),
    ("bad-value", "nodes:\n  - {id: n, type: «''}\n"),
    ("bad-value", "nodes:\n  - {id: n, type: «'${params.t}'}\n"),
    ("bad-id", "nodes:\n  - {id: «'my node', type: T}\n"),
    ("bad-id", "nodes:\n  - {id: «a.b, type: T}\n"),
    ("bad-id", "nodes:\n  - {id: «1a, type: T}\n"),
    ("duplicate-id", "nodes:\n  - {id: n, type: T}\n  - {id: «n, type: T}\n"),
    ("duplicate-id", NODE + "modules:\n  - id: «n\n    path: x.yaml\n"),
    ("wrong-type", "nodes: [{id: n, type: T, params: «x}]\n"),
    ("wrong-type", "nodes: [{id: n, type: T, inputs: «reader}]\n"),
    ("wrong-type", "nodes: [{id: n, type: T, inputs: {x: «3}}]\n"),
    ("wrong-type", "nodes: [{id: n, type: T, inputs: {x: [a, «{b: c}]}}]\n"),
    ("bad-reference", "nodes: [{id: n, type: T, inputs: {x: [a, «b c]}}]\n"),
    ("bad-reference", "nodes: [{id: n, type: T, inputs: {x: «'${params.y}'}}]\n"),
    ("bad-id", "nodes: [{id: n, type: T, inputs: {«x y: a}}]\n"),
    ("wrong-type", "nodes: [{id: n, type: T, after: «3}]\n"),
    ("wrong-type", "nodes: [{id: n, type: T, after: [a, «3]}]\n"),
    ("bad-reference", "nodes: [{id: n, type: T, after: [«a.b]}]\n"),
    ("missing-key", "nodes:\n  n: «{}\n"),
    ("bad-id", "nodes:\n  «my node: {type: T}\n"),
    ("bad-id", "nodes:\n  n: {id: «m, type: T}\n"),
    ("wrong-type", "nodes:\n  n: «FileReader\n"),
    # modules
    ("missing-key", "modules:\n  - «id: m\n"),
    ("missing-key", "modules:\n  - «path: m.yaml\n"),
    ("wrong-type", "modules:\n  - {id: m, path: «3}\n"),
    ("bad-value", "modules:\n  - {id: m, path: «'${env:X}/m.yaml'}\n"),
    ("unknown-key", "modules:\n  - {id: m, path: m.yaml, «retry: 3}\n"),
    ("unknown-key", "modules:\n  - {id: m, «file: m.yaml}\n"),
    # edges
    ("wrong-type", NODE + "edges: «{a: b}\n"),
    ("bad-edge", NODE + "edges:\n  - «a -> b\n"),
    ("bad-edge", NODE + "edges: [«[a]]\n"),
    ("bad-edge", NODE + "edges: [«[]]\n"),
    ("bad-edge", NODE + "edges: [«[a, b, c]]\n"),
    ("bad-edge", NODE + "edges: [«{from: a}]\n"),
    ("bad-edge", NODE + "edges: [«3]\n"),
    ("unknown-key", NODE + "edges: [{from: a, «too: b}]\n"),
    ("wrong-type", NODE + "edges: [[a, «3]]\n"),
    ("bad-reference", NODE + "edges: [[a, «b.]]\n"),
    ("bad-reference", NODE + "edges: [{from: a, to: «b c}]\n"),
    ("bad-reference", NODE + "edges: [[«pre/reader, b]]\n"),
    ("duplicate-edge", NODE + "edges:\n  - [a, b]\n  - «{from: a, to: b}\n"),
]

POLICY_MISTAKES = [
    ("bad-policy", "retry: «0"),
    ("bad-policy", "retry: «-1"),
    ("wrong-type", "retry: «2.5"),
    ("wrong-type", "retry: «'3'"),
    ("wrong-type", "retry: «[3]"),
    ("bad-policy", "retry: «'${params.n}'"),
    ("bad-policy", "retry: {max_attempts: «0}"),
    ("bad-policy", "retry: «1" + "0" * 400),
    ("wrong-type", "retry: {max_attempts: «true}"),
    ("unknown-key", "retry: {«attempts: 3}"),
    ("bad-policy", "retry: {delay: «-1}"),
    ("bad-policy", "retry: {delay: «soon}"),
    ("bad-policy", "retry: {backoff: «0.5}"),
    ("bad-policy", "retry: {backoff: «.nan}"),
    ("wrong-type", "retry: {backoff: «fast}"),
    ("bad-policy", "retry: {max_delay: «0}"),
    ("wrong-type", "retry: {jitter: «1}"),
    ("wrong-type", "retry: {retry_on: [OSError, «3]}"),
    ("wrong-type", "retry: {abort_on: «{a: b}}"),
    ("bad-policy", "timeout: «-1"),
    ("bad-policy", "timeout: «0"),
    ("bad-policy", "timeout: «true"),
    ("bad-policy", "timeout: «30 s"),
    ("bad-policy", "timeout: «.inf"),
    ("bad-policy", "timeout: «'${params.t}'"),
    ("wrong-type", "timeout: «[30]"),
    ("wrong-type", "cache: «1h"),
    ("bad-policy", "cache: {ttl: «never}"),
    ("wrong-type", "cache: {version: «1.0}"),
    ("unknown-key", "cache: {«tll: 1h}"),
    ("bad-policy", "cache: {depends_on: [«'${params.f}']}"),
    ("bad-policy", "batch: «0"),
    ("bad-policy", "batch: {size: «0}"),
    ("wrong-type", "batch: {size: «many}"),
    ("bad-policy", "batch: {in_flight: «-2}"),
    ("wrong-type", "batch: {ordered: «no}"),
    ("wrong-type", "batch: {over: «3}"),
    ("unknown-key", "batch: {«sise: 3}"),
    ("bad-policy", "effects: «twice"),
    ("wrong-type", "effects: «true"),
    ("wrong-type", "execution: «false"),
    ("wrong-type", "execution: «[docker]"),
    ("bad-value", "execution: «''"),
    ("missing-key", "execution: «{image: x}"),
    ("wrong-type", "execution: {backend: «3}"),
    ("bad-policy", "execution: {backend: «'${params.b}'}"),
    ("bad-policy", "execution: {backend: docker, target: «aws_lambda}"),
    ("wrong-type", "execution: {backend: docker, failover: «3}"),
    ("wrong-type", "execution: {backend: docker, failover: [local, «[ray]]}"),
    ("missing-key", "execution: {backend: docker, failover: [local, «{image: x}]}"),
    ("bad-policy", "execution: {backend: a, failover: [{backend: b, «failover: [c]}]}"),
    ("bad-value", "execution: {backend: a, failover: [b, «'']}"),
    ("bad-policy", "execution: {backend: a, failover: [«'${params.b}']}"),
    ("bad-policy", "execution: {backend: a, failover: [{backend: «'${params.b}'}]}"),
    ("bad-policy", "execution: {backend: a, failover: {backend: b, protocol: «xml}}"),
]

JSON_MISTAKES = [
    ("empty-pipeline", "«null"),
    ("wrong-type", "«[]"),
    ("empty-pipeline", "«{}"),
    ("unknown-key", '{"nodes": [{"id": "n", "type": "T"}], «"edgse": []}'),
    ("wrong-type", '{"nodes": [{"id": «1, "type": "T"}]}'),
    ("missing-key", '{"nodes": [\n  «{"id": "n"}]}'),
    ("bad-policy", '{"nodes": [{"id": "n", "type": "T",\n    "retry": {"max_attempts": «0}}]}'),
    ("wrong-type", '{"nodes": [{"id": "n", "type": "T", "params": «[1]}]}'),
    ("duplicate-id", '{"nodes": [{"id": "n", "type": "T"},\n {"id": «"n", "type": "T"}]}'),
    ("bad-edge", '{"nodes": [{"id": "n", "type": "T"}], "edges": [["a", "b"], «["a"]]}'),
    ("duplicate-key", '{"nodes": [{"id": "n", "type": "T"}], «"nodes": [{"id": "n", "type": "T"}]}'),
]

TOML_MISTAKES = [
    ("empty-pipeline", "«# nothing"),
    ("unknown-key", '«edgse = []\n[[nodes]]\nid = "n"\ntype = "T"'),
    ("wrong-type", '[[nodes]]\nid = "n"\ntype = "T"\nparams = «[1]'),
    ("bad-id", '[[nodes]]\nid = «2026-01-01\ntype = "T"'),
    ("unknown-key", '[[nodes]]\nid = "n"\n«typ = "T"'),
    ("bad-policy", '[[nodes]]\nid = "n"\ntype = "T"\nretry = { max_attempts = «0 }'),
    ("bad-policy", '[[nodes]]\nid = "n"\ntype = "T"\n[nodes.retry]\ndelay = «-1'),
    ("duplicate-id", '[[nodes]]\nid = "n"\ntype = "T"\n[[nodes]]\nid = «"n"\ntype = "T"'),
    ("bad-edge", 'edges = [["a", "b"], «["a"]]\n[[nodes]]\nid = "n"\ntype = "T"'),
    ("bad-id", '[nodes.«"my node"]\ntype = "T"'),
]


def expect(code: str, source: str, format: Any) -> Diagnostic:
    _, findings = read(source, format)
    assert [(f.code, (f.line, f.column)) for f in findings] == [(code, place) for place in marks(source)]
    (finding,) = findings
    assert finding.file == f"etl.{format}"
    assert finding.severity is Severity.ERROR
    for word in ("dict", "NoneType", "str ", "bool", "tuple", "Struct"):
        assert word not in finding.message
    return finding


@pytest.mark.parametrize(("code", "source"), YAML_MISTAKES)
def test_yaml_mistake_is_found_at_its_place(code: str, source: str) -> None:
    """One mistake gives exactly one finding, with its code, line and column."""
    expect(code, source, "yaml")


@pytest.mark.parametrize(("code", "policy"), POLICY_MISTAKES)
def test_policy_mistake_is_found_at_its_place(code: str, policy: str) -> None:
    """A bad policy is found in a node and in the defaults alike, and counts as not said."""
    expect(code, f"nodes:\n  - id: n\n    type: T\n    {policy}\n", "yaml")
    expect(code, f"defaults:\n  {policy}\n{NODE}", "yaml")


@pytest.mark.parametrize(("code", "source"), JSON_MISTAKES)
def test_json_mistake_is_found_at_its_place(code: str, source: str) -> None:
    """JSON files get the same findings."""
    expect(code, source, "json")


@pytest.mark.parametrize(("code", "source"), TOML_MISTAKES)
def test_toml_mistake_is_found_at_its_place(code: str, source: str) -> None:
    """TOML files get the same findings."""
    expect(code, source, "toml")


def test_all_mistakes_of_a_file_are_found_at_once() -> None:
    """Many mistakes are reported in one pass and in the order of the file, and the rest is still a spec."""
    source = """\
name: «12
«edgse: []
defaults: {retry: «0}
nodes:
  - id: reader
    «typ: FileReader
    params: «[a]
  - {id: filter, type: RegexFilter, params: {pattern: '^E'}, retry: 3, timeout: «-1}
  - {id: «filter, type: RegexFilter}
  - «writer
edges:
  - [reader, filter]
  - «[filter]
  - «[reader, filter]
outputs: {o: filter, p: «3}
"""
    spec, findings = read(source)
    assert [(f.line, f.column) for f in findings] == marks(source)
    assert [f.code for f in findings] == [
        "wrong-type", "unknown-key", "bad-policy", "unknown-key", "wrong-type", "bad-policy", "duplicate-id",
        "wrong-type", "bad-edge", "duplicate-edge", "wrong-type",
    ]  # fmt: skip
    assert spec.nodes == (
        NodeSpec("reader", ""),
        NodeSpec("filter", "RegexFilter", {"pattern": "^E"}, policies=Policies(retry=Retry())),
    )
    assert spec.edges == (EdgeSpec("reader", "filter"),)
    assert spec.outputs == {"o": "filter"}


@pytest.mark.parametrize(
    ("source", "message", "hint"),
    [
        (NODE + "edgse: []", "a pipeline has no key `edgse`", "did you mean `edges`?"),
        ("nodes: [{id: n, type: T, zzz: 1}]", "node `n` has no key `zzz`", "the keys are id, type, params"),
        ("nodes: [{id: n, type: T, parmas: {}, params: {}}]", "no key `parmas`", "`params` is there already"),
        (NODE + "cache_io: 'true'", "the text 'true', but true or false is wanted", "without quotes"),
        ("nodes: [{id: n, type: T, retry: '3'}]", "`retry` of node `n` is the text '3'", "write 3 without quotes"),
        (NODE + "name: 1.5", "`name` is the number 1.5, but text is wanted", "put it in quotes: '1.5'"),
        (NODE + "params: [1]", "`params` is a list, but a mapping is wanted", None),
        (NODE + "inputs: day", "`inputs` is the text 'day'", "write [day]"),
        ("nodes: [{id: n, type: T, inputs: r}]", "`inputs` of node `n`", "{lines: reader}"),
        ("nodes: [{id: n, type: T, inputs: {x: 3}}]", "input `x` of node `n` is the number 3", "under `params`"),
        (NODE + "edges: [a -> b]", "edge 1 is the text 'a -> b'", "write [a, b]"),
        (NODE + "edges: [[a, b, c]]", "edge 1 has 3 ends", "write [a, b] and [b, c]"),
        (NODE + "edges: [[pre/x, b]]", "'pre/x', which names no node", "`pre.x`"),
        (NODE + "edges: [[a, b], [c, d], [a, b]]", "its first place is etl.yaml:2:9", "remove one"),
        ("nodes: [{id: n, type: T}, {id: n, type: U}]", "its first place is etl.yaml:1:14", "rename one"),
        ("nodes: {n: {type: T}}\nmodules: [{id: n, path: x}]", "its first place is etl.yaml:1:9", "rename one"),
        ("nodes: [{reader: {type: T}}]", "node 1 has no `id`", "write `- id: reader`"),
        ("nodes: {r: FileReader}", "node `r` is the text 'FileReader'", "write {type: FileReader}"),
        ("nodes: [{id: n, type: T, timeout: 30 s}]", "'30 s', which is not a duration", "'5m'"),
        ("nodes: [{id: n, type: T, cache: 1h}]", "`cache` of node `n`", "{ttl: 1h}"),
        ("nodes: [{id: n, type: T, effects: idempotnt}]", "none of pure, idempotent, once", "`idempotent`?"),
        ("nodes: [{id: n, type: T, execution: {backnd: x}}]", "does not name a backend", "instead of `backnd`"),
        ("nodes: [{id: n, type: T, timeout: '${params.t}'}]", "holds a reference", "settings of execution"),
        ("modules: [{id: m, path: x, retry: 3}]", "module `m` has no key `retry`", "in its own file"),
        ("- id: n", "the file holds a list, but a pipeline is a mapping", "under `nodes:`"),
    ],
)  # fmt: skip
def test_messages_speak_of_the_file_and_name_a_remedy(source: str, message: str, hint: str | None) -> None:
    """What was found, what is wanted, and what to write instead."""
    _, (finding,) = read(source)
    assert message in finding.message
    assert (finding.hint is None) if hint is None else hint in (finding.hint or "")


def test_a_bad_id_is_reported_once_however_often_it_is_used() -> None:
    """Edges and inputs that use a name which is no id give no findings of their own."""
    source = """\
nodes:
  - {id: first, type: T, inputs: {x: my node}, after: [my node]}
  - {id: «my node, type: T}
edges: [[my node, first], [my node.port, first]]
outputs: [my node]
"""
    spec, findings = read(source)
    assert [(f.code, f.line, f.column) for f in findings] == [("bad-id", *marks(source)[0])]
    assert len(spec.edges) == 2


def test_a_syntax_error_gives_an_empty_spec_and_its_finding_alone() -> None:
    """Nothing is guessed about a file that cannot be parsed."""
    spec, findings = read("nodes: [")
    assert spec == PipelineSpec()
    assert [f.code for f in findings] == ["syntax"]


def test_findings_of_the_text_and_of_the_shape_come_together() -> None:
    """A duplicate key does not hide the mistakes after it."""
    _, findings = read("nodes: [{id: n, type: T, type: U}]\nnmae: x\n")
    assert [f.code for f in findings] == ["duplicate-key", "unknown-key"]


def test_every_code_is_described() -> None:
    """The codes used here stand in the table, kebab-case, with full sentences."""
    used = {code for code, _ in YAML_MISTAKES + POLICY_MISTAKES + JSON_MISTAKES + TOML_MISTAKES}
    assert used <= CODES.keys()
    for name, code in CODES.items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", name)
        assert all(text.endswith(".") for text in (code.summary, code.why, code.remedy))


def test_everything_a_file_can_say_is_read() -> None:
    """The design's example, with all keys, becomes the spec it describes."""
    assert good(FULL) == PipelineSpec(
        name="extract_logs",
        plugins=("./operators.py",),
        params={"pattern": "^ERROR"},
        inputs={"day": "2026-01-01"},
        cache_io=True,
        defaults=Policies(timeout=300.0),
        run_timeout=3600.0,
        nodes=(
            NodeSpec("reader", "FileReader", {"file_path": "input.txt"}),
            NodeSpec(
                "filter",
                "RegexFilter",
                {"pattern": "${params.pattern}"},
                {"lines": "reader", "more": ("reader", "pre.output")},
                ("cleanup",),
                Policies(
                    Execution("docker", (Execution("local"),), {"image": "myorg/nlp:${params.tag}"}),
                    Retry(3, delay=0.5, retry_on=("OSError",)),
                    30.0,
                    Cache(43200.0, "2", ("a.txt",)),
                    Batch(1000, 8),
                    Effects.PURE,
                ),
            ),
        ),
        edges=(EdgeSpec("reader", "filter"), EdgeSpec("filter.errors", "pre")),
        modules=(ModuleSpec("pre", "preprocessing.yaml", {"a": 1}, {"x": "reader"}, ("reader",)),),
        outputs={"output": "filter"},
    )


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("retry: 3", {"retry": Retry(3)}),
        ("retry: true", {"retry": Retry()}),
        ("retry: false", {"retry": False}),
        ("retry: {}", {"retry": Retry()}),
        ("retry: {delay: 0}", {"retry": Retry(delay=0.0)}),
        ("retry:", {}),
        ("timeout: 30s", {"timeout": 30.0}),
        ("timeout: 30", {"timeout": 30.0}),
        ("timeout: 0.5", {"timeout": 0.5}),
        ("timeout: false", {"timeout": False}),
        ("cache: true", {"cache": Cache()}),
        ("cache: false", {"cache": False}),
        ("cache: {version: v1}", {"cache": Cache(version="v1")}),
        ("batch: 10", {"batch": Batch(10)}),
        ("batch: true", {"batch": Batch()}),
        ("batch: {over: lines}", {"batch": Batch(over="lines")}),
        ("effects: once", {"effects": Effects.ONCE}),
        ("execution: docker", {"execution": Execution("docker")}),
        ("execution: {target: aws_lambda, region: x}", {"execution": Execution("aws_lambda", (), {"region": "x"})}),
        ("execution: {backend: a, target: }", {"execution": Execution("a")}),
        ("execution: {}", {"execution": Execution()}),
        ("execution: {backend: a, failover: b}", {"execution": Execution("a", (Execution("b"),))}),
        ("execution: {backend: a, failover: {target: b, x: 1}}", {"execution": Execution("a", (Execution("b", (), {"x": 1}),))}),
        ("execution: {backend: a, failover: [{backend: b, protocol: json}, local]}", {"execution": Execution("a", (Execution("b", protocol="json"), Execution("local")))}),
        ("execution: {backend: a, env: {K: '${secret:env/K}'}}", {"execution": Execution("a", (), {"env": {"K": "${secret:env/K}"}})}),
    ],
)  # fmt: skip
def test_short_forms_of_policies(policy: str, said: dict[str, Any]) -> None:
    """Each short form means its long one (S2.6 for `target`)."""
    assert good(f"nodes:\n- id: n\n  type: T\n  {policy}\n").nodes[0].policies == Policies(**said)


@pytest.mark.parametrize(
    ("source", "name", "value"),
    [
        ("inputs: [a, b]", "inputs", {"a": MISSING, "b": MISSING}),
        ("inputs: [a, {b: 1}, {c: null}]", "inputs", {"a": MISSING, "b": 1, "c": None}),
        ("inputs: {a: 1, b: [x]}", "inputs", {"a": 1, "b": ["x"]}),
        ("outputs: [n]", "outputs", {"n": "n"}),
        ("outputs: {o: n.errors}", "outputs", {"o": "n.errors"}),
        ("plugins: ./x.py", "plugins", ("./x.py",)),
        ("run_timeout: 90", "run_timeout", 90.0),
        ("run_timeout: false", "run_timeout", None),
        ("edges:", "edges", ()),
        ("params:", "params", {}),
        (
            "params: {a: '${env:A}', b: {c: [1, null, 2.5]}}",
            "params",
            {"a": "${env:A}", "b": {"c": [1, None, 2.5]}},
        ),
    ],
)
def test_short_forms_of_the_pipeline(source: str, name: str, value: Any) -> None:
    """Lists, mappings and single texts are accepted where they are plain to read; null is "not said"."""
    assert getattr(good(NODE + source), name) == value


def test_nodes_and_modules_may_be_mappings() -> None:
    """A mapping of id to node means the list with these ids."""
    spec = good("nodes: {a: {type: T}, b: {id: b, type: U, retry: 2}}\nmodules: {m: {path: m.yaml}}")
    assert spec.nodes == (NodeSpec("a", "T"), NodeSpec("b", "U", policies=Policies(retry=Retry(2))))
    assert spec.modules == (ModuleSpec("m", "m.yaml"),)


def test_an_empty_list_feeds_a_variadic_input_with_nothing() -> None:
    """A variadic input may be empty (S2.1)."""
    assert good("nodes: [{id: n, type: T, inputs: {xs: []}}]").nodes[0].inputs == {"xs": ()}


def test_dates_of_toml_are_text_as_in_the_other_formats() -> None:
    """One pipeline means the same in every format, so TOML's own dates are read as text."""
    source = (
        'inputs = {day = 2026-01-01}\n[[nodes]]\nid = "n"\ntype = "T"\nparams = {at = 2026-01-01T02:03:04Z}\n'
    )
    spec = good(source, "toml")
    assert spec.inputs == {"day": "2026-01-01"}
    assert spec.nodes[0].params == {"at": "2026-01-01T02:03:04Z"}


def test_nodes_without_policies_share_one_struct() -> None:
    """A node that says nothing about how it is run costs no struct of its own."""
    spec = good("nodes: [{id: a, type: T}, {id: b, type: T, retry: null}]")
    assert all(n.policies is NO_POLICIES for n in spec.nodes)


@pytest.mark.parametrize("source", SNIPPETS)
def test_the_briefs_snippets_are_read_without_a_finding(source: str) -> None:
    """What the user wrote first works as it stands, also without `name` or `edges`."""
    good(source)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["id", "type", "params", "inputs", "retry", "from", "to", "backend", "size", "ttl", "x"]) | st.text(max_size=4),
        inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
top_keys = st.sampled_from(
    [
        "name",
        "plugins",
        "params",
        "inputs",
        "cache_io",
        "defaults",
        "run_timeout",
        "nodes",
        "edges",
        "modules",
        "outputs",
        "z",
    ]
)


class Anywhere:
    """Stands for a document with any data; every place is (1, 1)."""

    def __init__(self, data: object) -> None:
        self.file, self.data, self.findings = "any", data, []

    def locate(self, *_: object, **__: object) -> tuple[int, int]:
        return 1, 1


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(top_keys, json_values, max_size=5) | json_values)
def test_any_data_gives_findings_and_never_a_traceback(data: Any) -> None:
    """Whatever a file holds, decoding ends with a spec and described findings."""
    spec, findings = decode(Anywhere(data))  # type: ignore[arg-type]
    assert isinstance(spec, PipelineSpec)
    assert all(f.code in CODES and f.message and len(f.message) < 600 for f in findings)


def big(count: int) -> Document:
    nodes = [
        f"  - {{id: n{i}, type: T, params: {{a: 1, b: x}}, inputs: {{lines: n{i - 1}}}, retry: 3, timeout: 30s}}\n"
        for i in range(count)
    ]
    edges = [f"  - [n{i}, n{i + 1}]\n" for i in range(count - 1)]
    return parse("nodes:\n" + "".join(nodes) + "edges:\n" + "".join(edges), "big.yaml", "yaml")


def test_nodes_are_read_without_looking_for_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Places are found only for findings, so that a good file does not pay for them."""
    document = big(1000)
    monkeypatch.setattr(Document, "locate", lambda *_, **__: pytest.fail("no finding, no place"))
    spec, findings = decode(document)
    assert len(spec.nodes) == 1000
    assert findings == []


def test_the_brief_still_holds_these_snippets() -> None:
    """Where the brief itself is at hand, its complete blocks are read without a finding too."""
    brief = Path("/work/shared/brief.md")
    if not brief.exists():
        pytest.skip("the brief is not on this machine")
    blocks = re.findall(r"```yaml\n(.*?)```", brief.read_text(encoding="utf-8"), re.DOTALL)
    complete = [b for b in blocks if b.startswith(("nodes:", "cache_io:", "modules:"))]
    assert len(complete) == 4
    for block in complete:
        good(block)
