"""Turn a :class:`PipelineSpec` into the plain data of a file, in one canonical order and in short forms."""

from __future__ import annotations

import math
from dataclasses import is_dataclass
from datetime import date, time
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec

from petal.config.write import dump
from petal.errors import DefinitionError, UsageError
from petal.spec.pipeline import MISSING, ModuleSpec, NodeSpec, PipelineSpec
from petal.spec.policy import (
    EXECUTION_KEYS,
    NO_POLICIES,
    POLICY_NAMES,
    Batch,
    Cache,
    Effects,
    Execution,
    Policies,
    Retry,
    duration_text,
    seconds,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from petal.config.syntax import Format

#: Deeper than this is no parameter, but a list that holds itself.
_MAX_DEPTH: Final = 48
#: Keys of an ``execution`` block that are not settings.
_RESERVED: Final = frozenset(EXECUTION_KEYS)


def encode(spec: PipelineSpec) -> dict[str, Any]:
    """Return what a file says for this pipeline: dicts, lists, text, numbers, booleans and None.

    Paths and dates become text, tuples lists, enums their values, structs and dataclasses mappings.

    Raises:
        UsageError: A parameter is something that no file can carry; the message names node and parameter.
    """
    return _pipeline(spec, None)


def to_text(spec: PipelineSpec, format: Format) -> str:
    """Return the text of a pipeline file.

    Args:
        spec: The pipeline.
        format: ``yaml``, ``json`` or ``toml``.

    Raises:
        UsageError: A value is something that no file, or no file of this format, can carry.
    """
    return dump(_pipeline(spec, format), format)


def _pipeline(spec: PipelineSpec, format: Format | None) -> dict[str, Any]:
    """Collect what is said; what is empty or a default is left out."""
    plain = _Plain(format)
    said: dict[str, Any] = {
        "name": spec.name,
        "plugins": list(spec.plugins),
        "params": plain.named(spec.params, "parameter"),
        "inputs": _inputs(spec.inputs, plain),
        "cache_io": spec.cache_io,
        "defaults": _policies(spec.defaults, plain),
        "run_timeout": None if spec.run_timeout is None else _duration(spec.run_timeout),
        "nodes": [_node(n, format) for n in spec.nodes],
        "edges": [[e.source, e.target] for e in spec.edges],
        "modules": [_module(m, format) for m in spec.modules],
        "outputs": dict(spec.outputs),
    }
    return {k: v for k, v in said.items() if v or (k == "run_timeout" and v is not None)}


def _node(node: NodeSpec, format: Format | None) -> dict[str, Any]:
    plain = _Plain(format, node.id)
    said: dict[str, Any] = {"id": node.id, "type": node.type}
    if node.params:
        said["params"] = plain.named(node.params, "parameter")
    if node.inputs:
        said["inputs"] = _sources(node.inputs)
    if node.policies != NO_POLICIES:
        said.update(_policies(node.policies, plain))
    if node.after:
        said["after"] = list(node.after)
    return said


def _module(module: ModuleSpec, format: Format | None) -> dict[str, Any]:
    plain = _Plain(format, module.id)
    said: dict[str, Any] = {"id": module.id, "path": module.path}
    if module.params:
        said["params"] = plain.named(module.params, "parameter")
    if module.inputs:
        said["inputs"] = _sources(module.inputs)
    if module.after:
        said["after"] = list(module.after)
    return said


def _sources(inputs: dict[str, str | tuple[str, ...]]) -> dict[str, str | list[str]]:
    return {k: v if isinstance(v, str) else list(v) for k, v in inputs.items()}


def _inputs(inputs: dict[str, Any], plain: _Plain) -> Any:
    """Write names when all inputs are required, names and defaults otherwise."""
    given = plain.named({k: v for k, v in inputs.items() if v is not MISSING}, "input")
    if len(given) == len(inputs):
        return given
    return [{k: given[k]} if k in given else k for k in inputs]


def _policies(policies: Policies, plain: _Plain) -> dict[str, Any]:
    said = {}
    for name in POLICY_NAMES:
        value = getattr(policies, name)
        if value is not None:
            said[name] = value if isinstance(value, bool) else _WRITERS[name](value, plain)
    return said


def _execution(policy: Execution, plain: _Plain) -> Any:
    taken = _RESERVED.intersection(policy.settings)
    if taken:
        raise UsageError(
            f"a setting of execution cannot be called {min(taken)!r} in a file{plain.owner}",
            hint="`backend`, `target`, `failover`, `protocol` and `unsigned` have a meaning of their own",
            node=plain.node,
        )
    if policy == Execution(policy.backend):
        return policy.backend
    block: dict[str, Any] = {"backend": policy.backend, **plain.named(policy.settings, "execution setting")}
    if policy.failover:
        block["failover"] = [_execution(place, plain) for place in policy.failover]
    if policy.protocol is not None:
        block["protocol"] = policy.protocol
    if policy.unsigned:
        block["unsigned"] = True
    return block


def _retry(policy: Retry, _: _Plain) -> Any:
    block: dict[str, Any] = {k: v for k, v in _differences(policy).items() if k != "max_attempts"}
    return {"max_attempts": policy.max_attempts, **block} if block else policy.max_attempts


def _timeout(policy: float, _: _Plain) -> Any:
    return _duration(policy)


def _cache(policy: Cache, _: _Plain) -> Any:
    return _differences(policy) or True


def _batch(policy: Batch, _: _Plain) -> Any:
    block = {k: v for k, v in _differences(policy).items() if k != "size"}
    return {"size": policy.size, **block} if block else policy.size


def _effects(policy: Effects, _: _Plain) -> Any:
    return policy.value


_WRITERS: Final[dict[str, Callable[[Any, _Plain], Any]]] = {
    "execution": _execution,
    "retry": _retry,
    "timeout": _timeout,
    "cache": _cache,
    "batch": _batch,
    "effects": _effects,
}
_DURATIONS: Final = frozenset({"delay", "max_delay", "ttl"})


def _differences(policy: Retry | Cache | Batch) -> dict[str, Any]:
    """Return the fields that differ from their defaults, as a file says them."""
    said = {}
    for field in msgspec.structs.fields(policy):
        value = getattr(policy, field.name)
        if value == field.default:
            continue
        if field.name in _DURATIONS:
            value = _duration(value)
        said[field.name] = list(value) if isinstance(value, tuple) else value
    return said


def _duration(value: float) -> str | int | float:
    """Write seconds as text like ``30s``, or as a number where the text would not be exact."""
    if value == 0:
        return 0
    text = duration_text(value)
    try:
        return text if seconds(text) == value else value
    except DefinitionError:
        return value


class _Plain:
    """Makes the values of one node, or of the pipeline itself, plain, and says which one cannot be."""

    def __init__(self, format: Format | None, node: str | None = None) -> None:
        self._format = format
        self.node = node
        self.owner = "" if node is None else f", in node {node!r}"

    def named(self, values: dict[str, Any], kind: str) -> dict[str, Any]:
        """Return a mapping of names to values as plain data."""
        return {self._key(k, f"{kind} {k!r}"): self._value(v, f"{kind} {k!r}", 0) for k, v in values.items()}

    def _value(self, value: Any, what: str, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise self._refusal(what, f"is nested more than {_MAX_DEPTH} deep", "flatten it")
        if value is None:
            if self._format == "toml":
                hint = "write YAML or JSON, or leave it out where the default is None"
                raise self._refusal(what, "is None, which TOML cannot say", hint)
            return None
        if isinstance(value, bool):
            return value
        if isinstance(value, Enum):
            return self._value(value.value, what, depth + 1)
        if isinstance(value, str):
            return str(value)
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            if self._format == "json" and not math.isfinite(value):
                raise self._refusal(what, f"is {value}, which JSON cannot say", "write YAML or TOML")
            return float(value)
        if isinstance(value, list | tuple):
            return [self._value(v, what, depth + 1) for v in value]
        if isinstance(value, dict):
            return {self._key(k, what): self._value(v, what, depth + 1) for k, v in value.items()}
        return self._other(value, what, depth)

    def _other(self, value: Any, what: str, depth: int) -> Any:
        """Write the objects that have one plain form."""
        if isinstance(value, PurePath | Decimal | UUID):
            return str(value)
        if isinstance(value, date | time):
            return value.isoformat()
        if isinstance(value, set | frozenset):
            raise self._refusal(what, "is a set, which no file can carry", "give a list")
        if isinstance(value, bytes | bytearray | memoryview):
            raise self._refusal(what, "is bytes, which no file can carry", "give text, or the path of a file")
        if isinstance(value, msgspec.Struct) or (is_dataclass(value) and not isinstance(value, type)):
            return self._value(self._fields(value, what), what, depth + 1)
        if callable(value):
            name = getattr(value, "__qualname__", type(value).__qualname__)
            hint = "give its name, and look it up in the operator; or keep the pipeline in Python"
            raise self._refusal(what, f"is the function or class `{name}`, which no file can carry", hint)
        hint = "give text, numbers, lists and dicts, and build the object in the operator"
        raise self._refusal(what, f"is a `{type(value).__qualname__}`, which no file can carry", hint)

    def _fields(self, record: Any, what: str) -> Any:
        """Write a struct or dataclass the way its annotation reads it back."""

        def other(value: Any) -> str:
            if isinstance(value, PurePath):
                return str(value)
            raise TypeError(f"holds a `{type(value).__qualname__}`, which no file can carry")

        try:
            return msgspec.to_builtins(record, str_keys=True, enc_hook=other)
        except TypeError as error:
            hint = "give text, numbers, lists and dicts, and build the object in the operator"
            raise self._refusal(what, str(error), hint) from None

    def _key(self, key: Any, what: str) -> str:
        if isinstance(key, str):
            return str(key.value) if isinstance(key, Enum) else str(key)
        raise self._refusal(what, f"has the key {key!r}, and a file's keys are text", "make the keys text")

    def _refusal(self, what: str, problem: str, hint: str) -> UsageError:
        where = "" if self.node is None else f" of node {self.node!r}"
        return UsageError(f"{what}{where} {problem}", hint=hint, node=self.node)
