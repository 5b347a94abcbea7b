"""Make the package of a function: Petal's handler and what the operators of a pipeline need, as a zip or for an image."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from petal import EnvironmentNotReady, PetalError, Pipeline, UsageError, open_output, packing
from petal_lambda.layout import MANIFEST, MODULES, PACKAGES, PROJECT, STUB, TASK_FOLDER, dockerfile, stub

#: The name of this backend.
BACKEND = "aws_lambda"
#: This distribution, which holds the handler.
_OWN = "petal-lambda"
#: What AWS's runtimes for Python have, with all that it requires.
AT_AWS = ("boto3", "botocore")
#: Bytes that AWS takes of a zip, packed and unpacked.
ZIPPED, UNZIPPED = 50 << 20, 250 << 20
_LEAST, _LINUX_2023 = (3, 11), (3, 12)
#: AWS's names of machines, and everybody else's.
MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}
_SHOWN = 5
_IMAGE = (
    "make an image, which may have 10 GB: `petal lambda package FILE --image-folder DIR`; or let nodes with different needs "
    "call different functions (`--function`)"
)


class Wanted(Struct, frozen=True, kw_only=True):
    """What is to be packed.

    Attributes:
        python: The function's version of Python, such as (3, 12); by default the one that runs this.
        architecture: `x86_64` or `arm64`, as AWS calls them; by default this machine's.
        glibc: The version of the C library of an image that is not AWS's own, such as (2, 36).
        function: The function whose nodes are meant; by default all that run on Lambda.
        include: Further files that the operators read, relative to the pipeline's folder.
        packages: Further packages, such as those that are imported by a name made up as it runs.
        with_boto3: Whether boto3 is packed too, although AWS's runtime has one.
        by_bucket: Whether the zip goes to AWS by way of a bucket: then it may have more than 50 MB.
        backends: Where nodes are to run, by id, as ``petal run --backend`` says it.
    """

    python: tuple[int, int] = (sys.version_info[0], sys.version_info[1])
    architecture: str = ""
    glibc: tuple[int, int] | None = None
    function: str | None = None
    include: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    with_boto3: bool = False
    by_bucket: bool = False
    backends: dict[str, str] = {}


class Package(Struct, frozen=True, kw_only=True):
    """A package that was made.

    Attributes:
        path: The zip, or the folder of the image; empty where it was only made to be sent.
        size: Bytes of the zip; of an image's folder, of all files.
        unpacked: Bytes of all files.
        sha256: The digest of the zip, in hexadecimal; empty for a folder.
        python: The Python that it is for, in words.
        runtime: What AWS calls that: `python3.12`.
        architecture: What AWS calls its machine.
        functions: The settings of the nodes' functions, by their names.
        nodes: The nodes whose operators it holds.
        files: The Python files and what was included, relative to the pipeline's folder.
        packages: Versions of the packages that are in it.
        left_out: Packages that are needed and not in it, since AWS's runtime has them.
        seconds: How long it took.
    """

    path: str
    size: int
    unpacked: int
    sha256: str
    python: str
    runtime: str
    architecture: str
    functions: dict[str, dict[str, Any]]
    nodes: tuple[str, ...]
    files: tuple[str, ...]
    packages: dict[str, str]
    left_out: tuple[str, ...]
    seconds: float


def package(
    file: str | os.PathLike[str], output: str | os.PathLike[str] | None = None, wanted: Wanted | None = None
) -> Package:
    """Make a zip of what the nodes of a pipeline need that run on `aws_lambda` and speak Petal's protocol.

    The same files give the same zip, byte by byte.

    Args:
        file: The pipeline's file.
        output: Where to write it; by default `NAME.zip` in the current folder, by the function's name.
        wanted: What is to be packed.

    Raises:
        InvalidPipeline: The pipeline has mistakes.
        UsageError: No node runs there.
        EnvironmentNotReady: A package that is needed suits no function at AWS.
        PetalError: The zip is larger than AWS takes.
    """
    made, data = packed(file, wanted)
    path = os.fspath(output) if output is not None else f"{_called(made, file)}.zip"
    try:
        with open_output(path) as out:
            out.write(data)
    except OSError as error:
        raise UsageError(
            f"cannot write {path!r}: {error.strerror or error}", hint="correct `--output`"
        ) from error
    return replace(made, path=path)


def packed(file: str | os.PathLike[str], wanted: Wanted | None = None) -> tuple[Package, bytes]:
    """Make a zip, as :func:`package` does, without writing it anywhere."""
    wanted = wanted or Wanted()
    with _laid_out(file, wanted) as (made, task):
        if made.unpacked > UNZIPPED:
            raise _too_large(task, f"{_megabytes(made.unpacked)} unpacked", UNZIPPED, _IMAGE)
        data = _zipped(task, UNZIPPED if wanted.by_bucket else ZIPPED)
        if data is None:
            size = f"more than {_megabytes(ZIPPED)} as a zip ({_megabytes(made.unpacked)} unpacked)"
            raise _too_large(
                task,
                size,
                ZIPPED,
                f"send it by way of a bucket: `petal lambda deploy FILE --bucket NAME`; or {_IMAGE}",
            )
        return replace(made, size=len(data), sha256=hashlib.sha256(data).hexdigest()), data


def image_folder(
    file: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    wanted: Wanted | None = None,
    base: str | None = None,
) -> Package:
    """Write a folder of which `docker build` makes the image of a function: up to 10 GB, where a zip ends at 250 MB.

    A folder that was written before is brought up to date; its Dockerfile stays as it is, since somebody may have edited it.

    Args:
        file: The pipeline's file.
        folder: The folder; it is made.
        wanted: What is to be packed.
        base: The image to start from; by default AWS's own for this Python.

    Raises:
        UsageError: No node runs there, or the folder holds something else.
    """
    wanted, target = wanted or Wanted(), Path(folder)
    if target.exists() and any(target.iterdir()) and not (target / TASK_FOLDER / MANIFEST).is_file():
        raise UsageError(
            f"the folder {str(target)!r} holds something else than an image of this command's",
            hint="name another with `--image-folder`, which is made",
        )
    with _laid_out(file, wanted) as (made, task):
        (target / TASK_FOLDER).parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target / TASK_FOLDER, ignore_errors=True)
        shutil.copytree(task, target / TASK_FOLDER)
        own = target / "Dockerfile"
        if not own.exists():
            with open_output(own) as out:
                out.write(dockerfile(os.fspath(file), wanted.python, base).encode())
    return replace(made, path=os.fspath(folder), size=made.unpacked)


# -- inside ---------------------------------------------------------------------------------------------------


@contextmanager
def _laid_out(file: str | os.PathLike[str], wanted: Wanted) -> Iterator[tuple[Package, Path]]:
    """Lay out a function's folder, and say what is in it."""
    began = time.monotonic()
    python = _python(wanted)
    needs, functions = needed(file, wanted)
    files = [*needs.files, *packing.included(wanted.include, needs.folder)]
    with tempfile.TemporaryDirectory(prefix="petal-lambda-") as scratch:
        task = Path(scratch, TASK_FOLDER)
        _pack(needs.packages, python, task / PACKAGES)
        packing.put(needs.modules, task / MODULES)
        here = packing.place(files, needs.folder, task / PROJECT)
        runtime = f"python{wanted.python[0]}.{wanted.python[1]}"
        about = {"nodes": sorted(needs.nodes), "runtime": runtime, "architecture": _architecture(wanted)}
        for name, text in ((STUB, stub(here)), (MANIFEST, json.dumps(about, indent=2) + "\n")):
            (task / name).parent.mkdir(exist_ok=True)
            (task / name).write_text(text, "utf-8")
        _compile(task, wanted.python)
        yield (
            Package(
                path="",
                size=0,
                unpacked=sum(path.stat().st_size for path in _files(task)),
                sha256="",
                python=str(python),
                runtime=runtime,
                architecture=_architecture(wanted),
                functions=functions,
                nodes=tuple(needs.nodes),
                files=tuple(sorted(os.path.relpath(name, needs.folder) for name in files)),
                packages=needs.packages,
                left_out=() if wanted.with_boto3 else AT_AWS,
                seconds=time.monotonic() - began,
            ),
            task,
        )


