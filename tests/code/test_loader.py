"""Loading a pipeline's own Python: from source, under one name, with errors that show the user's lines (S7)."""

import os
import pickle
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from petal.code.loader import (
    PythonError,
    Reference,
    beneath,
    forget_projects,
    is_importable,
    load_file,
    load_module,
    operators_in,
    project_path,
    project_root,
    reference,
)
from petal.errors import DefinitionError


@pytest.fixture(autouse=True)
def clean_imports():
    """Leave sys.path, sys.meta_path and sys.modules as they were."""
    path, finders, modules = list(sys.path), list(sys.meta_path), dict(sys.modules)
    yield
    forget_projects()
    assert sys.path == path
    assert sys.meta_path == finders
    for name in ["vendored_x"]:
        sys.modules.pop(name, None)
    left = [
        n
        for n in set(sys.modules) - set(modules)
        if "/pytest-" in str(getattr(sys.modules[n], "__file__", ""))
    ]
    assert left == []


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def leftovers(folder: Path) -> list[str]:
    return [str(p) for p in folder.rglob("*") if p.suffix == ".pyc" or p.name == "__pycache__"]


OPERATORS = """
from petal import operator

@operator
def second_hand(x: int) -> int:
    return x

class Plain: pass

@operator
class Third:
    def process(self, x: int) -> int:
        return x

@operator
def fourth(x: int) -> int:
    return x
"""


