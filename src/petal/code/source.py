"""Compile a project's own modules from source: no bytecode is used, and every edit is seen (S7.1)."""

# ruff: noqa: PTH206, PTH208
# (The import system speaks of paths as text, and this runs for every import.)

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import CodeType, ModuleType

#: The name under which a module keeps the bytes that it was compiled from.
SOURCE_ATTRIBUTE = "__petal_source__"

#: Held while project modules are loaded and while the path changes.
LOCK = threading.RLock()

_STANDARD_LIBRARY = os.path.dirname(os.__file__)
_INSTALLED = frozenset({"site-packages", "dist-packages"})


class Project:
    """The modules that were loaded for one folder: their names, files and source bytes."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.modules: dict[str, ModuleType] = {}
        self.by_file: dict[str, ModuleType] = {}

    def keep(self, module: ModuleType, file: str) -> None:
        """Record a module that is being loaded."""
        self.modules[module.__name__] = module
        self.by_file[file] = module

    def forget(self, module: ModuleType, file: str) -> None:
        """Drop a module that failed to load."""
        self.modules.pop(module.__name__, None)
        self.by_file.pop(file, None)

    def refresh(self) -> None:
        """Forget every module when the bytes of one have changed, for any may hold something of another."""
        if all(_same_bytes(file, module) for file, module in self.by_file.items()):
            return
        self.clear()

    def clear(self) -> None:
        """Take every module out of ``sys.modules``."""
        for name, module in self.modules.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
        self.modules.clear()
        self.by_file.clear()

    def has(self, name: str) -> bool:
        """Say whether ``import name`` would find something in this folder."""
        base = os.path.join(self.folder, name)
        return os.path.isfile(base + ".py") or os.path.isdir(base)

    def step_in(self) -> list[tuple[Project, str]]:
        """Let the names that this folder has mean its own modules; return whose they were."""
        taken = []
        for other in _PROJECTS.values():
            if other is self:
                continue
            for name, module in other.modules.items():
                if sys.modules.get(name) is module and self.has(name.partition(".")[0]):
                    del sys.modules[name]
                    taken.append((other, name))
        sys.modules.update(self.modules)
        return taken


def _same_bytes(file: str, module: ModuleType) -> bool:
    try:
        return Path(file).read_bytes() == module.__dict__.get(SOURCE_ATTRIBUTE)
    except OSError:
        return False


_PROJECTS: dict[str, Project] = {}
_ACTIVE: list[str] = []


def is_taken(name: str) -> bool:
    """Say whether a project has a module of that name already."""
    return any(name in home.modules for home in _PROJECTS.values())


def project(folder: Path) -> Project:
    """Return the project of a folder, which is resolved already."""
    return _PROJECTS.setdefault(str(folder), Project(str(folder)))


def forget_projects() -> None:
    """Take every project's modules out of ``sys.modules``, for tests and long-lived sessions."""
    with LOCK:
        for home in _PROJECTS.values():
            home.clear()
        for folder in set(_PROJECTS) - set(_ACTIVE):
            del _PROJECTS[folder]


def is_own(file: str) -> bool:
    """Say whether a file or folder lies in a project that is open, and in no installed package."""
    if not any(file == folder or file.startswith(folder.rstrip(os.sep) + os.sep) for folder in _ACTIVE):
        return False
    if file.startswith((_STANDARD_LIBRARY + os.sep, _STANDARD_LIBRARY + ".")) or file == _STANDARD_LIBRARY:
        return False
    return _INSTALLED.isdisjoint(file.split(os.sep))


