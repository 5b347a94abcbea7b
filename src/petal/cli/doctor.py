"""``petal doctor``: say whether everything that a pipeline needs is here, and prove it."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec

from petal.cli.options import (
    debug_option,
    json_option,
    open_pipeline,
    open_session,
    place_of,
    plugin_option,
    request_of,
)
from petal.cli.output import aside, has_colours, out, out_json, painted, table, visible
from petal.errors import UsageError
from petal.spec.policy import Execution

if TYPE_CHECKING:
    from collections.abc import Iterable

    from petal.app.pipeline import Pipeline
    from petal.app.session import Session
    from petal.errors import PetalError
    from petal.planning.request import Request
    from petal.spec.diagnostic import Diagnostic

#: Seconds that a probe may take.
_PATIENCE = 60.0
_COLOURS = {"ok": "green", "broken": "red", "off": "dim"}


@click.command("doctor", short_help="Check Python, plugins and backends, with a probe through each.")
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--backend", metavar="NAME[,KEY=VALUE...]", help="Probe this backend alone.")
@json_option
@plugin_option
@debug_option
def command(file: str | None, backend: str | None, as_json: bool, plugins: tuple[str, ...]) -> int:
    """Check this machine: Python, Petal, the plugins, and each backend by a probe that runs there.

    With FILE, the plugins that it names take part, and the backends that its nodes name are probed with the settings
    of those nodes, and looked at for the code of those nodes; without, those that need no settings. `--backend` probes
    one alone, without FILE with the settings that follow its name. Exit code 4 says that something does not work.
    """
    session = open_session(plugins)
    with aside():
        pipeline = None if file is None else open_pipeline(file, session)
        if pipeline is not None:  # a Python file may bring a session of its own, with plugins and backends
            session = pipeline.session
        found = [*_here(), *_plugins(session), *_backends(session, pipeline, backend)]
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


def _backends(session: Session, pipeline: Pipeline | None, only: str | None) -> list[dict[str, Any]]:
    """Probe the backend that is wanted; else those of a pipeline's nodes, or all that can be opened without settings."""
    unasked: list[dict[str, Any]] = []
    request = None
    if pipeline is not None:
        wanted = _of_nodes(pipeline, only)
    elif only is not None:
        place = place_of(only)
        wanted = {place.backend: place} if place.backend != "local" else {}
        request = request_of((), (), (), (), [only])  # its settings are text
    else:
        wanted, unasked = _without_settings(session)
    return [
        _fact("backend local", "ok", "this process"),
        *(_checked(session, label, execution, pipeline, request) for label, execution in wanted.items()),
        *unasked,
    ]


def _without_settings(session: Session) -> tuple[dict[str, Execution], list[dict[str, Any]]]:
    """Return the backends that need none, and what is said of the others."""
    wanted, unasked = {}, []
    for name, backend in session.plugins.backends().items():
        needed = [f.encode_name for f in msgspec.structs.fields(backend.settings) if f.required]
        if needed:
            given = "".join(f",{key}=..." for key in needed)
            detail = (
                f"needs {', '.join(f'`{key}`' for key in needed)}: `petal doctor FILE` probes it as the nodes of FILE do, "
                f"or `petal doctor --backend {name}{given}`"
            )
            unasked.append(_fact(f"backend {name}", "off", detail))
        else:
            wanted[name] = Execution(name)
    return wanted, unasked


def _of_nodes(pipeline: Pipeline, only: str | None) -> dict[str, Execution]:
    """Return the places of a pipeline's nodes, each once.

    Raises:
        UsageError: None of them is that of the backend that is wanted, or settings are given beside those of the nodes.
    """
    if only is not None and "," in only:
        raise UsageError(
            f"--backend {only}: settings are those of the file's nodes", hint="give the backend's name alone"
        )
    wanted: dict[str, Execution] = {}
    for node in pipeline.plan().nodes:
        for place in node.policies.execution.places if node.policies is not None else ():
            place = msgspec.structs.replace(place, failover=())
            if place.backend == "local" or only not in (None, place.backend) or place in wanted.values():
                continue
            label = f"{place.backend} (as of {node.id})"
            wanted[label if label not in wanted else f"{label[:-1]}, {len(wanted)})"] = place
    if only not in (None, "local") and not wanted:
        raise UsageError(f"no node of the pipeline runs on `{only}`", hint="see `petal plan FILE`")
    return wanted


