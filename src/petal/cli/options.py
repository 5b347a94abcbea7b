"""What several commands take: parameters, targets, backends, plugins; and the pipeline that they name."""

from __future__ import annotations

import gc
import os
import shlex
from typing import TYPE_CHECKING, Any, TypeVar

import click

from petal.cli.output import aside
from petal.errors import InvalidPipeline, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from petal.app.pipeline import Pipeline
    from petal.app.session import Session
    from petal.data.home import Home
    from petal.planning.build import Planned
    from petal.planning.request import Request
    from petal.spec.plan import Plan
    from petal.spec.policy import Execution

F = TypeVar("F", bound="Callable[..., Any]")

plugin_option = click.option(
    "-p",
    "plugins",
    multiple=True,
    metavar="NAME",
    help="Let an installed plugin take part; no:NAME keeps one out.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
home_option = click.option(
    "--home", metavar="DIR", help="The folder of state, instead of .petal here or above, or $PETAL_HOME."
)
#: Read where errors are shown, in :func:`petal.cli.main.invoke`.
debug_option = click.option("--debug", is_flag=True, expose_value=False, help="Show full tracebacks.")


def planning_options(function: F) -> F:
    """Add the options that say what of a pipeline is wanted, and with which values."""
    for option in (
        click.option(
            "--target", "targets", multiple=True, metavar="NODE", help="Only this node and what it needs."
        ),
        click.option(
            "--backend",
            "backends",
            multiple=True,
            metavar="[NODE=]NAME[,KEY=VALUE...]",
            help="Where a node, or every node, runs; settings may follow.",
        ),
        click.option("--input", "inputs", multiple=True, metavar="NAME=VALUE", help="Give a pipeline input."),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="NODE.PARAM=VALUE",
            help="Set a parameter of a node or module.",
        ),
        click.option(
            "--param", "params", multiple=True, metavar="NAME=VALUE", help="Set a parameter of the pipeline."
        ),
    ):
        function = option(function)
    return function


def request_of(
    params: Iterable[str],
    settings: Iterable[str],
    inputs: Iterable[str],
    targets: Iterable[str],
    backends: Iterable[str],
    *,
    to_run: bool = False,
) -> Request:
    """Return the request that the planning options make; all values are text.

    Raises:
        UsageError: An option is not written as it should be.
    """
    from petal.planning.request import Request

    values = _pairs("--param", params)
    for name in values:
        if "." in name:
            raise UsageError(
                f"--param {name}: a parameter of the pipeline has no dot", hint=f"--set {name}=... sets it"
            )
    for address, value in _pairs("--set", settings).items():
        if "." not in address:
            raise UsageError(
                f"--set {address}: there is no node in it",
                hint=f"write --set NODE.{address}=..., or --param {address}=... for one of the pipeline",
            )
        values[address] = value
    given = _pairs("--input", inputs)
    places: dict[str, str] = {}
    for text in backends:
        node, place = _placement(text)
        places[node] = place
    return Request(
        params=values,
        inputs=given,
        text=frozenset(values) | frozenset(given),
        targets=tuple(targets),
        backends=places,
        environment=os.environ,
        folder=os.getcwd(),
        to_run=to_run,
    )


def _placement(text: str) -> tuple[str, str]:
    """Take a ``--backend`` apart: the node, empty for every one, and the backend with its settings."""
    head, comma, rest = text.partition(",")
    node, equals, name = head.rpartition("=")
    if not name or (equals and not node):
        raise UsageError(
            f"--backend {text}: there is no name in it",
            hint="write --backend NAME or --backend NODE=NAME",
        )
    for setting in rest.split(",") if comma else ():
        key, equals, _ = setting.partition("=")
        if not key or not equals:
            raise UsageError(
                f"--backend {text}: `{setting}` is no setting",
                hint="write --backend NODE=NAME,KEY=VALUE; a value with a comma goes into the file",
            )
    return node, name + comma + rest


def place_of(text: str) -> Execution:
    """Return the place that a ``--backend`` without a node names.

    Raises:
        UsageError: It is not written as it should be.
    """
    from petal.planning.request import placed
    from petal.spec.policy import Execution

    node, place = _placement(text)
    if node:
        raise UsageError(f"--backend {text}: there is no node to name here", hint=f"write --backend {place}")
    return placed(Execution(), place)


