"""Go on with a run that was stopped: what is stored is used again, the rest runs (DESIGN.md §6, S9.3)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import Struct

from petal.app.caching import open_cache
from petal.app.recorded import find_run, listed, unplanned
from petal.app.recording import codecs_of, is_plain, keeping, own_files, planned_record, warn
from petal.app.reuse import NEW, Walk, once_nodes, unknown
from petal.data.cache import Cache
from petal.data.filesystems import bringing
from petal.data.home import Home
from petal.data.journal import JournalFile, next_number
from petal.errors import JournalError, ResumeError, UsageError
from petal.execution.options import Options
from petal.execution.pool_files import sweep as sweep_pools
from petal.execution.result import NodeResult
from petal.execution.stored import Reused
from petal.metadata.history import History, records
from petal.metadata.standing import (
    INSTALLED,
    READS,
    Standing,
    Standings,
    behind,
    changed_files,
    changed_nodes,
    lost_nodes,
    published,
)
from petal.planning.build import Planned
from petal.planning.findings import did_you_mean, listing
from petal.planning.holding import caches
from petal.planning.request import Request
from petal.spec.event import NodeFinished, RunPlanned, Status
from petal.spec.plan import Plan

if TYPE_CHECKING:
    from petal.app.session import Session


class Resumable(Protocol):
    """What resuming needs of a pipeline; see :class:`petal.app.pipeline.Pipeline`."""

    @property
    def file(self) -> str | None:
        """The file that it was loaded from."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders whose Python must be importable while it runs."""

    @property
    def session(self) -> Session:
        """The session with whose plugins it was loaded."""

    def checked(self, request: Request) -> tuple[Plan, Planned]:
        """Plan what a request asks for."""


class Wishes(Struct, frozen=True):
    """What is said beyond "go on".

    Attributes:
        rerun: Nodes that run again, whatever is stored, and with them all that is behind them.
        assume_done: Nodes that are taken as done.
        force: Whether to go on although the pipeline, or what is asked of it, has changed.
    """

    rerun: frozenset[str] = frozenset()
    assume_done: frozenset[str] = frozenset()
    force: bool = False


class Resumption:
    """A run that goes on, and that nobody else can resume meanwhile.

    Attributes:
        run: Its id.
        request: What is asked for: what was.
        planned: What is left to run; in it, nodes whose output is stored are overridden.
        refresh: Nodes whose cached output must not be used.
        cache: Where outputs are stored, None where they cannot be.
        done: Of all nodes, in order: how those ended that are not in ``planned``, None for the others.
        reused: How many nodes need not run.
    """

    def __init__(
        self,
        journal: JournalFile,
        record: RunPlanned,
        cache: Cache | None,
        request: Request,
        planned: Planned,
        done: dict[str, NodeResult | None],
        unrecorded: list[str],
    ) -> None:
        assert planned.plan is not None
        self.run = record.run
        self.request = request
        self.planned = planned
        self.cache = cache
        self.done = done
        self.refresh = frozenset(record.request["refresh"])
        self.reused = sum(found is not None for found in done.values()) + sum(
            type(given) is Reused for given in planned.plan.overrides.values()
        )
        self._journal = journal
        self._record = record
        self._unrecorded = unrecorded

    def options(self, options: Options, home: Home) -> Options:
        """Return options by which the run goes on, from now on on record."""
        self._begin()
        refresh = options.refresh | self.refresh
        found = keeping(options, home, self.run, self._journal, self.cache, refresh)
        return msgspec.structs.replace(found, done=self.done)

    def _begin(self) -> None:
        """Record that the run goes on, and what of it is done."""
        self._journal.append(self._record, durable=True)
        types = {node.id: node.type for node in self._record.nodes}
        for name in self._unrecorded:  # the record of their end was lost
            event = NodeFinished(
                self.run, time.time(), name, types[name], Status.SUCCEEDED, attempt=0, cached=True
            )
            self._journal.append(event)


