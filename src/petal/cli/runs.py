"""``petal runs``: list the runs that are recorded, and prune them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from petal.cli.options import debug_option, home_option, json_option, open_home
from petal.cli.output import err, out, out_json, table, visible
from petal.errors import DefinitionError, UsageError

if TYPE_CHECKING:
    from petal.metadata.history import History, RunRecord

_LIMIT: Final = 20


@click.group("runs", short_help="List the runs that are recorded.", invoke_without_command=True)
@home_option
@json_option
@click.option(
    "--limit", default=_LIMIT, show_default=True, type=click.IntRange(0), help="How many; 0 for all."
)
@debug_option
@click.pass_context
def command(ctx: click.Context, home: str | None, as_json: bool, limit: int) -> int | None:
    """List the runs that are recorded in .petal here or above, the one that began last first.

    A run that has no end in its journal is `running` while its process lives, else it `died`.
    """
    if ctx.invoked_subcommand is not None:
        ctx.obj = home
        return None
    history = _history(home)
    runs = history.runs(limit or None)
    if as_json:
        out_json([record_of(run, nodes=False) for run in runs])
        return 0
    rows = [["RUN", "STATUS", "STARTED", "TIME", "PIPELINE", "NODES"], *map(_row, runs)]
    out(table(rows) if runs else "no run is recorded yet")
    for run in [run for run in runs if run.problems]:
        from petal.app.recorded import listed

        err(visible(f"run {run.run}: {listed(run.problems)}; `petal show {run.run}` says what is left of it"))
    left = len(history.ids()) - len(runs)
    if left > 0:
        err(f"{left:,} older: --limit 0 lists all")
    return 0


@command.command("prune", short_help="Remove the journals of old runs.")
@click.option(
    "--keep", type=click.IntRange(0), metavar="N", help="Keep the last N runs and remove those before them."
)
@click.option(
    "--older-than",
    metavar="AGE",
    help="Remove runs that ended longer ago than this, such as 30d; a number is seconds.",
)
@home_option
@json_option
@debug_option
@click.pass_context
def prune(
    ctx: click.Context, keep: int | None, older_than: str | None, home: str | None, as_json: bool
) -> int:
    """Remove the journals of old runs, and with them the chance to resume or replay these. Never one that runs.

    Runs prune by themselves, too: 1,000 are kept, and none that ended more than 90 days ago.
    """
    import math
    import sys

    if keep is None and older_than is None:
        raise UsageError("say which runs to remove", hint="petal runs prune --keep 100, or --older-than 30d")
    age = math.inf if older_than is None else _seconds(older_than)
    removed = _history(home or ctx.obj).prune(sys.maxsize if keep is None else keep, age)
    if as_json:
        out_json(removed)
    else:
        out(f"{len(removed):,} run{'' if len(removed) == 1 else 's'} removed")
    return 0


def record_of(run: RunRecord, *, nodes: bool = True) -> dict[str, Any]:
    """Return a run as plain data; without its nodes and what was asked for it is short."""
    import msgspec

    record: dict[str, Any] = msgspec.to_builtins(run)
    if not nodes:
        del record["nodes"], record["request"]
    return record


def when(started: float | None) -> str:
    """Return a time as people read it, in UTC as run ids are."""
    return "" if started is None else datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def counts_text(counts: dict[str, int]) -> str:
    """Return how many nodes have each status."""
    return ", ".join(f"{number:,} {status}" for status, number in counts.items())


def _history(home: str | None) -> History:
    from petal.metadata.history import History

    return History(open_home(home))


def _row(run: RunRecord) -> list[str]:
    from petal.metadata.console import seconds_text

    said = [run.run, run.status, when(run.started), seconds_text(run.seconds), visible(run.pipeline)]
    problems = f"  {len(run.problems)} damaged" if run.problems else ""
    return [*said, counts_text(run.counts) + problems]


def _seconds(text: str) -> float:
    """Read an age.

    Raises:
        UsageError: It is none.
    """
    from petal.spec.policy import seconds

    try:
        return float(text) if text.replace(".", "", 1).isdigit() else seconds(text)
    except (DefinitionError, ValueError, OverflowError):
        raise UsageError(f"--older-than {text}: that is no age", hint="write 30d, 12h or 90m") from None
