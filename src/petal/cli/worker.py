"""``petal worker``: do tasks that another process sends over stdin."""

from __future__ import annotations

import click

from petal.cli.options import debug_option


@click.command("worker", short_help="Do tasks that another Petal sends over stdin.")
@debug_option
def command() -> int:
    """Do tasks that another Petal sends, until stdin ends.

    Requests arrive on stdin and replies leave on stdout, each as its length (4 bytes, big-endian) and a message. What
    operators print goes to stderr. A backend starts this in a container or over ssh; there is nothing to type.
    """
    from petal.worker.serve import serve_standard_streams

    serve_standard_streams()
    return 0
