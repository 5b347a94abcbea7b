"""Open stores by URL: those of plugins by their scheme, and ``file://`` for a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from petal.errors import EnvironmentNotReady, UsageError
from petal.interfaces.store import Store
from petal.plugin.schemes import remedy_of
from petal.spec.url import scheme_of

if TYPE_CHECKING:
    from petal.plugin.manager import PluginManager

#: The plugins of whoever opens backends in this process, the last one first asked.
_managers: list[PluginManager] = []


def open_store(url: str) -> Store:
    """Open the store that a URL names; nothing is contacted before it is used.

    While a backend is opened for a run, the plugins of that run's session are asked; else, as in a worker that knows an
    environment variable alone, those that are installed, and of them the one that is known to bring the scheme alone.

    Args:
        url: ``s3://bucket/prefix``, ``file:///a/folder``.

    Raises:
        UsageError: It is no URL of a store.
        EnvironmentNotReady: No plugin brings stores of this scheme.
    """
    return opener_of(url)(url)


def opener_of(url: str, plugins: PluginManager | None = None) -> Callable[[str], Store]:
    """Return what opens stores of a URL's scheme.

    Args:
        url: The URL.
        plugins: The plugins to ask; by default as :func:`open_store` says.

    Raises:
        UsageError: It is no URL of a store.
        EnvironmentNotReady: No plugin brings stores of this scheme.
    """
    scheme = scheme_of(url)
    if not scheme:
        raise UsageError(
            f"{url!r} is no URL of a store",
            hint="write `s3://bucket/prefix`, or `file:///a/folder` for a folder that all sides see",
        )
    if scheme == "file":
        from petal.data.folder_store import open_folder

        open_folder(url)  # says now what is wrong with it; it makes no folder
        return open_folder
    asked = plugins or next(reversed(_managers), None) or installed()
    found: Any = asked.find("store", scheme)
    if found is None:
        raise EnvironmentNotReady(f"nothing here opens stores of `{scheme}://`", hint=remedy_of(scheme))
    opener: Callable[[str], Store] = found
    return opener


@contextmanager
def storing(plugins: PluginManager) -> Iterator[None]:
    """Let stores be found among the plugins of a session, for as long as something is opened for it."""
    _managers.append(plugins)
    try:
        yield
    finally:
        _managers.remove(plugins)


@cache
def installed() -> PluginManager:
    """Return the plugins of a process that has no session: those that are installed, none of them loaded yet."""
    from petal.plugin.manager import PluginManager

    return PluginManager()
