"""Find an operator by its reference, in a process that has never seen it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import convert

from petal.code.failure import PythonError
from petal.code.loader import Reference, load_file, load_module
from petal.errors import EnvironmentNotReady, UsageError

_state = threading.local()


def resolve(reference: Reference) -> Any:
    """Load the module of a reference, and return the function or class that it names.

    The folders of the pipeline must be on ``sys.path`` already (``code.source.project_path``), and stay there as long as
    what is returned is used.

    Raises:
        EnvironmentNotReady: This process lacks the file, the module or the name; the message says which.
        PetalError: The module is there, but cannot be loaded.
    """
    with _importing():
        module = _load(reference)
    found: Any = module
    for name in reference.qualname.split("."):
        found = getattr(found, name, None)
    if found is None:
        where = reference.file or f"the module `{reference.module}`"
        raise EnvironmentNotReady(
            f"the worker lacks `{reference.qualname}`: {where} is there, but has nothing of that name",
            hint="the worker has other code than the process that sent the task: bring it up to date",
            code="worker-lacks",
        )
    return found


def made(what: str, references: Iterable[Mapping[str, Any]]) -> list[Any]:
    """Make what another process has named, each by calling it without arguments.

    Args:
        what: What they are, for messages.
        references: References as plain data.

    Raises:
        EnvironmentNotReady: One is not here, or cannot be made (code ``worker-lacks``).
    """
    found = []
    for one in references:
        kind = resolve(convert(one, Reference))
        try:
            found.append(kind())
        except Exception as error:
            raise EnvironmentNotReady(
                f"{what} `{kind.__qualname__}` cannot be made in a worker: {type(error).__name__}: {error}",
                hint="its class is to be made without arguments",
                code="worker-lacks",
            ) from error
    return found


def _load(reference: Reference) -> Any:
    try:
        if reference.file is not None:
            return load_file(Path(reference.file))
        if reference.module == "__main__":
            raise EnvironmentNotReady(
                f"the worker lacks `{reference.qualname}`: it was defined in an interactive session, not in a file",
                hint="move it to a file",
                code="worker-lacks",
            )
        return load_module(reference.module)
    except PythonError as error:
        if error.code != "python-missing":
            raise
        what = (
            f"the file {reference.file}" if reference.file is not None else f"the module `{reference.module}`"
        )
        raise EnvironmentNotReady(
            f"the worker lacks {what}, which has `{reference.qualname}`: {error.message}",
            hint=error.hint,
            code="worker-lacks",
        ) from error


@contextmanager
def _importing() -> Iterator[None]:
    before = getattr(_state, "importing", False)
    _state.importing = True
    try:
        yield
    finally:
        _state.importing = before


def refuse_run_while_importing() -> None:
    """Refuse to run a pipeline while a worker imports the script that builds it (S7.2): it would start itself again.

    Raises:
        UsageError: This is such a moment.
    """
    if getattr(_state, "importing", False):
        raise UsageError(
            "a worker process imports this file to find its operators, and on the way the file runs its pipeline",
            hint="guard with `if __name__ == '__main__'`: put the call of `run` beneath that line",
            code="unguarded-run",
        )
