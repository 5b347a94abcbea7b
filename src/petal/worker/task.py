"""Do one task, from its request to its reply."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any, TypeVar

import msgspec

from petal import __version__
from petal.data.adapters import adapt
from petal.data.files import Outputs
from petal.data.filesystems import UNTOLD, bringing
from petal.data.handed import hand_over
from petal.data.values import decode_port, encode_port
from petal.data.wire import Message, Outgoing
from petal.errors import EnvironmentNotReady, OutputError
from petal.running.call import Call
from petal.running.secrets import resolving, reveal, secrets_in
from petal.spec.context import Context
from petal.spec.operator import Input, OperatorSpec, Param
from petal.spec.redaction import hides
from petal.spec.url import is_url
from petal.spec.views import Seen, View
from petal.worker.failures import error_data
from petal.worker.kept import Found, Kept
from petal.worker.logs import plain
from petal.worker.request import PROTOCOL, Request, read_request

P = TypeVar("P", Input, Param)
_VALUE = Seen(View.VALUE)
_OWNER = re.compile(r"[^0-9A-Za-z-]+")


class Task:
    """One task.

    Args:
        kept: What the process keeps.
        folder: Where large attachments of the reply may lie, None for the temporary folder.
    """

    def __init__(self, kept: Kept, folder: str | None) -> None:
        self._kept = kept
        self._folder = folder
        self._reply = Outgoing(folder)
        self._outputs: Outputs | None = None
        self._spec: OperatorSpec | None = None
        self._said: dict[str, Any] = {}

    def run(self, message: Message) -> dict[str, Any]:
        """Do it, and return the reply's header.

        Raises:
            BaseException: Whatever the operator raised, or why it could not be called.
        """
        request = read_request(message)
        self._kept.enter(request)
        brought = self._kept.brought
        with resolving(brought.resolve), bringing(brought.filesystem, UNTOLD):
            return self._do(request, message)

    def _do(self, request: Request, message: Message) -> dict[str, Any]:
        found = self._kept.find(request.reference)
        self._spec = spec = found.spec
        self._compare(request, found)
        if request.compare:
            return {
                "petal": PROTOCOL,
                "status": "ok",
                "output": None,
                "error": None,
                "files": [],
            } | self._said
        params = self._params(request, spec, message.parts)
        inputs = self._inputs(request, spec, message.parts)
        call, keeps = self._kept.call(request, found, params)
        ended, process = False, os.getpid()
        try:
            output = self._called(call, inputs, self._context(request))
            _leave_a_fork(process, None)
            ended = True
        except BaseException as error:
            _leave_a_fork(process, error)
            raise
        finally:
            if ended and keeps:
                self._kept.keep(request, call)
            else:
                with contextlib.nullcontext() if ended else contextlib.suppress(Exception):
                    call.close()
        handed = hand_over(self._outputs) if self._outputs is not None else []
        self._outputs = None
        return {
            "petal": PROTOCOL,
            "status": "ok",
            "output": output,
            "error": None,
            "files": [[h.temporary, h.target] for h in handed],
            **self._secrets(output),
        } | self._said

    def _secrets(self, output: Any) -> dict[str, Any]:
        """Name the secrets that stand in what the operator gave, by their references: the sender is to hide them as well."""
        found = secrets_in([msgspec.json.encode(output), *self._reply.spool.parts]) if hides() else []
        return {"secrets": found} if found else {}

    def failed(self, error: BaseException) -> dict[str, Any]:
        """Drop what there was to give, and return the header of a reply that says so."""
        self._reply.close()
        self._reply = Outgoing(self._folder)
        if self._outputs is not None:
            self._outputs.abort()
        said = {
            "petal": PROTOCOL,
            "status": "error",
            "output": None,
            "error": error_data(error, self._spec),
            "files": [],
        }
        error.__traceback__ = None  # its frames hold the inputs
        return said | self._said

    def written(self, header: dict[str, Any]) -> Outgoing:
        """Return the reply."""
        self._reply.write(header | facts())
        return self._reply

    def _compare(self, request: Request, found: Found) -> None:
        """Say where the sender's code is not the code here; refuse the task if that is what the sender wants."""
        mine = self._kept.code(request, found.target)
        if mine is None or request.code is None:
            return
        self._said["code"] = mine.digest
        if mine.digest == request.code.digest:
            return
        from petal.code.fingerprint import differences

        parts = request.code.parts
        skew = differences(mine.parts, parts) if parts else [f"the code of `{found.spec.name}`"]
        if not skew:
            return
        self._said["skew"] = skew
        if request.strict:
            more = f" and {len(skew) - 3} more" if len(skew) > 3 else ""
            raise EnvironmentNotReady(
                f"the worker has other code than the process that sent the task: {', '.join(skew[:3])}{more}",
                hint="bring the worker up to date, or let it pass without `strict`",
                code="code-skew",
            )

    def _params(self, request: Request, spec: OperatorSpec, parts: Sequence[memoryview]) -> dict[str, Any]:
        slots = {p.name: p for p in spec.params}
        return {
            name: reveal(
                decode_port(
                    encoded,
                    _known(slots, name, spec).annotation,
                    _VALUE,
                    parts,
                    f"parameter `{name}`",
                    self._kept.limits,
                    self._kept.brought.codecs,
                )
            )
            for name, encoded in request.params.items()
        }

    def _inputs(self, request: Request, spec: OperatorSpec, parts: Sequence[memoryview]) -> dict[str, Any]:
        ports = {p.name: p for p in spec.inputs}
        found: dict[str, Any] = {}
        for name, encoded in request.inputs.items():
            port = _known(ports, name, spec)
            if port.variadic:
                found[name] = [self._input(one, port, parts) for one in encoded]
            else:
                found[name] = self._input(encoded, port, parts)
        return found

    def _input(self, encoded: Any, port: Input, parts: Sequence[memoryview]) -> Any:
        """Decode an input; a stream is decoded as the operator reads it."""
        where, seen = f"input `{port.name}`", port.seen
        codecs = self._kept.brought.codecs
        value = decode_port(encoded, port.annotation, seen, parts, where, self._kept.limits, codecs)
        if value is None or not seen.view.streams:
            return value
        return adapt(value, Seen(seen.view, seen.element), seen, port.name)

    def _context(self, request: Request) -> Context:
        shares_files = self._kept.shares_files(request)
        owner = request.outputs or f"{request.run}-{request.attempt}"
        # Parts of files' names and of what is in locks, and from outside. Who shares no files locks none either.
        run = _OWNER.sub("-", request.run) if shares_files else ""
        outputs = self._outputs = Outputs(_OWNER.sub("-", owner), run=run)
        return Context(
            run_id=request.run,
            node_id=request.operator_id,
            attempt=request.attempt,
            pipeline=request.pipeline,
            deadline=time.monotonic() + request.deadline if request.deadline is not None else None,
            idempotency_key=request.key,
            columns=request.columns,
            trace=request.trace or None,
            open_output=outputs.open if shares_files else partial(_open_elsewhere, outputs),
            secret=lambda name: str(reveal("${secret:" + name + "}")),
        )

    def _called(self, call: Call, inputs: dict[str, Any], context: Context) -> Any:
        """Call the operator and encode what it gives; a stream is read to its end, piece by piece."""
        assert self._spec is not None
        result = call(inputs, context)
        if not self._spec.outputs:
            return None
        port = self._spec.outputs[0]
        try:
            codecs = self._kept.brought.codecs
            return encode_port(result, port.annotation, port.seen, self._reply.spool, "output", codecs)
        finally:
            close = getattr(result, "close", None) if port.seen.view.streams else None
            if close is not None:
                close()


