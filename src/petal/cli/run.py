"""``petal run``: run a pipeline and show what happens."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from petal.cli.options import (
    home_beside,
    home_option,
    open_pipeline,
    open_session,
    plan_of,
    planning_options,
    plugin_option,
    request_of,
)
from petal.cli.output import aside, err, has_colours, is_terminal, is_unicode, out, out_json, write
from petal.errors import NodeFailed, UsageError
from petal.spec.url import is_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from petal.app.pipeline import Pipeline
    from petal.app.resume import Resumption
    from petal.data.home import Home
    from petal.execution.options import Options
    from petal.execution.result import RunResult
    from petal.planning.build import Planned
    from petal.planning.request import Request
    from petal.spec.diagnostic import Diagnostic
    from petal.spec.event import Event
    from petal.spec.plan import Plan


class Look(Struct, frozen=True):
    """How a run is shown: quietly, as JSON, as log records, with progress, with full tracebacks."""

    as_json: bool
    quiet: bool
    log_format: Any
    progress: bool
    debug: bool


@click.command("run", short_help="Run a pipeline.")
@click.argument("file", metavar="FILE", required=False)
@planning_options
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Nodes that may wait at the same time.",
)
@click.option("--fail-fast", is_flag=True, help="Stop everything at the first failure.")
@click.option("--dry-run", is_flag=True, help="Print the picture; run and write nothing.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the result, or with --dry-run the plan, as JSON."
)
@click.option(
    "--log-format", type=click.Choice(["console", "json"]), help="Write full log records to stderr."
)
@plugin_option
@click.option("-q", "--quiet", is_flag=True, help="Show only errors, and warnings of nodes.")
@click.option(
    "--debug", is_flag=True, help="Show full tracebacks, and with --log-format everybody's debug records."
)
@home_option
@click.option(
    "--refresh",
    "refresh",
    is_flag=False,
    flag_value="",
    multiple=True,
    metavar="[NODE]",
    help="Make cached outputs again: all, or a node's.",
)
@click.option(
    "--resume",
    is_flag=False,
    flag_value="last",
    metavar="[RUN]",
    help="Go on with a run that was stopped: the last one of FILE, or RUN.",
)
@click.option(
    "--rerun",
    multiple=True,
    metavar="NODE",
    help="With --resume: run this node again, and all behind it.",
)
@click.option("--assume-done", multiple=True, metavar="NODE", help="With --resume: take this node as done.")
@click.option(
    "--force", is_flag=True, help="With --resume: go on although the pipeline, or what is asked, has changed."
)
@click.option("--no-progress", is_flag=True, help="Show no progress on a terminal.")
def command(
    file: str | None,
    params: tuple[str, ...],
    settings: tuple[str, ...],
    inputs: tuple[str, ...],
    targets: tuple[str, ...],
    backends: tuple[str, ...],
    workers: int,
    fail_fast: bool,
    dry_run: bool,
    as_json: bool,
    log_format: str | None,
    plugins: tuple[str, ...],
    quiet: bool,
    debug: bool,
    home: str | None,
    refresh: tuple[str, ...],
    resume: str | None,
    rerun: tuple[str, ...],
    assume_done: tuple[str, ...],
    force: bool,
    no_progress: bool,
) -> int:
    """Run the pipeline in FILE: YAML, JSON, TOML, x.py, or x.py:name for one of several in a Python file.

    Its Python files are imported, also with --dry-run. Results go to stdout where a node writes to `-` or
    --json is given; everything else goes to stderr.
    """
    file, resume, refresh = _file_of(file, resume, refresh)
    request = request_of(params, settings, inputs, targets, backends, to_run=not dry_run)
    pipeline = open_pipeline(file, open_session(plugins))
    session = pipeline.session
    look = Look(as_json, quiet, log_format, not no_progress, debug)
    _check_resuming(resume, rerun, assume_done, refresh, force=force, dry=dry_run)
    with ExitStack() as stack:
        place, resumed = home_beside(file, home), None
        if resume is None:
            plan, planned = plan_of(pipeline, request)
        else:
            from petal.app.resume import Wishes, resuming

            wishes = Wishes(frozenset(rerun), frozenset(assume_done), force)
            with aside():
                resumed = stack.enter_context(resuming(pipeline, place, resume, request, wishes, keep=False))
            request, planned = resumed.request, resumed.planned
            assert planned.plan is not None
            plan = planned.plan
        if dry_run:
            _warn(planned.findings, session.plugins.warnings, look)
            _show_plan(plan, as_json)
            return 0
        from petal.execution.options import Options

        if log_format is not None:
            from petal.metadata.logs import logging_to

            stack.enter_context(
                logging_to(
                    sys.stderr, look.log_format, colours=has_colours(sys.stderr), debug=debug, quiet=quiet
                )
            )
        _warn(planned.findings, session.plugins.warnings, look)
        if resumed is not None and not quiet and log_format is None:
            done = f"{resumed.reused:,} of {len(resumed.done):,} nodes are done"
            err(f"resuming run {resumed.run}: {done}")
        told = len(session.plugins.warnings)
        listeners = _listeners(plan, look, stack)
        options = Options(workers=workers, fail_fast=fail_fast, keep=False, refresh=_refreshed(plan, refresh))
        result = _run(pipeline, planned, listeners, look, options, request, place, resumed)
        result.outputs.close()
        _warn([], session.plugins.warnings[told:], look)
        _show_failures(result, look, home)
    if as_json:
        out_json(result.as_record())
    return 0 if result.status == "succeeded" else 1


def _file_of(
    file: str | None, resume: str | None, refresh: tuple[str, ...]
) -> tuple[str, str | None, tuple[str, ...]]:
    """Find the pipeline's file where an option before it has taken it for its own value.

    Raises:
        UsageError: No file is given.
    """
    if file is not None and resume is not None and _is_file(resume):
        raise UsageError(
            f"--resume takes a run, and {resume!r} is a file",
            hint=f"`petal run {shlex.quote(resume)} --resume` goes on with the last run of it",
        )
    if file is not None:
        return file, resume, refresh
    if refresh and _is_file(refresh[-1]):
        return refresh[-1], resume, (*refresh[:-1], "")
    if resume is not None and _is_file(resume):
        return resume, "last", refresh
    hint = "name the pipeline's file, as in `petal run pipeline.yaml`"
    if resume not in (None, "last"):
        hint = f"`petal run FILE --resume {shlex.quote(resume)}` where that is a run; it is no file"
    elif refresh and refresh[-1]:
        hint = f"`petal run FILE --refresh {shlex.quote(refresh[-1])}` where that is a node; it is no file"
    elif resume is not None:
        hint = "`petal run FILE --resume` goes on with the last run of FILE"
    raise UsageError("no pipeline is named: FILE is missing", hint=hint)


def _is_file(text: str) -> bool:
    """Whether a text names a pipeline's file, as ``x.yaml`` or ``x.py:name`` does; no run or node has a dot in its name."""
    if is_url(text):
        return True
    return "." in text and (os.path.isfile(text) or os.path.isfile(text.rpartition(":")[0]))


