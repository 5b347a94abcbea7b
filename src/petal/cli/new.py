"""``petal new``: write the files of a new project, operator or plugin; nothing is ever overwritten."""

from __future__ import annotations

import builtins
import keyword
import os
import re
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from petal.cli.options import debug_option
from petal.cli.output import err, out
from petal.errors import OutputError, UsageError
from petal.spec.operator import camel_case

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Target -> template, beneath ``templates/``.
_PROJECT: Final = {
    "README.md": "project/README.md",
    "pyproject.toml": "project/pyproject.toml",
    ".gitignore": "project/gitignore",
    "pipeline.yaml": "project/pipeline.yaml",
    "operators.py": "project/operators.py",
    "input.txt": "project/input.txt",
    "tests/test_operators.py": "project/test_operators.py",
    "tests/test_pipeline.py": "project/test_pipeline.py",
}
_OPERATOR: Final = {
    "@function@.py": "operator/operator.py",
    "test_@function@.py": "operator/test_operator.py",
}
_PLUGIN: Final = {
    "README.md": "plugin/README.md",
    "pyproject.toml": "plugin/pyproject.toml",
    ".gitignore": "plugin/gitignore",
    ".github/workflows/test.yml": "plugin/test.yml",
    "src/@package@/__init__.py": "plugin/init.py",
    "src/@package@/operators.py": "plugin/operators.py",
    "src/@package@/py.typed": "",
    "tests/test_operators.py": "plugin/test_operators.py",
}
_BACKEND: Final = {
    "src/@package@/__init__.py": "backend/init.py",
    "src/@package@/backend.py": "backend/backend.py",
    "tests/test_backend.py": "backend/test_backend.py",
}
_LONGEST: Final = 60

folder_option = click.option(
    "--folder", metavar="DIR", default=".", help="Where to write; the current folder by default."
)


@click.group("new", short_help="Write the files of a new project, operator or plugin.")
def command() -> None:
    """Write the files of a new project, operator or plugin, ready to run and with tests that pass.

    Nothing is ever overwritten.
    """


@command.command("project", short_help="A folder with a pipeline, operators and tests.")
@click.argument("name", metavar="NAME")
@folder_option
@debug_option
def project(name: str, folder: str) -> int:
    """Write a folder NAME with a pipeline, an operator of its own, and tests of both."""
    _check(
        name, r"[A-Za-z][A-Za-z0-9_-]*[A-Za-z0-9]|[A-Za-z]", "letters, digits, `-` and `_`", "sales-report"
    )
    _write(_free_folder(Path(folder, name)), _PROJECT, {"name": name})
    err(f"next: cd {Path(folder, name)} && petal run pipeline.yaml")
    return 0


@command.command("operator", short_help="A Python file with an operator, and its test.")
@click.argument("name", metavar="NAME")
@folder_option
@debug_option
def operator(name: str, folder: str) -> int:
    """Write a Python file with the operator NAME, and a file with its test.

    NAME is written as its function is called (word_count) or as pipelines call it (WordCount).
    """
    function = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()
    _check(function, r"[a-z][a-z0-9]*(_[a-z0-9]+)*", "letters, digits and `_`", "word_count", given=name)
    _check_function(function)
    if function in sys.stdlib_module_names:
        raise UsageError(
            f"an operator's file cannot be called `{function}.py`: it would hide Python's own module",
            hint="choose another name",
        )
    _write(Path(folder), _OPERATOR, {"function": function, "Type": camel_case(function)})
    err(
        f"next: name the file under `plugins: [./{function}.py]` of a pipeline, and use it as `type: {camel_case(function)}`"
    )
    return 0


