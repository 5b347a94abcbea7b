"""Call an operator in another process, with the interface of `running.call.Call`, which calls it in this one."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import msgspec

from petal.code.loader import is_importable, reference
from petal.data.adapted import references_to
from petal.data.files import Outputs
from petal.data.handed import handed_over
from petal.data.values import decode_port, encode_port
from petal.data.wire import LIMITS, Limits, Outgoing, read_header
from petal.errors import (
    EnvironmentNotReady,
    PetalError,
    RemoteError,
    TaskLost,
    TimedOut,
    WireError,
    WorkerDied,
)
from petal.interfaces.backend import BackendSession, Capabilities, Payload, Reply, Task
from petal.interfaces.source import Operator
from petal.planning.moving import backend_of
from petal.running.call import plain_result
from petal.running.loop import LoopThread
from petal.running.secrets import hide_own, is_hidden, reveal, schemes_in
from petal.running.watch import Stopped, Unbegun
from petal.spec.context import Context
from petal.spec.logs import logger
from petal.spec.operator import OperatorSpec
from petal.spec.plan import Plan, PlanNode
from petal.spec.policy import duration_text
from petal.spec.redaction import redact
from petal.spec.url import schemes_in as url_schemes_in
from petal.spec.views import Seen, View

if TYPE_CHECKING:
    from petal.data.codecs import Codecs
    from petal.data.signing import Keyring
    from petal.execution.process import ProcessSession
    from petal.interfaces.codec import Codec
    from petal.interfaces.filesystem import FileSystem

_VALUE = Seen(View.VALUE)
#: Errors of Petal's own that leave open what a task has done, by the names that they have in a reply.
_LOST: dict[str, type[TaskLost]] = {kind.__name__: kind for kind in (TaskLost, TimedOut, WorkerDied)}
#: Seconds between two looks at the stop flag while a reply is awaited.
_PATIENCE = 0.1


class Opener(Protocol):
    """Opens backends for one run, and says what their tasks need of plugins (S6.4)."""

    def __call__(self, name: str, settings: Mapping[str, Any], folder: str | None) -> BackendSession:
        """Open a backend by its name and settings."""
        ...

    def codecs(self) -> Sequence[Codec]:
        """Return the codecs with which values may be written."""
        ...

    def resolvers(self, schemes: Iterable[str]) -> Mapping[str, Callable[[str], str]]:
        """Return what resolves secrets: of these schemes, and of whatever the pipeline names."""
        ...

    def filesystems(self, schemes: Iterable[str]) -> Mapping[str, Callable[[], FileSystem]]:
        """Return what opens URLs: of these schemes, and of whatever the pipeline names."""
        ...


class Sessions:
    """The backends that are open in one run, each opened when its first task comes.

    Args:
        opener: Opens one.
        folder: Where large messages may lie, None for the temporary folder.
        folders: Folders whose Python must be importable where tasks run.
        ring: The keys that messages are sealed with where they leave as bytes; None where they are not.
        base: The folder of the pipeline, by which a worker with a copy of its files finds them (``$PETAL_PROJECT``).
    """

    def __init__(
        self,
        opener: Opener | None,
        folder: str | None,
        folders: Sequence[str],
        ring: Keyring | None = None,
        base: str | None = None,
    ) -> None:
        self._opener = opener
        self.ring = ring
        self._open: dict[tuple[str, str], BackendSession] = {}
        self._lock = threading.Lock()
        self.folder = folder
        self.folders = tuple(folders)
        self.base = base
        self._codes: dict[int, dict[str, Any]] = {}

    @cached_property
    def codecs(self) -> Codecs | None:
        """The codecs of plugins that take part, None where there are none."""
        found = self._opener.codecs() if self._opener is not None else ()
        if not found:
            return None
        from petal.data.codecs import Codecs

        return Codecs(found)

    def code(self, target: Any) -> dict[str, Any]:
        """Return the fingerprint of an operator of the run, with which a worker compares its own; taken once."""
        found = self._codes.get(id(target))
        if found is None:
            from petal.code.fingerprint import fingerprint

            taken = fingerprint(target)
            found = self._codes[id(target)] = {"digest": taken.digest, "parts": taken.parts}
        return found

    def plugins(self, specs: Iterable[OperatorSpec], params: Any) -> dict[str, Any]:
        """Say what a worker loads of plugins, by where it finds that: nothing else of them is loaded there (S6.4).

        Args:
            specs: The operators that are to be called.
            params: Their parameters, in which secrets may be asked for, and files named by URLs.
        """
        opener = self._opener
        resolvers = opener.resolvers(schemes_in(params)) if opener is not None else {}
        filesystems = opener.filesystems(url_schemes_in(params)) if opener is not None else {}
        found = {
            "adapters": references_to(specs),
            "codecs": self.codecs.references() if self.codecs is not None else [],
            "resolvers": _references(resolvers),
            "filesystems": _references(filesystems),
        }
        return {kind: those for kind, those in found.items() if those}

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


def _references(functions: Mapping[str, Callable[..., Any]]) -> dict[str, Any]:
    """Say where a worker finds functions, as far as it can."""
    return {
        name: msgspec.to_builtins(reference(found))
        for name, found in functions.items()
        if is_importable(found) is None
    }


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
        place: Where it is called: 0 for its backend, then those that it fails over to.
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
        place: int = 0,
    ) -> None:
        assert node.policies is not None
        execution = node.policies.execution.places[place]
        self._sessions = sessions
        self._backend = backend_of(node, place)
        self._settings = execution.settings
        self._revealed: dict[str, Any] = reveal(execution.settings)
        hide_own(node.params)
        self._pipeline = plan.name
        self._node = node
        self._spec = spec
        self._timeout = node.policies.timeout
        self._speaks_json = execution.speaks_json
        self._reference = None if self._speaks_json else msgspec.to_builtins(reference(operator.target))
        self._target = operator.target
        self._loop: LoopThread | None = None
        self._own_way = self._handler() if hasattr(operator.target, "execute_remote") else None
        self._fingerprint: dict[str, Any] | None = None
        self._plugins = {} if self._speaks_json else sessions.plugins([spec], node.params)
        self._outputs = outputs
        self._stop = stop
        #: Secrets that what came back holds, and that only the worker can tell from other text.
        self.unhidden: list[str] = []

    def __call__(self, inputs: Mapping[str, Any], context: Context) -> Any:
        """Send a task, wait for its reply, and return the output as the operator would have.

        Raises:
            RemoteError: The operator raised.
            TaskLost: No reply came.
        """
        if self._own_way is not None:
            return self._own_way(inputs)
        session = self._sessions.get(self._backend, self._settings)
        if self._speaks_json:
            from petal.execution.programs import output_of, plain_call

            payload = plain_call(self._node, self._spec, inputs, context)
            reply = self._submit(session, payload, context)
            tell(reply.output, (), self._node.id)
            return output_of(reply, self._spec)
        with Outgoing(self._sessions.folder) as message:
            message.run = context.run_id
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
            with _told_as_lost():
                return self._read(self._submit(session, message, context), session.capabilities)

    def _read(self, reply: Reply, where: Capabilities) -> Any:
        """Return the output that a worker replied with, and take over the files that it wrote."""
        limits = None if where.shares_files else LIMITS
        header = opened(reply, self._node.id, limits)
        self.unhidden += unhidden(header)
        if self._outputs is not None and header.get("files"):
            schemes = self._plugins.get("filesystems", {})
            self._outputs.adopt(
                handed_over(header["files"], shares_files=where.shares_files, schemes=schemes)
            )
        if not self._spec.outputs:
            return None
        output = self._spec.outputs[0]
        codecs = self._sessions.codecs
        value = decode_port(
            header["output"], output.annotation, output.seen, reply.parts, "output", limits, codecs
        )
        return _held(value, reply) if output.seen.view.streams else value

    def _submit(self, session: BackendSession, payload: Payload, context: Context) -> Reply:
        task = Task(
            node=self._node.id,
            run=context.run_id,
            attempt=context.attempt,
            key=context.idempotency_key,
            payload=payload,
            timeout=self._timeout,
            settings=self._revealed,
        )
        try:
            return answer_of(session, session.submit(task), self._stop)
        except Unbegun:
            if self._node.policies is not None and self._node.policies.batch is not None:
                raise Stopped from None  # other calls of the node may have begun
            raise

    def _handler(self) -> Callable[[Mapping[str, Any]], Any]:
        """Return the call of an operator that takes care of its remote execution itself (DESIGN.md §5)."""
        made = self._target(**reveal(self._node.params))
        execution = {"backend": self._backend, **self._revealed}
        loop = self._loop = LoopThread()

        def call(inputs: Mapping[str, Any]) -> Any:
            return plain_result(made.execute_remote(dict(inputs), execution), self._spec, loop)

        return call

    def close(self) -> None:
        """Let go of what an operator's own way has used; else who runs the operator closes it."""
        if self._loop is not None:
            self._loop.close()

    def _write(
        self, message: Outgoing, inputs: Mapping[str, Any], context: Context, where: Capabilities
    ) -> None:
        spec, node, codecs = self._spec, self._node, self._sessions.codecs
        given: dict[str, Any] = {}
        for port in spec.inputs:
            if port.name not in inputs:
                continue
            called = f"input `{port.name}`"
            found = inputs[port.name]
            values = found if port.variadic else [found]
            parts = [
                encode_port(v, port.annotation, port.seen, message.spool, called, codecs) for v in values
            ]
            given[port.name] = parts if port.variadic else parts[0]
        params = {
            param.name: encode_port(
                node.params[param.name],
                param.annotation,
                _VALUE,
                message.spool,
                f"parameter `{param.name}`",
                codecs,
            )
            for param in spec.params
            if param.name in node.params
        }
        message.write(self._header(context, where) | {"params": params, "inputs": given})

    def _header(self, context: Context, where: Capabilities) -> dict[str, Any]:
        """Say what is asked for, but with what it is to be done."""
        return {
            "petal": 1,
            "operator_id": self._node.id,
            "type": self._spec.name,
            "reference": self._reference,
            "folders": self._sessions.folders,
            "base": None if where.shares_files else self._sessions.base,
            "run": context.run_id,
            "attempt": context.attempt,
            "key": context.idempotency_key,
            "deadline": self._timeout,
            "pipeline": self._pipeline,
            "columns": self._node.columns,
            "cwd": os.getcwd() if where.shares_files else None,
            "outputs": f"{context.run_id}-{context.attempt}" if where.shares_files else None,
            "code": None if where.has_code else self._sessions.code(self._target),
            "trace": context.trace,
            "plugins": self._plugins,
        }


