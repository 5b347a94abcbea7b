"""``petal plugins``: list the plugins."""

from __future__ import annotations

import sys

import click

from petal.cli.options import debug_option, json_option, open_session, plugin_option
from petal.cli.output import aside, has_colours, out, out_json, painted, visible


@click.command("plugins", short_help="List the plugins and what each brings.")
@json_option
@plugin_option
@debug_option
def command(as_json: bool, plugins: tuple[str, ...]) -> int:
    """List every plugin that is installed: whether it is on, off or broken, why, and what it brings.

    Each is loaded to find that out, one at a time; one that is broken harms no other.
    """
    import msgspec

    session = open_session(plugins)
    with aside():
        found = session.plugins.plugins()
    if as_json:
        out_json([msgspec.to_builtins(info) for info in found])
        return 0
    colour = has_colours(sys.stdout)
    for info in found:
        package = f"  {info.distribution} {info.version}".rstrip() if info.distribution else ""
        state = painted(info.state, {"on": "green", "broken": "red"}.get(info.state, "dim"), on=colour)
        out(
            f"{visible(info.name)}{visible(package)}  {state}"
            + (f": {visible(info.reason)}" if info.reason else "")
        )
        if info.brings:
            out(f"    {visible(', '.join(info.brings))}")
    return 0
