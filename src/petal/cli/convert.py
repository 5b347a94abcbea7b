"""``petal convert``: convert a pipeline file between YAML, JSON and TOML."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from petal.cli.options import debug_option
from petal.cli.output import write
from petal.errors import InvalidPipeline, UsageError

if TYPE_CHECKING:
    from petal.config.syntax import Format
    from petal.spec.diagnostic import Diagnostic
    from petal.spec.pipeline import PipelineSpec


@click.command("convert", short_help="Convert a pipeline file between YAML, JSON and TOML.")
@click.argument("source", metavar="A")
@click.argument("target", metavar="B")
@click.option(
    "--to",
    "form",
    type=click.Choice(["yaml", "json", "toml"]),
    help="The format of B, where its ending does not say.",
)
@click.option("--force", is_flag=True, help="Overwrite B.")
@debug_option
def command(
    source: str,
    target: str,
    form: Format | None,
    force: bool,
) -> int:
    """Convert the pipeline file A to B, each in the format that its ending says; `-` for B is stdout.

    No Python is imported, references such as ${env:NAME} stay as they are, and comments are lost.
    """
    from petal.cli.failure import show_warnings
    from petal.config.encode import to_text
    from petal.config.syntax import format_of

    format = form or (None if target == "-" else format_of(target))
    if format is None:
        raise UsageError(
            f"the format of `{target}` cannot be told from its ending",
            hint="end it in .yaml, .json or .toml, or say --to FORMAT",
            code="unknown-format",
        )
    spec, findings = _read(source)
    show_warnings(findings)
    text = to_text(spec, format)
    if target == "-":
        write(sys.stdout, text if text.endswith("\n") else text + "\n")
        return 0
    if os.path.exists(target) and not force:
        raise UsageError(f"`{target}` exists", hint="--force overwrites it", code="exists")
    from petal.data.files import write_text

    write_text(target, text)
    return 0


def _read(source: str) -> tuple[PipelineSpec, list[Diagnostic]]:
    """Read a pipeline file as its author wrote it.

    Raises:
        InvalidPipeline: It has mistakes, so that it would not survive the conversion.
        UsageError: It cannot be read.
    """
    from petal.app.parts import read_file
    from petal.config.decode import decode
    from petal.config.syntax import format_of, parse
    from petal.spec.diagnostic import errors_of

    format = format_of(source)
    if format is None:
        raise UsageError(
            f"`{source}` is no pipeline file in YAML, JSON or TOML: its ending is another",
            hint="rename it by what it holds",
            code="unknown-format",
        )
    spec, findings = decode(parse(read_file(Path(source), source), source, format))
    if errors_of(findings):
        raise InvalidPipeline(f"`{source}` has mistakes", findings)
    return spec, findings
