"""Pipelines and files by URL on the command line: what is fetched, what is refused, and that checking contacts nobody."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from petal.testing import FolderFileSystem
from tests.cli.conftest import Ran

Petal = Callable[..., Ran]

PLUGIN = """
import os
import petal
from petal.testing import FolderFileSystem

class Told(FolderFileSystem):
    def meet(self, name, url):
        with open(os.environ["SHELF"] + ".calls", "a") as file:
            file.write(f"{name} {url}\\n")
        super().meet(name, url)

def shelf():
    return Told(os.environ["SHELF"])

@petal.hookimpl
def petal_filesystems():
    return {"shelf": shelf}
"""
COPY = """
plugins: [PLUGIN]
nodes:
  - {id: reader, type: FileReader, params: {file_path: 'shelf://b/in.txt'}}
  - {id: writer, type: FileWriter, params: {file_path: 'shelf://b/out.txt'}}
edges: [[reader, writer]]
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderFileSystem:
    """What `shelf://` names; the plugin that brings it is installed, and called `shelf`."""
    place = tmp_path / "site"
    info = place / "petal_shelf-1.0.dist-info"
    info.mkdir(parents=True)
    (place / "petal_shelf.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: petal-shelf\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[petal]\nshelf = petal_shelf\n")
    monkeypatch.delitem(sys.modules, "petal_shelf", raising=False)  # another test's
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setenv("SHELF", str(tmp_path / "shelf"))
    return FolderFileSystem(tmp_path / "shelf")


@pytest.fixture
def petal(petal: Petal, monkeypatch: pytest.MonkeyPatch) -> Petal:
    """Plugins are loaded when something needs them, as they are for users."""
    monkeypatch.delenv("PETAL_DISABLE_PLUGIN_AUTOLOAD")
    return petal


def put(files: FolderFileSystem, url: str, text: str) -> None:
    upload = files.write(url, owner="test-1")
    upload.file.write(text.encode())
    upload.commit()


def get(files: FolderFileSystem, url: str) -> str:
    with files.read(url) as file:
        return file.read().decode()


def calls(tmp_path: Path) -> list[str]:
    path = tmp_path / "shelf.calls"
    return path.read_text().splitlines() if path.exists() else []


def test_a_plugin_is_found_by_the_scheme(petal: Petal, tmp_path: Path, files: FolderFileSystem) -> None:
    """Nothing has to name it."""
    put(files, "shelf://b/in.txt", "a\n")
    (tmp_path / "p.yaml").write_text(COPY.replace("PLUGIN", ""))
    ran = petal("run", "p.yaml", "-q")
    assert ran.code == 0, ran.err
    assert get(files, "shelf://b/out.txt") == "a\n"


@pytest.mark.parametrize("command", ["validate", "plan", "graph", "run --dry-run"])
def test_checking_contacts_nobody(
    petal: Petal, tmp_path: Path, files: FolderFileSystem, command: str
) -> None:
    """G17: what a URL names is looked at when it is read or written; the control is a run."""
    text = COPY.replace("PLUGIN", "") + "cache_io: true\n"
    (tmp_path / "p.yaml").write_text(text)
    name, *options = command.split()
    ran = petal(name, "p.yaml", *options)
    assert ran.code == 0, ran.err
    assert calls(tmp_path) == []
    put(files, "shelf://b/in.txt", "a\n")
    assert petal("run", "p.yaml", "-q").code == 0
    assert calls(tmp_path) != []
    before = calls(tmp_path)
    ran = petal(name, "p.yaml", *options)
    assert ran.code == 0, ran.err
    assert calls(tmp_path) == before


def test_the_cache_is_explained(petal: Petal, tmp_path: Path, files: FolderFileSystem) -> None:
    """`plan` says that it does not look, `cache explain` looks."""
    put(files, "shelf://b/in.txt", "a\n")
    (tmp_path / "p.yaml").write_text(COPY.replace("PLUGIN", "") + "cache_io: true\n")
    assert petal("run", "p.yaml", "-q").code == 0
    assert "whether `shelf://b/in.txt` has changed is seen when it runs" in petal("plan", "p.yaml").out
    assert petal("cache", "explain", "p.yaml", "reader", "--json").data[0]["hit"] is True
    put(files, "shelf://b/in.txt", "b\n")
    found = petal("cache", "explain", "p.yaml", "reader", "--json").data[0]
    assert found["hit"] is False
    assert "file `shelf://b/in.txt` changed" in found["reasons"]


