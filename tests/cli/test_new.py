"""`petal new`: what it writes runs, installs and passes its own tests; nothing is overwritten."""

from __future__ import annotations

import os
import re
import shlex
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import petal as package

ROOT = Path(package.__file__).parents[2]


def files_of(folder: Path) -> dict[str, str]:
    """Return the text of every file beneath a folder."""
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def run(*command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command and show what it printed if it fails."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PETAL_", "PYTEST_"))}
    done = subprocess.run(
        [*command],
        cwd=folder,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    return done


class TestWrites:
    @pytest.mark.parametrize(
        ("args", "folder"),
        [
            (["project", "sales"], "sales"),
            (["plugin", "word-mark"], "petal-word-mark"),
            (["plugin", "petal-word-mark", "--backend"], "petal-word-mark"),
        ],
    )
    def test_a_folder(self, petal, tmp_path, args, folder):
        """The files are listed on stdout, no placeholder is left in any, and every Python file compiles."""
        ran = petal("new", *args)
        assert ran.code == 0, ran.err
        written = files_of(tmp_path)
        assert sorted(ran.out.split()) == sorted(written)
        for name, text in written.items():
            assert name.startswith(f"{folder}/")
            assert not re.search(r"@[A-Za-z_]+@", text + name), name
            assert text.endswith("\n") or not text
            if name.endswith(".py"):
                compile(text, name, "exec")
        assert ran.err.startswith("next: ")

    @pytest.mark.slow
    def test_the_code_is_clean(self, petal, tmp_path):
        """What is written is formatted, and linted and type-checked without findings."""
        for args in (
            ["project", "sales"],
            ["plugin", "word-mark", "--backend"],
            ["plugin", "other"],
            ["operator", "WordCount"],
        ):
            assert petal("new", *args).code == 0
        config = ["--isolated", "--no-cache", "--line-length", "110"]
        run(sys.executable, "-m", "ruff", "format", "--check", *config, ".", folder=tmp_path)
        select = ["--select", "E,F,W,B,UP,SIM,PT,D1", "--ignore", "D105,D107,D101"]
        run(sys.executable, "-m", "ruff", "check", *config, *select, ".", folder=tmp_path)
        sources = ["petal-word-mark/src", "petal-other/src", "word_count.py", "sales/operators.py"]
        run(sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull, *sources, folder=tmp_path)

    @pytest.mark.parametrize("name", ["word_count", "WordCount", "word-count"])
    def test_an_operator(self, petal, tmp_path, name):
        """An operator and its test are written under one name, however it was typed."""
        assert petal("new", "operator", name, "--folder", "ops").out.split() == [
            "ops/word_count.py",
            "ops/test_word_count.py",
        ]
        (tmp_path / "p.yaml").write_text(
            "plugins: [./ops/word_count.py]\nnodes:\n"
            "  - {id: r, type: FileReader, params: {file_path: p.yaml}}\n  - {id: w, type: WordCount}\n"
            "edges: [[r, w]]\n"
        )
        assert petal("validate", "p.yaml").code == 0

    def test_a_project_runs(self, petal, tmp_path, monkeypatch):
        """The commands of its README work in it."""
        assert petal("new", "project", "sales").code == 0
        monkeypatch.chdir(tmp_path / "sales")
        text = Path("README.md").read_text()
        commands = [shlex.split(line)[2:] for line in text.splitlines() if line.startswith("$ petal ")]
        assert [c[0] for c in commands] == ["validate", "plan", "run"]
        for args in commands:
            assert petal(*args).code == 0
        assert Path("output.txt").read_text() == "1: ERROR no such table\n2: ERROR disk full\n"


class TestRefuses:
    @pytest.mark.parametrize(
        "args",
        [
            ["project", "../x"],
            ["project", "a/b"],
            ["project", ""],
            ["project", "-x"],
            ["project", "naïve"],
            ["plugin", "Word"],
            ["plugin", "a b"],
            ["plugin", "a--b"],
            ["plugin", "../x"],
            ["plugin", "x" * 61],
            ["plugin", "1x"],
            ["plugin", "class"],
            ["plugin", "list"],
            ["plugin", "etl"],
            ["plugin", "petal-etl"],
            ["plugin", "file-reader"],
            ["plugin", "process", "--backend"],
            ["operator", "FileReader"],
            ["operator", "json"],
            ["operator", "match"],
            ["operator", "lines"],
            ["operator", "a.b"],
            ["operator", "_x"],
        ],
        ids=" ".join,
    )
    def test_names(self, petal, tmp_path, args):
        """A name that cannot be one, or is Petal's or Python's own, is a usage error; nothing is written."""
        ran = petal("new", args[0], *args[2:], "--", args[1])
        assert ran.code == 2
        assert "hint" in ran.err
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("args", "there"),
        [
            (["project", "sales"], "sales/mine.txt"),
            (["plugin", "demo"], "petal-demo/mine.txt"),
            (["operator", "word"], "word.py"),
            (["operator", "word"], "test_word.py"),
            (["project", "sales"], "sales"),
        ],
    )
    def test_what_is_there(self, petal, tmp_path, args, there):
        """Nothing is overwritten and nothing is written beside it: neither a file nor a folder that holds something."""
        (tmp_path / there).parent.mkdir(exist_ok=True)
        (tmp_path / there).write_text("mine")
        ran = petal("new", *args)
        assert ran.code == 2
        assert "exists" in ran.err
        assert files_of(tmp_path) == {there: "mine"}

    def test_a_dangling_link(self, petal, tmp_path):
        """A link that leads nowhere is something, too."""
        (tmp_path / "word.py").symlink_to("nowhere")
        assert petal("new", "operator", "word").code == 2
        assert not (tmp_path / "nowhere").exists()

    def test_a_folder_that_cannot_be_made(self, petal, tmp_path):
        """Where no folder can be made, the error says so, and it is no bug."""
        (tmp_path / "file").write_text("")
        ran = petal("new", "project", "sales", "--folder", "file")
        assert ran.code == 1
        assert "cannot make the folder" in ran.err

    def test_an_empty_folder_is_taken(self, petal, tmp_path):
        """A folder that was made for the project beforehand is used."""
        (tmp_path / "sales").mkdir()
        assert petal("new", "project", "sales").code == 0


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """A virtual environment with Petal built and installed; the packages it needs are those of this environment."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    packages = run(
        str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder
    ).stdout.strip()
    for path in site.getsitepackages():
        # Without .pth files beside them: Petal's own must be the one that is installed, not this source tree.
        Path(packages, "needed.pth").write_text(f"{path}\n")
    install(python, ROOT)
    found = run(str(python), "-c", "import petal; print(petal.__file__)", folder=folder).stdout
    assert found.startswith(packages)
    return python


def install(python: Path, source: Path, *more: str) -> None:
    """Build and install a package, without a look at an index."""
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    run(str(python), *pip, *more, str(source), folder=source)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", [[], ["--backend"]], ids=["operator", "backend"])
def test_a_plugin_installs_and_passes_its_tests(petal, tmp_path, environment, kind):
    """Generated, built, installed in a fresh environment and found by its entry point, it passes its own tests."""
    assert petal("new", "plugin", "demo", *kind).code == 0
    folder = tmp_path / "petal-demo"
    install(environment, folder, "--force-reinstall")
    readme = (folder / "README.md").read_text()
    assert "$ .venv/bin/python -m pytest\n" in readme
    told = run(str(environment), "-m", "pytest", "-p", "no:cacheprovider", folder=folder)
    assert re.search(r"\d+ passed", told.stdout)
    assert "failed" not in told.stdout
    listed = run(str(environment), "-m", "petal", "plugins", folder=folder).stdout
    assert "demo  petal-demo 0.1.0  on" in listed
    assert "Demo" in listed
    assert ("backends: demo" in listed) == bool(kind)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_projects_and_operators_pass_their_tests(petal, tmp_path, environment):
    """The tests that come with a project and with an operator pass as they are written."""
    assert petal("new", "project", "sales").code == 0
    assert petal("new", "operator", "WordCount", "--folder", "ops").code == 0
    for folder in (tmp_path / "sales", tmp_path / "ops"):
        told = run(str(environment), "-m", "pytest", "-p", "no:cacheprovider", folder=folder)
        assert re.search(r"\d+ passed", told.stdout)
