"""The library as a whole: its table, its docstrings, and the examples in them."""

import ast
import inspect
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import polars as pl
import pytest

import petal
from petal.library.merge import list_merger
from petal.library.noop import empty_source, noop_sink, noop_transformer
from petal.library.table import OPERATORS
from petal.spec.operator import Kind
from petal.spec.signature import describe

SAMPLES = Path(__file__).parent / "samples"
ROOM = Path(petal.__file__).parent / "library"


def load(name):
    module, _, function = OPERATORS[name].partition(":")
    return getattr(import_module(module), function)


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_is_described(name):
    """Its name, summary and the text for each argument are those that `petal describe` shows."""
    spec = describe(load(name))
    assert spec.name == name
    assert spec.remarks == ()
    first, _, rest = inspect.cleandoc(spec.doc).partition("\n")
    assert len(first) <= 72
    assert first.endswith(".")
    assert "\nExample:\n" in rest
    for argument in [*spec.inputs, *spec.params]:
        assert f"\n    {argument.name}: " in rest, argument.name
    if spec.kind is Kind.SINK:
        assert spec.policies.effects == "idempotent"
    elif spec.kind is Kind.TRANSFORMER:
        assert spec.rowwise is not None


def test_every_operator_is_in_the_table():
    """No decorated function of the room is left out."""
    found = set()
    for path in ROOM.glob("*.py"):
        for item in ast.parse(path.read_text()).body:
            if isinstance(item, ast.FunctionDef) and any(
                "operator" in ast.unparse(d) for d in item.decorator_list
            ):
                found.add(f"petal.library.{path.stem}:{item.name}")
    assert found == set(OPERATORS.values())


def test_the_room_imports_petal_as_a_plugin_does():
    """Only `petal` itself and the room's own modules, never another room; the small ones need no Polars."""
    for path in ROOM.glob("*.py"):
        for item in ast.walk(ast.parse(path.read_text())):
            if isinstance(item, ast.ImportFrom) and item.module.startswith("petal."):
                assert item.module.startswith("petal.library"), path
    code = "import sys, petal.library.noop, petal.library.table, petal.library.merge; print('polars' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", OPERATORS)
def test_every_example_runs(name, tmp_path, monkeypatch):
    """The pipeline in each docstring runs in a folder with the sample files, without a single finding."""
    shutil.copytree(SAMPLES, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    Path("example.yaml").write_text(inspect.cleandoc(load(name).__doc__).partition("\nExample:\n")[2])
    pipeline = petal.Pipeline.from_file("example.yaml")
    assert pipeline.validate() == []
    assert any(node.type == name for node in pipeline.spec.nodes)
    pipeline.run().check()
    for node in pipeline.spec.nodes:
        if "Writer" in node.type:
            assert Path(node.params["file_path"]).stat().st_size > 0


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_says_whether_its_input_can_be_cut(name):
    """Whoever takes a stream declares `rowwise`, True or False; what sinks write cannot be put together again."""
    spec = describe(load(name))
    assert (spec.rowwise is None) is (spec.kind is Kind.SOURCE)
    if spec.kind is Kind.SINK:
        assert spec.rowwise is False


def test_nothing_goes_in_and_nothing_comes_out():
    """The brief's first case: an empty list, passed on and dropped."""
    assert empty_source() == []
    stream = iter([1, "a", None])
    assert list(noop_transformer(stream)) == [1, "a", None]
    stream = iter([1, 2])
    assert noop_sink(stream) is None
    assert list(stream) == []


def test_streams_are_merged_in_order_and_lazily():
    """The second stream is not touched before the first has ended."""
    touched = []

    def stream(name):
        touched.append(name)
        yield pl.Series([name])

    merged = list_merger(stream("a"), stream("b"))
    assert next(merged).to_list() == ["a"]
    assert touched == ["a"]
    assert [s.to_list() for s in merged] == [["b"]]
    assert list(list_merger()) == []
