"""What needs a Docker Engine is never left out silently: it runs, is counted, or fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services.fixtures import in_ci

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import os
import pytest

@pytest.mark.docker
def test_by_marker():
    assert os.environ["DOCKER_HOST"].startswith("unix:///")
    assert "DOCKER_CONTEXT" not in os.environ

def test_by_fixture(docker_engine, request):
    assert os.environ["DOCKER_HOST"] == docker_engine
    assert request.node.get_closest_marker("docker")

def test_neither():
    assert os.environ.get("DOCKER_CONTEXT") == "the developer's"
"""
#: A plugin that takes what is needed away from the engine.
NOTHING_HERE = """
import pytest
import tests.services.docker_engine as engine

def ensure(commands):
    raise engine.Unavailable("docker.io missing; as root: apt-get install docker.io")

engine.ensure = ensure
"""


def run(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run the three tests above in a process of their own."""
    (folder / "test_three.py").write_text(TESTS)
    (folder / "nothing_here.py").write_text(NOTHING_HERE)
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\nmarkers = docker\n")
    kept = {k: v for k, v in os.environ.items() if k not in ("CI", "PETAL_CI", "DOCKER_HOST")}
    plugins = ("-p", "tests.services.fixtures", "-p", "no:cacheprovider")
    place = ("-c", str(folder / "pytest.ini"), "--rootdir", str(folder))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *place, *arguments, str(folder)],
        env={**kept, "PYTHONPATH": f"{ROOT}:{folder}", "DOCKER_CONTEXT": "the developer's", **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.docker
def test_they_run_with_the_engine_as_dockers(tmp_path: Path) -> None:
    code, said = run(tmp_path, "-k", "by_marker or by_fixture")
    assert code == 0, said
    assert "2 passed" in said


@pytest.mark.docker
def test_the_marker_chooses_what_uses_the_fixture_too(tmp_path: Path) -> None:
    code, said = run(tmp_path, "-m", "docker")
    assert code == 0, said
    assert "2 passed, 1 deselected" in said


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "two workers"])
def test_without_an_engine_they_are_counted(tmp_path: Path, workers: list[str]) -> None:
    code, said = run(tmp_path, "-p", "nothing_here", *workers)
    assert code == 0, said
    assert "1 passed, 2 skipped" in said
    assert (
        "not run: 2 tests need Docker Engine: docker.io missing; as root: apt-get install docker.io" in said
    )


def test_in_ci_they_fail(tmp_path: Path) -> None:
    code, said = run(tmp_path, "-p", "nothing_here", PETAL_CI="1")
    assert code == 1, said
    assert "1 passed, 2 errors" in said
    assert "needs Docker Engine: docker.io missing" in said


def test_a_run_without_such_tests_starts_nothing(tmp_path: Path) -> None:
    code, said = run(tmp_path, "-p", "nothing_here", "-k", "neither", PETAL_CI="1")
    assert code == 0, said
    assert "not run" not in said


def test_the_first_start_is_not_in_a_tests_time(tmp_path: Path) -> None:
    """A start that takes longer than a test may is no time-out."""
    (tmp_path / "slow_start.py").write_text(SLOW_START)
    code, said = run(tmp_path, "-p", "slow_start", "--timeout=1", "-k", "marker or fixture")
    assert code == 0, said
    assert "2 skipped" in said


SLOW_START = """
import time
import tests.services.docker_engine as engine

def ensure(commands):
    time.sleep(2)
    raise engine.Unavailable("slow")

engine.ensure = ensure
"""


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"CI": ""}, False),
        ({"CI": "false"}, False),
        ({"CI": "true"}, True),
        ({"PETAL_CI": "1"}, True),
    ],
)
def test_ci_is_known_by_its_variable(environment: dict[str, str], expected: bool) -> None:
    assert in_ci(environment) is expected
