"""Find the local nodes that must run in a worker process, because a time-out can only stop a process (S4.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from petal.planning.holding import is_held
from petal.planning.stages import feeds
from petal.planning.values import file_use
from petal.spec.operator import OperatorSpec
from petal.spec.plan import Moved, Plan, PlanNode, Resolved, Stage, policies_of
from petal.spec.policy import Execution
from petal.spec.views import WRITES

_HERE = Execution()


def find_moved(
    nodes: Sequence[PlanNode],
    operators: Mapping[str, OperatorSpec],
    stages: Iterable[Stage],
    overrides: Iterable[int],
    policies: Iterable[Resolved | None],
) -> tuple[Moved, ...]:
    """Group the nodes that move: a stage with a time-out moves as one, so that it keeps streaming.

    A node in batches is called on its own, each call with its own time; it moves with nobody. What reads or writes a
    standard stream stays, unless it has a time-out itself, which is refused.
    """
    if not any(p is not None and p.timeout is not None for p in policies):
        return ()
    given = set(overrides)
    for i, node in enumerate(nodes):
        if not _has_timeout(node) and standard_stream(node, operators[node.operator]) is not None:
            given.add(i)
    stage_of = {i: stage for stage in stages for i in stage.nodes}
    found: list[Moved] = []
    done: set[int] = set()
    for i, node in enumerate(nodes):
        if i in done or i in given or not _has_timeout(node) or not _may_move(node):
            continue
        stage = stage_of.get(i)
        group = {i}
        if stage is not None:
            group = _neighbours(nodes, stage, i, given)
            group = _closed(nodes, group, given)
        if i not in group:
            group = {i}
        done |= group
        members = tuple(sorted(group))
        found.append(Moved(members, {m: _timeout(nodes[m]) for m in members if _has_timeout(nodes[m])}))
    return tuple(found)


def standard_stream(node: PlanNode, spec: OperatorSpec) -> str | None:
    """Say that a node reads standard input or writes to standard output, which belong to this process."""
    for param in spec.params:
        use = file_use(param.annotation)
        if use is not None and str(node.params.get(param.name, param.default)) == "-":
            what = "standard output" if use is WRITES else "standard input"
            return f"its parameter `{param.name}` is {what}, which belongs to the process of the run"
    return None


def away_nodes(plan: Plan) -> frozenset[int]:
    """Return the nodes whose calls leave this process one by one."""
    if all(p is None or (p.timeout is None and p.execution == _HERE) for p in policies_of(plan)):
        return frozenset()
    return frozenset(i for i, node in enumerate(plan.nodes) if i not in plan.overrides and is_away(node))


def is_away(node: PlanNode) -> bool:
    """Whether a node's calls leave this process one by one.

    It has a backend, or fails over to one, or it has a time-out for each of its batches or attempts.
    """
    policies = node.policies
    if policies is None:
        return False
    if policies.timeout is not None and (policies.batch is not None or is_held(node)):
        return True
    execution = policies.execution
    return execution.backend != "local" or any(place.backend != "local" for place in execution.failover)


def backend_of(node: PlanNode, place: int = 0) -> str:
    """Say where a node's calls go; a node that moves with a whole group is not among these.

    Args:
        node: The node.
        place: 0 for its backend, then those that it fails over to.
    """
    if node.policies is None:
        return "local"
    backend = node.policies.execution.places[place].backend
    stops = node.policies.timeout is not None and is_away(node)  # only a process can be stopped
    return "process" if backend == "local" and stops else backend


def places_of(node: PlanNode) -> tuple[str, ...]:
    """Return where a node may run: its backend, then those that it fails over to."""
    count = len(node.policies.execution.places) if node.policies is not None else 1
    return tuple([backend_of(node, place) for place in range(count)])


def backends_text(node: PlanNode, places: Iterable[int]) -> str:
    """Name the backends of some of the places of a node, in order; empty for none."""
    return ", ".join(dict.fromkeys([backend_of(node, place) for place in sorted(places)]))


def shown_backend(plan: Plan, index: int) -> str:
    """Say where a node runs, as people are told; one that a time-out has moved runs in a worker process."""
    if any(index in group.nodes for group in plan.moved):
        return "process"
    return backend_of(plan.nodes[index])


def _has_timeout(node: PlanNode) -> bool:
    return node.policies is not None and node.policies.timeout is not None


def _timeout(node: PlanNode) -> float:
    assert node.policies is not None
    assert node.policies.timeout is not None
    return node.policies.timeout


def _may_move(node: PlanNode) -> bool:
    return not is_away(node)


def _neighbours(nodes: Sequence[PlanNode], stage: Stage, start: int, given: set[int]) -> set[int]:
    """Follow the stream edges of a stage from a node, through all that may move."""
    group, waiting = {start}, [start]
    while waiting:
        here = waiting.pop()
        for link in stage.links:
            if here not in (link.source, link.target):
                continue
            other = link.target if link.source == here else link.source
            if other not in group and other not in given and _may_move(nodes[other]):
                group.add(other)
                waiting.append(other)
    return group


def _closed(nodes: Sequence[PlanNode], group: set[int], given: set[int]) -> set[int]:
    """Add what lies between members, or the group would wait for itself; leave a member out where that cannot move."""
    before = [{f.node for _, _, f in feeds(node)} | set(node.after) for node in nodes]
    first = min(group)
    reached: set[int] = set()  # nodes behind a member, members included
    for i in range(first, len(nodes)):
        if i in group or before[i] & reached:
            reached.add(i)
    needed: set[int] = set()
    for i in range(len(nodes) - 1, first - 1, -1):
        if i in group or i in needed:
            needed |= before[i]
    between = (reached & needed) - group
    stuck = {i for i in between if i in given or not _may_move(nodes[i])}
    if stuck:  # what comes after such a node stays outside, and gets its rows when the group has ended
        behind: set[int] = set()
        for i in range(min(stuck), len(nodes)):
            if i in stuck or before[i] & behind:
                behind.add(i)
        return _closed(nodes, group - behind, given)
    return group | between
