"""Load a pipeline's own Python, and name what is in it so that another process can find it."""

from __future__ import annotations

import importlib
import inspect
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NoReturn

from msgspec import Struct

from petal.code.failure import PythonError, explain, missing_hint
from petal.code.source import (
    LOCK,
    SOURCE_ATTRIBUTE,
    SourceLoader,
    forget_projects,
    is_taken,
    project,
    project_path,
)
from petal.errors import Location
from petal.spec.signature import ATTRIBUTE

__all__ = [
    "PythonError",
    "Reference",
    "beneath",
    "forget_projects",
    "is_importable",
    "load_file",
    "load_module",
    "operators_in",
    "project_path",
    "project_root",
    "reference",
]


class Reference(Struct, frozen=True):
    """Where a function or class is found again.

    Attributes:
        module: The module's dotted name.
        file: The file to load when the module is one of a pipeline's own, outside any package; else None.
        qualname: The name within the module.
    """

    module: str
    file: str | None
    qualname: str


def load_file(path: Path | str) -> ModuleType:
    """Load a Python file from source, with its folder first on ``sys.path`` (S7.1).

    The same file gives the same module until it, or a module that was loaded from its folder, is edited.
    No bytecode is read or written, and ``if __name__ == "__main__"`` blocks do not run.

    Raises:
        PythonError: It is missing (``python-missing``), cannot be read (``python-unreadable``) or compiled
            (``python-syntax``), or raised (``python-import``).
        PetalError: One that the file itself raised, such as a refused operator, with its place.
    """
    given, file = Path(path), _resolved(Path(path))
    _check_readable(given, file)
    with LOCK, project_path(file.parent):
        home = project(file.parent)
        home.refresh()
        known = home.by_file.get(str(file))
        if known is not None:
            return known
        name = _module_name(file)
        spec = spec_from_file_location(name, file, loader=SourceLoader(name, str(file), home))
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException as error:
            sys.modules.pop(name, None)
            if isinstance(error, KeyboardInterrupt):
                raise
            _raise(error, {str(file): str(given)})
        return sys.modules.get(name, module)


def load_module(dotted: str) -> ModuleType:
    """Import a module by its dotted name, with errors as :func:`load_file` gives them.

    Raises:
        PythonError: There is none of that name (``python-missing``), or as :func:`load_file`.
    """
    if not all(part.isidentifier() for part in dotted.split(".")):
        raise PythonError(
            f"`{dotted}` is not the name of a module",
            code="python-missing",
            hint="write a dotted name such as `package.module`, or a file as `./operators.py`",
        )
    try:
        return importlib.import_module(dotted)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if (
            isinstance(error, ModuleNotFoundError)
            and error.name
            and f"{dotted}.".startswith(f"{error.name}.")
        ):
            raise PythonError(
                f"there is no module `{error.name}`", code="python-missing", hint=missing_hint(error.name)
            ) from error
        _raise(error, {})


def _raise(error: BaseException, shown: dict[str, str]) -> NoReturn:
    told = explain(error, shown)
    if told is error:
        raise told
    raise told from error


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise PythonError(f"the path {str(path)!r} cannot be used: {error}", code="python-missing") from error


def _check_readable(given: Path, file: Path) -> None:
    place = Location(str(given))
    try:
        with file.open("rb"):
            return
    except FileNotFoundError:
        message, code, hint = "there is no such file", "python-missing", _similar(file)
    except IsADirectoryError:
        message, code, hint = "this is a folder, not a Python file", "python-missing", "name a .py file in it"
    except OSError as error:
        message, code, hint = f"the file cannot be read: {error.strerror}", "python-unreadable", None
    raise PythonError(message, code=code, hint=hint, location=place)


def _similar(file: Path) -> str | None:
    import difflib

    try:
        beside = [p.name for p in file.parent.iterdir() if p.suffix == ".py"]
    except OSError:
        return f"there is no folder {file.parent} either"
    near = difflib.get_close_matches(file.name, beside, n=1)
    return f"did you mean `{near[0]}`?" if near else None


