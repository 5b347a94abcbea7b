"""Find the stages of a plan: which streaming nodes run together, and which of their rows may go to disk (S4).

A node is *pulled* when its whole output goes to one consumer: both run on the consumer's thread with nothing between
them. Every other streaming node is a *trunk*: it pushes batches into one bounded buffer per consumer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from petal.planning.holding import is_held
from petal.spec.operator import OperatorSpec
from petal.spec.plan import (
    FromNode,
    Link,
    Plan,
    PlanNode,
    Resolved,
    Stage,
    distinct_policies,
    output_view,
    stream_ports,
)


class _Edge:
    __slots__ = ("input", "port", "source", "target", "whole")

    def __init__(self, source: int, port: str, target: int, name: str, whole: bool) -> None:
        self.source, self.port, self.target, self.input, self.whole = source, port, target, name, whole


def find_stages(
    nodes: Sequence[PlanNode],
    operators: dict[str, OperatorSpec],
    policies: Iterable[Resolved | None] | None = None,
) -> tuple[Stage, ...]:
    """Group the streaming nodes into stages; ``policies`` are theirs, each once."""
    if not any_stream(operators, distinct_policies(nodes) if policies is None else policies):
        return ()
    held = [is_held(n) for n in nodes]
    streaming = [
        not waits and _streams(n, operators[n.operator]) for n, waits in zip(nodes, held, strict=True)
    ]
    edges = _edges(nodes, operators, streaming, held)
    leaders = list(range(len(nodes)))

    def leader(i: int) -> int:
        while leaders[i] != i:
            leaders[i] = leaders[leaders[i]]
            i = leaders[i]
        return i

    for edge in edges:
        if not held[edge.target]:
            leaders[leader(edge.source)] = leader(edge.target)
    spilling = _spilling(nodes, edges)
    groups: dict[int, list[int]] = {}
    for i in range(len(nodes)):
        groups.setdefault(leader(i), []).append(i)
    links: dict[int, list[Link]] = {}
    for k, edge in enumerate(edges):
        if held[edge.target]:
            continue
        links.setdefault(leader(edge.source), []).append(
            Link(edge.source, edge.port, edge.target, edge.input, k in spilling)
        )
    return tuple(Stage(tuple(g), tuple(links[r])) for r, g in groups.items() if r in links)


def any_stream(operators: dict[str, OperatorSpec], policies: Iterable[Resolved | None]) -> bool:
    """Whether anything flows; told by what nodes share, as most plans of many nodes hold values alone."""
    outputs = {id(s.outputs): s.outputs for s in operators.values()}.values()
    if any(port.seen.view.streams for ports in outputs for port in ports):
        return True
    return any(p is not None and p.batch is not None for p in policies)


def _streams(node: PlanNode, spec: OperatorSpec) -> bool:
    return bool(spec.outputs) and output_view(node, spec).view.streams


def feeds(node: PlanNode) -> list[tuple[str, int, FromNode]]:
    """List a node's inputs that other nodes feed: input name, position within it, and the port."""
    found: list[tuple[str, int, FromNode]] = []
    for name, binding in node.inputs.items():
        if isinstance(binding, tuple):
            found += [(name, k, b) for k, b in enumerate(binding) if isinstance(b, FromNode)]
        elif isinstance(binding, FromNode):
            found.append((name, 0, binding))
    return found


def plan_edges(plan: Plan) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the ids of a plan's nodes and its edges, order edges included, for a picture."""
    ids = [n.id for n in plan.nodes]
    pairs = []
    for node in plan.nodes:
        pairs += [(ids[f.node], node.id) for _, _, f in feeds(node)]
        pairs += [(ids[i], node.id) for i in node.after]
    return ids, list(dict.fromkeys(pairs))


def _edges(
    nodes: Sequence[PlanNode],
    operators: dict[str, OperatorSpec],
    streaming: list[bool],
    held: list[bool],
) -> list[_Edge]:
    edges = []
    for i, node in enumerate(nodes):
        for name, _, feed in feeds(node):
            split = not held[feed.node] and feed.port in stream_ports(operators[nodes[feed.node].operator])
            if split or (streaming[feed.node] and feed.port == "output"):
                port = operators[node.operator].input(name)
                whole = port is None or not port.seen.view.streams
                edges.append(_Edge(feed.node, feed.port, i, name, whole))
    return edges


def _spilling(nodes: Sequence[PlanNode], edges: list[_Edge]) -> set[int]:
    """Number the stream edges whose consumers meet again: they lie on a cycle of the graph without directions.

    A trunk that waits for room in one buffer while a consumer of another starves can only be part of a deadlock when
    the two buffers lie on such a cycle. Every edge counts, data of any view and ``after`` alike.
    """
    out: dict[int, list[int]] = {}
    for k, edge in enumerate(edges):
        out.setdefault(edge.source, []).append(k)
    neighbours: dict[int, set[int]] = {}
    dependents: dict[int, set[int]] = {}
    for i, node in enumerate(nodes):
        for source in {f.node for _, _, f in feeds(node)} | set(node.after):
            neighbours.setdefault(i, set()).add(source)
            neighbours.setdefault(source, set()).add(i)
            dependents.setdefault(source, set()).add(i)
    spilling: set[int] = set()
    for trunk, mine in out.items():
        if len(mine) < 2 and len(dependents[trunk]) < 2:
            continue
        part = _parts_without(trunk, dependents[trunk], neighbours)
        members: dict[int, int] = {}
        for consumer in dependents[trunk]:
            members[part[consumer]] = members.get(part[consumer], 0) + 1
        twice = {edges[k].target for k in mine if sum(edges[j].target == edges[k].target for j in mine) > 1}
        for k in mine:
            target = edges[k].target
            if members[part[target]] > 1 or target in twice:
                spilling.add(k)
    return spilling


def _parts_without(trunk: int, starts: set[int], neighbours: dict[int, set[int]]) -> dict[int, int]:
    """Tell which of ``starts`` are connected when ``trunk`` is taken away."""
    part: dict[int, int] = {}
    for start in starts:
        if start in part:
            continue
        part[start] = start
        waiting = [start]
        while waiting:
            for other in neighbours[waiting.pop()]:
                if other != trunk and other not in part:
                    part[other] = start
                    waiting.append(other)
    return part
