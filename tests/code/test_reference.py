"""Finding an operator by its reference in a process that has never seen it (S7.2)."""

import subprocess
import sys

import pytest

from petal.code.loader import Reference, forget_projects, load_file, reference
from petal.code.reference import resolve
from petal.code.source import project_path
from petal.errors import EnvironmentNotReady, PetalError


@pytest.fixture(autouse=True)
def no_projects_left():
    yield
    forget_projects()


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_a_file(tmp_path):
    """A reference into a pipeline's own file gives the function of the very module that was loaded."""
    write(tmp_path, etl="def step(x: int) -> int:\n    return x + 1\n")
    made = load_file(tmp_path / "etl.py").step
    found = reference(made)
    assert found.file == str(tmp_path / "etl.py")
    assert resolve(found) is made
    forget_projects()
    assert resolve(found)(1) == 2


def test_an_installed_module():
    """A reference into an installed module needs no file, and reaches into classes."""
    assert resolve(Reference("collections", None, "OrderedDict.fromkeys"))("a") == {"a": None}


def test_a_helper_beside_the_file_is_found_while_the_folder_is_open(tmp_path):
    """A module of the project, named by its dotted name, is found when its folder is on the path."""
    write(tmp_path, beside="def step(): return 5\n")
    with project_path(tmp_path):
        assert resolve(Reference("beside", None, "step"))() == 5


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Reference("gone", "{folder}/gone.py", "step"), "the worker lacks the file {folder}/gone.py"),
        (Reference("no_such_package.etl", None, "step"), "the worker lacks the module `no_such_package.etl`"),
        (Reference("etl", "{folder}/etl.py", "later"), "the worker lacks `later`: {folder}/etl.py is there"),
        (Reference("json", None, "loads.none"), "the worker lacks `loads.none`: the module `json` is there"),
        (
            Reference("__main__", None, "step"),
            "the worker lacks `step`: it was defined in an interactive session",
        ),
    ],
)
def test_says_what_the_worker_lacks(tmp_path, found, said):
    """What is missing is named: the file, the module or the name in it, and code and hint are there."""
    write(tmp_path, etl="def step(): pass\n")
    file = found.file and found.file.format(folder=tmp_path)
    with pytest.raises(EnvironmentNotReady) as caught:
        resolve(Reference(found.module, file, found.qualname))
    assert said.format(folder=tmp_path) in caught.value.message
    assert caught.value.code == "worker-lacks"
    assert caught.value.hint


def test_an_error_of_the_file_itself_is_not_called_missing(tmp_path):
    """A file that raises while it is loaded is shown with its own error and place, also when that is an import."""
    write(tmp_path, etl="import no_such_package\n", bad="1 / 0\n")
    with pytest.raises(PetalError, match="no_such_package") as caught:
        resolve(Reference("etl", str(tmp_path / "etl.py"), "step"))
    assert caught.value.code == "python-import"
    with pytest.raises(PetalError, match="ZeroDivisionError") as caught:
        resolve(Reference("bad", str(tmp_path / "bad.py"), "step"))
    assert caught.value.location.line == 1


SCRIPT = """
import sys
from petal import Pipeline, operator

@operator
def one() -> int:
    return 1

def main():
    print(Pipeline.of(one).run().outputs['one'] if len(sys.argv) > 1 else "imported")

{call}
"""

RESOLVE = """
import sys
from petal.code.loader import Reference
from petal.code.reference import resolve
sys.argv.append("run")
print(resolve(Reference("__main__", sys.argv[1], "one"))())
"""


def in_another_process(script, *args):
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_script_that_was_main_is_loaded_under_another_name(tmp_path):
    """A script that ran as `__main__` is found by its file; what its guard protects does not run."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(call="if __name__ == '__main__':\n    main()"))
    done = in_another_process(RESOLVE, path)
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_a_run_without_a_guard_is_refused(tmp_path):
    """`Pipeline.run` that is reached while a worker imports the script raises and says how to guard it (S7.2)."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(call="main()"))
    done = in_another_process(RESOLVE, path)
    assert done.returncode != 0
    assert "guard with `if __name__ == '__main__'`" in done.stderr


def test_a_run_inside_an_operator_is_allowed(tmp_path):
    """Only importing is guarded: an operator that runs a pipeline of its own may do so."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(call="def outer():\n    return Pipeline.of(one).run().outputs['one']\n"))
    script = RESOLVE.replace('"one"', '"outer"')
    done = in_another_process(script, path)
    assert (done.stdout, done.stderr) == ("1\n", "")
