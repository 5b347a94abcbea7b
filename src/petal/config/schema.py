"""JSON Schema of pipeline files, built from the installed operators: for editors, forms and other tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from petal.config.value_schema import (
    REFERENCE,
    REFERENCE_NAME,
    Schema,
    input_annotation,
    plain_default,
    value_schemas,
)
from petal.spec.docstring import parse_doc
from petal.spec.operator import WRAPPER, camel_case
from petal.spec.pipeline import MISSING, PipelineSpec
from petal.spec.policy import PROTOCOLS, Effects

if TYPE_CHECKING:
    from collections.abc import Iterable

    from petal.spec.operator import Input, OperatorSpec, Param

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_ID: Final = "^[A-Za-z_][A-Za-z0-9_-]*$"
_LINK: Final = r"^[A-Za-z_][A-Za-z0-9_-]*(\.[^\s.]+)?$"
_UNIT: Final = r"(\d+(\.\d+)?{})?"
_DURATION: Final = "^(?=.)" + "".join(_UNIT.replace("{}", unit) for unit in ("d", "h", "m", "s", "ms")) + "$"


def has_programs(spec: PipelineSpec) -> bool:
    """Whether a node of a pipeline speaks plain JSON, so that its type is a label (S6.3)."""
    said = [spec.defaults.execution, *(n.policies.execution for n in spec.nodes)]
    return any(execution is not None and execution.speaks_json for execution in said)


def pipeline_schema(operators: Iterable[OperatorSpec], *, closed: bool = False) -> dict[str, Any]:
    """Build the JSON Schema (2020-12) of pipeline files.

    Args:
        operators: The operators to describe; of two with one name the first counts.
        closed: Whether other operators than these are wrong. Open, nodes of an unknown type hold anything.

    Returns:
        The schema as plain data.
    """
    known: dict[str, OperatorSpec] = {}
    for operator in operators:
        known.setdefault(operator.name, operator)
    types = [known[name] for name in sorted(known)]
    conditions, definitions = _conditions(types)
    return {
        "$schema": DIALECT,
        "title": "Petal pipeline",
        "description": "A pipeline of Petal: what happens, and where each step runs.",
        "type": "object",
        "properties": _top_properties(),
        "additionalProperties": False,
        "anyOf": [{"required": ["nodes"]}, {"required": ["modules"]}],
        "$defs": {
            **_parts(),
            **_policy_parts(),
            "node": _node(types, conditions, closed=closed),
            **definitions,
        },
    }


def type_names(operator: OperatorSpec) -> list[str]:
    """Return the names by which a file may call an operator: its own, and its function's (DESIGN.md §2)."""
    written = operator.ref.rpartition(":")[2].rpartition(".")[2]
    if written and written != operator.name and camel_case(written) == operator.name:
        return [operator.name, written]
    return [operator.name]


def _to(name: str, **more: Any) -> Schema:
    return {"$ref": f"#/$defs/{name}", **more}


def _either(*choices: Schema, **more: Any) -> Schema:
    return {**more, "anyOf": list(choices)}


