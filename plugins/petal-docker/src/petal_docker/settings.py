"""The `execution` block of `docker`: what may be said of a container, and what it may do unless something is said."""

from __future__ import annotations

import re
import shlex
from typing import Any, Literal

from msgspec import Struct

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", re.IGNORECASE)
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
#: Bytes that one message may have: as many as a worker of Petal reads, and a program may write.
LARGEST = 32 << 20
#: Bytes of memory below which the engine starts nothing.
_LEAST = 6 << 20


class DockerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The ``execution`` block of ``docker``; each key but the first three loosens or tightens what a container may do.

    Attributes:
        image: The image: ``name:tag``, ``name@sha256:…`` for exactly this one, or an id.
        entrypoint: A program in the image, as a list or as text; `analyze.py` is run by the image's `python3`. It gets
            plain JSON (``protocol: json``).
        command: Arguments of the program, or the program itself where there is no ``entrypoint``, likewise.
        env: Environment variables; nothing of this machine's environment is seen otherwise.
        network: `none`, or the name of one of the engine's networks, such as `bridge`.
        mem_limit: Memory, such as `512m` or `2g`; there is no swap on top.
        cpus: Cores.
        user: User and group, as numbers or as names that the image knows.
        mounts: Folders and files that it sees, as `source:target`, read-only; `source:target:rw` may be written.
        pull: When the image is fetched: `never`, `missing` (when it is not here) or `always`.
        platform: For an image of another architecture than the engine's, such as `linux/arm64`: it is emulated.
        containers: Containers of this block at a time; as many as there are calls at a time, up to this number.
        pids_limit: Processes and threads in one container.
        tmp_size: Size of `/tmp`, the only place that can be written; it counts as memory.
        writable: Whether the container's own files can be written; what is written is gone with it.
        cap_add: Linux capabilities; there are none otherwise.
    """

    image: str
    entrypoint: str | tuple[str, ...] | None = None
    command: str | tuple[str, ...] | None = None
    env: dict[str, str | int | float] = {}
    network: str = "none"
    mem_limit: str | int = "1g"
    cpus: float = 1.0
    user: str | int = "65534:65534"
    mounts: tuple[str, ...] = ()
    pull: Literal["never", "missing", "always"] = "never"
    platform: str | None = None
    containers: int = 16
    pids_limit: int = 256
    tmp_size: str | int = "64m"
    writable: bool = False
    cap_add: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Find mistakes when the pipeline is checked.

        Raises:
            ValueError: A value makes no sense.
        """
        if not self.image.strip():
            raise ValueError("`image` is empty: name the image that holds the program")
        if size(self.mem_limit, "mem_limit") < _LEAST:
            raise ValueError(f"`mem_limit` is {self.mem_limit}, but a container needs 6m at least")
        size(self.tmp_size, "tmp_size")
        for name in ("cpus", "containers", "pids_limit"):
            if getattr(self, name) <= 0:
                raise ValueError(f"`{name}` is {getattr(self, name)}, but must be above 0")
        if not self.network or self.network.startswith("container:"):
            raise ValueError("`network` is `none`, or the name of one of the engine's networks")
        for name in ("entrypoint", "command"):
            words(getattr(self, name), name)
        for mount in self.mounts:
            mounted(mount)


class Mount(Struct, frozen=True):
    """A folder or file that a container sees."""

    source: str
    target: str
    writable: bool


def size(value: str | int, name: str) -> int:
    """Return a size in bytes.

    Raises:
        ValueError: It is none.
    """
    found = _SIZE.fullmatch(str(value))
    if found is None:
        raise ValueError(f"`{name}` is {value!r}, which is no size: write it as `512m` or `2g`")
    return int(float(found[1]) * 1024 ** _POWER[found[2].lower()])


def words(value: str | tuple[str, ...] | None, name: str) -> list[str] | None:
    """Return a program and its arguments, as the engine takes them; None where nothing is said.

    A text is cut as a shell would; where its first word is a Python file, the image's ``python3`` runs it.

    Raises:
        ValueError: A quotation mark is missing, or there is nothing in it.
    """
    if value is None:
        return None
    try:
        found = shlex.split(value) if isinstance(value, str) else list(value)
    except ValueError as error:
        raise ValueError(f"`{name}` cannot be cut into words: {error}") from None
    if not found or not found[0]:
        raise ValueError(f"`{name}` is empty: leave it out for what the image says")
    if isinstance(value, str) and found[0].endswith(".py"):
        return ["python3", *found]
    return found


def mounted(text: str) -> Mount:
    """Read a mount.

    Raises:
        ValueError: It is none.
    """
    parts = text.split(":")
    if len(parts) not in (2, 3) or parts[2:] not in ([], ["ro"], ["rw"]) or not parts[0]:
        raise ValueError(
            f"`mounts` has {text!r}, which is no mount: write `source:target`, or `source:target:rw`"
        )
    if not parts[1].startswith("/") or parts[1] == "/":
        raise ValueError(
            f"`mounts` has {text!r}, but the target of a mount is a path from `/` of the container"
        )
    return Mount(parts[0], parts[1], parts[2:] == ["rw"])


def told(settings: DockerSettings) -> dict[str, str]:
    """Return the environment variables that settings name, as the engine takes them."""
    return {name: _text(value) for name, value in settings.env.items()}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
