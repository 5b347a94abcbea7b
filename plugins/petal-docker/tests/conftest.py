"""What the tests of containers share: images, made once, and a look at what is left on the engine."""

from __future__ import annotations

import importlib.metadata
import io
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from petal_docker.engine import connect

from petal import Pipeline, Session, node, packing
from petal.execution.result import RunResult
from petal.testing.subject import giver
from tests.services.docker_engine import cache
from tests.services.locks import alone

#: The base image of the tests' engine, and what is known of its Python.
BASE = "petal-test/python:3.11"
PYTHON = packing.Python((3, 11), "x86_64", (2, 36))
#: What a worker must have to hold to the contract of backends: Petal, and every library whose frames are tried.
WORKER = ("petal-etl", "pytest", "hypothesis", "pandas", "pyarrow", "duckdb")
_WORKER = f"""\
FROM {BASE}
COPY site-packages /opt/petal/site-packages
RUN ["python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/opt/petal/site-packages"]
ENV PYTHONPATH=/opt/petal/site-packages
"""
#: A program as somebody writes it who has never heard of Petal.
ANALYZE = '''\
"""Count the words of texts."""
import json
import os
import sys

params = json.loads(os.environ["PETAL_PARAMS"])
(texts,) = json.load(sys.stdin)
least = params.get("least", 1)
print("analysing", len(texts), "texts", file=sys.stderr)
json.dump([{"text": t, "words": sum(len(w) >= least for w in t.split())} for t in texts], sys.stdout)
'''
#: Does what the parameter `do`, Python, says; `given` is its input, and what `do` calls `answer` is its reply.
DOES = """\
import json, os, signal, socket, subprocess, sys, threading, time
(given,) = json.load(sys.stdin)
answer = None
exec(json.loads(os.environ["PETAL_PARAMS"])["do"])
json.dump(answer, sys.stdout)
"""


def make(client: Any, tag: str, files: Mapping[str, str | bytes] | Path) -> str:
    """Build an image of a Dockerfile and what is beside it."""
    with tempfile.TemporaryFile() as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            if isinstance(files, Path):
                for entry in sorted(files.iterdir()):
                    tar.add(entry, entry.name, filter=_plain)
            else:
                for name, content in files.items():
                    data = content.encode() if isinstance(content, str) else content
                    entry = tarfile.TarInfo(name)
                    entry.size, entry.mode = len(data), 0o644
                    tar.addfile(entry, io.BytesIO(data))
        archive.seek(0)
        for said in client.build(fileobj=archive, custom_context=True, tag=tag, rm=True, decode=True):
            assert "error" not in said, said["error"]
    return tag


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out of an entry what makes the engine build anew: whose it is and when it was written."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() else 0o644
    return entry


def closure(names: tuple[str, ...]) -> dict[str, str]:
    """Return distributions with all that they need, as far as they are installed, with their versions."""
    found: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found[key] = distribution.version
        needs = map(Requirement, distribution.requires or ())
        waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="session")
def engine(docker_engine: str) -> Iterator[Any]:
    """The engine's client."""
    client = connect()
    yield client
    client.close()


@pytest.fixture(scope="session")
def worker_image(engine: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image that holds Petal's worker, made of what is installed here."""
    with alone(cache() / "worker-image.lock"):
        folder = tmp_path_factory.mktemp("image")
        packing.pack(closure(WORKER), PYTHON, folder / "site-packages")
        (folder / "Dockerfile").write_text(_WORKER)
        return make(engine, "petal-test/worker", folder)


@pytest.fixture(scope="session")
def program_image(engine: Any) -> str:
    """An image with two scripts in its working folder, of which nobody has heard of Petal."""
    with alone(cache() / "program-image.lock"):
        text = f"FROM {BASE}\nWORKDIR /app\nCOPY analyze_text.py does.py ./\n"
        return make(
            engine,
            "petal-test/program",
            {"Dockerfile": text, "analyze_text.py": ANALYZE, "does.py": DOES},
        )


@pytest.fixture
def containers(engine: Any) -> Any:
    """Return a function that lists the containers of Petal by name: of one run, or of all."""

    def found(run: str = "") -> list[str]:
        label = f"petal.run={run}" if run else "petal.run"
        return [c["Names"][0].lstrip("/") for c in engine.containers(all=True, filters={"label": label})]

    return found


@pytest.fixture
def does(program_image: str) -> Callable[..., RunResult]:
    """Return a function that runs Python in a container as a node's program, and returns the run's result.

    Its first argument is the text: `given` is the node's input, and what it calls `answer` is the node's output. Further
    ones are settings, and `policies` of the node.
    """

    def run(
        do: str, given: Any = None, *, policies: Mapping[str, Any] | None = None, **settings: Any
    ) -> RunResult:
        execution = {"backend": "docker", "image": program_image, "entrypoint": "does.py", **settings}
        return Pipeline.of(
            node(giver(given), id="given"),
            node(
                "Does",
                id="it",
                inputs={"given": "given"},
                policies={"execution": execution, **(policies or {})},
            ),
            name="does",
            session=Session(),
        ).run(params={"it.do": do}, targets=["it"])

    return run


@pytest.fixture
def answer(does: Callable[..., RunResult]) -> Callable[..., Any]:
    """Return what `does` does, for where it succeeds: the answer alone."""
    return lambda *arguments, **settings: does(*arguments, **settings).check().outputs["it"]
