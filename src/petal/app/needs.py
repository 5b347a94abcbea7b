"""Say what must be there where the nodes of one backend run, for who makes an image or a package of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from petal.app.session import Session
from petal.code.needs import Needs, needs
from petal.interfaces.source import Operator
from petal.running.secrets import schemes_in
from petal.spec.operator import Input, OperatorSpec, Output
from petal.spec.plan import Plan, PlanNode
from petal.spec.policy import Execution
from petal.spec.url import schemes_in as url_schemes_in
from petal.spec.views import View


def needs_of(
    plan: Plan,
    operators: Mapping[str, Operator],
    session: Session,
    backend: str,
    folder: str,
    folders: Iterable[str],
    *,
    also: Iterable[str] = (),
    there: Iterable[str] = (),
) -> Needs:
    """Find the nodes that may run on a backend, and what their operators and the plugins that these use are made of.

    Args:
        plan: The plan.
        operators: Its operators.
        session: Knows the plugins that take part.
        backend: The backend's name.
        folder: The pipeline's folder.
        folders: Folders whose Python must be importable.
        also: Distributions that are needed besides.
        there: Distributions that are there already.
    """
    places = {node.id: _place(node, backend) for node in plan.nodes}
    nodes = [node for node in plan.nodes if places[node.id] is not None]
    specs = [plan.operators[node.operator] for node in nodes]
    opener = session.opener()
    schemes = {scheme for node in nodes for scheme in schemes_in(node.params)}
    brought: list[Any] = [type(codec) for codec in opener.codecs()] if nodes else []
    brought += [type(adapter) for spec in specs for adapter in _adapters(spec)]
    brought += opener.resolvers(schemes).values() if nodes else ()
    urls = {scheme for node in nodes for scheme in url_schemes_in(node.params)}
    brought += opener.filesystems(urls).values() if nodes else ()
    found = needs(
        [operators[node.operator].target for node in nodes] + brought,
        folder,
        folders,
        frames=any(_takes_frames(spec) for spec in specs),
        also=also,
        there=there,
    )
    return replace(found, nodes={id: place.settings for id, place in places.items() if place is not None})


def _place(node: PlanNode, backend: str) -> Execution | None:
    """Return where on that backend a node runs that speaks Petal's protocol, None where it does not."""
    places = node.policies.execution.places if node.policies is not None else ()
    return next((place for place in places if place.backend == backend and not place.speaks_json), None)


def _adapters(spec: OperatorSpec) -> Iterable[Any]:
    return {id(one): one for port in _ports(spec) for one in port.seen.adapters}.values()


def _takes_frames(spec: OperatorSpec) -> bool:
    """Whether an operator's data is made of frames; a frame of any library travels through Polars."""
    seen = [port.seen for port in _ports(spec)]
    return any(
        one.view is View.BATCHES or one.holds_records or (one.view is View.WHOLE and "." in one.container)
        for one in seen
    )


def _ports(spec: OperatorSpec) -> list[Input | Output]:
    return [*spec.inputs, *spec.outputs]
