"""What a request says: the header of a message that asks a worker for one task."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from petal import __version__
from petal.code.loader import Reference
from petal.data.wire import Message
from petal.errors import WireError

#: The version of the protocol that is spoken here.
PROTOCOL = 1


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
    """

    adapters: tuple[Reference, ...] = ()
    codecs: tuple[Reference, ...] = ()
    resolvers: dict[str, Reference] = {}


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
        cwd: The folder in which the sender works; it matters where the two share files.
        outputs: Marks temporary files; None where sender and worker share no files.
        code: The fingerprint that the sender has, or None when nobody wants to know.
        strict: Whether a worker with other code refuses the task.
        plugins: What the task needs of plugins.
        trace: ``traceparent`` and maybe ``tracestate`` of the attempt.
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
    cwd: str | None = None
    outputs: str | None = None
    code: Code | None = None
    strict: bool = False
    trace: dict[str, str] = {}
    plugins: Plugins = Plugins()


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
    return request
