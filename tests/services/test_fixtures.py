"""What needs a service is never left out silently: it runs, is counted, or fails."""

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

@pytest.mark.aws
def test_aws_by_marker():
    assert os.environ["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    assert "AWS_PROFILE" not in os.environ

def test_aws_by_fixture(aws_endpoint, request):
    assert os.environ["AWS_ENDPOINT_URL"] == aws_endpoint
    assert request.node.get_closest_marker("aws")

def test_aws_lambda(lambda_emulator, request):
    assert "aws_endpoint" not in request.fixturenames
    assert request.node.get_closest_marker("aws")

def test_stub(aws_stub, request):
    assert os.environ["AWS_ENDPOINT_URL"] == aws_stub.url
    assert not request.node.get_closest_marker("aws")

def test_neither():
    assert os.environ.get("DOCKER_CONTEXT") == "the developer's"
    assert os.environ.get("AWS_PROFILE") == "the developer's"
"""
#: A plugin that takes what is needed away from the services.
NOTHING_HERE = """
import tests.services.docker_engine as engine
import tests.services.downloads as downloads

def ensure(commands):
    raise engine.Unavailable("docker.io missing; as root: apt-get install docker.io")

def pip(*arguments):
    raise engine.Unavailable("pip could not fetch it")

engine.ensure = ensure
downloads._pip = pip
"""


def run(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run the tests above in a process of their own."""
    (folder / "test_some.py").write_text(TESTS)
    (folder / "nothing_here.py").write_text(NOTHING_HERE)
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\nmarkers =\n    docker\n    aws\n")
    theirs = {"DOCKER_CONTEXT": "the developer's", "AWS_PROFILE": "the developer's"}
    kept = {k: v for k, v in os.environ.items() if k not in ("CI", "PETAL_CI", "DOCKER_HOST")}
    plugins = ("-p", "tests.services.fixtures", "-p", "no:cacheprovider")
    place = ("-c", str(folder / "pytest.ini"), "--rootdir", str(folder))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *place, *arguments, str(folder)],
        env={**kept, "PYTHONPATH": f"{ROOT}:{folder}", **theirs, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


DOCKER, AWS = "by_marker and not aws or by_fixture and not aws", "aws"


@pytest.mark.parametrize(
    ("tests", "passed"),
    [
        pytest.param(DOCKER, 2, marks=pytest.mark.docker, id="docker"),
        pytest.param(AWS, 3, marks=pytest.mark.aws, id="aws"),
    ],
)
def test_they_run_with_the_service_as_the_machines(tmp_path: Path, tests: str, passed: int) -> None:
    code, said = run(tmp_path, "-k", tests)
    assert code == 0, said
    assert f"{passed} passed" in said


@pytest.mark.parametrize(("marker", "chosen"), [("docker", 2), ("aws", 3)])
def test_the_marker_chooses_what_uses_a_fixture_too(tmp_path: Path, marker: str, chosen: int) -> None:
    code, said = run(tmp_path, "-m", marker, "--collect-only", "-q")
    assert code == 0, said
    assert f"{chosen}/7 tests collected" in said


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "two workers"])
def test_without_a_service_they_are_counted(tmp_path: Path, workers: list[str]) -> None:
    """Each service by its name, with what is missing; nothing is in the cache."""
    code, said = run(tmp_path, "-p", "nothing_here", *workers, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert code == 0, said
    assert "2 passed, 5 skipped" in said
    for line in (
        "not run: 2 tests need Docker Engine: docker.io missing; as root: apt-get install docker.io",
        "not run: 2 tests need AWS server: pip could not fetch it",
        "not run: 1 test needs AWS's emulator of Lambda: pip could not fetch it",
    ):
        assert line in said


def test_in_ci_they_fail(tmp_path: Path) -> None:
    code, said = run(tmp_path, "-p", "nothing_here", PETAL_CI="1", XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert code == 1, said
    assert "2 passed, 5 errors" in said
    assert "needs Docker Engine: docker.io missing" in said
    assert "needs AWS server: pip could not fetch it" in said


def test_a_run_without_such_tests_starts_nothing(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    code, said = run(tmp_path, "-p", "nothing_here", "-k", "neither", PETAL_CI="1", XDG_CACHE_HOME=str(cache))
    assert code == 0, said
    assert "not run" not in said


def test_the_first_start_is_not_in_a_tests_time(tmp_path: Path) -> None:
    """A start that takes longer than a test may is no time-out."""
    (tmp_path / "slow_start.py").write_text(SLOW_START)
    code, said = run(tmp_path, "-p", "slow_start", "--timeout=1", "-k", DOCKER)
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
