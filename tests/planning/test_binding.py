"""What feeds each input: the order of S2.1, pipeline inputs (S2.2), order without data (S2.3), addresses (S2.4), scopes (S2.5)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petal import DefinitionError, InvalidPipeline, Pipeline, Session, UsageError, node, operator
from petal.planning.request import Request
from tests.planning.wiring import again, codes, load, one, origin, pair, param, several, source, triple, two

OPS = "plugins: [./ops.py]\n"
SOURCES = "  - { id: one, type: One }\n  - { id: two, type: Two }\n"


def test_an_input_binds_to_the_node_of_its_name() -> None:
    """As with pytest's fixtures, the signature is the wiring."""

    @operator
    def a() -> int:
        return 1

    @operator
    def b(a: int) -> int:
        return a

    plan = Pipeline.of(b, a).plan()
    assert [n.id for n in plan.nodes] == ["a", "b"]
    assert source(plan, "b.a") == "a"


def test_an_explicit_input_comes_before_a_name() -> None:
    """``inputs:`` wins over the node of the input's name (S2.1)."""
    plan = Pipeline.of(node(one, id="a"), node(two, id="b"), node(pair, inputs={"a": "b"})).plan()
    assert source(plan, "pair.a") == "b"
    assert source(plan, "pair.b") == "b"


def test_an_edge_with_a_port_comes_before_edges_without(tmp_path: Path) -> None:
    """Edges that name a port are bound first, in whatever order the file has them (S2.1)."""
    text = OPS + "nodes:\n" + SOURCES + "  - { id: p, type: Pair }\nedges:\n  - [one, p]\n  - [two, p.a]\n"
    plan = load(tmp_path, text).plan()
    assert source(plan, "p.a") == "two"
    assert source(plan, "p.b") == "one"


def test_edges_without_a_port_fill_the_inputs_in_order(tmp_path: Path) -> None:
    """Edges go onto the remaining inputs in file order and signature order (S2.1)."""
    text = OPS + "nodes:\n" + SOURCES + "  - { id: p, type: Pair }\nedges:\n  - [two, p]\n  - [one, p]\n"
    plan = load(tmp_path, text).plan()
    assert source(plan, "p.a") == "two"
    assert source(plan, "p.b") == "one"


def test_an_edge_takes_the_input_that_inputs_left(tmp_path: Path) -> None:
    """An explicit input is no longer there for an edge (S2.1)."""
    text = (
        OPS + "nodes:\n" + SOURCES + "  - { id: p, type: Pair, inputs: { a: one } }\nedges:\n  - [two, p]\n"
    )
    assert source(load(tmp_path, text).plan(), "p.b") == "two"


def test_an_edge_comes_before_a_name(tmp_path: Path) -> None:
    """A node of an input's name is asked only when no edge leads there (S2.1)."""
    text = (
        OPS
        + "nodes:\n  - { id: a, type: One }\n  - { id: b, type: Two }\n  - { id: p, type: Pair }\nedges: [[b, p]]\n"
    )
    plan = load(tmp_path, text).plan()
    assert source(plan, "p.a") == "b"
    assert source(plan, "p.b") == "b"


def test_a_constant_under_params_binds_an_input(tmp_path: Path) -> None:
    """``params`` may give an input a constant, which counts as explicit (S2.1)."""
    text = OPS + "nodes:\n  - { id: a, type: One }\n  - { id: p, type: Pair, params: { a: 5, b: 6 } }\n"
    plan = load(tmp_path, text).plan()
    assert source(plan, "p.a") == 5
    assert origin(plan, "p.a") == "params"


def test_a_node_comes_before_a_pipeline_input(tmp_path: Path) -> None:
    """A node of the input's name wins over a pipeline input of that name (S2.1)."""
    text = OPS + "inputs: { a: 9, b: 8 }\nnodes:\n  - { id: a, type: One }\n  - { id: p, type: Pair }\n"
    plan = load(tmp_path, text).plan()
    assert source(plan, "p.a") == "a"
    assert source(plan, "p.b") == 8
    assert origin(plan, "p.b") == "default of input b"


