"""Call an operator in another process, with the interface of `running.call.Call`, which calls it in this one."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import TYPE_CHECKING, Any

import msgspec

from petal.code.loader import reference
from petal.data.files import Handed, Outputs
from petal.data.values import decode_port, encode_port
from petal.data.wire import LIMITS, Limits, Outgoing, read_header
from petal.errors import EnvironmentNotReady, PetalError, RemoteError, TimedOut
from petal.interfaces.backend import BackendSession, Capabilities, Reply, Task
from petal.interfaces.source import Operator
from petal.running.call import plain_result
from petal.running.loop import LoopThread
from petal.running.secrets import reveal
from petal.running.watch import Stopped
from petal.spec.context import Context
from petal.spec.logs import logger
from petal.spec.operator import OperatorSpec
from petal.spec.plan import Plan, PlanNode
from petal.spec.policy import duration_text
from petal.spec.redaction import redact
from petal.spec.views import Seen, View

if TYPE_CHECKING:
    from petal.data.signing import Keyring

_VALUE = Seen(View.VALUE)
#: Seconds between two looks at the stop flag while a reply is awaited.
_PATIENCE = 0.1

#: Opens a backend by its name and settings, for one run.
Opener = Callable[[str, Mapping[str, Any], str | None], BackendSession]


class Sessions:
    """The backends that are open in one run, each opened when its first task comes.

    Args:
        opener: Opens one.
        folder: Where large messages may lie, None for the temporary folder.
        folders: Folders whose Python must be importable where tasks run.
        ring: The keys that messages are sealed with where they leave as bytes; None where they are not.
    """

    def __init__(
        self,
        opener: Opener | None,
        folder: str | None,
        folders: Sequence[str],
        ring: Keyring | None = None,
    ) -> None:
        self._opener = opener
        self.ring = ring
        self._open: dict[tuple[str, str], BackendSession] = {}
        self._lock = threading.Lock()
        self.folder = folder
        self.folders = tuple(folders)

    def get(self, backend: str, settings: Mapping[str, Any]) -> BackendSession:
        """Return a backend's session; nodes with the same settings share one.

        Raises:
            EnvironmentNotReady: Who runs the plan has no backends.
        """
        key = (backend, json.dumps(settings, sort_keys=True, default=repr))
        with self._lock:
            session = self._open.get(key)
            if session is None:
                if self._opener is None:
                    raise EnvironmentNotReady(f"there is no backend `{backend}` here")
                session = self._open[key] = self._opener(backend, settings, self.folder)
            return session

    def close(self, grace: float) -> None:
        """Close all."""
        with self._lock:
            found, self._open = list(self._open.values()), {}
        for session in found:
            session.close(grace)


class RemoteCall:
    """An operator ready to be called elsewhere for one node.

    Args:
        sessions: The run's backends.
        plan: The plan.
        node: The node.
        spec: Its operator's description.
        operator: Its operator.
        outputs: Takes over the files that it writes.
        stop: Not empty when the run is being stopped.
    """

    def __init__(
        self,
        sessions: Sessions,
        plan: Plan,
        node: PlanNode,
        spec: OperatorSpec,
        operator: Operator,
        outputs: Outputs | None,
        stop: list[Any],
    ) -> None:
        assert node.policies is not None
        execution = node.policies.execution
        self._sessions = sessions
        self._backend = "process" if execution.backend == "local" else execution.backend
        self._settings = execution.settings
        self._pipeline = plan.name
        self._node = node
        self._spec = spec
        self._timeout = node.policies.timeout
        self._reference = msgspec.to_builtins(reference(operator.target))
        self._target = operator.target
        self._loop: LoopThread | None = None
        self._own_way = self._handler() if hasattr(operator.target, "execute_remote") else None
        self._fingerprint: dict[str, Any] | None = None
        self._outputs = outputs
        self._stop = stop

    def __call__(self, inputs: Mapping[str, Any], context: Context) -> Any:
        """Send a task, wait for its reply, and return the output as the operator would have.

        Raises:
            RemoteError: The operator raised.
            TaskLost: No reply came.
        """
        if self._own_way is not None:
            return self._own_way(inputs)
        with Outgoing(self._sessions.folder) as message:
            session = self._sessions.get(self._backend, self._settings)
            self._write(message, inputs, context, session.capabilities)
            ring = self._sessions.ring
            if ring is not None:
                from petal.data.sealed import Asked

                message.asked = Asked(
                    ring,
                    run=context.run_id,
                    node=self._node.id,
                    key=context.idempotency_key,
                    attempt=context.attempt,
                    timeout=self._timeout,
                )
            task = Task(
                node=self._node.id,
                run=context.run_id,
                attempt=context.attempt,
                key=context.idempotency_key,
                payload=message,
                timeout=self._timeout,
                settings=self._settings,
            )
            reply = answer_of(session, session.submit(task), self._stop)
        limits = None if session.capabilities.shares_files else LIMITS
        header = opened(reply, self._node.id, limits)
        if self._outputs is not None and header.get("files"):
            self._outputs.adopt([Handed(*pair) for pair in header["files"]])
        if not self._spec.outputs:
            return None
        output = self._spec.outputs[0]
        value = decode_port(header["output"], output.annotation, output.seen, reply.parts, "output", limits)
        return _held(value, reply) if output.seen.view.streams else value

    def _handler(self) -> Callable[[Mapping[str, Any]], Any]:
        """Return the call of an operator that takes care of its remote execution itself (DESIGN.md §5)."""
        made = self._target(**reveal(self._node.params))
        execution = {"backend": self._backend, **self._settings}
        loop = self._loop = LoopThread()

        def call(inputs: Mapping[str, Any]) -> Any:
            return plain_result(made.execute_remote(dict(inputs), execution), self._spec, loop)

        return call

    def close(self) -> None:
        """Let go of what an operator's own way has used; else who runs the operator closes it."""
        if self._loop is not None:
            self._loop.close()

    def _code(self) -> dict[str, Any]:
        """Return the fingerprint of the operator, with which a worker compares its own."""
        if self._fingerprint is None:
            from petal.code.fingerprint import fingerprint

            found = fingerprint(self._target)
            self._fingerprint = {"digest": found.digest, "parts": found.parts}
        return self._fingerprint

    def _write(
        self, message: Outgoing, inputs: Mapping[str, Any], context: Context, where: Capabilities
    ) -> None:
        spec, node = self._spec, self._node
        given: dict[str, Any] = {}
        for port in spec.inputs:
            if port.name not in inputs:
                continue
            called = f"input `{port.name}`"
            found = inputs[port.name]
            values = found if port.variadic else [found]
            parts = [encode_port(v, port.annotation, port.seen, message.spool, called) for v in values]
            given[port.name] = parts if port.variadic else parts[0]
        params = {
            param.name: encode_port(
                node.params[param.name], param.annotation, _VALUE, message.spool, f"parameter `{param.name}`"
            )
            for param in spec.params
            if param.name in node.params
        }
        message.write(
            {
                "petal": 1,
                "operator_id": node.id,
                "type": spec.name,
                "reference": self._reference,
                "folders": self._sessions.folders,
                "params": params,
                "inputs": given,
                "run": context.run_id,
                "attempt": context.attempt,
                "key": context.idempotency_key,
                "deadline": self._timeout,
                "pipeline": self._pipeline,
                "columns": node.columns,
                "cwd": os.getcwd() if where.shares_files else None,
                "outputs": f"{context.run_id}-{context.attempt}" if where.shares_files else None,
                "code": None if where.has_code else self._code(),
            }
        )


