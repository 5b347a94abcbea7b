"""What a URL is that stands for a file: the type of parameters that name one."""

from __future__ import annotations

import os
import re
from typing import Final

#: A scheme has two letters or more; one alone is a drive of Windows.
_START: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
#: What `Path` makes of a URL: it takes two slashes for one.
_COLLAPSED: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")
#: What has a meaning of its own within brackets of a regular expression; in a pattern only `-` has one.
_SPECIAL: Final = re.compile(r"[\\\[\]^&~|]")


class URL(str):
    """A file that is not on this machine: ``s3://bucket/key``. A parameter that may name one is ``Path | URL``.

    Open it with :func:`petal.open_input` and :func:`petal.open_output`, which take paths as well. It is a text, so it
    keeps every character as the user wrote it; ``Path`` would make one slash of two. The scheme alone is written in small
    letters, since ``S3://`` names the same file: what is one file is one URL.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> URL:
        """Make one of a text."""
        found = _START.match(text)
        return super().__new__(cls, found[1].lower() + text[found.end(1) :] if found is not None else text)

    @property
    def scheme(self) -> str:
        """What it begins with, in small letters: ``s3``."""
        return scheme_of(self)

    @property
    def name(self) -> str:
        """What is behind the last slash."""
        return self.partition("://")[2].rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The last ending of the name, ``.gz``; empty where there is none."""
        stem, dot, ending = self.name.rpartition(".")
        return dot + ending if stem and ending else ""

    @property
    def parent(self) -> URL:
        """The URL of the folder that it is in, without a slash at the end."""
        start, _, rest = self.partition("://")
        return URL(f"{start}://{rest.rpartition('/')[0] or rest}")

    def beside(self, path: str) -> URL:
        """Return the URL of a path that is relative to this one, taken as a folder.

        Args:
            path: As ``data/x.csv`` or ``../x.csv``; what begins with ``/`` begins behind the bucket or host.
        """
        if is_url(path):
            return URL(path)
        start, _, rest = self.partition("://")
        host, _, folder = rest.partition("/")
        steps = [] if path.startswith("/") else [step for step in folder.split("/") if step]
        for step in path.split("/"):
            if step == "..":
                steps = steps[:-1]
            elif step not in ("", "."):
                steps.append(step)
        return URL(f"{start}://{host}/{'/'.join(steps)}")


def is_url(text: object) -> bool:
    """Whether a text begins as a URL does; a path never is one."""
    return isinstance(text, str) and _START.match(text) is not None


def scheme_of(url: str) -> str:
    """Return the scheme of a URL, in small letters; empty for other text."""
    found = _START.match(url)
    return found[1].lower() if found is not None else ""


def collapsed(path: str) -> str | None:
    """Return the URL that a path was, before ``Path`` made one slash of two; None where it was none."""
    found = _COLLAPSED.match(path)
    return f"{found[1]}://{path[found.end() :]}" if found is not None else None


def placed(path: str, folder: str) -> str:
    """Return a path that is relative to a folder, or a URL to one; what is absolute, or a URL, stays as it is."""
    if is_url(path):
        return URL(path)
    if is_url(folder) and not path.startswith("/"):
        return URL(folder).beside(path)
    return os.path.join(folder, path)


def glob_pattern(pattern: str) -> re.Pattern[str]:
    """Return a regular expression for the URLs that a pattern stands for, by the rules of :func:`glob.glob`.

    ``*`` is any text in a name, ``?`` one letter of it, ``[...]`` one of several; ``**`` as a whole step is any folders, at
    the end also any files in them. The scheme and what follows it, up to the first slash, stand for themselves.

    Raises:
        ValueError: Its brackets say nothing, as in ``[z-a]``.
    """
    start, _, rest = pattern.partition("://")
    host, slash, path = rest.partition("/")
    steps = path.split("/")
    made = []
    for i, step in enumerate(steps):
        is_last = i == len(steps) - 1
        if step == "**":
            made.append(".*" if is_last else "(?:[^/]*/)*")
        else:
            made.append(_of_step(step) + ("" if is_last else "/"))
    try:
        return re.compile(re.escape(f"{start}://{host}{slash}") + "".join(made), re.DOTALL)
    except re.error as error:
        raise ValueError(f"the pattern cannot be read: {error}") from None


def _of_step(step: str) -> str:
    """Translate one name of a pattern."""
    made, at = "", 0
    while at < len(step):
        letter, at = step[at], at + 1
        end = step.find("]", at + 1 + step.startswith("!", at)) if letter == "[" else -1
        if letter == "*":
            made += "[^/]*"
        elif letter == "?":
            made += "[^/]"
        elif end >= 0:
            made += _of_letters(step[at:end])
            at = end + 1
        else:
            made += re.escape(letter)
    return made


def _of_letters(inner: str) -> str:
    """Translate what stands in brackets: one letter of these, or with ``!`` none of them."""
    letters = _SPECIAL.sub(r"\\\g<0>", inner.removeprefix("!"))
    return f"[^/{letters}]" if inner.startswith("!") else f"[{letters}]"


def schemes_in(value: object) -> set[str]:
    """Return the schemes of the URLs in a value of a parameter, or in several; plain text is none."""
    if isinstance(value, URL):
        return {value.scheme}
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return {scheme for one in inner for scheme in schemes_in(one)}
