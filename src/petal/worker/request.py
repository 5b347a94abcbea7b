"""What a request says: the header of a message that asks a worker for one task."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from petal import __version__
from petal.code.loader import Reference
from petal.data.wire import Message
from petal.errors import WireError

#: The version of the protocol that is spoken here.
PROTOCOL = 1
#: Names the folder that is here what :attr:`Request.base` is there, where a worker has a copy of the pipeline's files.
COPY = "PETAL_PROJECT"


class Code(Struct, frozen=True):
    """The fingerprint of the code that the sender has; see `petal.code.fingerprint`."""

    digest: str
    parts: dict[str, str] = {}


class Plugins(Struct, frozen=True):
    """What a task needs of plugins; nothing else of them is loaded (S6.4).

    Attributes:
        adapters: The classes of adapters, made without arguments.
        codecs: The classes of codecs, likewise.
        resolvers: The functions that resolve secrets, by scheme.
        filesystems: The functions that open file systems, by scheme.
    """

    adapters: tuple[Reference, ...] = ()
    codecs: tuple[Reference, ...] = ()
    resolvers: dict[str, Reference] = {}
    filesystems: dict[str, Reference] = {}


class Request(Struct, frozen=True):
    """The header of a request.

    Attributes:
        petal: The version of the protocol.
        operator_id: The node.
        reference: Where its operator is found.
        type: The operator's name.
        params: Its parameters, encoded by their annotations.
        inputs: Its inputs, encoded likewise; a list of them for a variadic one.
        run: The run.
        attempt: The attempt, from 1.
        key: The idempotency key.
        deadline: Seconds that are left, or None.
        pipeline: The pipeline's name.
        columns: The columns that are wanted of its output, or None for all.
        folders: Folders that must be importable.
        base: The sender's folder of the pipeline; None where sender and worker share files.
        cwd: The folder in which the sender works; it matters where the two share files.
        outputs: Marks temporary files; None where sender and worker share no files.
        code: The fingerprint that the sender has, or None when nobody wants to know.
        strict: Whether a worker with other code refuses the task.
        plugins: What the task needs of plugins.
        trace: ``traceparent`` and maybe ``tracestate`` of the attempt.
        compare: Whether the operator is only looked for, and its code compared: it is not called.
    """

    petal: int
    operator_id: str
    reference: Reference
    type: str = ""
    params: dict[str, Any] = {}
    inputs: dict[str, Any] = {}
    run: str = ""
    attempt: int = 1
    key: str = ""
    deadline: float | None = None
    pipeline: str = ""
    columns: tuple[str, ...] | None = None
    folders: tuple[str, ...] = ()
    base: str | None = None
    cwd: str | None = None
    outputs: str | None = None
    code: Code | None = None
    strict: bool = False
    trace: dict[str, str] = {}
    plugins: Plugins = Plugins()
    compare: bool = False


def read_request(message: Message) -> Request:
    """Read the header of a message.

    Raises:
        WireError: It is no request, or speaks another version of the protocol.
    """
    try:
        request = msgspec.convert(message.header, Request)
    except msgspec.ValidationError as error:
        raise WireError(
            f"this is no request that a worker understands: {error}",
            hint="the sender may have another version of Petal",
        ) from error
    if request.petal != PROTOCOL:
        raise WireError(
            f"the request speaks version {request.petal} of the protocol, this worker (Petal {__version__}) version {PROTOCOL}",
            hint="install the same version of Petal on both sides",
        )
    return _placed(request, os.environ.get(COPY))


def _placed(request: Request, copy: str | None) -> Request:
    """Say where a worker that has a copy of the pipeline's files finds what the sender has elsewhere."""
    base = request.base
    if base is None or copy is None:
        return request

    def here(path: str) -> str:
        return os.path.normpath(os.path.join(copy, os.path.relpath(path, base)))

    def found(reference: Reference) -> Reference:
        if reference.file is None:
            return reference
        return msgspec.structs.replace(reference, file=here(reference.file))

    folders = tuple(dict.fromkeys([*map(here, request.folders), os.path.normpath(copy)]))
    return msgspec.structs.replace(
        request, reference=found(request.reference), folders=folders, plugins=_found(request.plugins, found)
    )


def _found(plugins: Plugins, found: Callable[[Reference], Reference]) -> Plugins:
    """Say where what plugins bring is found, for plugins in a pipeline's own files."""
    return Plugins(
        adapters=tuple(map(found, plugins.adapters)),
        codecs=tuple(map(found, plugins.codecs)),
        resolvers={name: found(one) for name, one in plugins.resolvers.items()},
        filesystems={name: found(one) for name, one in plugins.filesystems.items()},
    )