def _warn_of_skew(skew: Sequence[str], node: str) -> None:
    """Say that a worker holds other code than this process."""
    logger("petal.node").warning(
        "the worker has other code than this process: %s", ", ".join(skew), extra={"node": node}
    )


def answer_of(session: BackendSession, future: Future[Reply], stop: list[Any]) -> Reply:
    """Wait for a reply; a run that is being stopped stops the task.

    Raises:
        Stopped: It is being stopped.
    """
    try:
        while True:
            try:
                return future.result(_PATIENCE)
            except NotYet:
                if future.done():
                    raise
                if stop:
                    raise Stopped from None
    except BaseException:
        if not future.done():
            session.cancel(future)
        raise


def opened(reply: Reply, node: str, limits: Limits | None = None) -> dict[str, Any]:
    """Read a reply's header, pass on what the task logged and printed, and raise what it raised.

    Raises:
        RemoteError: The task failed.
    """
    header = read_header(reply.header, limits)
    tell(reply.output, header.get("logs") or (), node)
    if header.get("skew"):
        _warn_of_skew(header["skew"], node)
    if header.get("status") != "ok":
        raise error_of(header.get("error") or {})
    return header


def tell(output: str, logs: Sequence[Any], node: str) -> None:
    """Log what a task logged, and what it printed line by line."""
    if not output and not logs:
        return
    log = logger("petal.node")
    for level, name, message, at in logs:
        record = log.makeRecord(name, level, "", 0, "%s", (message,), None, extra={"node": node})
        record.created = at
        logger(name).handle(record)
    for line in output.splitlines():
        log.info("%s", redact(line), extra={"node": node})


def error_of(found: Mapping[str, Any]) -> PetalError:
    """Make an error of one that came as data; its type is a text and stays one."""
    return RemoteError(
        str(found.get("message", "")),
        type=str(found.get("type", "")),
        bases=tuple(map(str, found.get("bases", ()))),
        kind=str(found.get("kind", "user")),
        traceback=str(found.get("traceback", "")),
        hint=found.get("hint"),
        code=found.get("code"),
    )


def timed_out(seconds: float, what: str = "it") -> TimedOut:
    """Return the error of a node whose time was over."""
    return TimedOut(
        f"{what} took longer than its timeout of {duration_text(seconds)}, and was stopped",
        hint="give it more time (`timeout`), or less to do",
    )


def _held(rows: Iterator[Any], reply: Reply) -> Iterator[Any]:
    """Keep a reply as long as its rows are being read."""
    yield from rows
    del reply
