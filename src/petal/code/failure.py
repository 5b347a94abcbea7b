"""Turn what goes wrong while a user's Python is loaded into a Petal error that shows the user's own lines."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from petal.code.source import is_own
from petal.errors import Location, PetalError

if TYPE_CHECKING:
    from traceback import FrameSummary

_PETAL = str(Path(__file__).resolve().parent.parent) + os.sep

#: Packages whose name on the index is not the name they are imported by.
_DISTRIBUTIONS = {
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "PIL": "pillow",
    "petal": "petal-etl",
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
}


class PythonError(PetalError):
    """A user's Python file or module could not be loaded.

    Args:
        traceback: The traceback cut to the user's frames, as text.
    """

    code = "python-import"
    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        code: str,
        hint: str | None = None,
        location: Location | None = None,
        traceback: str = "",
    ) -> None:
        super().__init__(message, code=code, hint=hint, location=location)
        self.traceback = traceback


def explain(error: BaseException, shown: dict[str, str]) -> PetalError:
    """Return the Petal error for an exception that a user's module raised while it was loaded.

    Args:
        error: What was raised; its traceback is read, not changed.
        shown: Resolved file to the name by which the user knows it.
    """
    if isinstance(error, SyntaxError) and error.filename and is_own(error.filename):
        return _syntax(error, shown)
    frames = _user_frames(error)
    place = _place(frames[-1], shown) if frames else Location(next(iter(shown.values()), "<module>"))
    if isinstance(error, PetalError):
        if error.location is None:
            error.location = place
        return error
    text = str(error)
    return PythonError(
        f"{type(error).__name__}: {text}" if text else type(error).__name__,
        code="python-import",
        hint=_hint(error),
        location=place,
        traceback=_cut(error, frames),
    )


def _syntax(error: SyntaxError, shown: dict[str, str]) -> PetalError:
    file = str(error.filename)
    name = shown.get(file, file)
    bad = _undecodable(file)
    if bad is not None:
        line, byte = bad
        return PythonError(
            f"the file is not UTF-8: it holds the byte 0x{byte:02x}",
            code="python-syntax",
            hint="save it as UTF-8, or declare its encoding in line 1: `# -*- coding: latin-1 -*-`",
            location=Location(name, line),
        )
    from traceback import format_exception_only

    return PythonError(
        f"{type(error).__name__}: {error.msg}",
        code="python-syntax",
        location=Location(name, error.lineno or 0, max(error.offset or 0, 0)),
        traceback="".join(format_exception_only(error)),
    )


def _undecodable(file: str) -> tuple[int, int] | None:
    """Return the line and the byte of a file that declares no encoding and is not UTF-8."""
    try:
        data = Path(file).read_bytes()
        data.decode("utf-8")
    except OSError:
        return None
    except UnicodeDecodeError as error:
        head = b"\n".join(data.split(b"\n", 2)[:2])
        if b"coding" in head:
            return None
        return data[: error.start].count(b"\n") + 1, data[error.start]
    return None


def _user_frames(error: BaseException) -> list[FrameSummary]:
    """Keep the frames of the project's files; if there are none, all but Petal's and the import system's."""
    from traceback import extract_tb

    frames = [f for f in extract_tb(error.__traceback__) if not f.filename.startswith(_PETAL)]
    own = [f for f in frames if is_own(f.filename)]
    return own or [f for f in frames if not _is_importlib(f.filename)]


def _is_importlib(file: str) -> bool:
    return file.startswith("<frozen importlib") or os.sep + "importlib" + os.sep in file


def _place(frame: FrameSummary, shown: dict[str, str]) -> Location:
    return Location(shown.get(frame.filename, frame.filename), frame.lineno or 0, (frame.colno or 0) + 1)


def _cut(error: BaseException, frames: list[FrameSummary]) -> str:
    from traceback import format_exception_only, format_list

    lines = ["Traceback (most recent call last):\n", *format_list(frames)] if frames else []
    return "".join([*lines, *format_exception_only(error)])


def _hint(error: BaseException) -> str | None:
    if isinstance(error, SystemExit):
        return "the file ends the program while it is imported: guard that with `if __name__ == '__main__':`"
    if isinstance(error, ImportError) and "relative import" in str(error):
        return "the file's folder is on sys.path: write `import name` instead of `from . import name`"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return missing_hint(error.name)
    return None


def missing_hint(name: str) -> str:
    """Say how a module that is missing might be had: another name beside the file, or a package."""
    import difflib

    top = name.partition(".")[0]
    near = difflib.get_close_matches(top, _beside(), n=1, cutoff=0.7)
    if near and near[0] != top:
        return f"did you mean `{near[0]}`?"
    if top in sys.modules or top in sys.stdlib_module_names:
        return f"`{top}` is there, but it has no module `{name}`"
    return f"pip install {_DISTRIBUTIONS.get(top, top)}"


def _beside() -> list[str]:
    names = []
    for entry in sys.path:
        if is_own(entry):
            try:
                names += [p.stem for p in Path(entry).iterdir() if p.suffix == ".py"]
            except OSError:
                continue
    return names
