"""Run one recorded node again, here, with the inputs that it had as far as they are stored (DESIGN.md §6)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from petal.app.caching import open_cache
from petal.app.recorded import unplanned
from petal.app.recording import codecs_of, planned_record, warn
from petal.app.resume import asked_again, with_finer_code
from petal.app.reuse import once_nodes, stored_output
from petal.data.cache import Cache
from petal.data.filesystems import bringing
from petal.data.home import Home
from petal.errors import ResumeError
from petal.execution.cached import Caching
from petal.execution.options import Options
from petal.execution.stored import Reused
from petal.metadata.history import History, records
from petal.metadata.standing import Standing, Standings, changed_nodes, published
from petal.planning.build import Planned
from petal.planning.findings import listing
from petal.planning.moving import find_moved
from petal.planning.request import Request
from petal.planning.stages import feeds, find_stages
from petal.spec.event import RunPlanned
from petal.spec.plan import Plan, distinct_policies
from petal.spec.policy import Execution

if TYPE_CHECKING:
    from petal.app.pipeline import Pipeline


class Replay(Struct, frozen=True):
    """What is about to be run again.

    Attributes:
        planned: The node, what it needs that is not stored, and what is.
        options: How to run that: nothing is recorded.
        recorded: Ids of the nodes whose recorded output is used.
        first: Ids of the nodes that run first, because what they gave is not stored.
        changed: What has changed since, by node.
        targets: The files that are written again.
    """

    planned: Planned
    options: Options
    recorded: tuple[str, ...]
    first: tuple[str, ...]
    changed: dict[str, str]
    targets: tuple[str, ...]


def recorded_run(home: Home, run: str) -> tuple[RunPlanned, dict[str, Standing], list[str]]:
    """Return what a run had planned last, what is known of its nodes, and what is wrong with its journal.

    Args:
        home: Where it is recorded.
        run: Its id.

    Raises:
        ResumeError: It was stopped before it began, or its pipeline came from no file.
        JournalError: Its journal cannot be read.
    """
    events, problems = records(History(home).path(run))
    found = Standings().read(events)
    if found.planned is None:
        raise unplanned(run, problems, "run the pipeline afresh, and replay that run's node", "replay")
    if found.planned.file is None:
        raise ResumeError(
            f"run {run} is one of a pipeline that was made in Python, not loaded from a file",
            hint="run it there with `run(targets=[NODE], overrides={...})`",
            code="replay",
        )
    return found.planned, found.nodes, problems


@contextmanager
def replaying(
    pipeline: Pipeline, home: Home, was: RunPlanned, nodes: dict[str, Standing], node: str, *, force: bool
) -> Iterator[Replay]:
    """Prepare a node to be run again; nothing runs yet.

    Args:
        pipeline: The run's pipeline.
        home: Where the run is recorded, and its outputs are stored.
        was: What was planned.
        nodes: What is known of its nodes.
        node: The node's id.
        force: Whether it runs although it has effects.

    Raises:
        ResumeError: The node, or one that it needs, has effects.
        UsageError: There is no such node.
        InvalidPipeline: The pipeline has mistakes.
    """
    asked = asked_again(
        was.request, Request(environment=pipeline.session.environment, to_run=True), force=True
    )
    whole, planned = pipeline.checked(asked)
    with bringing(pipeline.session.filesystem):
        now = planned_record(was.run, 0, planned, asked, pipeline.file, pipeline.folders, was=was)
    now = with_finer_code(whole, was, now)
    program = _is_program(planned, node)
    backends = asked.backends if program else {**asked.backends, node: "local"}
    request = msgspec.structs.replace(asked, targets=(node,), backends=backends)
    plan, full = pipeline.checked(request)
    codecs = codecs_of(pipeline.session.opener())
    cache = open_cache(home, request.environment, warn, codecs)
    try:
        reused, first = _needed(plan, node, nodes, cache)
        _check_effects(plan, node, first, nodes, force=force)
        rest, planned = pipeline.checked(msgspec.structs.replace(request, overrides=reused))
        planned = msgspec.structs.replace(
            planned, plan=_here(rest, node, program=program), findings=full.findings
        )
        changed = {
            n: text for n, text in changed_nodes(was, now, published(nodes)).items() if n in (node, *first)
        }
        options = Options(
            run_id=was.run,
            keep=False,
            folder=str(home.spill) if home.spill.is_dir() else None,
            caching=Caching(cache, codecs=codecs) if cache is not None else None,
        )
        recorded = tuple(name for name, given in reused.items() if given.artifact is not None)
        targets = tuple(t.path for n in (node, *first) if n in nodes for t in nodes[n].targets)
        yield Replay(planned, options, recorded, first, changed, targets)
    finally:
        if cache is not None:
            cache.close()


def _needed(
    plan: Plan, node: str, nodes: dict[str, Standing], cache: Cache | None
) -> tuple[dict[str, Reused], tuple[str, ...]]:
    """Return what is stored of what a node needs, and the nodes that must run first; order alone needs nobody."""
    ids = {n.id: i for i, n in enumerate(plan.nodes)}
    reused: dict[str, Reused] = {}
    runs: set[int] = set()
    waiting, ordered = [ids[node]], set[int]()
    while waiting:
        index = waiting.pop()
        if index in runs or plan.nodes[index].id in reused:
            continue
        known = nodes.get(plan.nodes[index].id, Standing())
        artifact = stored_output(plan, index, known, cache) if index != ids[node] else None
        if artifact is not None:
            reused[plan.nodes[index].id] = Reused(artifact, artifact.rows)
            continue
        runs.add(index)
        waiting += [feed.node for _, _, feed in feeds(plan.nodes[index])]
        ordered.update(plan.nodes[index].after)
    for index in ordered - runs:
        reused.setdefault(plan.nodes[index].id, Reused())
    return reused, tuple(plan.nodes[i].id for i in sorted(runs) if i != ids[node])


def _check_effects(
    plan: Plan, node: str, first: tuple[str, ...], nodes: dict[str, Standing], *, force: bool
) -> None:
    if force:
        return
    once, told = once_nodes(plan), list[str]()
    for one in plan.nodes:
        if one.id not in (node, *first):
            continue
        who = "it" if one.id == node else f"`{one.id}`, whose output is not stored,"
        files = [target.path for target in nodes[one.id].targets] if one.id in nodes else []
        if one.id in once:
            told.append(f"{who} must not run twice (`effects: once`)")
        elif files or not plan.operators[one.operator].outputs:
            told.append(f"{who} would write {listing(files) if files else 'its target'} again")
    if told:
        raise ResumeError(
            f"`{node}` is not replayed: {'; '.join(told)}",
            hint="give `--force` where that does no harm",
            code="replay",
        )


def _is_program(planned: Planned, node: str) -> bool:
    """Whether a node is a program that speaks plain JSON, which cannot run here: it runs where it ran (S6.3)."""
    nodes = planned.plan.nodes if planned.plan is not None else ()
    return any(one.id == node and planned.operators[one.operator].target is None for one in nodes)


def _here(plan: Plan, node: str, *, program: bool) -> Plan:
    """Have a node run in this process, once, and make what it gives anew; a program runs in its first place."""
    nodes = []
    for one in plan.nodes:
        policies = one.policies
        if one.id == node and policies is not None:
            place = msgspec.structs.replace(policies.execution, failover=()) if program else Execution()
            policies = msgspec.structs.replace(
                policies, execution=place, retry=None, timeout=None, cache=None, kept=False
            )
            one = msgspec.structs.replace(one, policies=policies)
        nodes.append(one)
    policies_now = distinct_policies(nodes)
    stages = find_stages(nodes, plan.operators, policies_now)
    return msgspec.structs.replace(
        plan,
        nodes=tuple(nodes),
        stages=stages,
        moved=find_moved(nodes, plan.operators, stages, plan.overrides, policies_now),
        policies=policies_now,
    )
