"""Say what operators are made of, so that it can be put where they are to run: the project's files, and packages."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from msgspec import Struct

from petal.code.definitions import Home, home_of
from petal.code.loader import reference
from petal.errors import EnvironmentNotReady

#: The distribution that Petal itself is.
PETAL = "petal-etl"
#: What Petal needs only where an operator works on frames. It is larger than all the rest together.
FRAMES = "polars"
_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


class Needs(Struct, frozen=True):
    """What must be there where operators run.

    Attributes:
        folder: The pipeline's folder; a worker finds `files` by where they lie from here.
        files: The project's own Python files.
        modules: Files of modules that are neither the project's nor installed as they stand (found through
            ``PYTHONPATH``, or installed editable), by the path under which they are imported.
        packages: Versions of the distributions that are needed, by name; what they require is among them.
        nodes: The nodes that need it, by id, each with its settings there.
    """

    folder: str
    files: tuple[str, ...]
    modules: dict[str, str]
    packages: dict[str, str]
    nodes: dict[str, dict[str, Any]] = {}


def needs(
    targets: Iterable[Any],
    folder: str,
    folders: Iterable[str],
    *,
    frames: bool,
    also: Iterable[str] = (),
    there: Iterable[str] = (),
) -> Needs:
    """Follow the imports of operators, those inside functions too, and say what they lead to.

    Data that the files read, and what they import by a name that is made up as they run, is not seen.

    Args:
        targets: Functions and classes.
        folder: The pipeline's folder.
        folders: Folders whose Python is the project's, as a worker is told them.
        frames: Whether Polars is needed in any case.
        also: Distributions that are needed besides.
        there: Distributions that are there already, with all that they require.

    Raises:
        EnvironmentNotReady: One that is needed besides is not installed.
    """
    search = _Search((folder, *folders), there)
    search.package(PETAL)
    for name in also:
        search.wanted(name)
    if frames:
        search.package(FRAMES)
    for target in targets:
        search.start(target)
    packages = {name: importlib.metadata.version(name) for name in sorted(search.packages)}
    return Needs(folder, tuple(sorted(search.files)), dict(sorted(search.modules.items())), packages)


class _Search:
    """One search, which reads each file once."""

    def __init__(self, folders: Iterable[str], there: Iterable[str]) -> None:
        self._there = frozenset(map(_normal, there))
        self._folders = list(dict.fromkeys(os.path.realpath(folder) for folder in folders))
        self.files: set[str] = set()
        self.modules: dict[str, str] = {}
        self.packages: set[str] = set()
        self._extras: set[tuple[str, str]] = set()
        self._read: set[str] = set()

    def start(self, target: Any) -> None:
        """Take in what one function or class leads to."""
        module, found = sys.modules[target.__module__], reference(target)
        home = home_of(vars(module))
        if home is Home.PACKAGE and module.__name__.partition(".")[0] == "petal":
            self._library(module)
        elif found.file is not None:  # a worker loads it by its path, with its folder importable
            if (folder := os.path.dirname(found.file)) not in self._folders:
                self._folders.append(folder)
            self._file(found.file, "")
        elif home is not Home.STANDARD:
            self._imported(found.module, None)

    def wanted(self, name: str) -> None:
        """Take in a distribution that somebody has named.

        Raises:
            EnvironmentNotReady: It is not installed.
        """
        try:
            importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            raise EnvironmentNotReady(
                f"the package `{name}` is not installed here",
                hint=f"`pip install {name}`, or correct its name",
            ) from None
        self.package(name)

    def package(self, name: str, extras: Iterable[str] = ()) -> None:
        """Take in an installed distribution and what it requires; one that is not installed is not required here."""
        if _normal(name) in self._there:
            return
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            return
        name = _normal(found.metadata["Name"])
        wanted = [extra for extra in ("", *extras) if (name, extra) not in self._extras]
        self._extras.update((name, extra) for extra in wanted)
        self.packages.add(name)
        for text in found.requires or []:
            requirement, _, marker = text.partition(";")
            asked = _EXTRA.search(marker)
            match = _NAME.match(requirement)
            if match is None or (asked[1] if asked else "") not in wanted:
                continue
            if name == PETAL and _normal(match[1]) == FRAMES:
                continue  # only where it is used
            self.package(match[1], [extra.strip() for extra in (match[2] or "").split(",") if extra.strip()])

    def _file(self, file: str, package: str) -> None:
        """Take in one of the project's files, and what it imports."""
        self.files.add(file)
        self._follow(file, package)

    def _follow(self, file: str, package: str) -> None:
        if file in self._read:
            return
        self._read.add(file)
        for name in _imports(file, package):
            self._imported(name, file)

    def _imported(self, name: str, by: str | None) -> None:
        """Take in what a dotted name stands for: each package on the way to it, and the module itself."""
        head = name.partition(".")[0]
        beside = [os.path.dirname(by)] if by is not None and by in self.files else []
        for folder in dict.fromkeys([*self._folders, *beside]):
            if not _has(folder, head):
                continue
            for file, package in _files_of(folder, name):
                self._file(file, package)
            return
        if head in sys.stdlib_module_names:
            return
        if head == "petal":
            return
        found = _distributions().get(head)
        if found:
            for one in found:
                self.package(one)
            return
        above = _folder_of(head)
        if above is not None:
            for file, package in _files_of(above, name):
                self.modules[os.path.relpath(file, above)] = file
                self._follow(file, package)

    def _library(self, module: ModuleType) -> None:
        """Take in Polars where a built-in operator's module, or one beside it, imports it."""
        waiting, above = [module.__name__], str(Path(__file__).parents[2])
        while waiting:
            for file, package in _files_of(above, waiting.pop()):
                if file in self._read:
                    continue
                self._read.add(file)
                for name in _imports(file, package):
                    if name.partition(".")[0] == FRAMES:
                        self.package(FRAMES)
                    elif name.startswith("petal.library."):
                        waiting.append(name)