def _refreshed(plan: Plan, names: tuple[str, ...]) -> frozenset[str]:
    """Return the nodes whose outputs are made again.

    Raises:
        UsageError: There is no such node.
    """
    ids = {node.id for node in plan.nodes}
    for name in names:
        if name and name not in ids:
            from petal.planning.findings import did_you_mean

            raise UsageError(f"--refresh {name}: there is no such node", hint=did_you_mean(name, ids))
    return frozenset(names)


def _check_resuming(
    resume: str | None,
    rerun: tuple[str, ...],
    assume_done: tuple[str, ...],
    refresh: tuple[str, ...],
    *,
    force: bool,
    dry: bool,
) -> None:
    """Refuse what only a resumed run can be told.

    Raises:
        UsageError: An option is given without, or cannot be with, ``--resume``.
    """
    if resume is not None and refresh:
        raise UsageError("--refresh cannot be with --resume", hint="--rerun NODE makes an output again")
    if resume is not None and dry:
        raise UsageError("--resume goes on with a run, and --dry-run runs nothing: give one of them")
    for option, given in (("--rerun", rerun), ("--assume-done", assume_done), ("--force", force)):
        if given and resume is None:
            hint = (
                "`--refresh NODE` makes a cached output again" if option == "--rerun" else "give `--resume`"
            )
            raise UsageError(f"{option} is for a run that is resumed", hint=hint)


