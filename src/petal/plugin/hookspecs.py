"""Every hook of Petal: what each is asked, when, and what it returns.

Implement them with :func:`petal.hookimpl`, in a module or a class that the entry-point group ``petal`` names,
or in a pipeline's own file (``@petal.register_plugin``). An implementation may leave out arguments it does
not need. Hooks run in the process that runs the pipeline, never in its workers (S6.4).

A plugin that cannot be loaded, or a hook that fails, is a warning that names the plugin and its package, and is left out;
it is an error only where the pipeline or the command line needs what it brings. What plugins print while they are loaded
or asked goes to stderr. A plugin that nothing names may take 15 seconds to load; ``$PETAL_PLUGIN_TIMEOUT`` says another
number, 0 for no limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from petal.plugin.markers import hookspec

if TYPE_CHECKING:
    from petal.interfaces.adapter import Adapter
    from petal.interfaces.backend import Backend
    from petal.interfaces.codec import Codec
    from petal.interfaces.filesystem import FileSystem
    from petal.spec.diagnostic import Diagnostic
    from petal.spec.event import Event
    from petal.spec.pipeline import PipelineSpec

#: Operators by name, each an object or ``module:qualname`` text; or a list of objects and modules.
Operators: TypeAlias = Mapping[str, object | str] | Iterable[object | ModuleType]


@hookspec
def petal_operators() -> Operators:  # type: ignore[empty-body]
    """Bring operators that a module does not define itself.

    When:
        Once, when the plugin is loaded. Operators that its own module defines are found without this hook.

    Returns:
        A mapping of type names to functions, classes or ``module:qualname`` texts, which are imported when a
        pipeline uses them; or decorated objects, or modules in which to look for them.
    """


@hookspec
def petal_backends() -> Iterable[Backend]:  # type: ignore[empty-body]
    """Bring places where nodes can run.

    When:
        The first time that a pipeline names a backend which Petal does not have.

    Returns:
        Backends: see :class:`petal.Backend`. Each says its ``name`` and capabilities, and connects to nothing before it
        is opened. ``petal.testing.BackendContract`` tests one.
    """


@hookspec
def petal_adapters() -> Iterable[Adapter]:  # type: ignore[empty-body]
    """Bring further views of data, such as another library's frames.

    Classes that have ``__arrow_c_stream__`` feed every view without an adapter; with one, an operator can ask for them.

    When:
        Once, before a pipeline is checked, only for plugins that it, ``-p`` or ``$PETAL_PLUGINS`` names.

    Returns:
        Adapters: see :class:`petal.interfaces.adapter.Adapter` for what each must hold to, and
        ``petal.testing.AdapterContract`` for tests of it. The first that brings a class wins, with a warning.
    """


@hookspec
def petal_codecs() -> Iterable[Codec]:  # type: ignore[empty-body]
    """Bring ways to write values as bytes, for the wire and the cache.

    When:
        The first time that bytes are marked with the ``name`` of a codec which Petal does not have. Values are written
        only with codecs of plugins that the pipeline, ``-p`` or ``$PETAL_PLUGINS`` names.

    Returns:
        Codecs: see :class:`petal.interfaces.codec.Codec` for what each must hold to, and
        ``petal.testing.CodecContract`` for tests of it.
    """


@hookspec
def petal_stores() -> Mapping[str, Any] | Iterable[Any]:  # type: ignore[empty-body]
    """Bring places to keep bytes: caches and claim checks.

    When:
        The first time that a URL has a scheme which Petal does not have.

    Returns:
        A mapping of schemes (``s3``) to functions that take a URL and open a :class:`petal.interfaces.store.Store`; or
        such functions that say their ``name``, which is the scheme. ``petal.testing.StoreContract`` tests a store.
    """


@hookspec
def petal_filesystems() -> Mapping[str, Callable[[], FileSystem]]:  # type: ignore[empty-body]
    """Bring schemes of URLs that library readers and writers, ``open_input`` and ``open_output`` open.

    When:
        The first time that a parameter, or an operator, names a URL with a scheme which Petal does not have.

    Returns:
        A mapping of schemes (``s3``) to functions without arguments that make a
        :class:`petal.interfaces.filesystem.FileSystem`; each is called once in a process, and contacts nobody. A worker
        finds a function that stands at the top level of its module. ``petal.testing.FileSystemContract`` tests one.
    """


@hookspec
def petal_resolvers() -> Mapping[str, Callable[[str], str]]:  # type: ignore[empty-body]
    """Bring schemes of secrets: with ``vault``, a pipeline may say ``${secret:vault/NAME}``.

    When:
        The first time that a secret, or ``$PETAL_KEYRING``, has a scheme which Petal does not have.

    Returns:
        A mapping of schemes to functions that take the name, what follows the first ``/``, and return the secret. It is
        called in the process that uses the secret: a worker finds a function that stands at the top level of its module.
    """


@hookspec
def petal_validate(spec: PipelineSpec) -> Iterable[Diagnostic]:  # type: ignore[empty-body]
    """Check a pipeline for rules of one's own.

    When:
        At the end of a validation, only for plugins that the pipeline, ``-p`` or ``$PETAL_PLUGINS`` names.

    Args:
        spec: The pipeline as its author wrote it.

    Returns:
        Findings; an error keeps the pipeline from running. One that raises, returns anything else or does not return
        in time (``$PETAL_PLUGIN_TIMEOUT`` seconds) is a warning, and is asked no more.
    """


@hookspec
def petal_event(event: Event) -> None:
    """Take note of a fact about a run.

    When:
        For each event, in order, soon after it happened, on a thread of the plugin's own, and only for plugins that the
        pipeline, ``-p`` or ``$PETAL_PLUGINS`` names. The run waits for no observer: one that raises is told no more, and
        one that falls 10,000 events behind misses some. At the end of the run observers have 2 seconds to catch up.
        What was missed is a warning. What one prints goes to stderr.

    Args:
        event: A frozen struct of :mod:`petal.spec.event`.
    """


@hookspec
def petal_commands() -> Iterable[Any]:  # type: ignore[empty-body]
    """Bring commands for ``petal NAME``.

    When:
        The first time that the user types a command which Petal does not have, and for ``petal --help``.

    Returns:
        Click commands; the ``name`` of each is what the user types. The value that one returns is the exit code, if it
        is a whole number. Petal's own commands cannot be replaced.
    """
