"""Open files by URL: each scheme by the file system that a plugin brings, one of it in each process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final

from petal.errors import EnvironmentNotReady
from petal.plugin.schemes import remedy_of
from petal.spec.url import is_url, scheme_of

if TYPE_CHECKING:
    from petal.interfaces.filesystem import FileSystem

#: Makes a file system; called once in each process.
Opener = Callable[[], "FileSystem"]
#: Returns what opens the file system of a scheme, None where nobody brings it.
Finder = Callable[[str], "Opener | None"]

#: What to do in a worker whose request names no plugin for a scheme.
UNTOLD: Final = (
    "a worker loads the plugins that its task names: annotate the parameter as `Path | petal.URL`, or name the plugin under "
    "`plugins:`"
)

#: Those of the runs of this process, the last one first asked; with each, what to do about a scheme that nobody brings.
_finders: list[tuple[Finder, str | None]] = []
_open: dict[tuple[int, Opener], FileSystem] = {}
_lock = threading.Lock()


@contextmanager
def bringing(find: Finder, remedy: str | None = None) -> Iterator[None]:
    """Let a session's plugins open URLs for as long as a run lasts, or a worker's task.

    Args:
        find: Finds what opens a scheme.
        remedy: What to do about a scheme that nobody brings; by default to install the plugin.
    """
    mine = (find, remedy)
    _finders.append(mine)
    try:
        yield
    finally:
        _finders.remove(mine)


def filesystem(url: str) -> FileSystem:
    """Return the file system of a URL. Outside of runs, as in a test of one operator, installed plugins are asked.

    Raises:
        EnvironmentNotReady: Nobody brings its scheme (code ``unknown-scheme``), or its plugin is broken.
    """
    scheme = scheme_of(url)
    for find, _ in _finders[::-1] or [(_of_installed, None)]:
        opener = find(scheme)
        if opener is not None:
            return opened(opener)
    remedy = _finders[-1][1] if _finders else None
    raise EnvironmentNotReady(
        f"no plugin opens `{scheme}://`, as in {str(url)!r}",
        hint=remedy or remedy_of(scheme),
        code="unknown-scheme",
    )


def opened(opener: Opener) -> FileSystem:
    """Return what an opener opens, the same one for everybody in this process."""
    key = (os.getpid(), opener)  # a process that was forked has none of its parent's connections
    found = _open.get(key)
    if found is None:
        with _lock:
            found = _open.get(key)
            if found is None:
                found = _open[key] = opener()
    return found


@contextmanager
def open_input(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file for reading, by its path or its URL.

    Args:
        path: The file. What a URL names is read as a stream, from its beginning: it cannot seek.

    Raises:
        OSError: It cannot be opened or read.
        EnvironmentNotReady: Nobody brings the URL's scheme.
    """
    if is_url(path):
        url = str(path)
        with filesystem(url).read(url) as stream:
            yield stream
        return
    with open(path, "rb") as file:
        yield file


def _of_installed(scheme: str) -> Opener | None:
    """Look for a scheme among installed plugins."""
    from petal.data.stores import installed

    found: Opener | None = installed().find("filesystem", scheme)
    return found
