"""Open what a writer writes to: a file that appears when it is complete, or standard output."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from petal import Context, OutputError, open_output
from petal.library.paths import STANDARD

_OS_ERROR = re.compile(r"\(os error (\d+)\)")


@contextlib.contextmanager
def opened(file_path: Path, context: Context | None) -> Iterator[IO[bytes]]:
    """Open a file for writing through Petal, or standard output for ``-``.

    Args:
        file_path: The target.
        context: The operator's Context.

    Raises:
        OutputError: It cannot be written.
    """
    if file_path != STANDARD:
        with open_output(file_path, context) as file, _with_number():
            yield file
        return
    try:
        sys.stdout.flush()
        with _with_number():
            yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write to standard output: {error.strerror or error}") from error


@contextlib.contextmanager
def _with_number() -> Iterator[None]:
    """Give the errors of Polars, which carry the number in their text, an ``errno``."""
    try:
        yield
    except OSError as error:
        found = _OS_ERROR.search(str(error)) if error.errno is None else None
        if found is None:
            raise
        number = int(found[1])
        raise OSError(number, os.strerror(number)) from error
