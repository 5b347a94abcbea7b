"""Modules: a pipeline file used as a node, with parameters, inputs and outputs of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from petal import Pipeline
from petal.spec.diagnostic import Diagnostic
from tests.planning.wiring import codes, load, origin, param, source, write

OPS = "plugins: [./ops.py]\n"
INNER = (
    OPS
    + """\
params: { text: inner, number: 1 }
inputs: [x]
nodes:
  - { id: n, type: Named, params: { text: '${params.text}', number: '${params.number}' } }
outputs: { output: n }
"""
)
SOURCE = "  - { id: one, type: One }\n"


def outer(modules: str, nodes: str = SOURCE, more: str = "") -> str:
    return OPS + "nodes:\n" + nodes + "modules:\n" + modules + more


def only(pipeline: Pipeline) -> Diagnostic:
    (finding,) = pipeline.validate()
    return finding


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a module."""
    write(tmp_path, "inner.yaml", INNER)
    return tmp_path


def test_one_module_twice_with_other_parameters(folder: Path) -> None:
    """Each use of a file has its own parameters, inputs and node ids."""
    text = outer(
        "  - { id: a, path: inner.yaml, params: { text: A }, inputs: { x: one } }\n"
        "  - { id: b, path: inner.yaml, params: { text: B, number: 7 }, inputs: { x: two } }\n",
        SOURCE + "  - { id: two, type: Two }\n",
    )
    plan = load(folder, text).plan()
    assert [(param(plan, f"{m}/n.text"), param(plan, f"{m}/n.number")) for m in "ab"] == [("A", 1), ("B", 7)]
    assert (source(plan, "a/n.x"), source(plan, "b/n.x")) == ("one", "two")


def test_modules_three_deep(folder: Path) -> None:
    """A module inside a module inside a module gets its inputs and gives its outputs through all of them."""
    for level, inside in (("two", "inner"), ("three", "two")):
        text = f"inputs: [x]\nparams: {{ text: {level} }}\nmodules:\n"
        text += f"  - {{ id: {inside}, path: {inside}.yaml, params: {{ text: '${{params.text}}' }}, inputs: {{ x: x }} }}\n"
        write(folder, f"{level}.yaml", text + f"outputs: {{ output: {inside} }}\n")
    text = outer(
        "  - { id: m, path: three.yaml, params: { text: top } }\n",
        SOURCE + "  - { id: t, type: Triple, params: { b: 1, c: 2 } }\n",
    )
    pipeline = load(folder, text + "edges: [[one, m.x], [m, t.a]]\n")
    assert [(f.code, f.line) for f in pipeline.validate()] == [("type-mismatch", 7)]  # text into a number
    plan = load(
        folder,
        text.replace("  - { id: t, type: Triple, params: { b: 1, c: 2 } }\n", "") + "edges: [[one, m]]\n",
    ).plan()
    assert [n.id for n in plan.nodes] == ["one", "m/two/inner/n"]
    assert source(plan, "m/two/inner/n.x") == "one"
    assert param(plan, "m/two/inner/n.text") == "top"


@pytest.mark.parametrize(
    ("module", "edges", "expected"),
    [
        ("inputs: { x: one }", "", "one"),
        ("params: { x: 5 }", "", 5),
        ("", "edges: [[one, m.x]]", "one"),
        ("", "edges: [[one, m]]", "one"),
        ("", "edges: [{ from: one, to: m }]", "one"),
    ],
)
def test_the_ways_to_give_a_module_an_input(folder: Path, module: str, edges: str, expected: object) -> None:
    """An explicit input, a constant, an edge with and without a port feed a module's input."""
    text = outer(f"  - {{ id: m, path: inner.yaml, {module} }}\n".replace(", }", " }"), more=edges + "\n")
    plan = load(folder, text).plan()
    assert source(plan, "m/n.x") == expected


def test_a_module_input_binds_by_name(folder: Path) -> None:
    """A node of the parent, else an input of the parent, has the name of the module's input (S2.1, S2.2)."""
    plan = load(folder, outer("  - { id: m, path: inner.yaml }\n", "  - { id: x, type: One }\n")).plan()
    assert source(plan, "m/n.x") == "x"
    plan = load(folder, "inputs: { x: 4 }\n" + outer("  - { id: m, path: inner.yaml }\n")).plan()
    assert source(plan, "m/n.x") == 4
    assert load(folder, "inputs: [x]\n" + outer("  - { id: m, path: inner.yaml }\n")).validate() == []


def test_a_module_input_has_a_default(folder: Path) -> None:
    """What nobody gives a module is its own default, and without one an error at the module."""
    write(folder, "inner.yaml", INNER.replace("[x]", "{ x: 3 }"))
    plan = load(folder, outer("  - { id: m, path: inner.yaml }\n")).plan()
    assert source(plan, "m/n.x") == 3
    assert origin(plan, "m/n.x") == "default of input x"
    write(folder, "inner.yaml", INNER)
    finding = only(load(folder, outer("  - { id: m, path: inner.yaml }\n")))
    assert (finding.code, finding.line) == ("unbound-input", 5)


def test_edges_with_a_port_come_first_at_modules_too(folder: Path) -> None:
    """The order of S2.1 holds for a module's inputs."""
    write(
        folder,
        "inner.yaml",
        OPS + "inputs: [p, q]\nnodes:\n  - { id: n, type: Pair, inputs: { a: p, b: q } }\n",
    )
    nodes = SOURCE + "  - { id: two, type: Two }\n"
    plan = load(
        folder, outer("  - { id: m, path: inner.yaml }\n", nodes, "edges: [[one, m], [two, m.p]]\n")
    ).plan()
    assert (source(plan, "m/n.a"), source(plan, "m/n.b")) == ("two", "one")


