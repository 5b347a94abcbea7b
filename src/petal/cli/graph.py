"""``petal graph``: draw a pipeline."""

from __future__ import annotations

import shutil
import sys

import click

from petal.cli.options import debug_option, open_pipeline, open_session, plugin_option
from petal.cli.output import aside, is_unicode, out


@click.command("graph", short_help="Draw a pipeline.")
@click.argument("file", metavar="FILE")
@click.option("--ascii", is_flag=True, help="Use ASCII characters only.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "mermaid", "dot"]),
    default="text",
    show_default=True,
    help="What to write.",
)
@click.option("--width", type=click.IntRange(min=1), help="Columns to use; by default those of the terminal.")
@plugin_option
@debug_option
def command(
    file: str,
    ascii: bool,
    form: str,
    width: int | None,
    plugins: tuple[str, ...],
) -> int:
    """Draw the pipeline in FILE: as text, as a Mermaid diagram, or in Graphviz's language.

    One with mistakes is drawn as far as it can be told; the mistakes are shown on stderr, and the exit code is 3.
    """
    from petal.cli.failure import show_findings
    from petal.spec.diagnostic import errors_of

    pipeline = open_pipeline(file, open_session(plugins))
    with aside():
        errors = errors_of(pipeline.validate())
    if errors:
        show_findings(errors)
    if errors and ((any(e.code == "cycle" for e in errors) and form == "text") or not pipeline.edges()[0]):
        return 3
    if form == "mermaid":
        out(pipeline.mermaid())
    elif form == "dot":
        out(pipeline.dot())
    else:
        if width is None and sys.stdout.isatty():
            width = shutil.get_terminal_size().columns
        out(pipeline.ascii(ascii=ascii or not is_unicode(sys.stdout), width=width))
    return 3 if errors else 0
