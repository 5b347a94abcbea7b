"""What is known of an operator from its signature, docstring and decorators."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from petal.spec.pipeline import MISSING
from petal.spec.policy import NO_POLICIES, Policies
from petal.spec.views import Seen, View, with_adapters

#: Reference of the operator that stands for the one that its parameter ``operator`` names: planning puts that in its place.
WRAPPER = "petal.library.flaky:retry_wrapper"


class Flavour(StrEnum):
    """What kind of Python object an operator is."""

    FUNCTION = "function"
    GENERATOR = "generator"
    COROUTINE = "coroutine"
    ASYNC_GENERATOR = "async generator"
    CLASS = "class"


class Kind(StrEnum):
    """What an operator is in a pipeline, derived from its ports (S1.4)."""

    SOURCE = "source"
    TRANSFORMER = "transformer"
    SINK = "sink"


class Input(Struct, frozen=True, gc=False):
    """An input port.

    Attributes:
        name: The parameter's name.
        annotation: The resolved annotation, or MISSING.
        seen: The annotation taken apart.
        default: The default, or MISSING when the input must be bound.
        variadic: Whether it is ``*name`` and takes any number of edges.
    """

    name: str
    annotation: object = MISSING
    seen: Seen = Seen(View.VALUE)
    default: object = MISSING
    variadic: bool = False


class Param(Struct, frozen=True, gc=False):
    """A parameter: its annotation (with ``Annotated`` extras) and default, either may be MISSING."""

    name: str
    annotation: object = MISSING
    default: object = MISSING


class Output(Struct, frozen=True, gc=False):
    """An output port; ``output`` is the whole, others are fields of it (S1.5)."""

    name: str
    annotation: object = MISSING
    seen: Seen = Seen(View.VALUE)


class Remark(Struct, frozen=True, gc=False):
    """Something odd about an operator that validation passes on: a diagnostic's code, message and hint."""

    code: str
    message: str
    hint: str | None = None


class OperatorSpec(Struct, frozen=True, gc=False):
    """An operator, described.

    Attributes:
        name: The type name used in files, in CamelCase (S1 of DESIGN.md §2).
        ref: ``module:qualname`` of the object.
        flavour: Function, generator, coroutine, async generator or class.
        inputs: Input ports in signature order; a variadic one is last.
        params: Parameters in signature order.
        outputs: Output ports, ``output`` first; empty for a sink.
        contexts: Names of the arguments that take a Context, in ``__init__`` or the call alike.
        init_contexts: For a class: names of the Context arguments of ``__init__``.
        positional: Every positional argument of the call in order, contexts included.
        doc: The docstring, cleaned.
        policies: What the decorators say.
        rowwise: Whether each output row depends on its input row alone; None when not declared.
        dynamic_outputs: Whether the ports depend on the parameters (``@operator(outputs=fn)``).
        looks_at_columns: Whether it says which columns it looks at (``@operator(columns=fn)``).
        takes_any_params: Whether nothing is known of its parameters, so that it may be given any (S6.3).
        file: The Python file it was defined in, or "".
        line: The line of its definition, or 0.
        remarks: Findings about the operator itself.
    """

    name: str
    ref: str
    flavour: Flavour
    inputs: tuple[Input, ...] = ()
    params: tuple[Param, ...] = ()
    outputs: tuple[Output, ...] = ()
    contexts: tuple[str, ...] = ()
    init_contexts: tuple[str, ...] = ()
    positional: tuple[str, ...] = ()
    doc: str = ""
    policies: Policies = NO_POLICIES
    rowwise: bool | None = None
    dynamic_outputs: bool = False
    looks_at_columns: bool = False
    file: str = ""
    line: int = 0
    remarks: tuple[Remark, ...] = ()
    takes_any_params: bool = False

    @property
    def kind(self) -> Kind:
        """Source, sink or transformer."""
        if not self.outputs:
            return Kind.SINK
        return Kind.TRANSFORMER if self.inputs else Kind.SOURCE

    def input(self, name: str) -> Input | None:
        """Return the input of that name, if there is one."""
        for one in self.inputs:
            if one.name == name:
                return one
        return None

    def param(self, name: str) -> Param | None:
        """Return the parameter of that name, if there is one."""
        for one in self.params:
            if one.name == name:
                return one
        return None

    def output(self, name: str) -> Output | None:
        """Return the output port of that name, if there is one."""
        for one in self.outputs:
            if one.name == name:
                return one
        return None


def adapted(spec: OperatorSpec, adapters: tuple[Any, ...]) -> OperatorSpec:
    """Return an operator's description with the views that adapters bring; itself where none take part."""
    if not adapters:
        return spec
    inputs, outputs = (
        tuple([replace(port, seen=with_adapters(port.seen, port.annotation, adapters)) for port in ports])
        for ports in (spec.inputs, spec.outputs)
    )
    return replace(spec, inputs=inputs, outputs=outputs)


def camel_case(name: str) -> str:
    """Turn ``regex_filter`` into ``RegexFilter``; a name that is CamelCase already stays."""
    if "_" not in name:
        return name[:1].upper() + name[1:]
    return "".join([part[:1].upper() + part[1:] for part in name.split("_")])