@command.command("plugin", short_help="A package petal-NAME that brings operators or a backend.")
@click.argument("name", metavar="NAME")
@click.option("--backend", is_flag=True, help="Bring a backend too: a place where nodes run.")
@folder_option
@debug_option
def plugin(name: str, backend: bool, folder: str) -> int:
    """Write a package petal-NAME that brings an operator, and with --backend a place where nodes run.

    It installs, and its tests are Petal's contracts: they pass as it is written.
    """
    short = name.removeprefix("petal-")
    _check(
        short, r"[a-z][a-z0-9]*(-[a-z0-9]+)*", "lower-case letters, digits and `-`", "word-count", given=name
    )
    function = short.replace("-", "_")
    _check_function(function)
    if short in ("etl", "built-in", *(("local", "process") if backend else ())):
        raise UsageError(f"`{short}` is a name of Petal's own", hint="choose another name")
    type_name = camel_case(function)
    values = {
        "name": short,
        "package": f"petal_{function}",
        "function": function,
        "Type": type_name,
        "dependencies": '"petal-etl", "msgspec>=0.19"' if backend else '"petal-etl"',
        "Summary": f"Petal's operator {type_name} and backend {short}."
        if backend
        else f"Petal's operator {type_name}.",
        "backend_section": "",
    }
    if backend:
        values["backend_section"] = _filled("backend/section.md", values)
    target = Path(folder, f"petal-{short}")
    _write(_free_folder(target), {**_PLUGIN, **(_BACKEND if backend else {})}, values)
    err(
        f"next: cd {target} && python -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/python -m pytest"
    )
    return 0


def _check(name: str, pattern: str, letters: str, example: str, *, given: str | None = None) -> None:
    """Check a name.

    Raises:
        UsageError: It cannot be one.
    """
    if not re.fullmatch(pattern, name) or len(name) > _LONGEST:
        raise UsageError(
            f"`{given or name}` cannot be a name here: it has {letters}, begins with a letter, and is not long",
            hint=f"for example `{example}`",
            code="bad-id",
        )


def _check_function(function: str) -> None:
    """Check that an operator may have a function of that name.

    Raises:
        UsageError: It may not: the name is Python's, or an operator of Petal's has it.
    """
    from petal.library.table import OPERATORS

    if keyword.iskeyword(function) or keyword.issoftkeyword(function) or hasattr(builtins, function):
        raise UsageError(f"`{function}` is a name of Python's own", hint="choose another name", code="bad-id")
    if function in ("petal", "operator", "lines", "prefix"):
        raise UsageError(
            f"`{function}` is a name that the file uses itself", hint="choose another name", code="bad-id"
        )
    if camel_case(function) in OPERATORS:
        raise UsageError(
            f"Petal has an operator `{camel_case(function)}` already",
            hint=f"`petal describe {camel_case(function)}` shows it; choose another name",
            code="bad-id",
        )


def _free_folder(folder: Path) -> Path:
    """Return a folder that is not there yet, or is empty.

    Raises:
        UsageError: Something is there.
    """
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise UsageError(f"`{folder}` exists", hint="choose another name, or another --folder", code="exists")
    return folder


def _write(folder: Path, templates: Mapping[str, str], values: Mapping[str, str]) -> None:
    """Fill templates, write them beneath a folder, and print the path of each.

    Raises:
        UsageError: One of the files exists; then none is written.
        OutputError: One cannot be written.
    """
    from petal.data.files import write_text

    filled = {
        folder / _replaced(target, values): _filled(template, values) if template else ""
        for target, template in templates.items()
    }
    for path in filled:
        if os.path.lexists(path):
            raise UsageError(
                f"`{path}` exists", hint="nothing is ever overwritten: choose another name", code="exists"
            )
    for path, text in filled.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make the folder `{path.parent}`: {error.strerror or error}") from error
        write_text(path, text)
        out(str(path))


def _filled(template: str, values: Mapping[str, str]) -> str:
    source = files("petal.cli").joinpath("templates", f"{template}.in")
    return _replaced(source.read_text(encoding="utf-8"), values)


def _replaced(text: str, values: Mapping[str, str]) -> str:
    """Put values in the place of their names between two ``@``, which no file type of ours gives a meaning."""
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text
