"""A pipeline as its author wrote it, whichever front end it came through."""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Final

from msgspec import Struct, field

from petal.spec.policy import NO_POLICIES, Policies


class Missing(Enum):
    """The type of :data:`MISSING`."""

    MISSING = "missing"

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


#: "There is none": no default, no annotation. Unlike None it can never be a user's value.
MISSING: Final = Missing.MISSING

#: What an id may look like (S2.4).
ID_PATTERN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class NodeSpec(Struct, frozen=True, gc=False, omit_defaults=True):
    """An operator placed in a pipeline.

    Attributes:
        id: Unique within the pipeline; matches :data:`ID_PATTERN`.
        type: The operator's name, looked up in the session's scopes (S2.5).
        params: Values for parameters, or constants for inputs. May hold ``${...}`` references in text.
        inputs: Input name to the node, ``node.port`` or module output that feeds it; a tuple for a variadic input.
        after: Ids of nodes that must have succeeded before, without data.
        policies: What this node says about how it is run.
    """

    id: str
    type: str
    params: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str | tuple[str, ...]] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    policies: Policies = NO_POLICIES


class EdgeSpec(Struct, frozen=True, gc=False):
    """An edge: ``source`` is ``node`` or ``node.port``, ``target`` likewise."""

    source: str
    target: str


class ModuleSpec(Struct, frozen=True, omit_defaults=True):
    """Another pipeline file used as a node; ``path`` is relative to the file that says it."""

    id: str
    path: str
    params: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str | tuple[str, ...]] = field(default_factory=dict)
    after: tuple[str, ...] = ()


class PipelineSpec(Struct, frozen=True, omit_defaults=True):
    """A pipeline: data only; the verbs are functions on the floors above.

    Attributes:
        name: Shown in pictures and logs; by default the file's stem.
        plugins: Python files (``./x.py``), dotted modules, or installed plugins by name (S7.3).
        params: Pipeline parameters with their defaults, ``${params.x}``.
        inputs: Pipeline inputs; the default, or MISSING when one must be given.
        cache_io: Keep every node's output; the URL of a store that other machines use as well, to keep it there too.
        defaults: Policies for every node.
        outputs: What the pipeline shows as a module: output name to ``node`` or ``node.port``.
        run_timeout: Seconds that the whole run may take.
    """

    name: str = ""
    plugins: tuple[str, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    cache_io: bool | str = False
    defaults: Policies = NO_POLICIES
    run_timeout: float | None = None
    nodes: tuple[NodeSpec, ...] = ()
    edges: tuple[EdgeSpec, ...] = ()
    modules: tuple[ModuleSpec, ...] = ()
    outputs: dict[str, str] = field(default_factory=dict)


def split_port(text: str) -> tuple[str, str | None]:
    """Split ``node.port`` into its parts; without a dot the port is None."""
    head, dot, port = text.partition(".")
    return head, port if dot else None
