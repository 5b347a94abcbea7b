"""Make an image that holds Petal's worker and what the operators of a pipeline need."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from petal import EnvironmentNotReady, PetalError, Pipeline, UsageError, open_output, packing
from petal_docker.archive import archived
from petal_docker.dockerfile import base_of, written
from petal_docker.engine import asking, connect

if TYPE_CHECKING:
    from docker import APIClient

#: The name of this backend.
_BACKEND = "docker"
#: What a base image tells of its Python.
_ASK = """
import json, os, platform, sys
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
except (ValueError, OSError, AttributeError):
    libc = ""
print(json.dumps([list(sys.version_info[:2]), platform.machine(), libc]))
"""
_LEAST = (3, 11)
#: Lines of a failed build that are shown.
_LINES = 15
#: Seconds that a base image may take to tell of its Python, and that a step of a build may take in silence.
_PATIENCE, _SILENCE = 60, 3600


class Image(Struct, frozen=True, kw_only=True):
    """An image that was built.

    Attributes:
        tag: Its name.
        id: Its id, ``sha256:…``.
        size: Bytes that it has on top of its base.
        base: The image that it starts from.
        python: The Python in it, in words.
        nodes: The nodes whose operators it holds.
        files: The Python files and what was included, relative to the pipeline's folder.
        packages: Versions of the packages that were put into it.
        seconds: How long it took.
    """

    tag: str
    id: str
    size: int
    base: str
    python: str
    nodes: tuple[str, ...]
    files: tuple[str, ...]
    packages: dict[str, str]
    seconds: float


def default_base() -> str:
    """Return the base image that has this machine's version of Python."""
    return f"python:{sys.version_info[0]}.{sys.version_info[1]}-slim"


def build(
    file: str | os.PathLike[str],
    tag: str | None = None,
    base: str | None = None,
    dockerfile: str | os.PathLike[str] | None = None,
    *,
    include: Iterable[str] = (),
    backends: Mapping[str, str] | None = None,
    on_line: Callable[[str], object] | None = None,
) -> Image:
    """Make the image for those nodes of a pipeline that run on `docker` and speak Petal's protocol.

    Args:
        file: The pipeline's file.
        tag: The image's name; by default the one that the nodes' `image:` says.
        base: The image to start from; by default what the Dockerfile says, else the official one of this Python.
        dockerfile: A Dockerfile: used where it exists, else written. By default one is made and not kept.
        include: Further files that the operators read, relative to the pipeline's folder.
        backends: Where nodes are to run, by id, as ``petal run --backend`` says it.
        on_line: Called with each line that the build prints.

    Raises:
        InvalidPipeline: The pipeline has mistakes.
        UsageError: No node runs there, or it is not clear what the image is called.
        EnvironmentNotReady: There is no Docker Engine or no such base image, or its Python does not suit.
        PetalError: A step of the Dockerfile failed.
    """
    began = time.monotonic()
    needs = Pipeline.from_file(file).needs(_BACKEND, backends=backends)
    tag = tag or _tag_of(needs.nodes)
    text = _text_of(dockerfile, os.fspath(file), base)
    start = base_of(text, base)
    files = [*needs.files, *packing.included(include, needs.folder)]
    client = connect(_SILENCE)
    try:
        _have(client, start)
        python = _python_of(client, start)
        with tempfile.TemporaryDirectory(prefix="petal-docker-") as scratch:
            context = Path(scratch, "context")
            packing.pack(needs.packages, python, context / "site-packages")
            here = packing.place(files, needs.folder, context / "project")
            packing.put(needs.modules, context / "modules")
            arguments = {"FOLDER": here} | ({"BASE": base} if base is not None else {})
            with archived(context, text) as archive:
                _make(client, archive, tag, arguments, on_line)
        with asking(f"look at the image `{tag}`"):
            made, under = client.inspect_image(tag), client.inspect_image(start)
    finally:
        client.close()
    return Image(
        tag=tag,
        id=made["Id"],
        size=max(0, made["Size"] - under["Size"]),
        base=start,
        python=str(python),
        nodes=tuple(needs.nodes),
        files=tuple(sorted(os.path.relpath(name, needs.folder) for name in files)),
        packages=needs.packages,
        seconds=time.monotonic() - began,
    )