def test_a_pipeline_input_comes_before_the_default(tmp_path: Path) -> None:
    """The operator's own default is the last resort (S2.1)."""
    text = OPS + "inputs: { a: 1, b: 2, c: 3 }\nnodes:\n  - { id: t, type: Triple }\n"
    assert source(load(tmp_path, text).plan(), "t.c") == 3
    text = OPS + "inputs: { a: 1, b: 2 }\nnodes:\n  - { id: t, type: Triple }\n"
    assert source(load(tmp_path, text).plan(), "t.c") is None


def test_a_node_never_binds_to_itself() -> None:
    """A node whose id is the name of its own input takes that input from outside (S2.1)."""

    @operator
    def a(a: int = 4) -> int:
        return a

    assert source(Pipeline.of(a).plan(), "a.a") == 4


def test_a_variadic_takes_the_rest_of_the_edges(tmp_path: Path) -> None:
    """Edges beyond the named inputs go to the variadic one, in file order (S2.1)."""
    text = (
        OPS
        + "nodes:\n"
        + SOURCES
        + "  - { id: s, type: Several }\nedges: [[two, s], [one, s], [two, s.rest]]\n"
    )
    plan = load(tmp_path, text).plan()
    assert source(plan, "s.first") == "two"
    assert source(plan, "s.rest") == ["two", "one"]


def test_a_variadic_binds_a_list_and_may_be_empty() -> None:
    """A variadic input is bound explicitly only, takes a list, and may have nothing (S2.1)."""
    plan = Pipeline.of(one, two, node(several, inputs={"first": "one", "rest": ["two", "one"]})).plan()
    assert source(plan, "several.rest") == ["two", "one"]
    plan = Pipeline.of(node(one, id="first"), node(two, id="rest"), several).plan()
    assert source(plan, "several.rest") == []


def test_two_edges_on_one_port_are_an_error(tmp_path: Path) -> None:
    """Only a variadic input takes several edges (S2.1)."""
    text = (
        OPS
        + "nodes:\n"
        + SOURCES
        + "  - { id: p, type: Pair, params: {b: 1} }\nedges: [[one, p.a], [two, p.a]]\n"
    )
    assert codes(load(tmp_path, text)) == ["bound-twice"]


@settings(max_examples=40, deadline=None)
@given(st.permutations(["one", "two", "a", "b", "p"]), st.booleans(), st.booleans())
def test_the_order_of_nodes_changes_no_binding(order: list[str], by_input: bool, by_edge: bool) -> None:
    """What feeds an input does not depend on where nodes stand in the pipeline."""
    made = {"one": one, "two": two, "a": node(one, id="a"), "b": node(two, id="b")}
    inputs = ({"a": "one"} if by_input else {}) | ({"b": "two"} if by_edge else {})
    made["p"] = node(pair, id="p", inputs=inputs)
    plan = Pipeline.of(*(made[name] for name in order)).plan()
    assert source(plan, "p.a") == ("one" if by_input else "a")
    assert source(plan, "p.b") == ("two" if by_edge else "b")
    position = {n.id: i for i, n in enumerate(plan.nodes)}
    assert max(position[source(plan, "p.a")], position[source(plan, "p.b")]) < position["p"]


# -- pipeline inputs (S2.2) -------------------------------------------------------------------------------------


def test_in_python_an_unknown_name_becomes_a_pipeline_input() -> None:
    """``validate`` warns with a did-you-mean, and a run without the value is invalid before anything runs (S2.2)."""
    pipeline = Pipeline.of(node(one, id="aa"), node(pair, inputs={"b": "aa"}))
    (finding,) = pipeline.validate()
    assert (finding.code, finding.severity) == ("implied-input", "warning")
    assert finding.hint == "did you mean `aa`?"
    with pytest.raises(InvalidPipeline) as error:
        pipeline.run()
    assert [d.code for d in error.value.diagnostics] == ["missing-input"]
    assert source(pipeline.plan(inputs={"a": 5}), "pair.a") == 5


def test_in_python_an_input_with_a_default_can_be_given() -> None:
    """An unbound input with a default becomes an optional pipeline input (S2.2)."""
    pipeline = Pipeline.of(node(one, id="a"), node(two, id="b"), triple)
    assert pipeline.validate() == []
    assert source(pipeline.plan(), "triple.c") == 7
    assert source(pipeline.plan(inputs={"c": 8}), "triple.c") == 8