@contextmanager
def _told_as_lost() -> Iterator[None]:
    """Say of a reply that cannot be read that the task is lost: it was sent, and what it did is not known."""
    try:
        yield
    except WireError as error:
        raise TaskLost(error.message, hint=error.hint, code=error.code) from error


def answer_of(session: BackendSession, future: Future[Reply], stop: list[Any]) -> Reply:
    """Wait for a reply; a run that is being stopped stops the task.

    Raises:
        Stopped: It is being stopped.
        Unbegun: It is being stopped, and Petal's own pool has taken the task back before a worker had it.
        TaskLost: It was taken back before a worker had it.
    """
    try:
        while True:
            try:
                return future.result(_PATIENCE)
            except CancelledError:
                if stop:
                    raise Stopped from None
                raise TaskLost("it was stopped before a worker had it") from None
            except NotYet:
                if future.done():
                    raise
                if stop:
                    raise Stopped from None
    except BaseException as error:
        if not stop or not _is_own(session):
            if not future.done():
                session.cancel(future)
            raise
        session.drop_queued()  # first, or a worker that gets free would begin one of these
        if not future.done():
            session.cancel(future)
        if type(error) is Stopped and future.cancelled():
            raise Unbegun from None
        raise


def _is_own(session: BackendSession) -> TypeGuard[ProcessSession]:
    """Whether a session is Petal's own pool, where a task that could be taken back has surely not begun."""
    from petal.execution.process import ProcessSession

    return isinstance(session, ProcessSession)


