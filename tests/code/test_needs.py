"""What operators are made of: the project's own files and packages that must be where they run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from petal import Pipeline

OPERATORS = """\
from typing import TYPE_CHECKING
import helper
from pkg.inner import deep
from petal import operator
if TYPE_CHECKING:
    import hypothesis

@operator
def plain(lines: list[str]) -> list[str]:
    import importlib
    import lazy
    importlib.import_module("named")
    return lines
"""
FILES = {
    "operators.py": OPERATORS,
    "helper.py": "import click\n",
    "lazy.py": "import json\n",
    "named.py": "",
    "unused.py": "import polars\n",
    "pkg/__init__.py": "",
    "pkg/inner/__init__.py": "from ..beside import b\n",
    "pkg/inner/deep.py": "",
    "pkg/beside.py": "b = 1\n",
    "pipeline.yaml": "plugins: [./operators.py]\ninputs: [lines]\nnodes:\n  - { id: plain, type: Plain, execution: { backend: process } }\n"
    "  - { id: keep, type: RegexFilter, params: { pattern: a }, inputs: { lines: plain } }\n"
    "  - { id: same, type: NoOpTransformer, inputs: { items: keep } }\n",
}


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    yield Pipeline.from_file(tmp_path / "pipeline.yaml")
    for name in ("operators", "helper", "pkg", "pkg.inner", "pkg.inner.deep", "pkg.beside"):
        sys.modules.pop(name, None)


def test_imports_are_followed_wherever_they_stand(pipeline: Pipeline, tmp_path: Path) -> None:
    """Inside functions and packages and by written-out names too, but not those for type checkers alone."""
    found = pipeline.needs("process")
    assert [str(Path(file).relative_to(tmp_path.resolve())) for file in found.files] == [
        "helper.py",
        "lazy.py",
        "named.py",
        "operators.py",
        "pkg/__init__.py",
        "pkg/beside.py",
        "pkg/inner/__init__.py",
        "pkg/inner/deep.py",
    ]
    assert {"petal-etl", "click", "msgspec"} <= found.packages.keys()
    assert not {"hypothesis", "polars"} & found.packages.keys()
    assert list(found.nodes) == ["plain"]


@pytest.mark.parametrize(("node", "needed"), [("keep", True), ("same", False)])
def test_polars_is_needed_where_an_operator_works_on_frames(
    pipeline: Pipeline, node: str, needed: bool
) -> None:
    found = pipeline.needs("process", backends={"plain": "local", node: "process"})
    assert ("polars" in found.packages) is needed
    assert found.files == ()


def test_a_place_to_fail_over_to_counts(pipeline: Pipeline, tmp_path: Path) -> None:
    text = FILES["pipeline.yaml"].replace("backend: process", "backend: local, failover: [process]")
    (tmp_path / "pipeline.yaml").write_text(text)
    assert list(Pipeline.from_file(tmp_path / "pipeline.yaml").needs("process").nodes) == ["plain"]
