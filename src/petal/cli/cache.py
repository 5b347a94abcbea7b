"""``petal cache``: list what is cached, say why a node would find its output or not, verify, clear."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from petal.cli.options import (
    debug_option,
    home_beside,
    home_option,
    json_option,
    open_home,
    open_pipeline,
    open_session,
    plan_of,
    planning_options,
    plugin_option,
    request_of,
)
from petal.cli.output import count, err, out, out_json, table, visible
from petal.errors import EnvironmentNotReady, UsageError

if TYPE_CHECKING:
    from petal.app.caching import Verdict
    from petal.data.cache import Cache, Entry
    from petal.data.home import Home
    from petal.spec.plan import Plan

_REMEDY = "see whether the folder can be read and written"
_FULL = "make room on that disk; `petal cache clear` works without, and removes everything that is cached"


@click.group("cache", short_help="List, explain, verify and clear cached outputs.")
def command() -> None:
    """Look after the outputs that runs have cached in .petal here or above."""


@command.command("ls", short_help="List what is cached.")
@home_option
@json_option
@debug_option
def ls(home: str | None, as_json: bool) -> int:
    """List the outputs that are cached, those that were stored last first."""
    with _opened(open_home(home)) as cache:
        entries = sorted(cache.entries(), key=lambda e: e.label.stored if e.label else 0.0, reverse=True)
        size = cache.size()
    if as_json:
        out_json({"entries": [_record(e) for e in entries], "bytes": size.size, "limit": size.limit})
        return 0
    rows = [["KEY", "PIPELINE", "NODE", "ROWS", "BYTES", "STORED", ""], *map(_row, entries)]
    out(table(rows) if entries else "nothing is cached yet")
    err(f"{count(len(entries), 'output')}, {size.size:,} of at most {size.limit or 0:,} bytes")
    return 0


@command.command("explain", short_help="Say whether a node would find its output, and if not, what changed.")
@click.argument("file", metavar="FILE")
@click.argument("node", metavar="[NODE]", required=False)
@planning_options
@home_option
@json_option
@plugin_option
@debug_option
def explain(
    file: str,
    node: str | None,
    params: tuple[str, ...],
    settings: tuple[str, ...],
    inputs: tuple[str, ...],
    targets: tuple[str, ...],
    backends: tuple[str, ...],
    home: str | None,
    as_json: bool,
    plugins: tuple[str, ...],
) -> int:
    """Say of NODE, or of every cached node, whether it would find its output in the cache; if not, what changed.

    What changed is a function, a helper, a constant, a parameter, an input, a file or a version, compared with the node's
    last run. Nothing is run: of a node that is not cached, or that would run again, it is assumed that it gives what it
    gave last, and that is said.
    """
    from petal.app.caching import judge
    from petal.app.recording import codecs_of
    from petal.code.source import project_path
    from petal.data.filesystems import bringing
    from petal.planning.holding import caches

    request = request_of(params, settings, inputs, targets, backends)
    pipeline = open_pipeline(file, open_session(plugins))
    plan, planned = plan_of(pipeline, request)
    if node is not None:
        _check_node(plan, node)
    place, codecs = home_beside(file, home), codecs_of(pipeline.session.opener())
    with ExitStack() as stack:
        for folder in pipeline.folders:  # for what functions import
            stack.enter_context(project_path(folder))
        is_there = place.has(place.cache / "cache.db")
        cache = stack.enter_context(_opened(place)) if is_there else None
        stack.enter_context(bringing(pipeline.session.filesystem))
        shared = pipeline.session.shared_cache(plan.cache_store, err) if caches(plan) else None
        if shared is not None:
            stack.callback(shared.close)
        verdicts = judge(plan, planned.operators, cache, codecs, contact=True, shared=shared)
    chosen = [v for v in verdicts.values() if node in (None, v.node)]
    if as_json:
        out_json([verdict_record(v) for v in chosen])
    else:
        out("\n".join(line for v in chosen for line in verdict_lines(v)) or "no node is cached")
    return 0


@command.command("verify", short_help="Read everything that is cached, and remove what is damaged.")
@home_option
@json_option
@debug_option
def verify(home: str | None, as_json: bool) -> int:
    """Read everything that is cached, and remove what is damaged or has expired. It would be removed when met, too."""
    with _opened(open_home(home)) as cache:
        removed = cache.verify()
        size = cache.size()
    if as_json:
        out_json({"removed": [_record(e) for e in removed], "bytes": size.size})
        return 0
    for entry in removed:
        out(f"{visible(entry.key[:12])}  {entry.problem}")
    out(f"{count(len(removed), 'output')} removed")
    return 0


@command.command("clear", short_help="Forget cached outputs.")
@click.argument("node", metavar="[NODE]", required=False)
@click.option("--pipeline", metavar="NAME", help="Only outputs of this pipeline.")
@home_option
@json_option
@debug_option
def clear(node: str | None, pipeline: str | None, home: str | None, as_json: bool) -> int:
    """Forget what is cached: everything, or what NODE has given, or the nodes of a pipeline."""
    with _opened(open_home(home)) as cache:
        removed = cache.clear(node=node, pipeline=pipeline)
    if as_json:
        out_json({"removed": removed})
    else:
        out(f"{count(removed, 'output')} removed")
    return 0


def verdict_record(verdict: Verdict) -> dict[str, Any]:
    """Return whether a node would find its output as plain data."""
    import msgspec

    record: dict[str, Any] = msgspec.to_builtins(verdict)
    return record


def verdict_lines(verdict: Verdict) -> list[str]:
    """Say whether a node would find its output, for people: one line, and one for each reason."""
    stored = f"{came_from(verdict_record(verdict))}, stored {_when(verdict.stored)}" if verdict.hit else ""
    lines = [f"{visible(verdict.node)}: {'hit' if verdict.hit else 'miss'}{stored}"]
    lines += [f"  {visible(reason)}" for reason in verdict.reasons]
    if verdict.assumed:
        names = ", ".join(f"`{name}`" for name in verdict.assumed)
        lines.append(f"  (if {visible(names)} gives what it gave last: that has not run)")
    for name in verdict.uncached:
        lines.append(
            f"  (`{visible(name)}` is not cached: nobody looked whether it, or what is before it, has changed)"
        )
    return lines


def came_from(verdict: dict[str, Any]) -> str:
    """Say where a hit comes from, behind the word; nothing of one that was made on this machine."""
    if verdict["shared"]:
        return f" in {visible(verdict['shared'])}"
    return f", fetched from {visible(verdict['fetched'])}" if verdict["fetched"] else ""


class _opened:
    """The cache of a home for the time of a command; that it cannot be used is an error here."""

    def __init__(self, home: Home) -> None:
        from petal.app.caching import open_cache

        self._said: list[str] = []
        self._cache = open_cache(home, os.environ, self._said.append)

    def __enter__(self) -> Cache:
        if self._cache is None:
            raise EnvironmentNotReady(self._said[0])
        return self._cache

    def __exit__(self, kind: object, *_: object) -> None:
        assert self._cache is not None
        self._cache.close()
        if self._cache.problem is not None and kind is None:
            full = os.strerror(errno.ENOSPC) in self._cache.problem
            raise EnvironmentNotReady(self._cache.problem, hint=_FULL if full else _REMEDY)


def _check_node(plan: Plan, name: str) -> None:
    from petal.planning.findings import did_you_mean, listing

    ids = [node.id for node in plan.nodes]
    if name not in ids:
        hint = did_you_mean(name, ids) or f"the nodes are {listing(ids)}"
        raise UsageError(f"there is no node `{name}`", hint=hint, code="unknown-node")
    policies = plan.nodes[ids.index(name)].policies
    if policies is None or policies.cache is None:
        why = policies.origins.get("cache", "") if policies is not None else ""
        raise UsageError(
            f"`{name}` is not cached{f' ({why})' if ', but ' in why else ''}",
            hint="give it `cache: true`, or the pipeline `cache_io: true`",
        )


def _row(entry: Entry) -> list[str]:
    label = entry.label
    if label is None:
        return [visible(entry.key[:12]), "", "", "", "", "", entry.problem or ""]
    return [
        entry.key[:12],
        visible(label.about.get("pipeline", "")),
        visible(label.about.get("node", "")),
        "" if label.rows is None else f"{label.rows:,}",
        f"{label.size:,}",
        _when(label.stored),
        entry.problem or "",
    ]


def _record(entry: Entry) -> dict[str, Any]:
    import msgspec

    record: dict[str, Any] = msgspec.to_builtins(entry)
    return record


def _when(stored: float | None) -> str:
    return datetime.fromtimestamp(stored or 0.0, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
