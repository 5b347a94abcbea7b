"""``petal show``: show what a run did, from its journal."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from petal.cli.options import debug_option, home_option, json_option, open_home
from petal.cli.output import out, out_json, table, visible

if TYPE_CHECKING:
    from petal.metadata.history import Attempt, NodeRecord, RunRecord


#: How many failed calls of a node in batches are shown.
_CALLS = 10
#: How many damaged records are shown.
_PROBLEMS = 5


@click.command("show", short_help="Show what a run did: nodes, attempts, errors.")
@click.argument("run", metavar="RUN|last")
@home_option
@json_option
@debug_option
def command(run: str, home: str | None, as_json: bool) -> int:
    """Show what a run did: its nodes, where each attempt ran, rows, times, what came from the cache, errors, files.

    RUN is the beginning of a run's id, as `petal runs` lists them, or `last`. A run that is still running can be shown.
    Of one that was killed, nodes that were at work, or could have been, are `interrupted`; where a second execution would
    do harm, they are `unknown`.
    """
    from petal.cli.runs import record_of
    from petal.metadata.history import History

    history = History(open_home(home))
    found = history.read(history.find(run))
    if as_json:
        out_json(record_of(found))
    else:
        out("\n".join(_lines(found)))
    return 0


def _lines(run: RunRecord) -> Iterator[str]:
    from petal.cli.runs import counts_text, when
    from petal.metadata.console import seconds_text

    began = f", began {when(run.started)}" if run.started is not None else ""
    resumed = f", resumed {run.resumed} time{'s' * (run.resumed > 1)}" if run.resumed else ""
    yield f"{run.run}  {run.status} after {seconds_text(run.seconds)}{began}{resumed}"
    yield visible(f"{run.pipeline}  {run.file or ''}".strip())
    if run.started is None:
        yield "what was planned is not known: " + (
            "its record is damaged" if run.problems else "it was not written"
        )
    else:
        yield f"process {run.pid} on {visible(run.host)}, Petal {run.petal}, Python {run.python}"
    for address, value in _asked(run):
        yield visible(f"{address}: {value}")
    yield f"nodes: {counts_text(run.counts) or 'none'}"
    yield ""
    rows = [["NODE", "TYPE", "STATUS", "BACKEND", "ATTEMPTS", "ROWS", "TIME"], *map(_row, run.nodes)]
    yield table(rows)
    for node in run.nodes:
        yield from _details(node)
    yield from _not_known(run)
    if run.problems:
        yield from _damage(run)


def _not_known(run: RunRecord) -> Iterator[str]:
    """Yield how to go on where nobody knows what a node has done."""
    names = [node.id for node in run.nodes if node.status == "unknown"]
    if not names or run.file is None or run.status in ("running", "succeeded"):
        return
    again = f"petal run {shlex.quote(run.file)} --resume {run.run}"
    yield ""
    yield visible(
        f"find out what {', '.join(f'`{name}`' for name in names)} did, and go on with one of these for each:"
    )
    for name in names:
        yield visible(f"  {again} --rerun {name}")
        yield visible(f"  {again} --assume-done {name}")


def _damage(run: RunRecord) -> Iterator[str]:
    """Yield what is wrong with the journal, and what can still be done."""
    yield ""
    yield "the journal is damaged, and what is said above lacks what was there:"
    for problem in run.problems[:_PROBLEMS]:
        yield f"  {visible(problem)}"
    if len(run.problems) > _PROBLEMS:
        yield f"  and {len(run.problems) - _PROBLEMS:,} more"
    if run.started is None:
        yield "  the run cannot be resumed or replayed: run the pipeline afresh"
    elif run.status != "succeeded":
        file = shlex.quote(run.file or "FILE")
        yield f"  run the pipeline afresh; or go on with what can be read: petal run {file} --resume {run.run} --force"


def _asked(run: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield what was asked for beyond the pipeline's file, as far as there is anything."""
    for name in ("params", "settings", "inputs", "targets", "backends"):
        value = run.request.get(name)
        if isinstance(value, dict):
            value = ", ".join(f"{k}={v}" for k, v in value.items())
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        if value not in ("", None):
            yield name, str(value)


def _row(node: NodeRecord) -> list[str]:
    from petal.metadata.console import seconds_text

    return [
        visible(node.id),
        visible(node.type),
        f"{node.status}, cached" if node.cached else node.status,
        visible(node.backend),
        str(len(node.attempts) or ""),
        "" if node.rows is None else f"{node.rows:,}",
        seconds_text(node.seconds) if node.seconds else "",
    ]


def _details(node: NodeRecord) -> Iterator[str]:
    """Yield what does not fit a line of the table: attempts that failed, the error, the files."""
    told = [a for a in node.attempts if a.status not in ("succeeded", "failed") or len(node.attempts) > 1]
    single = bool(node.error) and not told
    if not (told or single or node.targets or node.calls):
        return
    yield ""
    yield f"{visible(node.id)}:"
    for attempt in told:
        yield f"  {_attempt(attempt)}"
    for call in node.calls[:_CALLS]:
        yield f"  call, {_attempt(call)}"
    if len(node.calls) > _CALLS:
        yield f"  and {len(node.calls) - _CALLS:,} more calls that failed and were made again"
    if single:
        yield f"  {node.kind}: {visible(node.error or '', keep=' ')}"
    for target in node.targets:
        yield f"  wrote {visible(target.path)}  {target.size:,} bytes  {target.digest}"


def _attempt(attempt: Attempt) -> str:
    text = f"attempt {attempt.number} on {visible(attempt.backend)}: {attempt.status}"
    if attempt.error:
        text += f" ({attempt.kind}): {visible(attempt.error)}"
    if attempt.wait is not None:
        text += f"; the next one {attempt.wait:.1f}s later" if attempt.wait else "; the next one at once"
    return text