def opened(reply: Reply, node: str, limits: Limits | None = None) -> dict[str, Any]:
    """Read a reply's header, pass on what the task logged and printed, and raise what it raised.

    Raises:
        RemoteError: The task failed.
    """
    header = read_header(reply.header, limits)
    if "petal" not in header:
        raise WireError(
            f"the reply is JSON, but no reply of a worker of Petal: {', '.join(header) or 'it is empty'}"[
                :200
            ],
            hint="a program of its own that speaks plain JSON takes `protocol: json` on its `execution` block",
        )
    tell(reply.output, header.get("logs") or (), node)
    if header.get("skew"):
        text = "the worker has other code than this process: %s"
        logger("petal.node").warning(text, ", ".join(header["skew"]), extra={"node": node})
    if header.get("status") != "ok":
        raise error_of(header.get("error") or {})
    return header


def unhidden(header: Mapping[str, Any]) -> list[str]:
    """Hide the secrets that a worker has found in what it gave, and return the references of those that cannot be."""
    return [name for name in header.get("secrets") or () if not is_hidden(str(name))]


def tell(output: str, logs: Sequence[Any], node: str) -> None:
    """Log what a task logged, and what it printed line by line."""
    if not output and not logs:
        return
    log = logger("petal.node")
    for level, name, message, at in logs:
        record = log.makeRecord(name, level, "", 0, "%s", (message,), None, extra={"node": node})
        record.created = at
        logger(name).handle(record)
    for line in redact(output).splitlines():
        log.info("%s", line, extra={"node": node})


def error_of(found: Mapping[str, Any]) -> PetalError:
    """Make an error of one that came as data; its type is a text and stays one.

    A worker that says of a task itself that it was lost, or stopped, is taken at its word: what it did is not known.
    """
    kind, bases = str(found.get("kind", "user")), tuple(map(str, found.get("bases", ())))
    lost = _LOST.get(bases[0]) if bases and not found.get("type") else None
    if lost is not None:
        return lost(str(found.get("message", "")), kind=kind, hint=found.get("hint"), code=found.get("code"))
    return RemoteError(
        str(found.get("message", "")),
        type=str(found.get("type", "")),
        bases=bases,
        kind=kind,
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
