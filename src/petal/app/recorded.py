"""Find the run that is meant, and say of a journal that is damaged what can be done without what it said (S9.3)."""

from __future__ import annotations

import os
from pathlib import Path

from petal.errors import JournalError, ResumeError, UsageError
from petal.metadata.history import History, RunRecord
from petal.spec.url import is_url


def find_run(history: History, file: str | None, run: str, name: str, *, force: bool = False) -> str:
    """Return the id of the run that is meant: of this pipeline, where none is named.

    Raises:
        UsageError: There is none.
        ResumeError: It is one of another pipeline, or which it is of is not known.
    """
    place = place_of(file)
    if run == "last":
        for found in history.ids():
            record = _readable(history, found)
            if record.file == place and (place is not None or record.pipeline == name):
                return found
        raise UsageError(
            f"no run of {file or name!r} is recorded, so there is none to resume",
            hint="run it without `--resume`; `petal runs` lists what is recorded",
            code="unknown-run",
        )
    found = history.find(run)
    other = history.read(found)
    if not force and other.file is not None and other.file != place:
        raise ResumeError(
            f"run {found} is one of {other.file!r}, not of {place or name!r}",
            hint="name that file, or give `--force` where the file has moved",
        )
    return found


def place_of(file: str | None) -> str | None:
    """Return where a pipeline's file is, the same whatever the current folder; None for one made in Python."""
    if not file or is_url(file):
        return file or None
    return os.path.normpath(Path(file).absolute())


def _readable(history: History, run: str) -> RunRecord:
    """Return what is known of a run that may be the one that is meant.

    Raises:
        ResumeError: Whose run it was cannot be told: to go on with an older one instead could do again what it did.
    """
    hint = "name the run that is meant, `--resume RUN`: `petal runs` lists them; or run afresh"
    try:
        record = history.read(run)
    except JournalError as error:
        raise ResumeError(
            f"which pipeline run {run} was of is not known: {error.message}", hint=hint
        ) from error
    if record.started is None and record.problems:
        raise ResumeError(f"which pipeline run {run} was of is not known: {record.problems[0]}", hint=hint)
    return record


def unplanned(run: str, problems: list[str], hint: str, code: str | None = None) -> ResumeError:
    """Return the error of a run whose journal does not say what was planned."""
    if problems:
        text = f"what run {run} was to do is not known, for its journal is damaged: {listed(problems)}"
        return ResumeError(text, hint=hint, code=code)
    return ResumeError(f"run {run} was stopped before it began", hint=hint, code=code)


def listed(problems: list[str]) -> str:
    """Return what is wrong with a journal, in one line."""
    more = f", and {len(problems) - 1:,} more" if len(problems) > 1 else ""
    return f"{problems[0]}{more}"