def test_outputs_are_named(folder: Path) -> None:
    """``module`` is its output `output`, or its only one; the others are ``module.name``."""
    inner = OPS + "nodes:\n  - { id: o, type: One }\n  - { id: t, type: Two }\n"
    write(folder, "two.yaml", inner + "outputs: { first: o, second: t }\n")
    write(folder, "only.yaml", inner + "outputs: [t]\n")
    modules = "  - { id: m, path: two.yaml }\n  - { id: k, path: only.yaml }\n"
    nodes = "  - { id: p, type: Pair, inputs: { a: m.second, b: k } }\n"
    plan = load(folder, outer(modules, nodes)).plan()
    assert (source(plan, "p.a"), source(plan, "p.b")) == ("m/t", "k/t")
    assert only(load(folder, outer(modules, nodes.replace("m.second", "m")))).code == "unknown-port"


def test_a_module_may_be_of_any_format(folder: Path) -> None:
    """YAML, JSON, TOML and Python files are modules of each other."""
    write(folder, "m.json", Pipeline.from_file(folder / "inner.yaml").to_json())
    write(folder, "m.toml", Pipeline.from_file(folder / "inner.yaml").to_toml())
    write(
        folder,
        "m.py",
        "from petal import operator\n\n\n@operator\ndef n(x: int, *, text: str = 'py') -> str:\n    return text\n",
    )
    modules = "".join(
        f"  - {{ id: {f}, path: m.{f}, inputs: {{ x: one }} }}\n" for f in ("json", "toml", "py")
    )
    plan = load(folder, outer(modules)).plan()
    assert [source(plan, f"{f}/n.x") for f in ("json", "toml", "py")] == ["one", "one", "one"]


def test_a_mistake_inside_a_module_has_its_own_place_and_the_way_there(folder: Path) -> None:
    """The finding stands in the module's file, and ``chain`` names each entry that led there."""
    write(folder, "bad.yaml", INNER.replace("Named", "Nmaed"))
    write(folder, "middle.yaml", "inputs: [x]\nmodules:\n  - { id: inside, path: bad.yaml }\n")
    finding = only(load(folder, outer("  - { id: m, path: middle.yaml, inputs: { x: one } }\n")))
    assert (finding.code, finding.line, finding.column) == ("unknown-operator", 5, 20)
    assert Path(str(finding.file)).name == "bad.yaml"
    assert [c.rsplit("/", 1)[-1] for c in finding.chain] == ["p.yaml:5:20", "middle.yaml:3:25"]


def test_a_mistake_of_a_module_used_twice_is_told_once(folder: Path) -> None:
    """A file's own mistake is one mistake, however often the file is used."""
    write(folder, "bad.yaml", INNER.replace("params: { text: '${params.text}'", "params: { text: 5"))
    modules = "".join(f"  - {{ id: m{i}, path: bad.yaml, inputs: {{ x: one }} }}\n" for i in range(5))
    assert only(load(folder, outer(modules))).code == "bad-value"


def test_after_a_module_is_after_all_its_nodes(folder: Path) -> None:
    """``after: [module]`` waits for every node inside."""
    text = outer(
        "  - { id: m, path: inner.yaml, params: { x: 1 } }\n", "  - { id: one, type: One, after: [m] }\n"
    )
    assert [n.id for n in load(folder, text).plan().nodes] == ["m/n", "one"]


def test_a_path_is_relative_to_the_file_that_names_it(folder: Path) -> None:
    """Modules and plugins in folders name each other relative to themselves."""
    write(folder / "parts", "deep.yaml", "modules:\n  - { id: up, path: ../inner.yaml, params: { x: 1 } }\n")
    (folder / "pyproject.toml").write_text("", "utf-8")
    assert load(folder, "modules:\n  - { id: d, path: parts/deep.yaml }\n").plan().nodes[0].id == "d/up/n"


def test_recursion_is_shown(folder: Path) -> None:
    """A file that uses itself, directly or through another, is refused, and the loop is in the message."""
    write(folder, "a.yaml", "modules:\n  - { id: b, path: b.yaml }\n")
    write(folder, "b.yaml", "modules:\n  - { id: a, path: a.yaml }\n")
    finding = only(Pipeline.from_file(folder / "a.yaml"))
    assert finding.code == "module-recursion"
    assert "a.yaml → b.yaml → a.yaml" in finding.message
    assert codes(load(folder, "modules:\n  - { id: p, path: ./p.yaml }\n")) == ["module-recursion"]


def test_nothing_outside_the_project_is_opened(folder: Path) -> None:
    """``..``, absolute paths and links lead out of a project, and are refused before anything is read (S7.3)."""
    inside = folder / "project"
    write(inside, "x", "")
    (inside / "link.yaml").symlink_to(folder / "inner.yaml")
    for path in ("../inner.yaml", str(folder / "inner.yaml"), "link.yaml", "../nothing.yaml"):
        assert codes(load(inside, f"modules:\n  - {{ id: m, path: '{path}' }}\n")) == ["outside-project"], (
            path
        )
    for path in ("../ops.py", str(folder / "ops.py")):
        text = f"plugins: ['{path}']\nnodes:\n  - {{ id: e, type: EmptySource }}\n"
        assert codes(load(inside, text)) == ["outside-project"], path


def test_a_runs_values_come_out_of_modules(folder: Path) -> None:
    """A pipeline of modules runs as one."""
    text = outer("  - { id: m, path: inner.yaml, params: { text: v }, inputs: { x: one } }\n")
    assert load(folder, text).run().outputs == {"m/n": "1v1NoneFalse"}