def needed(file: str | os.PathLike[str], wanted: Wanted) -> tuple[Any, dict[str, dict[str, Any]]]:
    """Say what the nodes of a function need, and with which settings they call which functions.

    Raises:
        UsageError: There are none.
    """
    pipeline = Pipeline.from_file(file)
    there = () if wanted.with_boto3 else AT_AWS
    found = pipeline.needs(BACKEND, backends=wanted.backends, also=(_OWN, *wanted.packages), there=there)
    others = {
        id: "local"
        for id, settings in found.nodes.items()
        if wanted.function is not None and settings.get("function_name") != wanted.function
    }
    if len(others) == len(found.nodes):
        raise _no_node(found.nodes, wanted.function)
    more = _of_schemes(settings for id, settings in found.nodes.items() if id not in others)
    if others or more:
        found = pipeline.needs(
            BACKEND,
            backends={**wanted.backends, **others},
            also=(_OWN, *wanted.packages, *more),
            there=there,
        )
    functions: dict[str, dict[str, Any]] = {}
    for settings in found.nodes.values():
        functions.setdefault(str(settings["function_name"]), {}).update(settings)
    return found, functions


def _of_schemes(settings: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the packages that open the stores which functions put large messages into."""
    urls = (str(found.get("claims") or "") for found in settings)
    return ["petal-aws"] if any(url.startswith("s3:") for url in urls) else []


def _no_node(nodes: Mapping[str, Mapping[str, Any]], function: str | None) -> UsageError:
    if nodes:
        names = sorted({str(settings.get("function_name")) for settings in nodes.values()})
        return UsageError(
            f"no node of this pipeline calls the function `{function}`: they call {', '.join(names)}",
            hint="correct `--function`, or leave it out for all nodes",
        )
    return UsageError(
        "no node of this pipeline runs on `aws_lambda` and speaks Petal's protocol: there is nothing to put into a package",
        hint="write `execution: {backend: aws_lambda, function_name: NAME}` on a node, or give "
        "`--backend NODE=aws_lambda,function_name=NAME`",
    )


def _python(wanted: Wanted) -> packing.Python:
    """Return the Python of AWS's runtime: Amazon Linux 2 up to 3.11, Amazon Linux 2023 from 3.12."""
    if wanted.python < _LEAST:
        version = ".".join(map(str, wanted.python))
        raise UsageError(f"Petal needs Python 3.11 or later, not {version}", hint="correct `--python`")
    glibc = wanted.glibc or ((2, 26) if wanted.python < _LINUX_2023 else (2, 34))
    return packing.Python(wanted.python, MACHINES[_architecture(wanted)], glibc)


def _pack(packages: Mapping[str, str], python: packing.Python, target: Path) -> None:
    """Put packages into a folder.

    Raises:
        EnvironmentNotReady: There are none that suit AWS's runtime.
    """
    try:
        packing.pack(packages, python, target)
    except EnvironmentNotReady as error:
        if python.version < _LINUX_2023:
            error.hint = (
                "AWS runs Python 3.12 and later on a newer Linux, for which there are more wheels (`--python 3.12`); "
                f"or {error.hint}"
            )
        raise


def _architecture(wanted: Wanted) -> str:
    """Return what AWS calls the machine that a package is for."""
    if wanted.architecture:
        if wanted.architecture not in MACHINES:
            raise UsageError(
                f"AWS Lambda has no machines of the architecture `{wanted.architecture}`",
                hint="it has x86_64 and arm64",
            )
        return wanted.architecture
    return "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"


def _compile(task: Path, python: tuple[int, int]) -> None:
    """Compile what is imported, since a function cannot keep what it compiles; the project's own files stay as they are.

    For another version of Python than this one nothing is compiled, and each new sandbox does it.
    """
    if python != (sys.version_info[0], sys.version_info[1]):
        return
    command = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(task), "-p", "/var/task", str(task / PACKAGES)]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}  # or the order of sets would differ from time to time
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    # What a package brings that is no Python of this version fails, and is left as it is: nobody imports it.
    subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)


