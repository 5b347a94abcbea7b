"""The pytest plugin `petal`: its fixtures, its summary, and that it costs and breaks nothing where it is not used."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import pytest

from petal import NodeFailed, Pipeline, Session, node
from petal.testing import tasks

pytest_plugins = "pytester"

PIPELINE = """
name: lines
nodes:
  - { id: reader, type: FileReader, params: { file_path: input.txt } }
  - { id: writer, type: FileWriter, params: { file_path: "${params.out}" } }
edges: [[reader, writer]]
params: { out: out.txt }
"""

TEST_FILE = """
from petal.testing import BackendContract, Case, OperatorContract
from petal.testing.tasks import doubles

class TestDoubles(OperatorContract):
    operator = doubles
    cases = [Case(inputs={"rows": [1]}, output=[2])]
    backends = ["local"]

class TestLocal(BackendContract):
    backend = "local"
"""


def test_pytest_finds_it_when_petal_is_installed() -> None:
    """The entry point of group pytest11."""
    found = [e.value for e in entry_points(group="pytest11") if e.name == "petal"]
    assert found == ["petal.testing.plugin"]


def test_it_loads_nothing_heavy() -> None:
    """Every pytest of an environment with Petal imports it."""
    code = "import sys, petal.testing.plugin; print(*{m.partition('.')[0] for m in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert {"polars", "msgspec", "hypothesis", "pluggy"} & set(done.stdout.split()) <= {"pluggy"}


def test_petal_run_runs_a_file_beside_the_test(pytester: pytest.Pytester) -> None:
    """Its paths are relative to the file; the current folder is tmp_path."""
    pytester.makefile(".yaml", pipeline=PIPELINE)
    pytester.makefile(".txt", input="a\nb")
    pytester.makepyfile(
        """
        import os
        from petal import Pipeline

        def where() -> str:
            return os.getcwd()

        def test_file(petal_run):
            result = petal_run("pipeline.yaml", overrides={"writer": None}, targets=["reader"])
            assert list(result.outputs["reader"]) == ["a", "b"]

        def test_folder(petal_run, tmp_path):
            assert petal_run(Pipeline.of(where)).outputs["where"] == str(tmp_path) != os.getcwd()
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_petal_run_takes_a_pipeline_and_raises_what_failed(petal_run: Callable[..., Any]) -> None:
    """Unless it is told not to."""

    def three() -> int:
        return 3

    pipeline = Pipeline.of(three, node(tasks.fails, id="it", inputs={"value": "three"}))
    with pytest.raises(NodeFailed, match="3 is unusual"):
        petal_run(pipeline)
    assert petal_run(pipeline, check=False).status == "failed"
    assert petal_run(Pipeline.of(three)).outputs["three"] == 3


def test_a_session_does_not_see_the_developers_plugins(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """What a shell names would decide whether a test passes."""
    monkeypatch.setenv("PETAL_PLUGINS", "no_such_plugin")
    session = request.getfixturevalue("petal_session")
    assert isinstance(session, Session)
    assert session.plugins.warnings == []


@pytest.mark.slow
@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_the_lines_of_contracts_are_shown_at_the_end(pytester: pytest.Pytester, workers: list[str]) -> None:
    """One line for each type of values and backend."""
    pytester.makepyfile(TEST_FILE)
    found = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-k", "Decimal or Path", *workers)
    assert found.ret == 0
    found.stdout.fnmatch_lines(
        ["*petal contracts*", "local *Decimal *equal as value, items", "local *Path *"]
    )


@pytest.mark.slow
def test_with_q_only_their_number_is_shown(pytester: pytest.Pytester) -> None:
    """Forty lines are too many for who asks for few."""
    pytester.makepyfile(TEST_FILE)
    found = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider", "-k", "Decimal or Path")
    found.stdout.fnmatch_lines(["2 lines; they are shown without -q"])


@pytest.mark.slow
def test_contracts_work_without_the_plugin(pytester: pytest.Pytester) -> None:
    """``-p no:petal`` takes the fixtures and the summary away, and nothing else."""
    pytester.makepyfile(TEST_FILE)
    found = pytester.runpytest_subprocess(
        "-p", "no:petal", "-p", "no:cacheprovider", "-k", "Doubles or Decimal"
    )
    assert found.ret == 0
    found.stdout.no_fnmatch_line("*petal contracts*")


@pytest.mark.parametrize("missing", ["pytest", "hypothesis"])
def test_without_its_packages_it_says_what_to_install(missing: str) -> None:
    """The extra `testing` brings both."""
    code = f"""
        import importlib.util as u, petal
        find = u.find_spec
        u.find_spec = lambda name, package=None: None if name == {missing!r} else find(name, package)
        import petal.testing
        try:
            petal.testing.Case
        except petal.EnvironmentNotReady as error:
            print(error)
        """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert f"needs {missing}" in done.stdout
    assert "pip install petal-etl[testing]" in done.stdout
