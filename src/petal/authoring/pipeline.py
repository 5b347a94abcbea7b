"""Functions and ``node()`` entries to a pipeline specification (S2)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from os.path import basename
from types import FunctionType
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from petal.errors import DefinitionError, Location
from petal.plugin.registry import Operator
from petal.spec.memory import without_collection
from petal.spec.operator import OperatorSpec, camel_case
from petal.spec.pipeline import ID_PATTERN, MISSING, NodeSpec, PipelineSpec
from petal.spec.policy import NO_POLICIES, Batch, Cache, Effects, Execution, Policies, Retry, seconds
from petal.spec.signature import describe

_POLICY_WORDS = ("execution", "retry", "timeout", "cache", "batch", "effects")
#: What of their blocks may be text such as `500ms`.
_DURATIONS = frozenset({"delay", "max_delay", "ttl"})


class Node(Struct, frozen=True, gc=False):
    """An operator placed in a pipeline: what :func:`node` returns."""

    operator: Any
    id: str
    inputs: dict[str, str | tuple[str, ...]]
    params: dict[str, Any]
    after: tuple[str, ...] = ()
    policies: Policies = NO_POLICIES
    file: str = ""
    line: int = 0


#: What stands for a node where another is named: its id, the node, or the function whose name is its id.
Source: TypeAlias = str | Node | Callable[..., Any]


class Authored(Struct, frozen=True):
    """A pipeline written in Python.

    Attributes:
        spec: What it says.
        operators: Its own operators by type name; library operators named by text are not among them.
        implied: Inputs that no node and nobody else gives (S2.2).
        written: Where the nodes that name an operator by text were written, by position.
    """

    spec: PipelineSpec
    operators: dict[str, Operator]
    implied: frozenset[str]
    written: dict[int, Location]

    def place(self, position: int) -> Location | None:
        """Return where the node at a position stands: where its operator is defined, or where it was written."""
        if position in self.written:
            return self.written[position]
        own = self.operators.get(self.spec.nodes[position].type)
        return Location(own.spec.file, own.spec.line, 1) if own is not None and own.spec.file else None


def node(
    operator: Any,
    *,
    id: str | None = None,
    inputs: Mapping[str, Source | Iterable[Source]] | None = None,
    after: Iterable[Any] = (),
    params: Mapping[str, Any] | None = None,
    policies: Mapping[str, Any] | None = None,
    **more: Any,
) -> Node:
    """Place an operator in a pipeline under an id of its own.

    Args:
        operator: A function, a class with ``process``, or the name of an operator such as ``"FileReader"``.
        id: The node's id; by default the function's name.
        inputs: Input name to the node (or ``node.port``) that feeds it; a list for a variadic input.
        after: Nodes, or their ids, that must have succeeded before.
        params: Parameters whose names clash with the arguments of this function.
        policies: ``execution``, ``retry``, ``timeout``, ``cache``, ``batch``, ``effects``, as in a file.
        more: Parameters of the operator.

    Raises:
        DefinitionError: The entry cannot work.
    """
    if isinstance(operator, Node):
        raise DefinitionError("node() was given a node", hint="give it the function itself")
    if not isinstance(operator, str) and not callable(operator):
        raise DefinitionError(
            f"{operator!r:.80} is not an operator",
            hint="give a function, a class with `process`, or the name of an operator",
            code="not-an-operator",
        )
    name = id if id is not None else _default_id(operator)
    if not isinstance(name, str) or not ID_PATTERN.fullmatch(name):
        raise DefinitionError(
            f"{name!r} is not an id",
            hint="give one: node(..., id='my_node'); letters, digits, `_` and `-`, beginning with a letter",
            code="bad-id",
        )
    if inputs is not None and not isinstance(inputs, Mapping):
        raise DefinitionError(f"inputs is {inputs!r:.80}", hint="give a mapping: inputs={'input': 'node'}")
    bindings = {key: _sources(f"input `{key}`", source) for key, source in (inputs or {}).items()}
    order = _sources("after", after)
    file, line = "", 0
    if not callable(operator):
        caller = sys._getframe(1)
        file, line = caller.f_code.co_filename, caller.f_lineno
    return Node(
        operator,
        name,
        bindings,
        {**(params or {}), **more},
        (order,) if isinstance(order, str) else order,
        _policies(policies) if policies else NO_POLICIES,
        file,
        line,
    )


@without_collection
def author(items: Iterable[Any], name: str) -> Authored:
    """Make a specification of functions, classes and nodes.

    Raises:
        DefinitionError: An item is no operator, or two have one id.
    """
    operators: dict[str, Operator] = {}
    by_object: dict[int, str] = {}
    nodes: list[NodeSpec] = []
    specs: list[OperatorSpec | None] = []
    written: dict[int, Location] = {}
    ids: set[str] = set()
    for item in items:
        placed = item if isinstance(item, Node) else None
        target = placed.operator if placed is not None else _bare(item)
        id = placed.id if placed is not None else item.__name__
        if id in ids:
            raise DefinitionError(
                f"two nodes have the id `{id}`",
                hint=f"give one of them another: node({_default_id(target)}, id=...)",
                code="duplicate-id",
            )
        ids.add(id)
        type_name, spec = _type_of(target, id, operators, by_object)
        specs.append(spec)
        if placed is None:
            nodes.append(NodeSpec(id, type_name))
            continue
        if placed.file:
            written[len(nodes)] = Location(placed.file, placed.line, 1)
        nodes.append(NodeSpec(id, type_name, placed.params, placed.inputs, placed.after, placed.policies))
    inputs, implied = _implied(nodes, specs, ids)
    plugins = _plugins(operators)
    pipeline = PipelineSpec(name=name, plugins=plugins, inputs=inputs, nodes=tuple(nodes))
    return Authored(pipeline, operators, implied, written)


def _bare(item: Any) -> Any:
    """Return what is given without a node around it: a function or a class."""
    if not isinstance(item, FunctionType | type):
        hint = (
            "write node('Name', id=...)"
            if isinstance(item, str)
            else "give functions, classes with `process`, or node(...)"
        )
        raise DefinitionError(f"{item!r:.80} is not an operator", hint=hint, code="not-an-operator")
    return item


def _default_id(operator: Any) -> str:
    if isinstance(operator, str):
        return operator
    found: str = getattr(operator, "__name__", "")
    return found


def _sources(what: str, source: Any) -> str | tuple[str, ...]:
    """Return the id of one node, or the ids of several."""
    found = _id_of(source)
    if found:
        return found
    ids = [_id_of(s) for s in source] if isinstance(source, Iterable) else [""]
    if not all(ids):
        raise DefinitionError(
            f"{what} is {source!r:.80}", hint="name nodes by their ids, or give their functions"
        )
    return tuple(ids)


def _id_of(source: Any) -> str:
    if isinstance(source, str):
        return source
    return source.id if isinstance(source, Node) else _default_id(source)


def _type_of(
    target: Any, node_id: str, operators: dict[str, Operator], by_object: dict[int, str]
) -> tuple[str, OperatorSpec | None]:
    """Return the type name of a node, entering its operator under it."""
    if isinstance(target, str):
        return target, None
    known = by_object.get(id(target))
    if known is not None:
        return known, operators[known].spec
    spec = describe(target)
    type_name = spec.name
    if (
        "<" in spec.ref or type_name in operators
    ):  # a lambda or nested function has no name of its own to be found by
        if type_name in operators and "<" not in spec.ref:
            first = operators[type_name].spec
            raise DefinitionError(
                f"two operators are called {type_name}: {first.ref} and {spec.ref}",
                hint="rename one: @operator(name=...)",
                code="operator-clash",
            )
        if type_name in operators or not type_name.isidentifier():
            type_name = camel_case(node_id)
            if type_name in operators:
                type_name = node_id
            spec = msgspec.structs.replace(spec, name=type_name)
    origin = _origin_of_file(spec.file) if spec.file else spec.ref.partition(":")[0]
    by_object[id(target)] = type_name
    operators[type_name] = Operator(spec, target, origin)
    return type_name, spec


@lru_cache(256)
def _origin_of_file(file: str) -> str:
    return f"./{basename(file)}"


def _implied(
    nodes: list[NodeSpec], specs: list[OperatorSpec | None], ids: set[str]
) -> tuple[dict[str, Any], frozenset[str]]:
    """Find the inputs that nobody gives: they become pipeline inputs (S2.2)."""
    required: dict[str, Any] = {}
    optional: dict[str, list[Any]] = {}
    for placed, spec in zip(nodes, specs, strict=True):
        if spec is None:
            continue
        for port in spec.inputs:
            name = port.name
            if (
                (name in ids and name != placed.id)
                or port.variadic
                or name in placed.inputs
                or name in placed.params
            ):
                continue
            if port.default is MISSING:
                required[name] = MISSING
            else:
                optional.setdefault(name, []).append(port.default)
    inputs = dict(required)
    for name, defaults in optional.items():
        if name not in inputs and _is_plain(defaults[0]) and all(_same(d, defaults[0]) for d in defaults[1:]):
            inputs[name] = defaults[0]
    return inputs, frozenset(required)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(v) for v in value)
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    return value is None or type(value) in (bool, int, float, str)


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _plugins(operators: dict[str, Operator]) -> tuple[str, ...]:
    """Name the Python files and modules that a pipeline file needs to find these operators (S7.3)."""
    found: dict[str, None] = {}
    for module_name, file in dict.fromkeys(
        [(o.spec.ref.partition(":")[0], o.spec.file) for o in operators.values()]
    ):
        module = sys.modules.get(module_name)
        name = getattr(module, "__name__", "")
        if name.startswith("petal.library"):
            continue
        is_script = name == "__main__" or getattr(module, "__petal_file__", None)
        if file and (is_script or "." not in name):
            found[f"./{basename(file)}"] = None
        elif name:
            found[name] = None
    return tuple(found)


def _policies(said: Mapping[str, Any]) -> Policies:
    """Read policies given in Python, with the short forms of a file."""
    found: dict[str, Any] = {}
    for key, value in said.items():
        if key not in _POLICY_WORDS:
            raise DefinitionError(
                f"there is no policy `{key}`", hint=f"the policies are {', '.join(_POLICY_WORDS)}"
            )
        try:
            found[key] = _policy(key, value)
        except (msgspec.ValidationError, ValueError) as error:
            raise DefinitionError(f"policy `{key}`: {error}", hint="write it as in a pipeline file") from None
    return Policies(**found)


def _policy(key: str, value: Any) -> Any:
    if value is None or value is False or isinstance(value, Struct):
        return value
    if key == "timeout":
        return seconds(value)
    if key == "effects":
        return Effects(value)
    if key == "execution":
        if isinstance(value, str):
            return Execution(value)
        rest = dict(value)
        backend = rest.pop("backend", rest.pop("target", "local"))
        failover = rest.pop("failover", ())
        from petal.authoring.decorators import execution  # a run of a file needs none of it

        return execution(backend, (failover,) if isinstance(failover, str | Mapping) else failover, rest)
    if key == "retry" and isinstance(value, int) and value is not True:
        return Retry(max_attempts=value)
    if key == "batch" and isinstance(value, int) and value is not True:
        return Batch(size=value)
    kinds: dict[str, Any] = {"retry": Retry, "cache": Cache, "batch": Batch}
    if value is True:
        return kinds[key]()
    block = dict(value)
    for name in _DURATIONS & block.keys():
        if block[name]:  # a delay of 0 is none
            block[name] = seconds(block[name])
    return msgspec.convert(block, kinds[key])