def _imports(file: str, package: str) -> Iterator[str]:
    """Give the dotted names that a file imports; of ``from a import b`` both ``a`` and ``a.b``, which may be a module."""
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and _is_for_types(node.test):
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])]).strip(".")
            if base:
                yield base
            yield from (f"{base}.{alias.name}".strip(".") for alias in node.names if alias.name != "*")
        elif isinstance(node, ast.Call) and _imports_by_name(node):
            yield str(getattr(node.args[0], "value", ""))


def _is_for_types(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


def _imports_by_name(call: ast.Call) -> bool:
    """Whether a call is one of ``importlib.import_module`` with a name that is written out."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    first = call.args[0] if call.args else None
    is_text = isinstance(first, ast.Constant) and isinstance(first.value, str)
    return name in ("import_module", "__import__") and is_text and len(call.args) == 1


def _has(folder: str, head: str) -> bool:
    """Whether ``import head`` finds something in a folder."""
    base = os.path.join(folder, head)
    if os.path.isfile(base + ".py") or os.path.isfile(os.path.join(base, "__init__.py")):
        return True
    return os.path.isdir(base) and any(Path(base).glob("*.py"))


def _files_of(folder: str, name: str) -> Iterator[tuple[str, str]]:
    """Give the files on the way to a module, each with the name of the package it is in; a last name may be none."""
    at = folder
    parts = name.split(".")
    for i, part in enumerate(parts):
        at = os.path.join(at, part)
        here, above = ".".join(parts[: i + 1]), ".".join(parts[:i])
        if os.path.isfile(start := os.path.join(at, "__init__.py")):
            yield os.path.realpath(start), here
        elif os.path.isfile(at + ".py"):
            yield os.path.realpath(at + ".py"), above
            return
        elif not os.path.isdir(at):
            return


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())


def _folder_of(head: str) -> str | None:
    """Return the folder in which a module or package that no distribution lists is found; None where there is none."""
    try:
        spec = importlib.util.find_spec(head)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return os.path.dirname(os.path.realpath(next(iter(spec.submodule_search_locations))))
    return os.path.dirname(os.path.realpath(spec.origin)) if spec.origin and spec.has_location else None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
