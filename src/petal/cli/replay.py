"""``petal replay``: run one recorded node again, here, to see what went wrong."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from petal.cli.options import home_option, open_home, open_pipeline, open_session, plugin_option
from petal.cli.output import aside, err, has_colours, is_unicode, out, visible, write
from petal.errors import NodeFailed
from petal.spec.event import Event, NodeFinished

if TYPE_CHECKING:
    from collections.abc import Callable

    from petal.app.replay import Replay
    from petal.metadata.console import Console


@click.command("replay", short_help="Run one recorded node again, here.")
@click.argument("run", metavar="RUN|last")
@click.argument("node", metavar="NODE")
@click.option("--pdb", "debugger", is_flag=True, help="Open the debugger where the node's code fails.")
@click.option("--force", is_flag=True, help="Run it although it has effects.")
@plugin_option
@home_option
@click.option("--debug", is_flag=True, help="Show full tracebacks.")
def command(
    run: str, node: str, debugger: bool, force: bool, plugins: tuple[str, ...], home: str | None, debug: bool
) -> int:
    """Run NODE of a recorded run again, in this process, in one attempt, without the cache, and show what it gives.

    Its inputs are those that are recorded; where one is not stored, the nodes that make it run first. RUN is the
    beginning of a run's id, as `petal runs` lists them, or `last`. Nothing is recorded. A node that writes files, or
    that must not run twice, needs --force.
    """
    from petal.app.replay import recorded_run, replaying
    from petal.metadata.history import History

    place = open_home(home)
    run = History(place).find(run)
    was, nodes, problems = recorded_run(place, run)
    pipeline = open_pipeline(was.file or "", open_session(plugins))
    shown: list[NodeFinished] = []

    def keep(event: Event) -> None:
        if isinstance(event, NodeFinished) and event.node == node:
            shown.append(event)

    with ExitStack() as stack:
        with aside():
            replay = stack.enter_context(replaying(pipeline, place, was, nodes, node, force=force))
        _tell(replay, run, node)
        for problem in problems:
            err(visible(f"  the journal is damaged, and what it said there is not known: {problem}"))
        listeners: list[Callable[[Event], None]] = [_console(replay, stack), keep]
        result = pipeline.execute(replay.planned, replay.options, listeners, details=True)
        result.outputs.close()
    failed = [n.error for n in result.nodes.values() if n.error is not None]
    for error in failed:
        from petal.cli.failure import show_failure

        show_failure(error, debug=debug)
        if debugger:
            _debug(error)
    if shown and shown[0].output is not None and not failed:
        out(visible(shown[0].output))
    return 0 if result.status == "succeeded" else 1


def _tell(replay: Replay, run: str, node: str) -> None:
    """Say what is used, what runs, and what that does."""
    err(visible(f"replaying `{node}` of run {run}"))
    if replay.recorded:
        err(visible(f"  recorded output is used of: {', '.join(replay.recorded)}"))
    if replay.first:
        err(visible(f"  runs first, as its output is not stored: {', '.join(replay.first)}"))
    for name, what in replay.changed.items():
        err(visible(f"  since then, `{name}` has changed: it {what}"))
    if replay.targets:
        err(visible(f"  is written again: {', '.join(replay.targets)}"))


def _console(replay: Replay, stack: ExitStack) -> Console:
    from petal.metadata.console import Console, showing_logs

    def show(line: str) -> None:
        write(sys.stderr, line + "\n")

    unicode = is_unicode(sys.stderr)
    stack.enter_context(showing_logs(show, unicode=unicode, quiet=False))
    assert replay.planned.plan is not None
    names = [(one.id, one.operator) for one in replay.planned.plan.nodes]
    return Console(show, names, unicode=unicode, colour=has_colours(sys.stderr))


def _debug(error: NodeFailed) -> None:
    """Open the debugger in the innermost frame of the user's code."""
    from pdb import Pdb

    from petal.running.tracebacks import users_part

    cause = error.__cause__
    if cause is None or cause.__traceback__ is None:
        err("  nothing to debug: the error comes from no code that ran here")
        return
    debugger = Pdb()
    debugger.reset()
    debugger.interaction(None, users_part(cause.__traceback__))
