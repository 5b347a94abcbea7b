"""Fetch pipeline files that URLs name: text alone, never code."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from petal.data.filesystems import bringing, open_input
from petal.errors import EnvironmentNotReady, PetalError, UsageError
from petal.spec.url import URL, is_url

if TYPE_CHECKING:
    from petal.app.session import Session

#: Bytes of a pipeline file, at most.
_LARGEST = 32 << 20
#: What was fetched in this process, for messages that show a line of it.
_texts: dict[str, bytes] = {}


def fetched(url: URL, session: Session) -> bytes:
    """Return the bytes of a pipeline file.

    Args:
        url: The file.
        session: Its plugins open the URL.

    Raises:
        UsageError: There is no such file, or it is too large to be a pipeline.
        EnvironmentNotReady: It cannot be fetched, or no plugin opens its scheme.
    """
    try:
        with bringing(session.filesystem), open_input(url) as file:
            data = _upto(file, _LARGEST + 1)
    except PetalError:
        raise
    except FileNotFoundError:
        raise UsageError(f"there is no file `{url}`", hint="correct the URL", code="no-such-file") from None
    except ValueError as error:
        raise UsageError(
            f"`{url}` names no file: {error}", hint="correct the URL", code="no-such-file"
        ) from None
    except OSError as error:
        raise EnvironmentNotReady(
            f"cannot fetch `{url}`: {error.strerror or error}",
            hint="see that it can be reached and read from here",
        ) from error
    if len(data) > _LARGEST:
        raise UsageError(
            f"`{url}` has more than {_LARGEST >> 20} MiB: it is no pipeline", code="unknown-format"
        )
    _texts[str(url)] = data
    return data


def text_of(url: str) -> bytes:
    """Return what was fetched from a URL; nothing where that was not."""
    return _texts.get(url, b"")


def beside(parent: str, root: str, path: str) -> URL:
    """Return the URL of a module that a fetched pipeline names.

    Args:
        parent: The URL of the folder of the file that names it.
        root: The URL of the folder of the file that is run.
        path: As it is written.

    Raises:
        PetalError: It is not beneath the folder of the file that is run.
    """
    full = URL(parent).beside(path)
    if path.startswith("/") or is_url(path) or not full.startswith(root.rstrip("/") + "/"):
        raise PetalError(
            f"module file `{path}` does not lie beneath {root}, where the pipeline was fetched from",
            hint="put it there; paths are relative to the file that names them",
            code="outside-project",
        )
    return full


def _upto(file: IO[bytes], size: int) -> bytes:
    """Read a stream to its end, or as far as a number of bytes."""
    parts, left = [], size
    while left > 0 and (data := file.read(left)):
        parts.append(data)
        left -= len(data)
    return b"".join(parts)
