"""``petal schema``: print the JSON Schema of pipeline files."""

from __future__ import annotations

import json

import click

from petal.cli.options import debug_option, open_pipeline, open_session, plugin_option
from petal.cli.output import err, out_json


@click.command("schema", short_help="Print the JSON Schema of pipeline files, for editors.")
@click.argument("file", metavar="[FILE]", required=False)
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Write to this file instead of stdout.")
@plugin_option
@debug_option
def command(
    file: str | None,
    output: str | None,
    plugins: tuple[str, ...],
) -> int:
    """Print the JSON Schema (2020-12) of pipeline files, with the parameters of every operator.

    Without FILE it knows the installed operators and leaves room for others; with FILE it knows those that this
    pipeline can name, and nothing else is valid, unless a node of it speaks plain JSON, whose type may be any.
    """
    from petal.cli.operator_view import all_operators, names_of
    from petal.config.schema import has_programs, pipeline_schema

    session = open_session(plugins)
    pipeline = None if file is None else open_pipeline(file, session)
    found, problems = all_operators(names_of(session, pipeline))
    for text in problems:
        err(f"warning: {text}")
    schema = pipeline_schema(
        [operator.spec for operator in found], closed=pipeline is not None and not has_programs(pipeline.spec)
    )
    if output is None:
        out_json(schema)
        return 0
    from petal.data.files import write_text

    write_text(output, json.dumps(schema, indent=2, ensure_ascii=False) + "\n")
    return 0