class TestLoadFile:
    def test_writes_no_bytecode(self, tmp_path):
        """Neither the file nor the modules and packages it imports leave a .pyc or a __pycache__ behind (S7.1)."""
        write(
            tmp_path, etl="import helper\nfrom pack import inner\nX = helper.Y + inner.Z\n", helper="Y = 1\n"
        )
        write(tmp_path / "pack", inner="Z = 2\n")
        (tmp_path / "pack" / "__init__.py").write_text("")
        assert load_file(tmp_path / "etl.py").X == 3
        assert leftovers(tmp_path) == []

    def test_ignores_a_stale_pyc(self, tmp_path):
        """A .pyc that claims to be current is not believed (S7.1)."""
        import py_compile

        helper = write(tmp_path, helper="Y = 1\n", etl="from helper import Y\n") / "helper.py"
        py_compile.compile(str(helper), doraise=True)
        stat = helper.stat()
        helper.write_text("Y = 2\n")
        os.utime(helper, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert load_file(tmp_path / "etl.py").Y == 2

    def test_same_file_same_module(self, tmp_path):
        """An unchanged file that is loaded again is the same module, by whatever path it is named."""
        write(tmp_path, etl="X = object()\n")
        one = load_file(tmp_path / "etl.py")
        assert load_file(tmp_path / "." / "etl.py") is one
        assert load_file(os.path.relpath(tmp_path / "etl.py")) is one

    def test_sees_an_edit_within_a_second(self, tmp_path):
        """An edit that keeps size and time is seen, in the file and in a helper (S7.1)."""
        write(tmp_path, etl="from helper import Y\nX = 1\n", helper="Y = 1\n")
        first = load_file(tmp_path / "etl.py")
        for name, text in (("etl", "from helper import Y\nX = 2\n"), ("helper", "Y = 2\n")):
            path = tmp_path / f"{name}.py"
            stat = path.stat()
            path.write_text(text)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            second = load_file(tmp_path / "etl.py")
            assert second is not first
            first = second
        assert (first.X, first.Y) == (2, 2)

    def test_same_stem_in_two_folders(self, tmp_path):
        """Two files of one name, and their helpers of one name, stay apart."""
        for n in "12":
            write(tmp_path / n, etl=f"import helper\nclass A: n = {n}\nX = helper.Y\n", helper=f"Y = {n}\n")
        one, two = load_file(tmp_path / "1" / "etl.py"), load_file(tmp_path / "2" / "etl.py")
        assert (one.X, two.X) == (1, 2)
        assert one.__name__ != two.__name__
        assert pickle.loads(pickle.dumps(one.A)) is one.A
        assert pickle.loads(pickle.dumps(two.A)) is two.A
        assert load_file(tmp_path / "1" / "etl.py") is one

    def test_one_copy_of_a_file_that_is_also_imported(self, tmp_path):
        """A file loaded as a plugin and imported by another file is one module, whatever it is called."""
        for n in "12":
            write(
                tmp_path / n, operators="class A: pass\n", etl="import operators\nfrom operators import A\n"
            )
            operators = load_file(tmp_path / n / "operators.py")
            assert load_file(tmp_path / n / "etl.py").A is operators.A
            assert operators.__spec__.name == operators.__name__

    def test_imported_first_then_loaded(self, tmp_path):
        """A helper that was imported already is not loaded a second time."""
        write(tmp_path, operators="class A: pass\n", etl="from operators import A\n")
        assert load_file(tmp_path / "etl.py").A is load_file(tmp_path / "operators.py").A

    def test_never_takes_the_name_of_another_module(self, tmp_path):
        """A file called like a module of the standard library does not become that module."""
        write(tmp_path, json="X = 1\n")
        assert load_file(tmp_path / "json.py").__name__ != "json"
        import json

        assert json.dumps(1) == "1"

    def test_dataclasses_and_hints_work(self, tmp_path):
        """Text annotations resolve, for the module is in sys.modules under its own name."""
        text = (
            "from __future__ import annotations\nfrom dataclasses import dataclass\n"
            "@dataclass\nclass P:\n    next: P | None = None\n"
        )
        module = load_file(write(tmp_path, shapes_x=text) / "shapes_x.py")
        assert typing.get_type_hints(module.P) == {"next": module.P | None}

    def test_main_block_does_not_run(self, tmp_path):
        """The guarded end of a script does not run."""
        load_file(write(tmp_path, etl="if __name__ == '__main__':\n    raise SystemExit(1)\n") / "etl.py")

    def test_late_imports_inside_project_path(self, tmp_path):
        """An import inside a function works while the run holds the project's path open, and leaves no .pyc."""
        write(
            tmp_path,
            etl="def f():\n    import late_helper\n    return late_helper.Y\n",
            late_helper="Y = 5\n",
        )
        module = load_file(tmp_path / "etl.py")
        with pytest.raises(ModuleNotFoundError):
            module.f()
        with project_path(tmp_path), project_path(tmp_path):
            assert module.f() == 5
        assert leftovers(tmp_path) == []

    def test_a_virtual_environment_in_the_folder_is_left_alone(self, tmp_path):
        """Packages installed beneath the project's folder are not the project's own modules."""
        site = write(tmp_path / ".venv" / "lib" / "site-packages", vendored_x="Y = 1\n")
        text = (
            f"import sys\nsys.path.append({str(site)!r})\nimport vendored_x\nsys.path.remove({str(site)!r})\n"
        )
        module = load_file(write(tmp_path, etl=text) / "etl.py")
        assert not hasattr(module.vendored_x, "__petal_source__")

    def test_the_first_import_of_a_folder_does_not_hide_an_installed_package(self, tmp_path):
        """A folder of data called like an installed package does not stand in for it."""
        (tmp_path / "msgspec").mkdir()
        assert load_file(write(tmp_path, etl="import msgspec\nX = msgspec.Struct\n") / "etl.py").X

    def test_keeps_the_source_bytes(self, tmp_path):
        """The bytes that were compiled are kept for the fingerprint."""
        assert load_file(write(tmp_path, etl="X = 1\n") / "etl.py").__petal_source__ == b"X = 1\n"


class TestErrors:
    def fails(self, path: Path | str) -> PythonError:
        before = set(sys.modules)
        with pytest.raises(PythonError) as caught:
            load_file(path)
        assert not [
            n for n in set(sys.modules) - before if n == Path(path).stem or n.startswith("petal_file")
        ]
        return caught.value

    def test_syntax(self, tmp_path):
        """A syntax error has the file, line and column."""
        path = write(tmp_path, etl="x = 1\ny = = 2\n") / "etl.py"
        error = self.fails(path)
        assert (error.code, error.location) == ("python-syntax", (str(path), 2, 5))

    def test_syntax_of_a_helper(self, tmp_path):
        """A syntax error in an imported module is placed there."""
        error = self.fails(write(tmp_path, etl="import helper\n", helper="\n(\n") / "etl.py")
        assert error.code == "python-syntax"
        assert error.location[:2] == (str(tmp_path / "helper.py"), 2)

    def test_raises(self, tmp_path):
        """An exception has the user's innermost line, and a traceback of the user's frames alone."""
        text = "import json\ndef f():\n    return json.loads('{')\nX = 1\nf()\n"
        error = self.fails(write(tmp_path, etl=text) / "etl.py")
        assert error.code == "python-import"
        assert error.message.startswith("JSONDecodeError: ")
        assert error.location[:2] == (str(tmp_path / "etl.py"), 3)
        assert "line 5" in error.traceback
        assert "decoder.py" not in error.traceback
        assert "petal/code" not in error.traceback

    def test_relative_path_is_shown_as_given(self, tmp_path, monkeypatch):
        """The location names the file as the user did."""
        write(tmp_path, etl="1/0\n")
        monkeypatch.chdir(tmp_path)
        assert str(self.fails("etl.py").location) == "etl.py:1:1"

    def test_exit(self, tmp_path):
        """A file that ends the program when imported does not end Petal."""
        error = self.fails(write(tmp_path, etl="import sys\nsys.exit(3)\n") / "etl.py")
        assert error.message == "SystemExit: 3"
        assert "__main__" in error.hint

    def test_interrupt_passes(self, tmp_path):
        """Ctrl-C is not an error of the file."""
        with pytest.raises(KeyboardInterrupt):
            load_file(write(tmp_path, etl="raise KeyboardInterrupt\n") / "etl.py")

    @pytest.mark.parametrize(
        ("text", "hint"),
        [
            ("import sklearn_zz", "pip install sklearn_zz"),
            ("import helpr", "did you mean `helper`?"),
            ("from . import helper", "write `import name`"),
            ("import json.nothing", "no module `json.nothing`"),
        ],
    )
    def test_missing_module(self, tmp_path, text, hint):
        """A missing module comes with what to do about it."""
        error = self.fails(write(tmp_path, etl=text + "\n", helper="") / "etl.py")
        assert hint in error.hint

    def test_refused_operator(self, tmp_path):
        """An error that Petal raised in the file keeps its code and gains the line."""
        text = "from petal import operator\n@operator\ndef f(**kw): ...\n"
        with pytest.raises(DefinitionError) as caught:
            load_file(write(tmp_path, etl=text) / "etl.py")
        assert caught.value.code == "bad-signature"
        assert caught.value.location[:2] == (str(tmp_path / "etl.py"), 2)

    def test_missing_file(self, tmp_path):
        """A missing file comes with the name that was meant; a folder is called one."""
        write(tmp_path, operators="")
        error = self.fails(tmp_path / "operatrs.py")
        assert (error.code, error.hint) == ("python-missing", "did you mean `operators.py`?")
        assert self.fails(tmp_path).code == "python-missing"
        assert self.fails(tmp_path / "a\0b.py").code == "python-missing"

    @pytest.mark.parametrize(
        ("data", "line", "says"),
        [
            (b"x = 1\ny = 'caf\xe9'\n", 2, "not UTF-8"),
            (b"x = 1\ny\0\n", 2, "null"),
            (b"# coding: klingon\n", 0, "klingon"),
        ],
    )
    def test_not_text(self, tmp_path, data, line, says):
        """A file that is no Python text is refused in plain words."""
        (tmp_path / "etl.py").write_bytes(data)
        error = self.fails(tmp_path / "etl.py")
        assert error.code == "python-syntax"
        assert says in error.message
        assert error.location.line in (line, 0)

    def test_declared_encoding(self, tmp_path):
        """A file that declares its encoding is read in it."""
        (tmp_path / "etl.py").write_bytes("# coding: latin-1\nX = 'é'\n".encode("latin-1"))
        assert load_file(tmp_path / "etl.py").X == "é"

    def test_failing_file_is_tried_again(self, tmp_path):
        """A file that was mended loads."""
        path = write(tmp_path, etl="1/0\n") / "etl.py"
        self.fails(path)
        path.write_text("X = 1\n")
        assert load_file(path).X == 1


class TestLoadModule:
    def test_loads(self, tmp_path):
        """A dotted name is imported, from the project's folder while its path is open."""
        write(tmp_path, some_ops="X = 1\n")
        with project_path(tmp_path):
            assert load_module("some_ops").X == 1
        assert leftovers(tmp_path) == []

    def test_missing(self, tmp_path):
        """A module that is not there is told apart from one that fails."""
        write(tmp_path, some_ops="import nothing_zz\n")
        with project_path(tmp_path):
            for name, code in (
                ("some_op", "python-missing"),
                ("some_ops", "python-import"),
                ("a/b", "python-missing"),
            ):
                with pytest.raises(PythonError) as caught:
                    load_module(name)
                assert caught.value.code == code
            with pytest.raises(PythonError, match="did you mean `some_ops`"):
                load_module("some_op")


class TestReferences:
    def test_operators_in_order_of_definition(self, tmp_path):
        """Operators come in the order in which the file defines them; imported ones and aliases are left out."""
        text = OPERATORS + "again = fourth\nfrom others_x import other\n\n@operator\ndef fifth(): ...\n"
        write(tmp_path, ops_x="fourth = None\n" + text)
        write(tmp_path, others_x="from petal import operator\n@operator\ndef other(): ...\n")
        names = [o.__name__ for o in operators_in(load_file(tmp_path / "ops_x.py"))]
        assert names == ["second_hand", "Third", "fourth", "fifth"]

    def test_reference(self, tmp_path):
        """A reference has the file for a pipeline's own module, the dotted name alone for any other."""
        module = load_file(write(tmp_path, ops_x="class A:\n    class B: ...\n") / "ops_x.py")
        assert reference(module.A.B) == Reference("ops_x", str(tmp_path / "ops_x.py"), "A.B")
        assert reference(Path) == Reference("pathlib", None, "Path")

    def test_is_importable(self, tmp_path):
        """What cannot travel by reference is told why."""
        text = (
            "def f():\n    def g(): ...\n    return g\nh = lambda: 1\ndef k(): ...\nold = k\ndef k(): ...\n"
        )
        module = load_file(write(tmp_path, ops_x=text) / "ops_x.py")
        assert is_importable(module.f) is None
        assert "inside `f`" in is_importable(module.f())
        assert "lambda" in is_importable(module.h)
        assert "not this object" in is_importable(module.old)
        assert "an object" in is_importable(3)

    def test_notebook(self):
        """A function of an interactive session cannot be found again."""
        code = "from petal.code.loader import *\ndef f(): ...\nprint(is_importable(f), reference(f).file)"
        run = [sys.executable, "-c", code]
        out = subprocess.run(run, capture_output=True, text=True, check=True).stdout
        assert "notebook" in out

    def test_script(self, tmp_path):
        """A function of the script that runs is found again by the script's file."""
        code = "from petal.code.loader import *\ndef f(): ...\nprint(is_importable(f), reference(f).file)"
        path = write(tmp_path, script_x=code) / "script_x.py"
        out = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True).stdout
        assert out == f"None {path}\n"


class TestConfinement:
    def test_beneath(self, tmp_path):
        """Nothing leaves the project by `..`, an absolute path, a symbolic link or a null byte (S7.3)."""
        root = write(tmp_path / "root", a="")
        (root / "out").symlink_to(tmp_path)
        (root / "loop").symlink_to(root / "loop")
        assert beneath(root / "a.py", root)
        assert beneath(root / "not" / "yet.py", root)
        for bad in (
            root / ".." / "x.py",
            "/etc/passwd",
            root / "out" / "x.py",
            tmp_path / "root2",
            "a\0b",
            root / "loop",
        ):
            assert not beneath(bad, root)

    def test_project_root(self, tmp_path):
        """A project begins at the nearest pyproject.toml, else at the folder."""
        deep = write(tmp_path / "a" / "b")
        assert project_root(deep) == deep.resolve()
        (tmp_path / "a" / "pyproject.toml").write_text("")
        assert project_root(deep) == (tmp_path / "a").resolve()