def _checked(
    session: Session, label: str, execution: Execution, pipeline: Pipeline | None, request: Request | None
) -> dict[str, Any]:
    """Probe a place, then look for the operators of the pipeline's nodes that run there."""
    found = _probe(session, label, execution, request)
    if found["state"] != "ok" or pipeline is None or execution.speaks_json:
        return found
    from petal.app.comparing import compared
    from petal.errors import PetalError

    try:
        operators = compared(pipeline, execution)
    except PetalError as error:
        return _broken(label, error)
    wrong = []
    for node, said in operators.items():
        if isinstance(said, PetalError):
            wrong.append(
                f"`{node}` cannot run there: {said.message}" + (f" ({said.hint})" if said.hint else "")
            )
        elif said:
            wrong.append(f"`{node}` has other code there than here: {', '.join(said)}")
    if wrong:
        return found | {"state": "broken", "detail": f"{found['detail']}; {'; '.join(wrong)}"}
    same = f"; the code of {', '.join(operators)} is the one here" if operators else ""
    return found | {"detail": found["detail"] + same}


def _probe(session: Session, label: str, execution: Execution, request: Request | None) -> dict[str, Any]:
    """Run a node there that says what it finds; what plugins want of pipelines is not asked of this one."""
    from petal import Pipeline, node
    from petal.errors import EnvironmentNotReady, PetalError
    from petal.execution.options import Options
    from petal.spec.diagnostic import errors_of
    from petal.worker.probe import report

    if execution.speaks_json:
        return _opened(session, label, execution)
    place = {"backend": execution.backend, "protocol": "petal", **execution.settings}
    policies = {"timeout": _PATIENCE} | ({"execution": place} if request is None else {})
    try:
        pipeline = Pipeline.of(node(report, id="probe", policies=policies), session=session, name="probe")
        planned = pipeline.planned(request)
        if planned.plan is None:
            return _wrong(label, errors_of(planned.findings))
        told = pipeline.execute(planned, Options(), []).check().outputs["probe"]
    except PetalError as raised:
        reason = raised.__cause__ if isinstance(raised, EnvironmentNotReady) else None
        return _broken(label, reason if isinstance(reason, PetalError) else raised)
    own = report()
    different = [name for name in ("petal", "code") if told[name] != own[name]]
    detail = f"Python {told['python']}, Petal {told['petal']}, code {told['code']} on {told['host']}"
    if different:
        return _fact(f"backend {label}", "broken", f"{detail}: its Petal is not the one here", told=told)
    return _fact(f"backend {label}", "ok", detail, told=told)


def _opened(session: Session, label: str, execution: Execution) -> dict[str, Any]:
    """Open a backend whose program answers no probe: that finds what is missing of what it needs."""
    from petal.errors import PetalError
    from petal.running.secrets import resolving

    try:
        with resolving(session.resolve):
            session.open_backend(execution.backend, execution.settings, None).close(0.0)
    except PetalError as error:
        return _broken(label, error)
    return _fact(f"backend {label}", "ok", "it opens; its program speaks plain JSON, and answers no probe")


def _wrong(label: str, findings: Iterable[Diagnostic]) -> dict[str, Any]:
    """Say what is wrong of the place itself: there is no pipeline of the user's of which it could be."""
    said = (f"{one.message} ({one.hint})" if one.hint else one.message for one in findings)
    return _fact(f"backend {label}", "broken", "; ".join(said))


def _broken(label: str, error: PetalError) -> dict[str, Any]:
    hint = f" ({error.hint})" if error.hint else ""
    return _fact(f"backend {label}", "broken", f"{error.message}{hint}")
