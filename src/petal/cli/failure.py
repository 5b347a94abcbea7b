"""Show what went wrong: an error of Petal, an invalid pipeline, a node that failed, an interruption."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING

from petal.cli.output import count, err, has_colours, painted, visible
from petal.errors import InvalidPipeline, NodeFailed, PetalError, RunInterrupted
from petal.spec.diagnostic import Diagnostic, Severity, errors_of
from petal.spec.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterable


def show_error(error: PetalError, *, debug: bool = False) -> int:
    """Show an error that Petal raised on purpose, without its traceback, and return the exit code."""
    if debug:
        err(visible("".join(traceback.format_exception(error)).rstrip(), keep="\n"))
    if isinstance(error, InvalidPipeline):
        show_findings(error.diagnostics)
    elif isinstance(error, NodeFailed):
        show_failure(error)
    else:
        _show(error)
    return 128 + error.signal if isinstance(error, RunInterrupted) else error.exit_code


def show_findings(findings: list[Diagnostic]) -> None:
    """Show findings on stderr, and how many there are."""
    from petal.cli.render import as_text

    if findings:
        err(as_text(findings, colour=has_colours(sys.stderr)))
    err(tally(findings))


def show_warnings(findings: Iterable[Diagnostic], more: Iterable[str] = ()) -> None:
    """Show on stderr what keeps nothing from running."""
    from petal.cli.render import as_text

    found = [f for f in findings if f.severity is not Severity.ERROR]
    if found:
        err(as_text(found, colour=has_colours(sys.stderr)))
    for text in more:
        err(f"{painted('warning', 'yellow', on=has_colours(sys.stderr))}: {visible(text)}")


def tally(findings: list[Diagnostic]) -> str:
    """Return how many errors and warnings there are, in words."""
    errors = len(errors_of(findings))
    warnings = sum(f.severity is Severity.WARNING for f in findings)
    parts = [count(errors, "error")] if errors else []
    parts += [count(warnings, "warning")] if warnings else []
    return ", ".join(parts) or "no mistakes"


def show_failure(error: NodeFailed, *, debug: bool = False, replay: str | None = None) -> None:
    """Show a node that failed: what, which attempt, its parameters, the user's own traceback, and how to replay it."""
    attempt = f" (attempt {error.attempt})" if error.attempt else ""
    what = (
        f"what node `{error.node}` did is not known"
        if error.kind == "unknown"
        else f"node `{error.node}` failed"
    )
    _head(f"{what}{attempt}: {error.message}" if error.node else error.message)
    if error.params:
        err(f"  parameters: {visible(error.params)}")
    text = error.traceback
    if debug and error.__cause__ is not None:
        text = redact("".join(traceback.format_exception(error.__cause__)).rstrip())
    for line in text.splitlines():
        err(f"  {visible(line)}")
    if error.hint:
        err(f"  hint: {visible(error.hint)}")
    if replay:
        err(f"  replay: {visible(replay)}")


def show_interrupt(error: BaseException) -> int:
    """Say that a signal stopped the run, and return the exit code that stands for it."""
    err(visible(str(error)))
    result = getattr(error, "result", None)
    for node in result.nodes.values() if result is not None else ():
        if node.error is not None and node.error.kind == "unknown":
            show_failure(node.error)
    return 128 + int(getattr(error, "signal", 2))


def _show(error: PetalError) -> None:
    _head(error.message)
    place = error.location
    if place is not None:
        from petal.cli.render import excerpt

        err(f"  at {visible(str(place))}")
        for line in excerpt(place.file, place.line, place.column):
            err(line)
    for line in redact(str(getattr(error, "traceback", "") or "")).splitlines():
        err(f"  {visible(line)}")
    if error.hint:
        err(f"  hint: {visible(error.hint)}")


def _head(message: str) -> None:
    first, *rest = visible(message, keep="\n").splitlines() or [""]
    err(f"{painted('error', 'red', on=has_colours(sys.stderr))}: {first}")
    for line in rest:
        err(f"  {line}")