def _run(
    pipeline: Pipeline,
    planned: Planned,
    listeners: list[Any],
    look: Look,
    options: Options,
    request: Request,
    home: Home,
    resumed: Resumption | None,
) -> RunResult:
    from petal.execution.signals import Interrupt

    details = look.log_format is not None
    try:
        with aside() if look.as_json else nullcontext():
            return pipeline.execute(
                planned,
                options,
                listeners,
                details=details,
                request=request,
                home=home,
                resumed=resumed,
            )
    except Interrupt as interrupt:
        if interrupt.result is not None:
            interrupt.result.outputs.close()
            if look.as_json:
                out_json(interrupt.result.as_record())
        raise


def _listeners(plan: Plan, look: Look, stack: ExitStack) -> list[Callable[[Event], None]]:
    """Make what shows the run: log records (which the bus writes), or lines and progress, with what nodes log."""
    if look.log_format is not None:
        return []
    from petal.metadata.console import Console, showing_logs
    from petal.planning.moving import places_of

    stream, listeners = sys.stderr, list[Any]()

    def to_stream(line: str) -> None:
        write(stream, line + "\n")

    show: Callable[[str], None] = to_stream
    if look.progress and not look.quiet and is_terminal(stream):
        from petal.metadata.progress import Progress

        progress = stack.enter_context(Progress(stream))
        listeners.append(progress)
        show = progress.write
    unicode = is_unicode(stream)
    stack.enter_context(showing_logs(show, unicode=unicode, quiet=look.quiet))
    if look.quiet:
        return []
    names = [(node.id, node.operator) for node in plan.nodes]
    attempts = {n.id: n.policies.retry.max_attempts for n in plan.nodes if n.policies and n.policies.retry}
    colour = has_colours(stream)
    places = {n.id: places for n in plan.nodes if len(places := places_of(n)) > 1}
    console = Console(show, names, unicode=unicode, colour=colour, attempts=attempts, places=places)
    return [*listeners, console]


def _warn(findings: list[Diagnostic], warnings: list[str], look: Look) -> None:
    """Show what keeps nothing from running."""
    if look.quiet or not (findings or warnings):
        return
    if look.log_format is None:
        from petal.cli.failure import show_warnings

        show_warnings(findings, warnings)
        return
    from petal.metadata.logs import log_finding, log_warning

    for finding in findings:
        log_finding(finding)
    for text in warnings:
        log_warning(text)


def _show_failures(result: RunResult, look: Look, home: str | None) -> None:
    """Show each node that failed. A reader of stdout that went away is no failure to speak of."""
    errors = [node.error for node in result.nodes.values() if node.error is not None]
    for error in errors:
        if _is_broken_pipe(error):
            raise BrokenPipeError
        if look.log_format is not None:
            from petal.metadata.logs import log_failure

            log_failure(error)
        else:
            from petal.cli.failure import show_failure

            show_failure(error, debug=look.debug, replay=_replay(result, error, home))
    if result.error is not None:
        from petal.cli.failure import show_error

        show_error(result.error, debug=look.debug)


def _replay(result: RunResult, error: NodeFailed, home: str | None) -> str | None:
    """Return the command that runs a node again that failed."""
    if error.node is None or error.kind == "unknown":
        return None
    where = f" --home {shlex.quote(home)}" if home is not None else ""
    return f"petal replay {result.run_id} {error.node}{where}"


def _is_broken_pipe(error: BaseException | None) -> bool:
    """Say whether a node failed because nobody reads the standard output any more."""
    for _ in range(10):
        if error is None:
            return False
        if isinstance(error, BrokenPipeError):
            return _stdout_is_broken()
        error = error.__cause__ or error.__context__
    return False


def _stdout_is_broken() -> bool:
    import select

    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(flags & (select.POLLERR | select.POLLHUP) for _, flags in poll.poll(0))
    except (OSError, ValueError):
        return False


def _show_plan(plan: Plan, as_json: bool) -> None:
    from petal.cli.plan_view import picture_of, plan_record

    if as_json:
        out_json(plan_record(plan))
    else:
        out(picture_of(plan))
