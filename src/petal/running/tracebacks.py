"""Cut tracebacks to what a user has written."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import petal
from petal.spec.redaction import redact

_HOME = str(Path(petal.__file__).parent)
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})


def user_traceback(error: BaseException, *, expected: bool) -> str:
    """Return the traceback cut to the user's frames; empty when all frames are Petal's own.

    Args:
        error: What the node raised.
        expected: Whether its message says all there is to say where no frame is the user's own; an installed
            operator's frames are shown otherwise.
    """
    shown = traceback.TracebackException.from_exception(error, compact=True)
    own = any(_is_theirs(f.filename) for f in shown.stack)
    if expected and not own:
        return ""
    theirs = _is_theirs if own else _is_not_ours
    if not _cut(shown, theirs):
        return ""
    text = "".join(shown.format())
    return redact(text.rstrip("\n"))


def users_part(trace: TracebackType) -> TracebackType:
    """Return a traceback from the outermost to the innermost frame of the user's code; all of it where none is."""
    at = [trace]
    while at[-1].tb_next is not None:
        at.append(at[-1].tb_next)
    theirs = [i for i, one in enumerate(at) if _is_theirs(one.tb_frame.f_code.co_filename)]
    frames = at[theirs[0] : theirs[-1] + 1] if theirs else at
    found: TracebackType | None = None
    for one in reversed(frames):
        found = TracebackType(found, one.tb_frame, one.tb_lasti, one.tb_lineno)
    assert found is not None
    return found


def _cut(shown: traceback.TracebackException, theirs: Callable[[str], bool], depth: int = 0) -> bool:
    """Leave only the user's frames, in causes and contexts as well; False when nothing of theirs is left."""
    kept = [f for f in shown.stack if theirs(f.filename)]
    some = bool(kept)
    shown.stack = traceback.StackSummary.from_list(kept)
    if depth < 10:
        for other in (shown.__cause__, shown.__context__):
            if other is not None:
                some = _cut(other, theirs, depth + 1) or some
    return some


def _is_not_ours(filename: str) -> bool:
    return not filename.startswith((_HOME, "<frozen"))


def _is_theirs(filename: str) -> bool:
    """Whether a frame is of the user's own project: neither Petal's nor of an installed library."""
    return _is_not_ours(filename) and not filename.startswith(_LIBRARIES)
