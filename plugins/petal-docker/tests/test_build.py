"""`petal docker build`: what goes into an image, what the Dockerfile says, and what is said when something is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from petal_docker.build import build, default_base
from petal_docker.dockerfile import base_of, written

from petal import EnvironmentNotReady, PetalError, Pipeline, UsageError
from tests.console import environment, run

BASE = "petal-test/python:3.11"
FILES = {
    "ops/words.py": "from lists import STOP\nfrom petal import operator\n\n\n@operator\ndef words(lines: list[str]) -> list[str]:\n"
    "    from pathlib import Path\n    own = Path(__file__).parent.parent / 'jobs' / 'own.txt'\n"
    "    return [w for line in lines for w in line.split() if w not in STOP] + own.read_text().split()\n",
    "ops/lists.py": "STOP = {'the', 'a'}\n",
    "pyproject.toml": "[project]\nname = 'texts'\n",
    "jobs/own.txt": "included\n",
    "jobs/pipeline.yaml": "plugins: [../ops/words.py]\nnodes:\n"
    "  - { id: reader, type: FileReader, params: { file_path: in.txt } }\n"
    "  - { id: words, type: Words, inputs: { lines: reader }, execution: { backend: docker, image: 'texts:1' } }\n",
    "jobs/in.txt": "the cat\na dog\n",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose operators lie beside the folder of its pipeline, which is the current folder."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path / "jobs")
    return tmp_path


@pytest.mark.docker
def test_an_edited_dockerfile_is_used_and_files_beside_the_pipelines_folder_are_found(project: Path) -> None:
    """What was written once is used as it stands, for what lies where the pipeline's own references say."""
    image = build("pipeline.yaml", base=BASE, dockerfile="Dockerfile", include=["own.txt"])
    assert (image.tag, image.base, image.nodes) == ("texts:1", BASE, ("words",))
    assert image.files == ("../ops/lists.py", "../ops/words.py", "own.txt")
    result = Pipeline.from_file("pipeline.yaml").run().check()
    assert result.outputs["words"] == ["cat", "dog", "included"]
    with Path("Dockerfile").open("a") as file:
        file.write("USER root\nRUN echo edited > /opt/petal/project/jobs/own.txt\nUSER 65534:65534\n")
    again = build("pipeline.yaml", dockerfile="Dockerfile")
    assert again.base == BASE
    assert Pipeline.from_file("pipeline.yaml").run().check().outputs["words"] == ["cat", "dog", "edited"]


@pytest.mark.docker
def test_a_failing_step_is_shown_with_its_output(project: Path) -> None:
    Path("Dockerfile").write_text(f"FROM {BASE}\nRUN echo so far && exit 3\n")
    with pytest.raises(PetalError, match=r"(?s)could not be built.*code: 3.*so far") as caught:
        build("pipeline.yaml", dockerfile="Dockerfile")
    assert caught.value.code == "docker-build"


@pytest.mark.docker
def test_a_base_that_is_nowhere_is_told(project: Path) -> None:
    with pytest.raises(EnvironmentNotReady, match=r"localhost:1/nowhere:1` is not on this Docker Engine"):
        build("pipeline.yaml", base="localhost:1/nowhere:1")


@pytest.mark.docker
def test_a_base_without_python_is_told(project: Path) -> None:
    import io
    import tarfile

    from petal_docker.engine import connect

    empty = io.BytesIO()
    with tarfile.open(fileobj=empty, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("nothing"))
    client = connect()
    try:
        client.import_image_from_data(empty.getvalue(), repository="petal-test/empty", tag="1")
    finally:
        client.close()
    with pytest.raises(EnvironmentNotReady, match="does not say which Python it has") as caught:
        build("pipeline.yaml", base="petal-test/empty:1")
    assert "--base" in str(caught.value.hint)


def test_without_an_engine_the_command_says_so_and_exits_with_4(project: Path, tmp_path: Path) -> None:
    env = environment(tmp_path / "bin") | {"DOCKER_HOST": "unix:///nowhere.sock"}
    [said, code] = run(["petal docker build pipeline.yaml", "echo $?"], project / "jobs", env)
    assert "there is no Docker Engine at unix:///nowhere.sock" in said
    assert "Traceback" not in said
    assert code == "4\n"


def test_a_pipeline_with_nothing_for_docker_needs_no_image(project: Path) -> None:
    with pytest.raises(UsageError, match="no node of this pipeline runs on `docker`"):
        build("pipeline.yaml", backends={"words": "local"})


def test_a_digest_is_no_name_for_an_image(project: Path) -> None:
    with pytest.raises(UsageError, match="needs a name") as caught:
        build("pipeline.yaml", backends={"words": f"docker,image=texts@sha256:{'0' * 64}"})
    assert "--tag" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("text", "base", "found"),
    [
        ("FROM python:3.11\n", None, "python:3.11"),
        ("from --platform=linux/amd64 a AS one\nFROM b\n", None, "b"),
        ("FROM a AS one\nFROM one\n", None, "a"),
        ("ARG BASE=a\nARG V=2\nFROM ${BASE}:$V\n", "b", "b:2"),
        (written("x.yaml", "python:3.12-slim"), None, "python:3.12-slim"),
        (written("x.yaml", "python:3.12-slim"), "mine:1", "mine:1"),
    ],
)
def test_the_base_is_what_the_last_stage_starts_from(text: str, base: str | None, found: str) -> None:
    assert base_of(text, base) == found


@pytest.mark.parametrize(
    ("text", "base", "said"),
    [
        ("RUN true\n", None, "has no `FROM`"),
        ("FROM a\n", "b", "has no effect"),
        ("FROM ${WHAT}\n", None, "not what WHAT is"),
    ],
)
def test_a_dockerfile_that_does_not_say_its_base(text: str, base: str | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        base_of(text, base)


def test_the_default_base_has_the_python_that_runs_this() -> None:
    assert default_base() == f"python:{sys.version_info[0]}.{sys.version_info[1]}-slim"


@pytest.mark.slow
@pytest.mark.docker
@pytest.mark.timeout(400)
def test_the_package_beside_petal_is_enough(project: Path, tmp_path: Path, docker_engine: str) -> None:
    """In a fresh environment, two `pip install`s make and run an image; without the second, Petal names the package."""
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    tools = tmp_path / "venv/bin"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PETAL_", "PYTEST_", "PYTHON"))}
    env = kept | {"DOCKER_HOST": docker_engine, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def do(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(tools / command[0]), *command[1:]], env=env, capture_output=True, text=True, check=False
        )

    assert (installed := do("pip", "install", "--quiet", str(root))).returncode == 0, installed.stderr
    without = do("petal", "run", "pipeline.yaml")
    assert without.returncode == 3
    assert "pip install petal-docker" in without.stderr
    added = do("pip", "install", "--quiet", str(root / "plugins/petal-docker"))
    assert added.returncode == 0, added.stderr
    made = do("petal", "docker", "build", "pipeline.yaml", "--base", BASE, "--include", "own.txt")
    assert (made.returncode, made.stdout) == (0, "texts:1\n"), made.stderr
    ran = do("petal", "run", "pipeline.yaml")
    assert ran.returncode == 0, ran.stderr
    assert "docker" in do("petal", "show", "last").stdout