def _list_of(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def _object(properties: dict[str, Schema], *, required: Iterable[str] = (), text: str = "") -> Schema:
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if text:
        found["description"] = text
    if names := list(required):
        found["required"] = names
    return found


def _entries(name: str, key: str, text: str) -> Schema:
    """Describe a list of entries with ids, or a mapping of id to entry."""
    return {
        "description": text,
        "type": ["array", "object"],
        "items": _to(name, required=["id", key]),
        "propertyNames": {"pattern": _ID},
        "additionalProperties": _to(name, required=[key]),
    }


def _top_properties() -> dict[str, Schema]:
    name = {"type": "string", "pattern": _ID}
    default = {"type": "object", "minProperties": 1, "maxProperties": 1, "propertyNames": {"pattern": _ID}}
    return {
        "$schema": {"type": "string", "description": "The JSON Schema that an editor uses."},
        "name": {"type": "string", "description": "Shown in pictures and logs."},
        "plugins": _to("texts", description="Python files (./x.py), dotted modules, or installed plugins."),
        "params": {"type": "object", "description": "Parameters of the pipeline, used as ${params.NAME}."},
        "inputs": _either(
            _list_of(_either(name, default)),
            {"type": "object", "propertyNames": {"pattern": _ID}},
            description="Given at the run or by a parent: [NAME] when required, {NAME: DEFAULT} when not.",
        ),
        "cache_io": _either(
            {"type": "boolean"},
            {"type": "string", "pattern": r"^[A-Za-z][A-Za-z0-9+.-]+://", "examples": ["s3://bucket/prefix"]},
            description="Keep every node's output; a URL says where other machines find it too.",
            default=False,
        ),
        "defaults": _object(_policies(), text="Policies for every node."),
        "run_timeout": _to("timeout", description="How long the whole run may take."),
        "nodes": _entries("node", "type", "The steps: operators, each under an id."),
        "edges": _list_of(_to("edge"), description="What feeds what: [from, to]."),
        "modules": _entries("module", "path", "Other pipeline files that are used as nodes."),
        "outputs": _either(
            {"type": "object", "propertyNames": {"pattern": _ID}, "additionalProperties": _to("link")},
            _list_of({"type": "string", "pattern": _ID}, uniqueItems=True),
            description="What this pipeline shows when it is used as a module.",
        ),
    }


def _parts() -> dict[str, Schema]:
    sources = _either(_to("link"), _list_of(_to("link")))
    ends = _object({"from": _to("link"), "to": _to("link")}, required=["from", "to"])
    module = {
        "id": _to("id"),
        "path": {"type": "string", "minLength": 1, "description": "The file, relative to this one."},
        "params": {"type": "object", "description": "Parameters of the module."},
        "inputs": _to("sources"),
        "after": _to("after"),
    }
    return {
        REFERENCE_NAME: REFERENCE,
        "id": {"type": "string", "pattern": _ID, "description": "Unique in this file."},
        "link": {
            "type": "string",
            "pattern": _LINK,
            "description": "A node, `node.port` or `module.output`.",
        },
        "texts": _either({"type": "string", "minLength": 1}, _list_of({"type": "string", "minLength": 1})),
        "after": _either(
            _to("id"), _list_of(_to("id")), description="Nodes that must have succeeded before."
        ),
        "sources": {
            "type": "object",
            "description": "What feeds each input; by edges or by name where this is left out.",
            "propertyNames": {"pattern": _ID},
            "additionalProperties": sources,
        },
        "edge": _either(_list_of(_to("link"), minItems=2, maxItems=2), ends),
        "module": _object(module, text="Another pipeline file, used as a node."),
    }


def _policies() -> dict[str, Schema]:
    return {
        "execution": _to("execution"),
        "retry": _to("retry"),
        "timeout": _to("timeout"),
        "cache": _to("cache"),
        "batch": _to("batch"),
        "effects": _to("effects"),
    }


def _policy_parts() -> dict[str, Schema]:
    count = {"type": "integer", "minimum": 1}
    duration = _to("duration")
    flag = {"type": "boolean"}
    retry = {
        "max_attempts": {**count, "default": 3, "description": "All attempts, the first included."},
        "delay": _either(duration, {"const": 0}, description="The wait before the second attempt."),
        "backoff": {"type": "number", "minimum": 1, "default": 2, "description": "Factor between two waits."},
        "max_delay": _to("duration", description="The longest wait."),
        "jitter": {**flag, "default": True, "description": "Draw each wait at random up to its length."},
        "retry_on": _to("texts", description="Exception names or error kinds that are tried again."),
        "abort_on": _to("texts", description="Exception names or error kinds that are never tried again."),
    }
    cache = {
        "ttl": _to("duration", description="How long an entry is good."),
        "version": {"type": ["string", "integer"], "description": "Stands for the code's fingerprint."},
        "depends_on": _to("texts", description="Files whose content counts."),
    }
    batch = {
        "size": {**count, "default": 1000, "description": "Rows per call."},
        "in_flight": {**count, "default": 1, "description": "Calls at a time."},
        "ordered": {**flag, "default": True, "description": "Whether rows keep their order."},
        "over": {"type": "string", "minLength": 1, "description": "The stream input that is cut."},
        "max_bytes": {**count, "description": "Bytes per call at most."},
    }
    return {
        "duration": _either(
            {"type": "number", "exclusiveMinimum": 0},
            {"type": "string", "pattern": _DURATION},
            description="Seconds, or text like 30s, 5m, 1h30m or 250ms.",
        ),
        "execution": _either(
            {"type": "string", "minLength": 1},
            _execution_block(),
            description="Where the node runs: a backend, or a block with its settings.",
        ),
        "retry": _either(count, flag, _object(retry), description="Attempts in all, or how to try again."),
        "timeout": _either(duration, {"const": False}, description="Stop the node after this time."),
        "cache": _either(flag, _object(cache), description="Keep the node's output."),
        "batch": _either(count, flag, _object(batch), description="Cut the stream input into calls."),
        "effects": {
            "enum": [e.value for e in Effects],
            "description": "What a second execution of the node would do.",
        },
    }


def _execution_block() -> Schema:
    backend = {
        "type": "string",
        "minLength": 1,
        "examples": ["local", "process", "docker", "aws_lambda", "ray", "dask", "celery"],
    }
    properties = {
        "backend": backend,
        "target": {**backend, "description": "Another word for backend."},
        "protocol": {
            "enum": list(PROTOCOLS),
            "description": "How inputs and output travel: json for a program that knows nothing of Petal, "
            "the default where the block names an entrypoint or a command.",
        },
        "unsigned": {
            "type": "boolean",
            "default": False,
            "description": "Let plain JSON pass without a seal, although there is a keyring.",
        },
    }
    named = [{"required": ["backend"]}, {"required": ["target"]}]
    name: Schema = {"type": "string", "minLength": 1}
    place: Schema = {"type": "object", "properties": {**properties, "failover": False}, "anyOf": named}
    failover = _either(
        name,
        place,
        _list_of(_either(name, place)),
        description="Where to go, in order, when the backend is down: names, or blocks with settings.",
    )
    return {
        "type": "object",
        "properties": {**properties, "failover": failover},
        "anyOf": [*named, {"maxProperties": 0}],
    }


def _node(types: list[OperatorSpec], conditions: list[Schema], *, closed: bool) -> Schema:
    names: list[Schema] = []
    for operator in types:
        summary = parse_doc(operator.doc).summary
        for name in type_names(operator):
            names.append({"const": name, "description": summary} if summary else {"const": name})
    if not closed:
        names.append({"type": "string", "minLength": 1})
    properties = {
        "id": _to("id"),
        "type": {"description": "The operator.", **(_either(*names) if names else {"not": {}})},
        "params": {"type": "object", "description": "Values for the operator's parameters."},
        "inputs": _to("sources"),
        **_policies(),
        "after": _to("after"),
    }
    node = _object(properties, text="An operator placed in the pipeline.")
    return {**node, "allOf": conditions} if conditions else node


def _conditions(types: list[OperatorSpec]) -> tuple[list[Schema], dict[str, Schema]]:
    """Say for each operator what its nodes' params and inputs look like: one ``if`` and ``then`` each."""
    wanted: list[object] = []
    for operator in types:
        wanted += [p.annotation for p in operator.params]
        wanted += [input_annotation(i) for i in operator.inputs]
    schemas, definitions = value_schemas(wanted)
    left = iter(schemas)
    conditions = []
    for operator in types:
        name = f"params.{operator.name}"
        doc = parse_doc(operator.doc)
        params = {p.name: _param(p, next(left), doc.args.get(p.name)) for p in operator.params}
        constants = {i.name: _param(i, next(left), doc.args.get(i.name)) for i in operator.inputs}
        required = [p.name for p in operator.params if p.default is MISSING]
        definitions[name] = _object({**constants, **params}, required=required, text=doc.summary)
        if operator.ref == WRAPPER:  # the rest is what the wrapped operator takes
            definitions[name].pop("additionalProperties")
        then: Schema = {"properties": {"params": _to(name)}}
        if required:
            then["required"] = ["params"]
        if operator.ref != WRAPPER:
            then["properties"]["inputs"] = {"propertyNames": {"enum": [i.name for i in operator.inputs]}}
        if not operator.inputs:
            then["properties"]["inputs"] = {"maxProperties": 0}
        given = {"properties": {"type": {"enum": type_names(operator)}}, "required": ["type"]}
        conditions.append({"if": given, "then": then})
    return conditions, definitions


def _param(param: Param | Input, schema: Schema, text: str | None) -> Schema:
    """Add what a reader wants to know of a parameter: its text and its default."""
    found = dict(schema)
    if text and "description" not in found:
        found = {"description": text, **found}
    for default in plain_default(param.default):
        found["default"] = default
        if default is None and "anyOf" in found and {"type": "null"} not in found["anyOf"]:
            found["anyOf"] = [*found["anyOf"], {"type": "null"}]
        elif default is None and found.get("type") == "string":
            found["type"] = ["string", "null"]
    return found