def test_in_a_file_inputs_are_declared(tmp_path: Path) -> None:
    """An unbound, undeclared input of a file is an error; a declared one is silent until the run (S2.2)."""
    text = "nodes:\n  - { id: p, type: Pair, params: { b: 1 } }\n"
    assert codes(load(tmp_path, OPS + text)) == ["unbound-input"]
    pipeline = load(tmp_path, OPS + "inputs: [a]\n" + text)
    assert pipeline.validate() == []
    with pytest.raises(InvalidPipeline, match="pipeline input `a`"):
        pipeline.run()
    assert pipeline.run(inputs={"a": 2}).outputs["p"] == 3


def test_an_input_that_nobody_declared_is_refused(tmp_path: Path) -> None:
    """A value for an input that the pipeline does not have is a wrong argument."""
    with pytest.raises(UsageError, match="no input `c`"):
        Pipeline.of(one).plan(inputs={"c": 1})


def test_a_value_for_an_input_is_checked(tmp_path: Path) -> None:
    """A pipeline input's value has the type of the operator's input, text from outside being read by it (S8.3)."""
    text = OPS + "inputs: [a]\nnodes:\n  - { id: p, type: Pair, params: { b: 1 } }\n"
    pipeline = load(tmp_path, text)
    with pytest.raises(InvalidPipeline, match="'x' is text, but int is wanted"):
        pipeline.plan(inputs={"a": "x"})
    planned = pipeline.planned(Request(inputs={"a": "12"}, text=frozenset({"a"})))
    assert planned.plan is not None
    assert source(planned.plan, "p.a") == 12


# -- order, ids, addresses (S2.3, S2.4) -------------------------------------------------------------------------


def test_after_orders_without_data(tmp_path: Path) -> None:
    """``after`` puts nodes in order and binds nothing (S2.3)."""
    text = OPS + "nodes:\n  - { id: one, type: One, after: [two] }\n  - { id: two, type: Two }\n"
    plan = load(tmp_path, text).plan()
    assert [n.id for n in plan.nodes] == ["two", "one"]
    assert plan.nodes[1].after == (0,)
    assert plan.nodes[1].inputs == {}


@pytest.mark.parametrize("wrong", ["2nd", "a b", "", "a.b", "a/b", "é", "-a"])
def test_an_id_looks_like_a_name(wrong: str) -> None:
    """Ids are letters, digits, `_` and `-`, beginning with a letter or `_` (S2.4)."""
    with pytest.raises(DefinitionError, match="is not an id"):
        node(one, id=wrong)


def test_addresses_reach_nodes_modules_and_the_pipeline(tmp_path: Path) -> None:
    """``pre/n.text``, ``pre.text``, ``n.text`` and ``text`` are four addresses (S2.4)."""
    inner = "params: { text: inner }\n" + OPS
    inner += "nodes:\n  - { id: n, type: Named, params: { x: 1, text: '${params.text}', number: 1 } }\n"
    load(tmp_path, inner, "inner.yaml")
    outer = inner.replace("inner", "outer") + "modules:\n  - { id: pre, path: inner.yaml }\n"
    pipeline = load(tmp_path, outer, "outer.yaml")
    values = {"pre/n.number": 5, "pre.text": "P", "n.number": 6, "text": "T"}
    plan = pipeline.plan(params=values)
    assert (param(plan, "pre/n.number"), param(plan, "pre/n.text")) == (5, "P")
    assert (param(plan, "n.number"), param(plan, "n.text")) == (6, "T")
    assert param(pipeline.plan(), "pre/n.text") == "inner"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("n.txet", "did you mean `text`"),
        ("m.text", "no node or module `m`"),
        ("nothing", "no parameter `nothing`"),
        ("pre/n.text", "no node or module `pre/n`"),
    ],
)
def test_an_address_that_names_nothing_is_refused(tmp_path: Path, address: str, words: str) -> None:
    """A parameter that the pipeline does not have is a wrong argument, with a did-you-mean."""
    pipeline = load(tmp_path, OPS + "nodes:\n  - { id: n, type: Named, params: { x: 1 } }\n")
    with pytest.raises(UsageError) as error:
        pipeline.plan(params={address: "v"})
    assert words in str(error.value)


