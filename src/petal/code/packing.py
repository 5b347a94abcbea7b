"""Lay out what operators need where they are to run: packages as they are installed here, and a project's files."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from petal.errors import EnvironmentNotReady, PetalError

#: What an installer notes of a package; none of it holds in a copy.
_NOTES = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"})
#: What the older names of platforms stand for, as versions of glibc.
_OLD = {"manylinux1": "2_5", "manylinux2010": "2_12", "manylinux2014": "2_17"}
_PLATFORM = re.compile(r"(manylinux|musllinux)_(\d+)_(\d+)_(\w+)")
#: The modules of distributions that are not called as they are.
_MODULES = {"petal-etl": "petal"}
_LINES = 8


class Python(Struct, frozen=True):
    """The Python of an image, or of a service that runs functions.

    Attributes:
        version: Such as (3, 11).
        machine: Such as ``x86_64``.
        glibc: Its version, such as (2, 36); None where there is another C library (musl).
    """

    version: tuple[int, int]
    machine: str
    glibc: tuple[int, int] | None

    def __str__(self) -> str:
        libc = f"glibc {self.glibc[0]}.{self.glibc[1]}" if self.glibc else "musl"
        return f"Python {self.version[0]}.{self.version[1]}, {self.machine}, {libc}"

    def takes(self, tag: str) -> bool:
        """Whether it can use a wheel with this tag: ``cp311-cp311-manylinux_2_17_x86_64``."""
        pythons, abi, platforms = tag.split("-", 2)
        return (
            abi in ("none", "abi3", f"cp{self.version[0]}{self.version[1]}")
            and any(self._is_for(python, abi) for python in pythons.split("."))
            and any(self._has(platform) for platform in platforms.split("."))
        )

    def platforms(self) -> list[str]:
        """Return the platforms whose wheels it takes, as pip calls them."""
        if self.glibc is None:
            return [f"musllinux_1_{minor}_{self.machine}" for minor in (2, 1, 0)]
        minors = range(self.glibc[1], 4, -1)
        return [f"manylinux_{self.glibc[0]}_{n}_{self.machine}" for n in minors] + [f"linux_{self.machine}"]

    def _is_for(self, python: str, abi: str) -> bool:
        found = re.fullmatch(r"(?:cp|py)(\d)(\d*)", python)
        if found is None:
            return False
        if not found[2]:
            return int(found[1]) == self.version[0]
        version = (int(found[1]), int(found[2]))
        return version <= self.version if abi in ("abi3", "none") else version == self.version

    def _has(self, platform: str) -> bool:
        if platform == "any":
            return True
        for old, version in _OLD.items():
            platform = platform.replace(f"{old}_", f"manylinux_{version}_")
        found = _PLATFORM.fullmatch(platform)
        if found is None:  # built on the machine where it is installed
            return platform == f"linux_{self.machine}" and self.glibc is not None and _glibc() <= self.glibc
        if found[4] != self.machine or (found[1] == "manylinux") != (self.glibc is not None):
            return False
        return self.glibc is None or (int(found[2]), int(found[3])) <= self.glibc


def pack(packages: Mapping[str, str], python: Python, target: Path) -> None:
    """Put distributions into a folder that Python can import them from, in the versions that are installed here.

    What is installed here is copied, if it suits the Python there; otherwise pip fetches a wheel that does.

    Args:
        packages: Versions by name.
        python: The Python that will import them.
        target: The folder, which is made.

    Raises:
        EnvironmentNotReady: pip is not here, or finds no wheel that suits.
    """
    target.mkdir(parents=True)
    foreign = []
    for name, version in packages.items():
        found = importlib.metadata.distribution(name)
        if _suits(found, python):
            for source, place in _installed(found):
                _copy(source, target / place)
        else:
            foreign.append(f"{name}=={version}")
    if foreign:
        _fetch(foreign, python, target)


def place(files: Iterable[str], folder: str, target: Path) -> str:
    """Copy files, which keep the places that they have to each other.

    Args:
        files: Absolute paths.
        folder: The pipeline's folder.
        target: The folder to copy to, which is made.

    Returns:
        Where the pipeline's folder is within it.
    """
    target.mkdir(parents=True)
    found = list(files)
    top = os.path.commonpath([folder, *(os.path.dirname(file) for file in found)])
    here = os.path.relpath(folder, top)
    (target / here).mkdir(parents=True, exist_ok=True)
    for file in found:
        _copy(Path(file), target / os.path.relpath(file, top))
    return here


def included(patterns: Iterable[str], folder: str) -> list[str]:
    """Return the files that patterns name: files, folders with all that is in them, and ``*`` in a name.

    Raises:
        PetalError: A pattern names nothing, or something outside the folder.
    """
    files: list[str] = []
    for pattern in patterns:
        relative = os.path.relpath(os.path.join(folder, pattern), folder)
        if relative.startswith(os.pardir):
            raise PetalError(f"`--include {pattern}` lies outside the pipeline's folder, {folder}")
        found = [Path(folder)] if relative == os.curdir else sorted(Path(folder).glob(relative))
        if not found:
            raise PetalError(
                f"`--include {pattern}` names nothing in {folder}",
                hint="a pattern is relative to the pipeline's folder; `*` is any text in a name",
            )
        files += (str(file) for one in found for file in _beneath(one))
    return files


def put(modules: Mapping[str, str], target: Path) -> None:
    """Copy modules to where they are imported from.

    Args:
        modules: Their files, by the path under which they are imported.
        target: The folder, which is made if it is not there.
    """
    target.mkdir(parents=True, exist_ok=True)
    for name, source in modules.items():
        _copy(Path(source), target / name)


def _beneath(path: Path) -> Iterator[Path]:
    """Give a file, or all that a folder holds but what Petal and Python keep there."""
    if not path.is_dir():
        yield path
        return
    for here, folders, names in os.walk(path):
        folders[:] = sorted(
            name for name in folders if name not in ("__pycache__", ".petal", ".git", ".venv")
        )
        yield from (Path(here, name) for name in sorted(names))


def _suits(found: importlib.metadata.Distribution, python: Python) -> bool:
    tags = re.findall(r"^Tag: *(\S+)", found.read_text("WHEEL") or "", re.MULTILINE)
    return bool(found.files) and any(python.takes(tag) for tag in tags)


def _installed(found: importlib.metadata.Distribution) -> Iterator[tuple[Path, str]]:
    """Give the files of a distribution, and where each belongs."""
    is_editable = '"editable": true' in (found.read_text("direct_url.json") or "")
    for file in found.files or ():
        if ".." in file.parts or file.is_absolute() or "__pycache__" in file.parts or file.name in _NOTES:
            continue
        source = Path(str(found.locate_file(file)))
        if is_editable and len(file.parts) == 1:  # what leads from here to its sources
            yield from _led_to(source, found.metadata["Name"])
        else:
            yield source, str(file)


def _led_to(link: Path, name: str) -> Iterator[tuple[Path, str]]:
    """Give the sources that a ``.pth`` file leads to: the package that is called as its distribution."""
    module = _MODULES.get(name, name.replace("-", "_").lower())
    for line in link.read_text("utf-8").splitlines() if link.suffix == ".pth" else ():
        folder = Path(line.strip() or os.devnull)
        if (folder / module).is_dir():
            for source in _beneath(folder / module):
                yield source, os.path.relpath(source, folder)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _fetch(names: list[str], python: Python, target: Path) -> None:
    """Let pip unpack wheels that suit another Python or machine than these here."""
    version = ".".join(map(str, python.version))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-compile", "--only-binary=:all:", "--target", str(target), "--upgrade"]
    command += ["--implementation", "cp", "--python-version", version]
    for platform in python.platforms():
        command += ["--platform", platform]
    done = subprocess.run(
        [*command, *names], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return
    if "No module named pip" in done.stderr:
        raise EnvironmentNotReady(
            f"{', '.join(names)} as installed here do not suit the place where they are to run ({python}), and pip, which "
            "would fetch those that do, is not installed",
            hint="`python -m ensurepip` (or `uv pip install pip`), or choose a place with this machine's Python",
        )
    said = "\n".join(done.stderr.strip().splitlines()[-_LINES:])
    raise EnvironmentNotReady(
        f"pip finds no wheels of {', '.join(names)} for the place where they are to run ({python}):\n{said}",
        hint=f"choose one with Python {sys.version_info[0]}.{sys.version_info[1]} for this machine, or make wheels and "
        "name their folder in $PIP_FIND_LINKS",
    )


def _glibc() -> tuple[int, int]:
    """Return the version of glibc here; one that no place has where there is none."""
    try:
        found = re.search(r"(\d+)\.(\d+)", os.confstr("CS_GNU_LIBC_VERSION") or "")
    except (AttributeError, OSError, ValueError):
        found = None
    return (int(found[1]), int(found[2])) if found else (99, 0)
