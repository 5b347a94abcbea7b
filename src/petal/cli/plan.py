"""``petal plan``: show what would run, where, and why so."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from petal.cli.options import (
    debug_option,
    home_beside,
    home_option,
    json_option,
    open_pipeline,
    open_session,
    plan_of,
    planning_options,
    plugin_option,
    request_of,
)
from petal.cli.output import out, out_json

if TYPE_CHECKING:
    from petal.app.caching import Verdict
    from petal.data.home import Home
    from petal.data.shared_cache import SharedCache
    from petal.planning.build import Planned
    from petal.spec.plan import Plan


@click.command("plan", short_help="Show what would run: nodes, stages, backends, policies.")
@click.argument("file", metavar="FILE")
@planning_options
@json_option
@click.option("--ascii", is_flag=True, help="Use ASCII characters only.")
@home_option
@plugin_option
@debug_option
def command(
    file: str,
    params: tuple[str, ...],
    settings: tuple[str, ...],
    inputs: tuple[str, ...],
    targets: tuple[str, ...],
    backends: tuple[str, ...],
    as_json: bool,
    ascii: bool,
    home: str | None,
    plugins: tuple[str, ...],
) -> int:
    """Show what `petal run FILE` would do: the picture, then each node with its policies and their origins.

    The pipeline's Python files are imported; nothing is run or written. Of a cached node it says whether it would find its
    output, and if not, what changed.
    """
    from petal.cli.failure import show_warnings
    from petal.cli.plan_view import plan_record, plan_text
    from petal.planning.holding import caches

    request = request_of(params, settings, inputs, targets, backends)
    pipeline = open_pipeline(file, open_session(plugins))
    plan, planned = plan_of(pipeline, request)
    show_warnings(planned.findings, pipeline.session.plugins.warnings)
    shared = pipeline.session.shared_cache(plan.cache_store, lambda _: None) if caches(plan) else None
    verdicts = _verdicts(plan, planned, home_beside(file, home), shared)
    if as_json:
        out_json(plan_record(plan, verdicts))
    else:
        out(plan_text(plan, verdicts, ascii=ascii))
    return 0


def _verdicts(plan: Plan, planned: Planned, home: Home, shared: SharedCache | None) -> dict[str, Verdict]:
    """Judge the nodes that are cached; what the cache cannot tell is left out."""
    if all(node.policies is None or node.policies.cache is None for node in plan.nodes):
        return {}
    from petal.app.caching import judge, open_cache

    cache = open_cache(home, os.environ, lambda _: None) if home.has(home.cache / "cache.db") else None
    try:
        return judge(plan, planned.operators, cache, shared=shared)
    finally:
        if cache is not None:
            cache.close()