# -- scopes (S2.5) ----------------------------------------------------------------------------------------------

SHADOW = "from petal import operator\n\n\n@operator\ndef regex_filter(lines: list[str]) -> list[str]:\n    return lines\n"


def test_a_pipelines_plugins_come_before_built_ins(tmp_path: Path) -> None:
    """An operator of the pipeline's own file shadows a built-in of that name (S2.5)."""
    (tmp_path / "mine.py").write_text(SHADOW, "utf-8")
    text = "plugins: [./mine.py]\nnodes:\n  - { id: f, type: RegexFilter, params: { lines: [a] } }\n"
    plan = load(tmp_path, text).plan()
    assert plan.operators[plan.nodes[0].operator].file.endswith("mine.py")


def test_a_modules_plugins_are_visible_to_it_alone(tmp_path: Path) -> None:
    """What a module names under ``plugins:`` does not leak into its parent, nor back (S2.5)."""
    (tmp_path / "mine.py").write_text(SHADOW.replace("regex_filter", "special"), "utf-8")
    load(
        tmp_path,
        "plugins: [./mine.py]\nnodes:\n  - { id: n, type: Special, params: { lines: [a] } }\n",
        "inner.yaml",
    )
    modules = "modules:\n  - { id: pre, path: inner.yaml }\n"
    assert codes(load(tmp_path, modules)) == []
    text = modules + "nodes:\n  - { id: n, type: Special, params: { lines: [a] } }\n"
    assert codes(load(tmp_path, text)) == ["unknown-operator"]


def test_two_plugins_with_one_name_clash(tmp_path: Path) -> None:
    """A clash is an error within one scope, at the plugin that came second (S2.5)."""
    (tmp_path / "mine.py").write_text(SHADOW, "utf-8")
    (tmp_path / "other.py").write_text(SHADOW, "utf-8")
    text = "plugins:\n  - ./mine.py\n  - ./other.py\nnodes:\n  - { id: f, type: RegexFilter, params: { lines: [a] } }\n"
    finding, note = load(tmp_path, text).validate()
    assert note.code == "shadowed-operator"
    assert (finding.code, finding.line) == ("operator-clash", 3)


def test_session_operators_are_no_globals() -> None:
    """What one session registers, another does not know."""

    class Brings:
        pass

    mine = Session()
    mine.register(Brings, "mine")
    assert codes(Pipeline.of(node("Special", id="n"), session=Session())) == ["unknown-operator"]


# -- Python to file and back ------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["yaml", "json", "toml"])
def test_python_to_file_to_python_is_equal(tmp_path: Path, format: str) -> None:
    """A pipeline of functions, written as a file and read back, has an equal specification and the same edges."""
    load(tmp_path, "nodes: []\n")
    module = (tmp_path / "ops.py").read_text(
        "utf-8"
    ) + "\n\n@operator\ndef late(pair: int, y: int = 3) -> int:\n    return pair\n"
    (tmp_path / "flow.py").write_text(module.replace("def one", "def a").replace("def two", "def b"), "utf-8")
    pipeline = Pipeline.from_module(tmp_path / "flow.py")
    assert again(pipeline, tmp_path, format) == pipeline.spec
    assert Pipeline.from_file(tmp_path / f"again.{format}").edges() == pipeline.edges()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(["one", "two"]), max_size=4),
    st.dictionaries(st.sampled_from("ab"), st.integers(0, 9)),
)
def test_any_wiring_in_python_survives_a_file(rest: list[str], constants: dict[str, int]) -> None:
    """Explicit inputs, variadics and constants are the same after a file in every format."""
    from petal.config.decode import decode
    from petal.config.syntax import parse

    pipeline = Pipeline.of(
        one,
        two,
        node(several, inputs={"first": "one", "rest": rest}),
        node(pair, inputs={k: "two" for k in "ab" if k not in constants}, params=constants),
        name="wiring",
    )
    for format, text in (
        ("yaml", pipeline.to_yaml()),
        ("json", pipeline.to_json()),
        ("toml", pipeline.to_toml()),
    ):
        spec, findings = decode(parse(text, f"p.{format}", format))  # type: ignore[arg-type]
        assert findings == []
        assert spec == pipeline.spec
