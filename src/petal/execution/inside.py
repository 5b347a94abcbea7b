"""Run a group of nodes as one in a worker process: the worker's side (S4.3)."""

from __future__ import annotations

import importlib
import json
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import msgspec

from petal.code.loader import Reference
from petal.code.reference import resolve
from petal.code.source import project_path
from petal.data.codecs import Codecs
from petal.data.files import Outputs
from petal.data.filesystems import UNTOLD, bringing
from petal.data.handed import hand_over, let_go
from petal.data.values import decode_port, encode_port
from petal.data.wire import Outgoing
from petal.errors import PetalError
from petal.execution.engine import Engine
from petal.execution.options import Options
from petal.execution.result import NodeResult
from petal.planning.stages import find_stages
from petal.running.brought import Brought, brought
from petal.running.secrets import resolving, secrets_in
from petal.spec.operator import OperatorSpec, adapted
from petal.spec.pipeline import MISSING
from petal.spec.plan import Constant, FromNode, Given, Plan, PlanNode, Resolved, output_view
from petal.spec.policy import Batch, Effects, Execution
from petal.spec.redaction import hides, redact
from petal.spec.signature import describe
from petal.spec.views import Seen, View

_VALUE = Seen(View.VALUE)


def handle(
    header: bytes, parts: Sequence[memoryview], folder: str, emit: Callable[[bytes], None]
) -> tuple[bytes, Any]:
    """Do one task of the pool: a group here, a single call in `petal.worker`."""
    request = json.loads(header)
    if "group" not in request:
        # named, not imported: rooms on one floor do not know each other
        found: tuple[bytes, Any] = importlib.import_module("petal.worker.pooled").handle(
            header, parts, folder, emit
        )
        return found
    let_go()
    try:
        with ExitStack() as stack:
            for place in request["folders"]:
                stack.enter_context(project_path(place))
            plugins = brought(request["group"]["plugins"])
            stack.enter_context(resolving(plugins.resolve))
            stack.enter_context(bringing(plugins.filesystem, UNTOLD))
            return _run(request, parts, folder, emit, plugins)
    except Exception as error:
        return _refused(error, folder)


def _run(
    request: dict[str, Any],
    parts: Sequence[memoryview],
    folder: str,
    emit: Callable[[bytes], None],
    plugins: Brought,
) -> tuple[bytes, Any]:
    group, options = request["group"], request["options"]
    operators: dict[str, Any] = {}
    specs: dict[str, OperatorSpec] = {}
    # first, so that operators import the very classes that these take
    for key, found in group["operators"].items():
        target = resolve(msgspec.convert(found, Reference))
        spec = adapted(describe(target), plugins.adapters)
        operators[key], specs[key] = SimpleNamespace(spec=spec, target=target, origin=""), spec
    nodes = tuple([_node(n, specs[n["operator"]], parts, plugins.codecs) for n in group["nodes"]])
    targets = tuple([k for k in group["values"] if specs[nodes[k].operator].outputs])
    plan = Plan(group["name"], nodes, specs, find_stages(nodes, specs), targets=targets)
    files: dict[str, list[list[str]]] = {}

    def publish(node: str, outputs: Outputs) -> None:
        files[node] = [[h.temporary, h.target] for h in hand_over(outputs)]

    engine = Engine(
        plan,
        operators,
        Options(
            emit=lambda event: _told(event, emit),
            handle_signals=False,
            folder=folder,
            previews=options["previews"],
            window=options["window"],
            publish=publish,
            run_id=request["run"],
        ),
    )
    result = engine.run()
    message = Outgoing(folder)
    values = {
        nodes[k].id: _value(engine.take(k), plan, k, message, plugins.codecs)
        for k in group["values"]
        if result.nodes[nodes[k].id].status == "succeeded"
    }
    message.write(
        {
            "petal": 1,
            "status": "ok",
            "results": {name: _record(found) for name, found in result.nodes.items()},
            "files": files,
            "values": values,
            "secrets": secrets_in([msgspec.json.encode(values), *message.spool.parts]) if hides() else [],
        }
    )
    return message.header, message.spool


def _refused(error: Exception, folder: str) -> tuple[bytes, Any]:
    """Answer that the group could not be run at all: as data, so that the worker lives on."""
    ours = isinstance(error, PetalError)
    message = Outgoing(folder)
    message.write(
        {
            "petal": 1,
            "status": "error",
            "error": {
                "message": redact(error.message if isinstance(error, PetalError) else str(error)),
                "type": "" if ours else type(error).__name__,
                "kind": "user" if ours else "infrastructure",
                "traceback": "" if ours else redact("".join(traceback.format_exception(error)).rstrip()),
                "hint": error.hint if isinstance(error, PetalError) else None,
                "code": error.code if isinstance(error, PetalError) else None,
            },
        }
    )
    return message.header, message.spool


def _node(
    found: dict[str, Any], spec: OperatorSpec, parts: Sequence[memoryview], codecs: Codecs | None
) -> PlanNode:
    kinds = {p.name: p.annotation for p in spec.params} | {i.name: i.annotation for i in spec.inputs}
    params = {
        n: decode_port(v, kinds.get(n, MISSING), _VALUE, parts, f"parameter `{n}`", codecs=codecs)
        for n, v in found["params"].items()
    }
    inputs: dict[str, Any] = {
        name: tuple([_binding(one, name, spec, parts, codecs) for one in group])
        if isinstance(group, list)
        else _binding(group, name, spec, parts, codecs)
        for name, group in found["inputs"].items()
    }
    batch = msgspec.convert(found["batch"], Batch) if found["batch"] is not None else None
    policies = Resolved(Execution(), None, None, None, batch, Effects.PURE)
    columns = tuple(found["columns"]) if found["columns"] is not None else None
    return PlanNode(found["id"], found["operator"], params, inputs, tuple(found["after"]), policies, columns)


def _binding(
    found: dict[str, Any], name: str, spec: OperatorSpec, parts: Sequence[memoryview], codecs: Codecs | None
) -> Any:
    if "node" in found:
        return FromNode(found["node"], found["port"])
    if "missing" in found:
        return Constant(MISSING, "default")
    port = spec.input(name)
    assert port is not None
    where = f"input `{name}`"
    return Given(decode_port(found["value"], port.annotation, port.seen, parts, where, codecs=codecs))


def _value(value: Any, plan: Plan, index: int, message: Outgoing, codecs: Codecs | None) -> Any:
    node = plan.nodes[index]
    spec = plan.operators[node.operator]
    seen = output_view(node, spec)
    where = f"output of `{node.id}`"
    return encode_port(value, spec.outputs[0].annotation, seen, message.spool, where, codecs)


def _told(event: Any, emit: Callable[[bytes], None]) -> None:
    if type(event).__name__ in ("NodeStarted", "NodeFinished"):
        emit(msgspec.json.encode(event))


def _record(result: NodeResult) -> dict[str, Any]:
    error = result.error
    found: dict[str, Any] = {
        name: getattr(result, name)
        for name in NodeResult.__struct_fields__
        if name not in ("error", "backend")
    }
    return found | {
        "backend": "process",
        "error": None
        if error is None
        else {
            "message": error.message,
            "kind": error.kind,
            "traceback": error.traceback,
            "params": error.params,
            "node": error.node,
            "attempt": error.attempt,
            "hint": error.hint,
            "code": error.code,
        },
    }