def _tag_of(nodes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the image that nodes name; it is the one to be made."""
    if not nodes:
        raise UsageError(
            "no node of this pipeline runs on `docker` and speaks Petal's protocol: there is nothing to put into an image",
            hint="write `execution: {backend: docker, image: NAME}` on a node, or give `--backend NODE=docker,image=NAME`",
        )
    images = sorted({str(settings["image"]) for settings in nodes.values() if settings.get("image")})
    if len(images) != 1 or "@" in images[0]:
        said = (
            f"the nodes name {len(images)} images"
            if len(images) != 1
            else f"`{images[0]}` is a digest, which is not chosen"
        )
        raise UsageError(f"the image needs a name: {said}", hint="give `--tag NAME`")
    return images[0]


def _text_of(dockerfile: str | os.PathLike[str] | None, file: str, base: str | None) -> str:
    """Return the Dockerfile that is there, else write one."""
    if dockerfile is None:
        return written(file, base or default_base())
    path = Path(dockerfile)
    try:
        if path.exists():
            return path.read_text(encoding="utf-8")
        text = written(file, base or default_base(), os.fspath(dockerfile))
        with open_output(path) as out:
            out.write(text.encode())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"cannot use the Dockerfile `{path}`: {reason}", hint="correct `--dockerfile`"
        ) from error
    return text


def _have(client: APIClient, image: str) -> None:
    """See to it that a base image is on the engine; one that is not is fetched from its registry."""
    from docker.errors import APIError, ImageNotFound
    from requests.exceptions import RequestException

    with asking(f"look for the image `{image}`"):
        try:
            client.inspect_image(image)
            return
        except ImageNotFound:
            pass
    try:
        for said in client.pull(image, tag=None if _has_tag(image) else "latest", stream=True, decode=True):
            if "error" in said:
                raise _no_base(image, said["error"])
    except (APIError, RequestException) as error:
        raise _no_base(image, getattr(error, "explanation", None) or str(error)) from error


def _has_tag(image: str) -> bool:
    return ":" in image.rpartition("/")[2] or "@" in image


def _no_base(image: str, reason: str) -> EnvironmentNotReady:
    return EnvironmentNotReady(
        f"the base image `{image}` is not on this Docker Engine, and could not be fetched: {reason}",
        hint="name one that is there with `--base IMAGE` (`docker images` lists them)",
        code="docker",
    )


def _python_of(client: APIClient, image: str) -> packing.Python:
    """Ask a base image which Python it has."""
    with asking(f"start a container of the base image `{image}`"):
        made = client.create_container(
            image,
            entrypoint=["python3"],
            command=["-c", _ASK],
            user="65534:65534",
            labels={"petal.build": "base"},
            host_config=client.create_host_config(network_mode="none", read_only=True, cap_drop=["ALL"]),
        )
    try:
        status, printed = _run(client, made["Id"])
    finally:
        with asking("remove a container"):
            client.remove_container(made["Id"], force=True)
    try:
        version, machine, libc = json.loads(printed)
    except ValueError:
        raise EnvironmentNotReady(
            f"the base image `{image}` does not say which Python it has: `python3` ended with {status}: {printed.strip()[-300:]}",
            hint="take one that has Python 3.11 or later as `python3`, such as `--base "
            + default_base()
            + "`",
        ) from None
    found = re.search(r"glibc (\d+)\.(\d+)", libc)
    glibc = (int(found[1]), int(found[2])) if found else None
    if tuple(version) < _LEAST:
        raise EnvironmentNotReady(
            f"the base image `{image}` has Python {version[0]}.{version[1]}, but Petal needs 3.11 or later",
            hint=f"take another: `--base {default_base()}`",
        )
    return packing.Python((version[0], version[1]), machine, glibc)


def _run(client: APIClient, container: str) -> tuple[str, str]:
    """Start a container, and return how it ended and what it printed."""
    from docker.errors import APIError
    from requests.exceptions import RequestException

    try:
        client.start(container)
        status = client.wait(container, timeout=_PATIENCE)["StatusCode"]
        return f"exit code {status}", client.logs(container).decode(errors="replace")
    except APIError as error:  # the engine cannot start it: there is no python3, or it is for another machine
        return "an error", error.explanation or str(error)
    except RequestException as error:
        return "no answer", str(error)


def _make(
    client: APIClient,
    archive: Any,
    tag: str,
    arguments: dict[str, str],
    on_line: Callable[[str], object] | None,
) -> None:
    """Let the engine build.

    Raises:
        PetalError: A step failed.
    """
    lines: list[str] = []
    with asking(f"build the image `{tag}`"):
        for said in client.build(
            fileobj=archive,
            custom_context=True,
            tag=tag,
            buildargs=arguments,
            rm=True,
            forcerm=True,
            decode=True,
        ):
            for line in _lines(said):
                if on_line is not None:
                    on_line(line)
                lines.append(line)
            if "error" in said:
                shown = "\n".join(f"  {line}" for line in lines[-_LINES:])
                raise PetalError(
                    f"the image `{tag}` could not be built: {str(said['error']).strip()}\n{shown}",
                    hint="correct the Dockerfile; `--dockerfile PATH` keeps the one that is used",
                    code="docker-build",
                )


def _lines(said: Mapping[str, Any]) -> Iterator[str]:
    yield from (line.rstrip() for line in str(said.get("stream", "")).splitlines() if line.strip())
