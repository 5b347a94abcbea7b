"""Order the nodes, show a cycle, and leave out what nobody wants."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from petal.planning.expand import Draft
from petal.planning.findings import Findings


def topological_order(
    before: Sequence[Sequence[int]], drafts: Sequence[Draft], findings: Findings
) -> list[int] | None:
    """Sort indices so that each comes after all in ``before``; file order decides where it may. None on a cycle."""
    count = len(before)
    left = [0] * count
    after: list[list[int]] = [[] for _ in range(count)]
    for i, sources in enumerate(before):
        for source in sources:
            after[source].append(i)
        left[i] = len(sources)
    ready = deque(i for i in range(count) if not left[i])
    order: list[int] = []
    while ready:
        i = ready.popleft()
        order.append(i)
        for j in after[i]:
            left[j] -= 1
            if not left[j]:
                ready.append(j)
    if len(order) == count:
        return order
    _report_cycle(before, {i for i in range(count) if left[i]}, drafts, findings)
    return None


def _report_cycle(
    before: Sequence[Sequence[int]], stuck: set[int], drafts: Sequence[Draft], findings: Findings
) -> None:
    """Walk backwards among the nodes that are stuck until one comes up again: that is a cycle."""
    left = set(stuck)
    while left:
        path: list[int] = []
        at: dict[int, int] = {}
        i = min(left)
        while i not in at:
            at[i] = len(path)
            path.append(i)
            sources = [s for s in before[i] if s in left]
            if not sources:
                break
            i = sources[0]
        else:
            cycle = path[at[i] :][::-1]
            first = cycle.index(min(cycle))
            cycle = cycle[first:] + cycle[:first]
            shown = " → ".join(drafts[k].id for k in (*cycle, cycle[0]))
            start = drafts[cycle[0]]
            findings.add(
                start.scope.place,
                start.path,
                "cycle",
                f"the pipeline has a cycle: {shown}",
                hint="data flows one way: remove one of these edges",
            )
            left -= set(cycle)
            continue
        left -= set(path)


def needed_for(roots: Iterable[int], before: Sequence[Sequence[int]], given: set[int]) -> set[int]:
    """Return the roots and everything that they need, not looking behind nodes whose value is given."""
    needed: set[int] = set()
    waiting = list(roots)
    while waiting:
        i = waiting.pop()
        if i in needed:
            continue
        needed.add(i)
        if i not in given:
            waiting.extend(before[i])
    return needed