def _known(slots: Mapping[str, P], name: str, spec: OperatorSpec) -> P:
    slot = slots.get(name)
    if slot is None:
        raise EnvironmentNotReady(
            f"the worker's `{spec.name}` takes no `{name}`",
            hint="the worker has other code than the process that sent the task: bring it up to date",
            code="worker-lacks",
        )
    return slot


def _open_elsewhere(outputs: Outputs, path: Any) -> Any:
    """Open an output where the files of the process that runs the pipeline are not: URLs alone."""
    if is_url(path):
        return outputs.open(path)
    raise OutputError(
        f"cannot write {os.fspath(path)!r}: this worker does not share the files of the process that runs the pipeline",
        hint="run this node with backend `local` or `process`, or write to a URL such as `s3://bucket/key`",
    )


def _leave_a_fork(process: int, error: BaseException | None) -> None:
    """End a process that an operator has forked and that comes back from the operator: the reply is its parent's."""
    if os.getpid() == process:
        return
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        import traceback

        traceback.print_exception(error)
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def facts() -> dict[str, Any]:
    """Say who does the tasks here, as a part of every reply."""
    return {"worker": _worker(os.getpid())}


@cache
def _worker(pid: int) -> dict[str, Any]:
    python = ".".join(map(str, sys.version_info[:3]))
    return {"pid": pid, "host": plain(socket.gethostname()), "python": python, "petal": __version__}
