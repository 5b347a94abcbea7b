"""`petal lambda package`: what goes into a function, the same bytes each time, and what is said when something is wrong."""

from __future__ import annotations

import io
import json
import re
import sys
import zipfile
from pathlib import Path

import pytest
from petal_lambda import package as module
from petal_lambda.package import Package, Wanted, image_folder, needed, package, packed

from petal import EnvironmentNotReady, InvalidPipeline, PetalError, UsageError
from tests.console import environment, run

FILES = {
    "ops/words.py": "from lists import STOP\nfrom petal import operator\n\n\n@operator\ndef words(lines: list[str]) -> list[str]:\n"
    "    return [w for line in lines for w in line.split() if w not in STOP]\n",
    "ops/lists.py": "STOP = {'the', 'a'}\n",
    "pyproject.toml": "[project]\nname = 'texts'\n",
    "jobs/own.txt": "included\n",
    "jobs/pipeline.yaml": "plugins: [../ops/words.py]\nnodes:\n"
    "  - { id: reader, type: FileReader, params: { file_path: in.txt } }\n"
    "  - { id: words, type: Words, inputs: { lines: reader }, execution: { backend: aws_lambda, function_name: words } }\n"
    "  - { id: long, type: RegexFilter, inputs: { lines: words }, params: { pattern: '...' } }\n",
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


def names(made: Package) -> set[str]:
    with zipfile.ZipFile(made.path) as archive:
        return set(archive.namelist())


def test_a_package_holds_the_handler_and_what_the_operators_need(project: Path) -> None:
    """The pipeline's files keep their places to each other; AWS's own boto3 and a Polars that nobody uses stay out."""
    made = package("pipeline.yaml", wanted=Wanted(include=("own.txt",)))
    assert (made.path, made.nodes, list(made.functions)) == ("words.zip", ("words",), ["words"])
    assert made.files == ("../ops/lists.py", "../ops/words.py", "own.txt")
    found = names(made)
    packages = {"petal_lambda/handler.py", "petal/worker/execute.py", "msgspec/__init__.py"}
    assert {"petal_lambda/__init__.py", *(f"site-packages/{name}" for name in packages)} <= found
    assert {f"project/{name}" for name in ("ops/words.py", "ops/lists.py", "jobs/own.txt")} <= found
    assert not {"polars", "boto3", "botocore"} & made.packages.keys()
    assert not [
        name
        for name in found
        if name.startswith(tuple(f"site-packages/{n}" for n in ("polars", "boto", "s3tr")))
    ]
    with zipfile.ZipFile(made.path) as archive:
        said = json.loads(archive.read("petal-lambda.json"))
        assert b"'project/jobs'" in archive.read("petal_lambda/__init__.py")
    assert said["runtime"] == made.runtime == f"python{sys.version_info[0]}.{sys.version_info[1]}"
    assert made.size == Path("words.zip").stat().st_size < 15 << 20


def test_the_same_files_make_the_same_zip(project: Path) -> None:
    """Byte by byte, whatever the time, the hash seed and the folder; with one byte changed it is another."""
    first, second = packed("pipeline.yaml")[1], packed("pipeline.yaml")[1]
    assert first == second
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        entries = archive.infolist()
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.external_attr >> 16 for entry in entries} == {0o100644}
    (project / "ops/lists.py").write_text("STOP = {'the', 'an'}\n")
    assert packed("pipeline.yaml")[1] != first


def test_what_is_imported_is_compiled_and_the_project_is_not(project: Path) -> None:
    """A sandbox cannot keep what it compiles; the pipeline's own files are always compiled from their source (S7.1)."""
    found = names(package("pipeline.yaml"))
    tag = sys.implementation.cache_tag
    assert f"site-packages/petal/worker/__pycache__/execute.{tag}.pyc" in found
    assert not [name for name in found if name.startswith("project/") and name.endswith(".pyc")]


def test_a_node_on_frames_needs_polars(project: Path) -> None:
    found, functions = needed("pipeline.yaml", Wanted(backends={"long": "aws_lambda,function_name=words"}))
    assert "polars" in found.packages
    assert list(found.nodes) == ["words", "long"]
    assert list(functions) == ["words"]


def test_further_packages_and_boto3_come_along_where_they_are_asked_for(project: Path) -> None:
    made = package("pipeline.yaml", "x.zip", Wanted(packages=("jsonschema",), with_boto3=True))
    assert {"jsonschema", "boto3", "botocore"} <= made.packages.keys()
    assert made.left_out == ()
    with pytest.raises(EnvironmentNotReady, match="`no-such-package` is not installed here"):
        package("pipeline.yaml", wanted=Wanted(packages=("no-such-package",)))


