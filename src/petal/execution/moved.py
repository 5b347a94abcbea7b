"""Run a group of nodes as one in a worker process: this process's side (S4.3)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from petal.code.loader import reference
from petal.data.files import Outputs
from petal.data.handed import handed_over
from petal.data.values import decode_port, encode_port
from petal.data.wire import Outgoing
from petal.errors import NodeFailed, PetalError, TaskLost
from petal.execution.failures import cut_short, node_failed
from petal.execution.remote import Sessions, answer_of, error_of, opened, tell, timed_out, unhidden
from petal.execution.result import NodeResult
from petal.execution.state import Collected, Listed, RunState
from petal.interfaces.backend import Reply, Task
from petal.running.secrets import hide_own
from petal.running.watch import Stopped, Unbegun
from petal.spec.event import NodeFinished, NodeStarted, Status
from petal.spec.pipeline import MISSING
from petal.spec.plan import Constant, FromNode, Moved
from petal.spec.policy import Effects
from petal.spec.redaction import redact
from petal.spec.views import Seen, View

_VALUE = Seen(View.VALUE)


class Group:
    """One run of one group.

    Args:
        state: The run.
        sessions: The run's backends.
        moved: The group.
        input_of: Gives the value of an input that comes from outside, in the port's own view.
        emit: Called with the events of its nodes, None when nobody listens.
        options: What the group's own engine is told: ``previews``, ``keep``, ``window``.
    """

    def __init__(
        self,
        state: RunState,
        sessions: Sessions,
        moved: Moved,
        input_of: Callable[[int, str, Any], Any],
        emit: Callable[[Any], None] | None,
        options: dict[str, Any],
    ) -> None:
        self._state = state
        self._sessions = sessions
        self._moved = moved
        self._input_of = input_of
        self._emit = emit
        self._options = options
        self._ids = {state.plan.nodes[i].id: i for i in moved.nodes}
        #: Nodes whose end was reported already.
        self.told: set[int] = set()
        self._running = dict(moved.timeouts)
        self._late: int | None = None
        self._lock = threading.Lock()

    def run(self) -> dict[int, NodeResult]:
        """Run it, publish what its nodes wrote, put its values where others find them, and say how each ended."""
        try:
            header, reply = self._ask()
            unhidden(header)
            results = {self._ids[name]: result_of(found) for name, found in header["results"].items()}
            self._publish(header["files"], results)
            self._take(header["values"], reply, results)
        except PetalError as error:
            results = self._lost(error)
        except Unbegun:
            results = {}
        except Stopped:
            results = {i: self._cut(i) for i in self._moved.nodes}
        for i in self._moved.nodes:
            results.setdefault(i, NodeResult(Status.CANCELLED, attempts=0))
        return results

    def _cut(self, index: int) -> NodeResult:
        """Say how a member ended that was stopped: of one that must not run twice nobody knows (S5.4)."""
        if not self._is_once(index):
            return NodeResult(Status.CANCELLED, attempts=0)
        node, spec = self._state.plan.nodes[index], self._state.specs[index]
        error = node_failed(node, spec, cut_short(node.id))
        return NodeResult(Status.UNKNOWN, error=error, backend="process")

    # -- asking -----------------------------------------------------------------------------------------------

    def _ask(self) -> tuple[dict[str, Any], Reply]:
        state = self._state
        first = state.plan.nodes[self._moved.nodes[0]]
        with Outgoing(self._sessions.folder) as message:
            message.write(self._request(message))
            session = self._sessions.get("process", {})
            task = Task(
                node=first.id,
                run=state.run_id,
                attempt=1,
                key=f"{state.run_id}:{first.id}",
                payload=message,
                settings={},
                on_event=self._told,
            )
            future = session.submit(task)
            over = threading.Event()
            watcher = threading.Thread(
                target=self._watch,
                args=(over, lambda: session.cancel(future)),
                name="petal-timeout",
                daemon=True,
            )
            watcher.start()
            try:
                reply = answer_of(session, future, state.stop)
            except PetalError as error:
                if self._late is not None:
                    raise timed_out(
                        self._moved.timeouts[self._late], f"`{state.plan.nodes[self._late].id}`"
                    ) from error
                raise
            finally:
                over.set()
                watcher.join()
        return opened(reply, first.id), reply

    def _watch(self, over: threading.Event, stop: Callable[[], None]) -> None:
        """Stop the worker when the time of a member that has not ended is over, counted from the group's start."""
        began = time.monotonic()
        while True:
            with self._lock:
                left = dict(self._running)
            if not left:
                return
            index = min(left, key=lambda i: left[i])
            if over.wait(min(max(0.0, began + left[index] - time.monotonic()), 1.0)):
                return
            with self._lock:
                if index in self._running and time.monotonic() - began >= left[index]:
                    self._late = index
            if self._late is not None:
                stop()
                return

    def _told(self, data: bytes) -> None:
        """Pass on what the group's own engine says of its nodes."""
        event = msgspec.json.decode(data, type=NodeStarted | NodeFinished)
        if isinstance(event, NodeFinished):
            with self._lock:
                self._running.pop(self._ids[event.node], None)
            self.told.add(self._ids[event.node])
        if self._emit is not None:
            self._emit(msgspec.structs.replace(event, backend="process"))

    def _request(self, message: Outgoing) -> dict[str, Any]:
        state, plan = self._state, self._state.plan
        hide_own([plan.nodes[i].params for i in self._moved.nodes])
        place = {i: k for k, i in enumerate(self._moved.nodes)}
        nodes, operators = [], {}
        for i in self._moved.nodes:
            node, spec = plan.nodes[i], state.specs[i]
            operators[node.operator] = msgspec.to_builtins(reference(state.operators[node.operator].target))
            inputs = {
                name: [self._binding(message, i, name, one, place) for one in group]
                if isinstance(group, tuple)
                else self._binding(message, i, name, group, place)
                for name, group in node.inputs.items()
            }
            kinds = {p.name: p.annotation for p in spec.params} | {i.name: i.annotation for i in spec.inputs}
            params = {
                n: encode_port(
                    v,
                    kinds.get(n, MISSING),
                    _VALUE,
                    message.spool,
                    f"parameter `{n}` of `{node.id}`",
                    self._sessions.codecs,
                )
                for n, v in node.params.items()
            }
            batch = node.policies.batch if node.policies is not None else None
            nodes.append(
                {
                    "id": node.id,
                    "operator": node.operator,
                    "params": params,
                    "inputs": inputs,
                    "after": [place[a] for a in node.after if a in place],
                    "batch": msgspec.to_builtins(batch) if batch is not None else None,
                    "columns": node.columns,
                }
            )
        return {
            "petal": 1,
            "group": {
                "name": plan.name,
                "nodes": nodes,
                "operators": operators,
                "plugins": self._sessions.plugins(
                    [state.specs[i] for i in self._moved.nodes],
                    [plan.nodes[i].params for i in self._moved.nodes],
                ),
                "values": self._wanted(place),
            },
            "options": self._options,
            "run": state.run_id,
            "folders": self._sessions.folders,
        }

    def _binding(self, message: Outgoing, index: int, name: str, binding: Any, place: dict[int, int]) -> Any:
        spec = self._state.specs[index]
        port = spec.input(name)
        assert port is not None
        if isinstance(binding, FromNode) and binding.node in place:
            return {"node": place[binding.node], "port": binding.port}
        if isinstance(binding, Constant) and binding.value is MISSING:
            return {"missing": True}
        value = self._input_of(index, name, binding)
        where = f"input `{name}` of `{self._state.plan.nodes[index].id}`"
        codecs = self._sessions.codecs
        return {"value": encode_port(value, port.annotation, port.seen, message.spool, where, codecs)}

    def _wanted(self, place: dict[int, int]) -> list[int]:
        """Number the nodes whose outputs somebody outside takes."""
        plan = self._state.plan
        asked = set(plan.targets) if self._state.keep else set()
        for i, node in enumerate(plan.nodes):
            if i not in place:
                for group in node.inputs.values():
                    asked.update(
                        b.node
                        for b in (group if isinstance(group, tuple) else (group,))
                        if isinstance(b, FromNode)
                    )
        return [k for i, k in place.items() if i in asked]

    # -- the end ----------------------------------------------------------------------------------------------

    def _publish(self, files: dict[str, list[list[str]]], results: dict[int, NodeResult]) -> None:
        """Publish what the nodes that succeeded wrote; what cannot be published fails its node."""
        state = self._state
        for name, pairs in files.items():
            index = self._ids[name]
            outputs = Outputs(
                state.run_id, partial(state.claim, name), run=state.run_id, describe=state.describe
            )
            try:
                outputs.adopt(handed_over(pairs, shares_files=True))
                if state.stop:
                    outputs.abort()
                    cut = self._cut(index)
                    results[index] = msgspec.structs.replace(
                        results[index], status=cut.status, error=cut.error
                    )
                else:
                    state.publish(name, outputs)
            except (PetalError, OSError) as error:
                outputs.abort()
                hint, code = getattr(error, "hint", None), getattr(error, "code", None)
                message = error.message if isinstance(error, PetalError) else str(error)
                failed = NodeFailed(redact(message), node=name, attempt=1, hint=hint, code=code)
                results[index] = msgspec.structs.replace(results[index], status=Status.FAILED, error=failed)

    def _take(self, values: dict[str, Any], reply: Reply, results: dict[int, NodeResult]) -> None:
        state = self._state
        for name, found in values.items():
            index = self._ids[name]
            if results[index].status is not Status.SUCCEEDED:
                continue
            output = state.specs[index].outputs[0]
            seen = state.units.seen[index]
            where, codecs = f"output of `{name}`", self._sessions.codecs
            value = decode_port(found, output.annotation, seen, reply.parts, where, codecs=codecs)
            if seen.view.streams:
                rows = list(value)
                value = Collected(Listed(rows if seen.view is View.BATCHES else [rows]), seen)
            state.values[index] = value

    def _lost(self, error: PetalError) -> dict[int, NodeResult]:
        """The worker gave no answer: the member whose time was over failed, else the first that had not ended."""
        state, nodes = self._state, self._moved.nodes
        culprit = self._late if self._late is not None else nodes[0]
        tell(getattr(error, "output", ""), (), state.plan.nodes[culprit].id)
        failed = NodeFailed(
            redact(error.message),
            kind=getattr(error, "kind", "infrastructure"),
            node=state.plan.nodes[culprit].id,
            attempt=1,
            hint=error.hint,
            code=error.code,
        )
        return {
            i: NodeResult(self._fate(i, Status.FAILED, error), False, 1, failed, "process")
            if i == culprit
            else NodeResult(
                self._fate(i, Status.SKIPPED if i > culprit else Status.CANCELLED, error), attempts=1
            )
            for i in nodes
        }

    def _fate(self, index: int, status: Status, error: PetalError) -> Status:
        """How a member ended whose worker gave no answer: of one that must not run twice nobody knows (S5.4)."""
        return Status.UNKNOWN if self._is_once(index) and isinstance(error, TaskLost) else status

    def _is_once(self, index: int) -> bool:
        policies = self._state.plan.nodes[index].policies
        return policies is not None and policies.effects is Effects.ONCE


def result_of(found: dict[str, Any]) -> NodeResult:
    """Make a result of one that came as data."""
    error = found.pop("error")
    result = msgspec.convert(found | {"error": None}, NodeResult)
    if error is None:
        return result
    made = error_of(error)
    failed = NodeFailed(
        redact(made.message),
        kind=error["kind"],
        traceback=redact(error["traceback"]),
        params=error["params"],
        node=error["node"],
        attempt=error["attempt"],
        hint=made.hint,
        code=made.code,
    )
    return msgspec.structs.replace(result, error=failed)
