"""``petal plan``: show what would run, where, and why so."""

from __future__ import annotations

import click

from petal.cli.options import (
    debug_option,
    json_option,
    open_pipeline,
    open_session,
    plan_of,
    planning_options,
    plugin_option,
    request_of,
)
from petal.cli.output import out, out_json


@click.command("plan", short_help="Show what would run: nodes, stages, backends, policies.")
@click.argument("file", metavar="FILE")
@planning_options
@json_option
@click.option("--ascii", is_flag=True, help="Use ASCII characters only.")
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
    plugins: tuple[str, ...],
) -> int:
    """Show what `petal run FILE` would do: the picture, then each node with its policies and their origins.

    The pipeline's Python files are imported; nothing is run or written.
    """
    from petal.cli.failure import show_warnings
    from petal.cli.plan_view import plan_record, plan_text

    request = request_of(params, settings, inputs, targets, backends)
    pipeline = open_pipeline(file, open_session(plugins))
    plan, planned = plan_of(pipeline, request)
    show_warnings(planned.findings, pipeline.session.plugins.warnings)
    if as_json:
        out_json(plan_record(plan))
    else:
        out(plan_text(plan, ascii=ascii))
    return 0