def test_only_the_nodes_of_one_function_are_packed_where_it_is_named(project: Path) -> None:
    backends = {"long": "aws_lambda,function_name=other"}
    assert sorted(needed("pipeline.yaml", Wanted(backends=backends))[1]) == ["other", "words"]
    one, functions = needed("pipeline.yaml", Wanted(backends=backends, function="words"))
    assert (list(one.nodes), list(functions)) == (["words"], ["words"])
    assert "polars" not in one.packages
    with pytest.raises(UsageError, match="they call other, words"):
        needed("pipeline.yaml", Wanted(backends=backends, function="third"))


def test_a_pipeline_with_nothing_for_lambda_needs_no_package(project: Path) -> None:
    with pytest.raises(UsageError, match="no node of this pipeline runs on `aws_lambda`"):
        package("pipeline.yaml", wanted=Wanted(backends={"words": "local"}))


def test_an_invalid_pipeline_is_told(project: Path) -> None:
    Path("pipeline.yaml").write_text("nodes: [{id: a, type: NoSuchThing}]\n")
    with pytest.raises(InvalidPipeline):
        package("pipeline.yaml")


@pytest.mark.parametrize("limit", ["ZIPPED", "UNZIPPED"])
def test_what_is_too_large_for_aws_is_told_with_the_remedy(
    project: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """The error names the largest parts, and the image that has room for them; nothing is written."""
    monkeypatch.setattr(module, limit, 100_000)
    with pytest.raises(PetalError, match=r"AWS Lambda takes 0\.1 MB; most of it is") as caught:
        package("pipeline.yaml")
    assert "--image-folder" in str(caught.value.hint)
    assert ("--bucket" in str(caught.value.hint)) is (limit == "ZIPPED")
    assert not Path("words.zip").exists()
    if limit == "ZIPPED":
        package("pipeline.yaml", wanted=Wanted(by_bucket=True))


def test_a_machine_that_aws_has_not_is_told(project: Path) -> None:
    with pytest.raises(UsageError, match="no machines of the architecture `sparc`"):
        package("pipeline.yaml", wanted=Wanted(architecture="sparc"))
    with pytest.raises(UsageError, match=r"3\.11 or later, not 3\.9"):
        package("pipeline.yaml", wanted=Wanted(python=(3, 9)))


def test_a_package_that_aws_s_linux_is_too_old_for_is_told_with_the_remedy(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS runs Python 3.11 on Amazon Linux 2, for which many packages have no wheels any more."""
    monkeypatch.setattr("petal.code.packing._suits", lambda *_: False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(EnvironmentNotReady, match="pip finds no wheels") as caught:
        package("pipeline.yaml", wanted=Wanted(python=(3, 11)))
    assert "`--python 3.12`" in str(caught.value.hint)


def test_the_folder_of_an_image_is_brought_up_to_date_and_its_dockerfile_kept(project: Path) -> None:
    made = image_folder("pipeline.yaml", "image")
    text = Path("image/Dockerfile").read_text()
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert f"FROM public.ecr.aws/lambda/python:{version}" in text
    assert 'CMD ["petal_lambda.handler.handler"]' in text
    assert Path("image/task/project/ops/words.py").is_file()
    assert made.sha256 == ""
    Path("image/Dockerfile").write_text("FROM mine\n")
    (project / "ops/lists.py").write_text("STOP = {'one'}\n")
    image_folder("pipeline.yaml", "image")
    assert Path("image/Dockerfile").read_text() == "FROM mine\n"
    assert "one" in Path("image/task/project/ops/lists.py").read_text()


def test_a_folder_with_something_else_in_it_is_left_alone(project: Path) -> None:
    Path("full").mkdir()
    Path("full/thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="holds something else"):
        image_folder("pipeline.yaml", "full")
    assert [path.name for path in Path("full").iterdir()] == ["thesis.txt"]


def test_the_command_says_what_it_made_and_prints_the_path(project: Path, tmp_path: Path) -> None:
    commands = [
        "petal lambda package pipeline.yaml 2>/dev/null",
        "petal lambda package pipeline.yaml --output y.zip 2>&1 >/dev/null",
        "petal lambda package pipeline.yaml --json | head -c 1",
        "petal lambda package pipeline.yaml --python three; echo $?",
        "petal lambda package pipeline.yaml --base x; echo $?",
        "petal lambda package nowhere.yaml; echo $?",
    ]
    path, said, start, version, base, nowhere = run(commands, project / "jobs", environment(tmp_path / "bin"))
    assert path == "words.zip\n"
    assert "boto3: AWS's runtime has it; polars: no operator works on frames" in said
    assert re.search(r"size +\d+\.\d MB as a zip, \d+\.\d MB unpacked", said)
    assert start == "{"
    assert version.endswith("2\n")
    assert "--image-folder" in base
    assert "Traceback" not in nowhere
