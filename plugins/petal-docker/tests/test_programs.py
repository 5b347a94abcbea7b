"""A script that somebody wrote by hand is a node, in a file as the brief has it, and in Python."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.docker

_PIPELINE = """\
nodes:
  - {{ id: texts, type: FileReader, params: {{ file_path: texts.txt }} }}
  - id: analyze
    type: AnalyzeText
    params: {{ least: 3 }}
    inputs: {{ texts: texts }}
    execution:
      backend: docker
      image: {image}
      entrypoint: analyze_text.py
  - {{ id: writer, type: JsonFileWriter, params: {{ file_path: out.jsonl }} }}
edges:
  - [analyze, writer]
"""


def _petal(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "petal", *arguments], capture_output=True, text=True, check=False
    )


def test_a_script_written_by_hand_is_a_node(
    program_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block of the brief's case 8, but for the image's name."""
    monkeypatch.chdir(tmp_path)
    Path("texts.txt").write_text("the cat sat\non the mat it is\n")
    Path("pipeline.yaml").write_text(_PIPELINE.format(image=program_image))
    done = _petal("run", "pipeline.yaml")
    assert done.returncode == 0, done.stderr
    assert "analysing 2 texts" in done.stderr
    found = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [row["words"] for row in found] == [3, 2]


def test_the_plan_shows_every_loosening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the block says is there to be read before anything runs; no engine is needed for that."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/socket")
    Path("texts.txt").write_text("a\n")
    loose = "network: bridge\n      user: root\n      writable: true\n      mounts: ['/data:/data:rw']\n      image: "
    Path("pipeline.yaml").write_text(_PIPELINE.format(image="it").replace("image: ", loose))
    done = _petal("plan", "pipeline.yaml")
    assert done.returncode == 0, done.stderr
    said = done.stdout
    for text in ("network=bridge", "user=root", "writable=", "/data:/data:rw", "image=it"):
        assert text in said


def test_without_an_engine_nothing_runs_and_the_error_teaches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 4, before the first node; no traceback."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/socket")
    Path("texts.txt").write_text("a\n")
    Path("pipeline.yaml").write_text(_PIPELINE.format(image="it"))
    done = _petal("run", "pipeline.yaml")
    assert done.returncode == 4
    said = done.stderr
    assert "there is no Docker Engine at unix:///no/such/socket" in said
    assert "Traceback" not in said
    assert not Path("out.jsonl").exists()


@pytest.mark.parametrize("program", ["nothere", "/app/analyze_text.py"])
def test_a_program_that_cannot_be_started_is_named(does: Any, program: str) -> None:
    """What is missing, and what to write; nothing has run."""
    error = does("answer = 1", entrypoint=program if program == "nothere" else [program]).nodes["it"].error
    assert error.code == "no-program"
    assert program in error.message


def test_parameters_that_no_environment_holds_are_refused(does: Any) -> None:
    """Linux lets one variable have 128 KiB."""
    error = does("answer = 1" + " " * 200_000).nodes["it"].error
    assert "environment variable" in error.message
