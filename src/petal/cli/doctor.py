"""``petal doctor``: say whether everything that a pipeline needs is here, and prove it."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING, Any

import click

from petal.cli.options import debug_option, json_option, open_pipeline, open_session, plugin_option
from petal.cli.output import aside, has_colours, out, out_json, painted, table, visible

if TYPE_CHECKING:
    from petal.app.session import Session

#: Seconds that a probe may take.
_PATIENCE = 60.0
_COLOURS = {"ok": "green", "broken": "red", "off": "dim"}


@click.command("doctor", short_help="Check Python, plugins and backends, with a probe through each.")
@click.argument("file", metavar="[FILE]", required=False)
@json_option
@plugin_option
@debug_option
def command(file: str | None, as_json: bool, plugins: tuple[str, ...]) -> int:
    """Check this machine: Python, Petal, the plugins, and each backend by a probe that runs there.

    With FILE, the backends that its nodes name are probed with the settings of those nodes; without, those that
    need no settings. Exit code 4 says that something does not work.
    """
    session = open_session(plugins)
    with aside():
        found = [*_here(), *_plugins(session), *_backends(session, file)]
    if as_json:
        out_json(found)
    else:
        colour = has_colours(sys.stdout)
        rows = [
            (
                visible(f["name"]),
                painted(f["state"], _COLOURS.get(f["state"], "dim"), on=colour),
                visible(f["detail"]),
            )
            for f in found
        ]
        out(table(rows))
    return 4 if any(f["state"] == "broken" for f in found) else 0


def _fact(name: str, state: str, detail: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "state": state, "detail": detail, **more}


def _here() -> list[dict[str, Any]]:
    from petal import __version__

    system = f"{platform.system()} {platform.release()}"
    return [
        _fact("python", "ok", f"{platform.python_version()} on {system}"),
        _fact("petal", "ok", __version__),
    ]


def _plugins(session: Session) -> list[dict[str, Any]]:
    facts = []
    for info in session.plugins.plugins():
        if info.name == "built-in":
            continue
        package = f"{info.distribution} {info.version}".strip()
        state = "ok" if info.state == "on" else info.state
        facts.append(_fact(f"plugin {info.name}", state, ": ".join(filter(None, (package, info.reason)))))
    return facts


def _backends(session: Session, file: str | None) -> list[dict[str, Any]]:
    """Probe backends: those of a pipeline's nodes, or all that can be opened without settings."""
    wanted: dict[str, tuple[str, dict[str, Any]]] = {}
    if file is not None:
        pipeline = open_pipeline(file, session)
        for node in pipeline.plan().nodes:
            if node.policies is not None and node.policies.execution.backend != "local":
                execution = node.policies.execution
                wanted.setdefault(
                    f"{execution.backend} (as of {node.id})", (execution.backend, execution.settings)
                )
    else:
        wanted = {name: (name, {}) for name in session.plugins.backends()}
    return [
        _fact("backend local", "ok", "this process"),
        *(_probe(session, label, *place) for label, place in wanted.items()),
    ]


def _probe(session: Session, label: str, backend: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Run a node there that says what it finds."""
    from petal import Pipeline, node
    from petal.errors import PetalError
    from petal.worker.probe import report

    policies = {"execution": {"backend": backend, **settings}, "timeout": _PATIENCE}
    try:
        told = (
            Pipeline.of(node(report, id="report", policies=policies), session=session)
            .run()
            .check()
            .outputs["report"]
        )
    except PetalError as error:
        return _fact(
            f"backend {label}", "broken", f"{error.message}" + (f" ({error.hint})" if error.hint else "")
        )
    own = report()
    different = [name for name in ("petal", "code") if told[name] != own[name]]
    detail = f"Python {told['python']}, Petal {told['petal']}, code {told['code']} on {told['host']}"
    if different:
        return _fact(f"backend {label}", "broken", f"{detail}: its Petal is not the one here", told=told)
    return _fact(f"backend {label}", "ok", detail, told=told)