@contextmanager
def resuming(
    pipeline: Resumable, home: Home, run: str, asked: Request, wishes: Wishes, *, keep: bool
) -> Iterator[Resumption]:
    """Take up a run that was stopped; nothing has run, and nothing but a torn record is changed, before it is begun.

    Args:
        pipeline: The pipeline.
        home: Where the run is recorded.
        run: The beginning of its id, or ``last`` for the pipeline's last one.
        asked: What is asked for now: nothing, or the same as then.
        wishes: What is said beyond that.
        keep: Whether the outputs of the targets are wanted.

    Raises:
        ResumeError: The run cannot go on, or not without being told more.
        JournalError: It still lives, or its journal cannot be read.
        UsageError: There is no such run, or a wish names no node.
        InvalidPipeline: The pipeline has mistakes.
    """
    history = History(home)
    run = find_run(history, pipeline.file, run, pipeline.name, force=wishes.force)
    events, problems = records(history.path(run))  # before the journal is opened, which cuts off what is torn
    _resumable(run, Standings().read(events), problems, force=wishes.force)
    with ExitStack() as stack:
        stack.enter_context(bringing(pipeline.session.filesystem))
        home.create()
        journal = JournalFile(history.path(run), resume=True)
        stack.callback(_close, journal)
        sweep_pools(str(home.spill))  # the folder of the pool that was killed with the run
        events, problems = records(history.path(run))
        was = _resumable(run, Standings().read(events), problems, force=wishes.force)
        request = asked_again(was.request, asked, force=wishes.force)
        plan, full = pipeline.checked(request)
        record = planned_record(
            run, next_number(home.runs), full, request, pipeline.file, pipeline.folders, was=was
        )
        record = with_finer_code(plan, was, record)
        _check_names(plan, wishes)
        record.request["rerun"], record.request["assumed"] = sorted(wishes.rerun), sorted(wishes.assume_done)
        record.request["refresh"] = sorted(wishes.rerun.union(was.request.get("refresh", ())))
        batched = [n.id for n in plan.nodes if n.policies is not None and n.policies.batch is not None]
        before = Standings(batched).read(events)
        _check_changes(was, record, before.nodes, force=wishes.force)
        _check_repeated(plan, was, record, before.nodes, wishes)
        shared = pipeline.session.shared_cache(plan.cache_store, warn) if caches(plan) else None
        cache = open_cache(home, request.environment, warn, codecs_of(pipeline.session.opener()), shared)
        if cache is not None:
            stack.callback(cache.close)
        nodes = before.read([record]).nodes
        walk = Walk(plan, nodes, cache, request.targets, keep=keep)
        walk.go()
        left = msgspec.structs.replace(request, overrides={**request.overrides, **walk.reused})
        rest, planned = pipeline.checked(left)
        here = {node.id for node in rest.nodes}
        done = {
            node.id: None
            if node.id in here
            else NodeResult(Status.SUCCEEDED, True, 0, rows=_rows(nodes, node.id))
            for node in plan.nodes
        }
        lost = [
            name
            for name, found in done.items()
            if found is not None and (name not in nodes or nodes[name].status is not Status.SUCCEEDED)
        ]
        planned = msgspec.structs.replace(planned, findings=full.findings)
        yield Resumption(journal, record, cache, request, planned, done, lost)


def asked_again(was: Mapping[str, Any], asked: Request, *, force: bool) -> Request:
    """Return what a resumed run is asked for: what it was asked for first.

    Args:
        was: The request as the journal has it.
        asked: What is given now.
        force: Whether what is given now wins where it differs.

    Raises:
        ResumeError: Something else is given now, or something was given that is not recorded as it was.
    """
    others: list[str] = []
    text = set(was.get("text", ())) | asked.text
    merged: dict[str, dict[str, Any]] = {}
    for what in ("params", "inputs", "backends"):
        old, new = dict(was.get(what, {})), dict(getattr(asked, what))
        others += [
            f"{what[:-1]} `{k}`" for k, v in new.items() if k not in old or (is_plain(v) and old[k] != v)
        ]
        merged[what] = {**old, **new}
        text -= {name for name in new if name not in asked.text}
    targets = tuple(was.get("targets", ()))
    if asked.targets and asked.targets != targets:
        others.append("target")
        targets = asked.targets
    given = sorted(asked.overrides)
    if given != sorted(was.get("overrides", ())):
        others.append("overrides")
    if others and not force:
        raise ResumeError(
            f"the run was not asked for this: {', '.join(others)}",
            hint="leave that out, for what was asked then is asked again; or give `--force`",
            code="resume-changed",
        )
    lost = [n for n in was.get("lost", ()) if n not in asked.params and n not in asked.inputs]
    if lost:
        raise ResumeError(
            f"what was given for {listing(lost)} is not recorded: it is a secret, or no plain value",
            hint="give it again",
            code="resume-changed",
        )
    return msgspec.structs.replace(
        asked, **merged, text=frozenset(text), targets=targets, folder=was.get("folder", asked.folder)
    )


# -- what keeps a run from going on -------------------------------------------------------------------------------