class SourceLoader(SourceFileLoader):
    """Loads a module from its source, keeps the bytes beside it, and knows nothing of ``.pyc`` files."""

    def __init__(self, fullname: str, path: str, home: Project) -> None:
        super().__init__(fullname, path)
        self.home = home

    def get_code(self, fullname: str) -> CodeType:
        """Compile the file as it is now."""
        return self._compile(self.get_data(self.get_filename(fullname)))

    def exec_module(self, module: ModuleType) -> None:
        """Compile and run the file, the bytes kept being those compiled."""
        data = self.get_data(self.path)
        module.__dict__[SOURCE_ATTRIBUTE] = data
        self.home.keep(module, self.path)
        try:
            exec(self._compile(data), module.__dict__)  # noqa: S102
        except BaseException:
            self.home.forget(module, self.path)
            raise

    def _compile(self, data: bytes) -> CodeType:
        try:
            code: CodeType = self.source_to_code(data, self.path)
        except SyntaxError as error:
            if error.filename is None:  # a null byte: Python names no place
                line = data[: data.find(b"\0")].count(b"\n") + 1 if b"\0" in data else 1
                error.filename, error.lineno = self.path, line
            raise
        except (ValueError, RecursionError, MemoryError) as error:
            message = str(error) or "the source is nested too deeply"
            raise SyntaxError(message, (self.path, 1, None, None)) from error
        return code


class _Again(SourceLoader):
    """Gives a file that is loaded under another name to whoever imports it by its own."""

    def __init__(self, fullname: str, path: str, home: Project, module: ModuleType) -> None:
        super().__init__(fullname, path, home)
        self.module = module
        self.spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:  # noqa: ARG002
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec
        self.home.modules[self.name] = module


class _Finder:
    """Finds the modules of open projects; all else is left to the next finder."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to load a project's module, or None."""
        head, _, tail = fullname.rpartition(".")
        if fullname == "petal" or fullname.startswith("petal."):
            return None
        entries = list(sys.path if path is None else path)
        for i, entry in enumerate(entries):
            if not is_own(entry):
                continue
            spec = _spec_in(entry, fullname, tail)
            if spec is None:
                continue
            if i and not head and _has_module(fullname, entries[:i]):
                return None
            return spec
        return None


def _has_module(name: str, entries: list[str]) -> bool:
    found = PathFinder.find_spec(name, entries)
    return found is not None and found.loader is not None


def _spec_in(entry: str, fullname: str, tail: str) -> ModuleSpec | None:
    base = os.path.join(entry, tail)
    file, package = os.path.join(base, "__init__.py"), [base]
    if not os.path.isfile(file):
        file, package = base + ".py", []
        if not os.path.isfile(file) or tail + ".py" not in os.listdir(entry):
            return None
    home = _PROJECTS[_folder_of(entry)]
    known = home.by_file.get(file)
    loader = SourceLoader(fullname, file, home) if known is None else _Again(fullname, file, home, known)
    return spec_from_file_location(
        fullname, file, loader=loader, submodule_search_locations=package if package else None
    )


def _folder_of(entry: str) -> str:
    around = [f for f in _ACTIVE if entry == f or entry.startswith(f.rstrip(os.sep) + os.sep)]
    return max(around, key=len)


_FINDER: Any = _Finder()


@contextmanager
def project_path(folder: Path | str) -> Iterator[None]:
    """Put a folder first on ``sys.path`` and load the modules beneath it from source, until the block ends.

    A run holds it open, so that an import inside a function works as at the top of the file. Blocks nest.
    """
    home = project(Path(folder).resolve())
    with LOCK:
        if not _ACTIVE:
            at = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else len(sys.meta_path)
            sys.meta_path.insert(at, _FINDER)
        _ACTIVE.append(home.folder)
        sys.path.insert(0, home.folder)
        taken = home.step_in()
    try:
        yield
    finally:
        with LOCK:
            _ACTIVE.remove(home.folder)
            if home.folder in sys.path:
                sys.path.remove(home.folder)
            for owner, name in taken:  # outside, a name is its first owner's
                if name in owner.modules:
                    sys.modules[name] = owner.modules[name]
            if not _ACTIVE and _FINDER in sys.meta_path:
                sys.meta_path.remove(_FINDER)
