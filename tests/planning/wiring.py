"""Operators that the planning tests wire together, and ways to look at a plan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from petal import Pipeline, PipelineSpec, Plan, Session, operator
from petal.spec.plan import Constant, FromNode

#: The same operators as a file, for pipelines that are files.
OPERATORS = """\
from collections.abc import Iterator
from pathlib import Path

from petal import operator


@operator
def one() -> int:
    return 1


@operator
def two() -> int:
    return 2


@operator
def pair(a: int, b: int) -> int:
    return a + b


@operator
def triple(a: int, b: int, c: int = 7) -> int:
    return a + b + c


@operator
def several(first: int, *rest: int) -> int:
    return first + sum(rest)


@operator
def named(x: int, *, text: str = "t", number: int = 0, path: Path | None = None, flag: bool = False) -> str:
    return f"{x}{text}{number}{path}{flag}"


@operator
def rows() -> Iterator[int]:
    yield 1
"""


@operator
def one() -> int:
    """Return a number."""
    return 1


@operator
def two() -> int:
    """Return a number."""
    return 2


@operator
def pair(a: int, b: int) -> int:
    """Take two numbers."""
    return a + b


@operator
def triple(a: int, b: int, c: int = 7) -> int:
    """Take two numbers, and a third that has a default."""
    return a + b + c


@operator
def several(first: int, *rest: int) -> int:
    """Take a number and any number of others."""
    return first + sum(rest)


@operator
def rows() -> Iterator[int]:
    """Give a stream."""
    yield 1


def write(folder: Path, name: str, text: str) -> Path:
    """Write a file beside the file of operators."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    (folder / "ops.py").write_text(OPERATORS, "utf-8")
    path.write_text(text, "utf-8")
    return path


def load(folder: Path, text: str, name: str = "p.yaml", **environment: str) -> Pipeline:
    """Load a pipeline file that may name the operators."""
    return Pipeline.from_file(write(folder, name, text), session=Session(environment=environment))


def source(plan: Plan, address: str) -> Any:
    """Say what feeds ``node.input``: ``id`` or ``id.port``, the constant itself, or a list of these."""
    head, _, name = address.rpartition(".")
    node = next(n for n in plan.nodes if n.id == head)
    bound = node.inputs.get(name)
    if isinstance(bound, tuple):
        return [_shown(plan, b) for b in bound]
    return _shown(plan, bound)


def _shown(plan: Plan, bound: Any) -> Any:
    if isinstance(bound, FromNode):
        found = plan.nodes[bound.node].id
        return found if bound.port == "output" else f"{found}.{bound.port}"
    return bound.value if isinstance(bound, Constant) else bound


def origin(plan: Plan, address: str) -> str:
    """Say where the constant of ``node.input`` came from."""
    head, _, name = address.rpartition(".")
    bound = next(n for n in plan.nodes if n.id == head).inputs[name]
    assert isinstance(bound, Constant)
    return bound.origin


def param(plan: Plan, address: str) -> Any:
    """Return the value of ``node.param``."""
    head, _, name = address.rpartition(".")
    return next(n for n in plan.nodes if n.id == head).params[name]


def codes(pipeline: Pipeline) -> list[str]:
    """Return the codes of what validation finds."""
    return [f.code for f in pipeline.validate()]


def again(pipeline: Pipeline, folder: Path, format: str) -> PipelineSpec:
    """Write a pipeline's file and read it back."""
    text = {"yaml": pipeline.to_yaml, "json": pipeline.to_json, "toml": pipeline.to_toml}[format]()
    path = folder / f"again.{format}"
    path.write_text(text, "utf-8")
    return Pipeline.from_file(path).spec