def _module_name(file: Path) -> str:
    """Name a file's module by its stem, unless that name is or could be somebody else's."""
    import hashlib

    stem = file.stem
    if (
        stem.isidentifier()
        and stem not in sys.modules
        and not is_taken(stem)
        and stem not in sys.stdlib_module_names
    ):
        others = [entry for entry in sys.path if entry != str(file.parent)]
        found = PathFinder.find_spec(stem, others)
        if found is None or found.loader is None or found.origin == str(file):
            return stem
    digest = hashlib.sha256(str(file).encode(errors="surrogatepass")).hexdigest()[:12]
    return f"petal_file_{digest}_{stem if stem.isidentifier() else 'module'}"


def operators_in(module: ModuleType) -> list[Any]:
    """Return the operators that a module defines itself, in the order in which it does."""
    found: dict[int, tuple[int, Any]] = {}
    line = 0
    for obj in list(vars(module).values()):
        if not isinstance(obj, FunctionType | type) or ATTRIBUTE not in obj.__dict__:
            continue
        if obj.__module__ == module.__name__ and id(obj) not in found:
            line = _line(obj) or line
            found[id(obj)] = (line, obj)
    return [obj for _, obj in sorted(found.values(), key=lambda pair: pair[0])]


def _line(obj: Any) -> int:
    """Return the first line of a function, or of a class as far as its methods tell it; 0 where unknown."""
    if isinstance(obj, FunctionType):
        inner: Any = inspect.unwrap(obj)
        return (
            inner.__code__.co_firstlineno if isinstance(inner, FunctionType) else obj.__code__.co_firstlineno
        )
    own = vars(obj)
    if isinstance(own.get("__firstlineno__"), int):
        return int(own["__firstlineno__"])
    file = getattr(sys.modules.get(obj.__module__), "__file__", None)
    methods = [f for f in own.values() if isinstance(f, FunctionType) and f.__code__.co_filename == file]
    return min((f.__code__.co_firstlineno for f in methods), default=0)


def reference(obj: Any) -> Reference:
    """Say where a function or class is found again; :func:`is_importable` says whether it is."""
    module = sys.modules.get(obj.__module__)
    name = obj.__module__
    if name == "__main__" and getattr(module, "__spec__", None) is not None:
        name = module.__spec__.name  # type: ignore[union-attr]
    file = None
    if module is not None and "." not in name and (name == "__main__" or SOURCE_ATTRIBUTE in vars(module)):
        written = getattr(module, "__file__", None)
        is_package = hasattr(module, "__path__")
        file = str(Path(written).resolve()) if written and not is_package else None
    return Reference(name, file, obj.__qualname__)


def is_importable(obj: Any) -> str | None:
    """Say why an object cannot be found again in another process, or return None when it can."""
    name = getattr(obj, "__qualname__", None)
    home = getattr(obj, "__module__", None)
    if name is None or home is None:
        return f"{obj!r} is an object, not a function or class with a name of its own"
    if "<lambda>" in name:
        return "a lambda has no name by which another process could find it: write a function with `def`"
    if "<locals>" in name:
        outer = name.partition(".<locals>")[0]
        return (
            f"`{name.rpartition('.')[2]}` is defined inside `{outer}`: move it to the top level of its file"
        )
    module = sys.modules.get(home)
    if home == "__main__" and not getattr(module, "__file__", None):
        return f"`{name}` is defined in a notebook or an interactive session: move it to a file"
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not obj:
        return f"`{home}.{name}` is not this object: give it a name of its own at the top level of its file"
    return None


def beneath(path: Path | str, root: Path | str) -> bool:
    """Say whether a path stays within a folder once every symbolic link is followed (S7.3)."""
    try:
        return Path(path).resolve().is_relative_to(Path(root).resolve())
    except (OSError, RuntimeError, ValueError):
        return False


def project_root(folder: Path | str) -> Path:
    """Return the nearest folder upward that holds a ``pyproject.toml``, else the folder itself."""
    start = Path(folder).resolve()
    return next((f for f in (start, *start.parents) if (f / "pyproject.toml").is_file()), start)
