"""``petal plugins``: list the plugins."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from petal.cli.options import debug_option, json_option, open_session, plugin_option
from petal.cli.output import aside, has_colours, out, out_json, painted, visible

if TYPE_CHECKING:
    from petal.plugin.installed import PluginInfo

#: Seconds of loading that are worth a line.
_SLOW: Final = 1.0


@click.command("plugins", short_help="List the plugins and what each brings.")
@json_option
@plugin_option
@debug_option
def command(as_json: bool, plugins: tuple[str, ...]) -> int:
    """List every plugin that is installed: whether it is on, off or broken, why, and what it brings.

    Each is loaded to find that out, one at a time; one that is broken harms no other. One that takes more than 15
    seconds is left out: -p NAME waits for it, and $PETAL_PLUGIN_TIMEOUT sets another limit, 0 for none.
    """
    import msgspec

    session = open_session(plugins)
    with aside():
        found = session.plugins.everything()
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
        if info.seconds >= _SLOW:
            out(f"    took {info.seconds:.1f} s to load")
        for kind, names in _brought(info).items():
            out(f"    {kind}: {visible(', '.join(names))}")
    return 0


def _brought(info: PluginInfo) -> dict[str, list[str]]:
    """Return the names of what a plugin brings, by kind; of hooks that bring nothing by name, the hooks."""
    operators = [name for name in info.brings if not name.startswith("petal_")]
    told = {"petal_operators", *info.offers}
    hooks = [name for name in info.brings if name.startswith("petal_") and name not in told]
    named = {hook.removeprefix("petal_"): names for hook, names in info.offers.items()}
    found = {"operators": operators, **named, "hooks": hooks}
    return {kind: names for kind, names in found.items() if names}