def _zipped(task: Path, limit: int) -> bytes | None:
    """Return a folder as a zip that says of each file its name and content alone; None where it would be too large."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for path in _files(task):
            entry = zipfile.ZipInfo(path.relative_to(task).as_posix(), (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, path.read_bytes(), compresslevel=6)
            if target.tell() > limit:
                return None
    return target.getvalue()


def _files(task: Path) -> list[Path]:
    return sorted((path for path in task.rglob("*") if path.is_file()), key=Path.as_posix)


def _too_large(task: Path, size: str, limit: int, hint: str) -> PetalError:
    sizes: dict[str, int] = {}
    for path in _files(task):
        parts = path.relative_to(task).parts
        top = parts[1] if parts[0] == PACKAGES else parts[0]
        sizes[top] = sizes.get(top, 0) + path.stat().st_size
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:_SHOWN]
    return PetalError(
        f"the package has {size}, but AWS Lambda takes {_megabytes(limit)}; most of it is "
        + ", ".join(f"{name} ({_megabytes(size)})" for name, size in largest),
        hint=hint,
        code="too-large",
    )


def _megabytes(size: int) -> str:
    return f"{size / (1 << 20):.1f} MB"


def _called(made: Package, file: str | os.PathLike[str]) -> str:
    names = [re.sub(r"[^A-Za-z0-9_-]+", "-", name.rpartition("function:")[2]) for name in made.functions]
    return names[0] if len(names) == 1 else f"{Path(file).stem}-lambda"
