"""Warn of streams whose rows may have to wait but cannot wait on disk, because no codec takes them (S4.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from petal.planning.annotations import type_text
from petal.planning.expand import Draft, Scope
from petal.planning.findings import Findings, PathTo
from petal.planning.stages import feeds
from petal.spec.diagnostic import Severity
from petal.spec.plan import Link, Plan
from petal.spec.rows import no_codec_takes
from petal.spec.views import View


def warn_of_memory(
    plan: Plan,
    drafts: Sequence[Draft],
    written: Mapping[tuple[int, str, int], tuple[Scope, PathTo]],
    findings: Findings,
) -> None:
    """Add a warning for each edge that may spill and whose rows would stay in memory.

    Args:
        plan: The plan.
        drafts: What its nodes were made of.
        written: Where each binding was written: (draft's index, input, position) to scope and path.
        findings: Takes the warnings.
    """
    links = [*_held(plan)]
    by_id = {d.id: d for d in drafts} if links else {}
    for link in links:
        source, target = plan.nodes[link.source], plan.nodes[link.target]
        output = plan.operators[source.operator].outputs[0]
        kind = type_text(no_codec_takes(output.seen.element))
        draft = by_id[target.id]
        position = next(k for name, k, f in feeds(target) if name == link.input and f.node == link.source)
        scope, path = written.get((draft.index, link.input, position), (draft.scope, draft.path))
        findings.add(
            scope.place,
            path,
            "kept-in-memory",
            f"rows that `{source.id}` gives may have to wait for `{target.id}`, all of them in memory: "
            f"`{kind}` cannot be put on disk",
            hint=f"let `{source.id}` return `Iterator[dict]`, or make `{kind}` a dataclass, msgspec Struct or NamedTuple",
            severity=Severity.WARNING,
        )


def _held(plan: Plan) -> Iterator[Link]:
    """Find the edges that may spill and cannot; not those of a stream that some consumer takes at once anyway."""
    for stage in plan.stages:
        whole = {k.source for k in stage.links if not _streams(plan, k)}
        for link in stage.links:
            if link.spill and link.source not in whole and link.source not in plan.overrides:
                seen = plan.operators[plan.nodes[link.source].operator].outputs[0].seen
                if seen.view is View.ITEMS and no_codec_takes(seen.element) is not None:
                    yield link


def _streams(plan: Plan, link: Link) -> bool:
    port = plan.operators[plan.nodes[link.target].operator].input(link.input)
    return port is not None and port.seen.view.streams
