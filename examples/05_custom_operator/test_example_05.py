"""Example 05: an operator of one's own, in a file and in a package, and how to test both it and its pipeline."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from petal import Pipeline
from petal.code.loader import load_file
from petal.testing import assert_operator_contract
from tests.console import environment, run
from tests.examples import Example

NOON = datetime(2026, 3, 1, 12, 0)
STAMPED = "".join(
    f"2026-03-01T12:00:00 - {line}\n"
    for line in Path(__file__).with_name("input.txt").read_text(encoding="utf-8").splitlines()
)


def test_an_operator_is_tested_by_calling_it(example: Example) -> None:
    timestamp_appender = load_file(example.folder / "operators.py").timestamp_appender
    assert list(timestamp_appender(["a", "b"], now=NOON)) == [
        "2026-03-01T12:00:00 - a",
        "2026-03-01T12:00:00 - b",
    ]


def test_an_operator_keeps_the_contract_of_operators(example: Example) -> None:
    timestamp_appender = load_file(example.folder / "operators.py").timestamp_appender
    assert_operator_contract(
        timestamp_appender,
        inputs={"lines": ["a", "b"]},
        params={"now": NOON},
        output=["2026-03-01T12:00:00 - a", "2026-03-01T12:00:00 - b"],
    )


@pytest.mark.parametrize(("file", "reader"), [("pipeline.yaml", "reader"), ("pipeline.py", "lines")])
def test_a_pipeline_is_tested_with_overrides(example: Example, file: str, reader: str) -> None:
    result = Pipeline.from_file(file).run(
        params={"stamp.now": NOON},
        overrides={
            reader: ["a", "b"],
            "writer": None,
        },  # the reader gives these lines, the writer is left out
        targets=["stamp"],
    )
    assert result.check().outputs["stamp"] == ["2026-03-01T12:00:00 - a", "2026-03-01T12:00:00 - b"]
    assert not Path("stamped.txt").exists()


@pytest.mark.parametrize("file", ["pipeline.yaml", "pipeline.py"])
def test_both_pipelines_write_the_same(example: Example, file: str) -> None:
    Pipeline.from_file(file).run(params={"stamp.now": NOON}).check()
    assert Path("stamped.txt").read_text(encoding="utf-8") == STAMPED


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the package petal-timestamp."""
    target = tmp_path_factory.mktemp("installed")
    source = Path(__file__).with_name("petal-timestamp")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True, timeout=100)
    return target


def with_package(installed: Path, tools: Path) -> dict[str, str]:
    env = environment(tools)
    return env | {"PYTHONPATH": f"{installed}:{env.get('PYTHONPATH', '')}".rstrip(":")}


def test_the_installed_package_needs_no_mention(example: Example, installed: Path, tmp_path: Path) -> None:
    command = "petal run installed.yaml --set stamp.now=2026-03-01T12:00:00"
    [printed] = run([command], example.folder, with_package(installed, tmp_path / "bin"))
    assert Path("stamped.txt").read_text(encoding="utf-8") == STAMPED, printed


def test_without_the_package_the_operator_is_unknown(example: Example, tmp_path: Path) -> None:
    printed, status = run(
        ["petal run installed.yaml", "echo $?"], example.folder, environment(tmp_path / "bin")
    )
    assert status.strip() == "3"
    assert "TimestampAppender" in printed


def test_the_package_is_listed(installed: Path, tmp_path: Path) -> None:
    [printed] = run(["petal plugins"], tmp_path, with_package(installed, tmp_path / "bin"))
    assert any(
        line.split()[:1] == ["timestamp"] and "petal-timestamp" in line for line in printed.splitlines()
    ), printed


@pytest.mark.slow
def test_the_package_passes_its_own_tests(example: Example, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    env = environment(tmp_path / "bin")
    subprocess.run(command, cwd=example.folder / "petal-timestamp", env=env, check=True, timeout=100)


def test_the_operator_in_the_file_and_the_one_in_the_package_are_the_same(example: Example) -> None:
    in_package = Path("petal-timestamp/src/petal_timestamp/__init__.py").read_text(encoding="utf-8")
    assert (
        Path("operators.py").read_text(encoding="utf-8").partition("\n")[2] == in_package.partition("\n")[2]
    )


def test_the_readme_is_true(example: Example, tmp_path: Path) -> None:
    assert example.readme_mistakes(tmp_path) == []
