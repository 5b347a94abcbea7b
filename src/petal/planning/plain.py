"""Say what a node is that speaks plain JSON: a program of the user's own, of which nothing is installed here (S6.3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from petal.planning.expand import Draft
from petal.planning.request import Request, placed
from petal.spec.operator import Flavour, Input, OperatorSpec, Output, Param
from petal.spec.pipeline import split_port
from petal.spec.policy import Execution


class Program(Struct, frozen=True):
    """What stands for the operator of such a node (see :class:`petal.interfaces.source.Operator`)."""

    spec: OperatorSpec
    target: Any = None
    origin: str = "a program that speaks plain JSON"


def speaks_json(draft: Draft, request: Request) -> bool:
    """Whether a node speaks plain JSON, by what the caller, its author or its pipeline's ``defaults`` say.

    One that fails over to a place that does not speak it needs its operator as any other node.
    """
    said = draft.spec.policies.execution or draft.scope.part.spec.defaults.execution
    if request.backends:
        backend = request.backends.get(draft.id, request.backends.get(""))
        if backend is not None:
            said = placed(said or Execution(), backend)
    return said is not None and all([place.speaks_json for place in said.places])


def program(draft: Draft) -> Program:
    """Describe the program of a node: its inputs are those that the pipeline binds, its parameters free."""
    name = draft.spec.type
    inputs = tuple(_inputs(draft))
    params = tuple([Param(n) for n in draft.spec.params if all(n != i.name for i in inputs)])
    spec = OperatorSpec(
        name,
        "",
        Flavour.FUNCTION,
        inputs,
        params,
        (Output("output"),),
        takes_any_params=True,
    )
    return Program(spec)


def _inputs(draft: Draft) -> Iterator[Input]:
    """Give the inputs in order: those under ``inputs``, then those that edges name, then one for each other edge."""
    said = draft.spec.inputs
    for name, source in said.items():
        yield Input(name, variadic=isinstance(source, tuple))
    taken, nameless = set(said), list[str]()
    for _, edge, port in draft.scope.edges.get(draft.spec.id, ()):
        if port is None:
            nameless.append(split_port(edge.source)[0])
        elif port not in taken:
            taken.add(port)
            yield Input(port)
    for source in nameless:
        name, count = source, 2
        while name in taken:
            name, count = f"{source}_{count}", count + 1
        taken.add(name)
        yield Input(name)
