"""``petal validate``: find every mistake in pipelines, without running them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from petal.cli.options import debug_option, open_pipeline, open_session, plugin_option
from petal.cli.output import aside, count, err, has_colours, out, out_json
from petal.errors import PetalError, UsageError

if TYPE_CHECKING:
    from petal.app.session import Session
    from petal.spec.diagnostic import Diagnostic


@click.command("validate", short_help="Find every mistake in pipelines, without running them.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github", "sarif"]),
    default="text",
    show_default=True,
    help="How to write findings.",
)
@click.option(
    "--no-code",
    is_flag=True,
    help="Import no Python file of the pipelines; what it would bring is not checked.",
)
@plugin_option
@debug_option
def command(
    files: tuple[str, ...],
    form: str,
    no_code: bool,
    plugins: tuple[str, ...],
) -> int:
    """Find every mistake in each FILE in one pass, with its place and its remedy.

    The pipelines' Python files are imported (not with --no-code); nothing is run or written. Warnings do not
    make a pipeline invalid.
    """
    from petal.cli.failure import show_warnings, tally
    from petal.cli.render import as_github, as_records, as_text
    from petal.spec.diagnostic import errors_of

    session = open_session(plugins, load_code=not no_code)
    findings: list[Diagnostic] = []
    warnings: list[str] = []
    codes = {0}
    for file in files:
        found, code = _check(file, session, warnings, no_code=no_code)
        findings += [f for f in found if f not in findings]
        codes.add(code)
    show_warnings([], dict.fromkeys([*session.plugins.warnings, *warnings]))
    if form == "json":
        out_json(as_records(findings))
    elif form == "sarif":
        from petal.cli.sarif import as_sarif

        out_json(as_sarif(findings, completed=not codes & {2, 4}))
    elif findings:
        out(as_github(findings) if form == "github" else as_text(findings, colour=has_colours(sys.stdout)))
    if form == "text":
        err(f"{tally(findings)} in {count(len(files), 'file')}")
    if 2 in codes:
        return 2
    return max(codes) or (3 if errors_of(findings) else 0)


def _check(
    file: str, session: Session, warnings: list[str], *, no_code: bool
) -> tuple[list[Diagnostic], int]:
    """Return what is wrong with one file, and the exit code of a file that cannot be loaded at all."""
    from petal.cli.render import finding_of

    try:
        if no_code and file.partition(":")[0].endswith(".py"):
            raise UsageError(
                f"`{file}` is Python, which --no-code does not import", hint="leave --no-code out"
            )
        pipeline = open_pipeline(file, session)
        with aside():
            found = pipeline.validate()
        warnings += pipeline.session.plugins.warnings
        return found, 0
    except PetalError as error:
        return [finding_of(error, file)], error.exit_code