def _resumable(run: str, found: Standings, problems: list[str], *, force: bool) -> RunPlanned:
    if found.planned is None:
        raise unplanned(run, problems, "run the pipeline afresh")
    if found.ended is Status.SUCCEEDED:
        raise ResumeError(
            f"run {run} has succeeded: there is nothing left to do",
            hint=f"run the pipeline without `--resume`, or a node alone: `petal replay {run} NODE`",
        )
    if problems and not force:
        raise ResumeError(
            f"the journal of run {run} is damaged: {listed(problems)}",
            hint="run the pipeline afresh; `--force` goes on with what can be read, and may do again what was done",
        )
    return found.planned


def _check_names(plan: Plan, wishes: Wishes) -> None:
    ids = {node.id for node in plan.nodes}
    for option, names in (("--rerun", wishes.rerun), ("--assume-done", wishes.assume_done)):
        for name in sorted(names - ids):
            raise UsageError(
                f"{option} {name}: there is no such node", hint=did_you_mean(name, ids), code="unknown-node"
            )
    both = wishes.rerun & wishes.assume_done
    if both:
        raise UsageError(f"{listing(sorted(both))} can either run again or be assumed to be done")


def with_finer_code(plan: Plan, was: RunPlanned, now: RunPlanned) -> RunPlanned:
    """Return what is planned, where the nodes that a change of the user's files does not matter to keep their digest."""
    changed = changed_files(was, now)
    if not changed:
        return now
    from petal.app.code_changes import CodeChanges

    changes = CodeChanges(
        was.request.get("sources", {}), now.request.get("sources", {}), own_files(plan), changed
    )
    old = {node.id: node.code or "" for node in was.nodes}
    refs = {node.id: plan.operators[node.operator].ref for node in plan.nodes}
    matter: dict[str, bool] = {}
    nodes = []
    for node in now.nodes:
        kept = old.get(node.id, "")
        if kept not in ("", node.code) and not any(c.startswith(INSTALLED) for c in (kept, node.code or "")):
            name = refs[node.id].partition(":")[2].partition(".")[0]
            if name not in matter:
                matter[name] = changes.matter_to(name)
            if not matter[name]:
                node = msgspec.structs.replace(node, code=kept)
        nodes.append(node)
    return msgspec.structs.replace(now, nodes=tuple(nodes))


def _check_changes(was: RunPlanned, now: RunPlanned, nodes: Mapping[str, Standing], *, force: bool) -> None:
    changed, gone = changed_nodes(was, now, published(nodes)), lost_nodes(was, now)
    for name, what in list(changed.items()):
        if what.startswith(READS) and not any(_is_done(nodes, n) for n in behind(now.nodes, [name])):
            del changed[name]  # nothing has come of what the file was
    if force or not (changed or gone):
        return
    told = [f"`{name}` {what}" for name, what in changed.items()] + [f"`{name}` is gone" for name in gone]
    more = f"\nand {len(told) - 10:,} more nodes" if len(told) > 10 else ""
    files = "".join(f"\n{file} has changed" for file in changed_files(was, now))
    if any(was.petal != now.petal and "code" in what for what in changed.values()):
        files += f"\nPetal was {was.petal} and is {now.petal}"
    raise ResumeError(
        f"the pipeline has changed since run {was.run} was stopped:\n" + "\n".join(told[:10]) + more + files,
        hint="to go on with the change, give `--force`: it runs what has changed and all behind it again, and keeps "
        "the rest; or undo the change, or run afresh",
        code="resume-changed",
    )


def _check_repeated(
    plan: Plan, was: RunPlanned, now: RunPlanned, nodes: Mapping[str, Standing], wishes: Wishes
) -> None:
    """A node that must not run twice does not do so just because it is behind one that runs again."""
    afresh = (
        behind(now.nodes, {*wishes.rerun, *changed_nodes(was, now, published(nodes))})
        - wishes.rerun
        - wishes.assume_done
    )
    once = once_nodes(plan)
    names = [n.id for n in plan.nodes if n.id in afresh & once and nodes.get(n.id, NEW).ran]
    if names:
        needed = {name.partition(".")[0] for node in now.nodes for name in node.inputs}
        raise unknown(
            [f"`{name}` has run or may have, and is, or is behind, a node that runs again" for name in names],
            names,
            [name for name in names if name not in needed],
        )


def _is_done(nodes: Mapping[str, Standing], name: str) -> bool:
    known = nodes.get(name, NEW)
    return known.returned or known.assumed


def _rows(nodes: Mapping[str, Standing], name: str) -> int | None:
    return nodes[name].rows if name in nodes else None


def _close(journal: JournalFile) -> None:
    with suppress(JournalError):  # the engine has met it, and the run has failed of it
        journal.close()