def _pairs(option: str, texts: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            problem = "there is no name before the `=`" if equals else "there is no `=` in it"
            raise UsageError(f"{option} {text}: {problem}", hint=f"write {option} NAME=VALUE")
        if name in found:
            raise UsageError(f"{option} {name} is given twice")
        found[name] = value
    return found


def open_home(named: str | None) -> Home:
    """Return the folder of state that is there: the one that is named, or the first from here upward (S8.2).

    Raises:
        UsageError: There is none.
        EnvironmentNotReady: Others could change what is in it.
    """
    from petal.data.home import Home, find_home

    if named is not None:
        home = Home(named)
        if home.path.exists():
            home.check()
            return home
        raise UsageError(f"there is no folder {str(home.path)!r}", hint="correct `--home`")
    found = find_home(os.getcwd(), os.environ)
    if found is None:
        raise UsageError(
            "there is no `.petal` folder here or above: no run of a pipeline here has left anything",
            hint="go to the pipeline's folder, or name the folder of state with `--home` or $PETAL_HOME",
            code="no-home",
        )
    return found


def home_beside(file: str, named: str | None) -> Home:
    """Return the folder of state of a pipeline: the one that is named, or that beside its file (S8.2); of one that is
    fetched, that of the current folder."""
    from petal.data.home import Home
    from petal.data.home import home_beside as beside

    return Home(named) if named is not None else beside(file.partition(".py:")[0], os.environ)


def open_session(plugins: Iterable[str] = (), *, load_code: bool = True) -> Session:
    """Make a session with the plugins that ``-p`` names.

    Raises:
        UsageError: There is no such plugin.
    """
    from petal.app.session import Session

    names = list(plugins)
    with aside():
        session = Session(plugins=names, load_code=load_code)
    for name in names:
        if not name.startswith("no:") and name not in (known := session.plugins.installed()):
            from petal.planning.findings import did_you_mean

            raise UsageError(
                f"there is no plugin `{name}`",
                hint=did_you_mean(name, known) or "`petal plugins` lists those that are installed",
                code="unknown-plugin",
            )
    return session


def open_pipeline(file: str, session: Session) -> Pipeline:
    """Load a pipeline file; what its Python prints while it is loaded goes to stderr.

    Raises:
        PetalError: It cannot be loaded.
    """
    from petal.app.pipeline import Pipeline

    if file.lower().endswith((".yaml", ".yml")):
        import petal.config.yaml_text  # noqa: F401
    # Nothing of the user's is loaded yet, and Petal stays until the end: not looking for garbage in it again saves a
    # tenth of a short run, most of that at the exit.
    gc.freeze()
    with aside():
        return Pipeline.from_file(file, session=session)


def plan_of(pipeline: Pipeline, request: Request) -> tuple[Plan, Planned]:
    """Plan what a command line asks for.

    Raises:
        InvalidPipeline: The pipeline has mistakes.
        UsageError: A value, target or backend is given to what is not there.
    """
    try:
        with aside():
            return pipeline.checked(request)
    except InvalidPipeline:
        from petal.cli.failure import show_warnings

        show_warnings([], pipeline.session.plugins.warnings)  # a plugin that was left out may be the reason
        raise
    except UsageError as error:
        error.hint = _parameter_of_a_node(pipeline, request, error) or error.hint
        raise


def _parameter_of_a_node(pipeline: Pipeline, request: Request, error: UsageError) -> str | None:
    """Say how to set a parameter that nodes have, where it was given to the pipeline, which has none such."""
    if error.code != "unknown-param":
        return None
    names = pipeline.part.names
    for name, value in request.params.items():
        if "." in name or f"`{name}`" not in error.message:
            continue
        found = [(node.id, names.find(node.type)) for node in pipeline.spec.nodes]
        having = [node for node, operator in found if operator is not None and operator.spec.param(name)]
        if having:
            from petal.planning.findings import listing

            nodes = f"nodes {listing(having)} have" if len(having) > 1 else f"node `{having[0]}` has"
            option = f"--set {shlex.quote(f'{having[0]}.{name}={value}')}"
            return f"{nodes} one of that name: {option}"
    return None