def test_an_unknown_scheme_is_a_finding(petal: Petal, tmp_path: Path) -> None:
    """It names the package, and the place in the file; the run does not begin."""
    (tmp_path / "p.yaml").write_text(COPY.replace("PLUGIN", "").replace("shelf://b/in", "nobody://b/in"))
    found = petal("validate", "p.yaml", "--format", "json").data
    codes = {(one["code"], one["line"]) for one in found}
    assert ("unknown-scheme", 4) in codes
    ran = petal("run", "p.yaml")
    assert ran.code == 3
    assert "no plugin opens `nobody://`" in ran.err


def test_the_package_of_s3_is_named(petal: Petal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where petal-aws is not there."""
    monkeypatch.setenv("PETAL_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setattr("petal.plugin.catalog.discover", list)
    (tmp_path / "p.yaml").write_text(COPY.replace("PLUGIN", "").replace("shelf://", "s3://"))
    ran = petal("validate", "p.yaml")
    assert ran.code == 3
    assert "`file_path` of `reader` is 's3://b/in.txt', but no plugin opens `s3://`" in ran.out
    assert "`pip install petal-aws` brings it" in ran.out


def test_two_sinks_of_one_url_are_a_finding(petal: Petal, tmp_path: Path, files: FolderFileSystem) -> None:
    """S5.10."""
    text = COPY.replace("PLUGIN", "").replace(
        "edges:", "  - {id: other, type: FileWriter, params: {file_path: 'shelf://b/out.txt'}}\nedges:"
    )
    (tmp_path / "p.yaml").write_text(
        text.replace("[[reader, writer]]", "[[reader, writer], [reader, other]]")
    )
    ran = petal("validate", "p.yaml", "--format", "json")
    assert [one["code"] for one in ran.data] == ["duplicate-target"]


def test_an_operator_that_takes_paths_alone_says_so(petal: Petal, tmp_path: Path) -> None:
    """A URL would become a path of this machine, with one slash."""
    (tmp_path / "ops.py").write_text(
        "from pathlib import Path\nfrom petal import operator\n\n"
        "@operator\ndef load(*, path: Path) -> str:\n    return path.read_text()\n"
    )
    text = "plugins: [./ops.py]\nnodes:\n  - {id: a, type: load, params: {path: 's3://b/x.txt'}}\n"
    (tmp_path / "p.yaml").write_text(text)
    (found,) = petal("validate", "p.yaml", "--format", "json").data
    assert found["code"] == "bad-value"
    assert "'s3://b/x.txt' is a URL, but only files of this machine are taken here" in found["message"]
    assert "Path | petal.URL" in found["hint"]
    (tmp_path / "p.yaml").write_text(text.replace("s3://b/x.txt", "s3:/b/x.txt"))
    (found,) = petal("validate", "p.yaml", "--format", "json").data
    assert "was the URL 's3://b/x.txt'" in found["message"]


# -- pipelines by URL -------------------------------------------------------------------------------------------


def test_a_pipeline_is_fetched(petal: Petal, tmp_path: Path, files: FolderFileSystem) -> None:
    """With what it names beside it: modules and files; its state is kept in the current folder."""
    put(files, "shelf://b/jobs/in.txt", "ERROR a\nb\n")
    put(
        files,
        "shelf://b/jobs/etl.yaml",
        """
modules: [{id: clean, path: parts/clean.yaml, inputs: {lines: reader}}]
nodes:
  - {id: reader, type: FileReader, params: {file_path: in.txt}}
  - {id: writer, type: FileWriter, params: {file_path: ../out/out.txt}, inputs: {lines: clean}}
""",
    )
    put(
        files,
        "shelf://b/jobs/parts/clean.yaml",
        """
inputs: [lines]
outputs: [filter]
nodes: [{id: filter, type: RegexFilter, params: {pattern: ERROR}}]
""",
    )
    for command in ("validate", "plan", "graph", "run"):
        ran = petal(command, "shelf://b/jobs/etl.yaml")
        assert ran.code == 0, (command, ran.out, ran.err)
    assert get(files, "shelf://b/out/out.txt") == "ERROR a\n"
    runs = petal("runs", "--json").data
    assert [(run["pipeline"], run["file"]) for run in runs] == [("etl", "shelf://b/jobs/etl.yaml")]
    assert (tmp_path / ".petal").is_dir()


def test_a_fetched_pipeline_is_shown_where_it_is_wrong(petal: Petal, files: FolderFileSystem) -> None:
    """With its line, as one of this machine is."""
    put(files, "shelf://b/p.yaml", "nodes:\n  - {id: a, type: FileReadr, params: {file_path: x}}\n")
    ran = petal("validate", "shelf://b/p.yaml")
    assert ran.code == 3
    assert ran.out.startswith("shelf://b/p.yaml:2:")
    assert "type: FileReadr" in ran.out
    assert json.loads(petal("validate", "shelf://b/p.yaml", "--format", "sarif").out)


def test_code_is_never_fetched(petal: Petal, files: FolderFileSystem) -> None:
    """Neither as a pipeline, nor as what one names."""
    put(files, "shelf://b/p.yaml", "plugins: [./ops.py]\nnodes: [{id: a, type: EmptySource}]\n")
    put(files, "shelf://b/ops.py", "raise SystemExit('loaded')\n")
    ran = petal("validate", "shelf://b/p.yaml", "--format", "json")
    assert [one["code"] for one in ran.data] == ["needs-code"]
    assert "would have to be fetched, and code never is" in ran.data[0]["message"]
    ran = petal("run", "shelf://b/ops.py")
    assert ran.code == 2
    assert "code is never fetched" in ran.err


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("../other.yaml", "outside-project"),
        ("/other.yaml", "outside-project"),
        ("shelf://c/x.yaml", "outside-project"),
    ],
)
def test_modules_lie_beneath_the_pipeline(
    petal: Petal, files: FolderFileSystem, path: str, code: str
) -> None:
    """Wherever it was fetched from."""
    put(
        files,
        "shelf://b/jobs/p.yaml",
        f"modules: [{{id: m, path: '{path}'}}]\nnodes: [{{id: a, type: EmptySource}}]\n",
    )
    found = petal("validate", "shelf://b/jobs/p.yaml", "--format", "json").data
    assert code in {one["code"] for one in found}


def test_what_cannot_be_fetched_is_said(petal: Petal, files: FolderFileSystem) -> None:
    """The file that is not there, the ending that says nothing, the scheme that nobody brings."""
    ran = petal("run", "shelf://b/none.yaml")
    assert (ran.code, "there is no file `shelf://b/none.yaml`" in ran.err) == (2, True)
    ran = petal("run", "shelf://b/none.txt")
    assert (ran.code, "its ending is not one of" in ran.err) == (2, True)
    ran = petal("run", "nobody://b/p.yaml")
    assert (ran.code, "no plugin opens `nobody://`" in ran.err) == (4, True)


def test_a_fetched_pipeline_goes_on_where_it_was_stopped(
    petal: Petal, tmp_path: Path, files: FolderFileSystem
) -> None:
    """Its runs are found again by its URL."""
    put(files, "shelf://b/p.yaml", COPY.replace("PLUGIN", ""))
    assert petal("run", "shelf://b/p.yaml").code == 1
    put(files, "shelf://b/in.txt", "a\n")
    ran = petal("run", "shelf://b/p.yaml", "--resume", "last")
    assert ran.code == 0, ran.err
    assert get(files, "shelf://b/out.txt") == "a\n"
    assert len(petal("runs", "--json").data) == 1


def test_paths_from_the_command_line_are_of_this_machine(
    petal: Petal, tmp_path: Path, files: FolderFileSystem
) -> None:
    """S8.1: those in a fetched file are beside it, those that are given here are here; a URL may be given too."""
    put(files, "shelf://b/p.yaml", COPY.replace("PLUGIN", "").replace("shelf://b/in.txt", "in.txt"))
    (tmp_path / "here.txt").write_text("here\n")
    ran = petal("run", "shelf://b/p.yaml", "--set", "reader.file_path=here.txt", "-q")
    assert ran.code == 0, ran.err
    assert get(files, "shelf://b/out.txt") == "here\n"
    ran = petal(
        "run",
        "shelf://b/p.yaml",
        "-q",
        "--set",
        "reader.file_path=here.txt",
        "--set",
        "writer.file_path=shelf://b/2.txt",
    )
    assert ran.code == 0, ran.err
    assert get(files, "shelf://b/2.txt") == "here\n"
