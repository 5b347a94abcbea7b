"""Check and convert the value of a parameter by its annotation (S1.6, S8.1, S8.3)."""

from __future__ import annotations

import os
import re
import types
import typing
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from petal.planning.annotations import type_text
from petal.spec.pipeline import MISSING
from petal.spec.url import URL, collapsed, is_url
from petal.spec.views import Check, FileUse

_GOT = re.compile(r"Expected `(.*)`, got `(.*)`", re.DOTALL)
_FIELD = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)
#: For values of exactly these types msgspec's word is final.
_PLAIN = frozenset({bool, int, float, str, bytes, list, tuple, set, frozenset, dict, type(None)})
_STEP = re.compile(r"\[(\d+)\]|\.([^.\[]+)")
_AT = re.compile(r" - at `(?:key in )?\$([^`]*)`$", re.DOTALL)
_TAKES_URLS = (
    "an operator that opens files by `petal.open_input` and `petal.open_output` takes URLs too: annotate its parameter "
    "as `Path | petal.URL`"
)


class BadValue(Exception):
    """A value does not fit; the text says why, ``at`` is the path inside the value."""

    def __init__(self, message: str, at: str = "") -> None:
        super().__init__(message)
        self.at = at

    @property
    def steps(self) -> tuple[str | int, ...]:
        """``at`` as keys and indices, as far as it names them: a key of a mapping is not named by msgspec."""
        known = self.at.partition("[...]")[0]
        return tuple(int(i) if i else name for i, name in _STEP.findall(known))


class NotHere(BadValue):
    """A value names a file that is not on this machine, where only one of this machine will do.

    Attributes:
        hint: The remedy.
    """

    def __init__(self, message: str, hint: str = _TAKES_URLS) -> None:
        super().__init__(message)
        self.hint = hint


def convert(value: Any, annotation: object, folder: str, *, lenient: bool) -> Any:
    """Return ``value`` as its annotation wants it.

    Args:
        value: Plain data from a file, or any object from Python.
        annotation: The parameter's annotation with its ``Annotated`` extras, or MISSING.
        folder: What relative paths are relative to.
        lenient: Whether text is read by the annotation (``"3"`` for an int): for the command line and references.

    Raises:
        BadValue: The value does not fit.
    """
    if annotation is MISSING or annotation is Any or annotation is object:
        return value
    bare, extras = _peel(annotation)
    try:
        result = _convert(value, bare, annotation, folder, lenient)
    except BadValue:
        data = structured(value) if lenient else MISSING
        if data is MISSING:
            raise
        result = _convert(data, bare, annotation, folder, False)
    for extra in extras:
        if isinstance(extra, Check):
            _run_check(extra, result)
    return result


def structured(text: Any) -> Any:
    """Read text that is a list or mapping as JSON, as the command line gives it; MISSING where it is none."""
    if not isinstance(text, str) or text.lstrip()[:1] not in ("[", "{"):
        return MISSING
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return MISSING


@lru_cache(1024)
def _peel_cached(annotation: object) -> tuple[object, tuple[Any, ...]]:
    extras: tuple[Any, ...] = ()
    while typing.get_origin(annotation) is typing.Annotated:
        args = typing.get_args(annotation)
        annotation, extras = args[0], (*args[1:], *extras)
    return annotation, extras


def _peel(annotation: object) -> tuple[object, tuple[Any, ...]]:
    try:
        return _peel_cached(annotation)
    except TypeError:
        return _peel_cached.__wrapped__(annotation)


def file_use(annotation: object) -> FileUse | None:
    """Whether a parameter names a file that is read or written."""
    return next((e for e in _peel(annotation)[1] if isinstance(e, FileUse)), None)


def _run_check(check: Check, value: Any) -> None:
    try:
        check.test(value)
    except ValueError as error:
        raise BadValue(str(error)) from None
    except Exception as error:
        raise BadValue(f"its check failed with {type(error).__name__}: {error}") from None


def _convert(value: Any, bare: object, annotation: object, folder: str, lenient: bool) -> Any:
    if mentions_path(bare):
        return _with_paths(value, bare, annotation, folder, lenient)
    if isinstance(value, Enum) and isinstance(bare, type) and isinstance(value, bare):
        return value
    try:
        return msgspec.convert(value, annotation, strict=not (lenient and isinstance(value, str)))
    except msgspec.ValidationError as error:
        if type(value) not in _PLAIN and _is_instance(value, bare):
            return value
        text = str(error)
        at = _AT.search(text)
        raise _misfit(value, bare, _AT.sub("", text), at.group(1) if at else "") from None
    except (TypeError, NotImplementedError, RecursionError):
        # A type that msgspec does not know, such as a Callable or a class of the user's.
        if isinstance(bare, type) and not _is_instance(value, bare) and not hasattr(bare, "_is_protocol"):
            raise BadValue(_say(value, bare)) from None
        return value


def _is_instance(value: Any, bare: object) -> bool:
    origin = typing.get_origin(bare)
    if origin in (typing.Union, types.UnionType):
        return any(_is_instance(value, a) for a in typing.get_args(bare))
    if origin is not None or not isinstance(bare, type) or (isinstance(value, bool) and bare is not bool):
        return False
    try:
        return isinstance(value, bare)
    except TypeError:
        return False


@lru_cache(1024)
def _mentions_path(bare: object) -> bool:
    if bare is Path or bare is URL:
        return True
    return any(_mentions_path(a) for a in typing.get_args(bare))


def mentions_path(bare: object) -> bool:
    """Whether a ``Path`` or a ``URL`` stands anywhere in an annotation."""
    try:
        return _mentions_path(bare)
    except TypeError:
        return False


def _with_paths(value: Any, bare: object, annotation: object, folder: str, lenient: bool) -> Any:
    origin, args = typing.get_origin(bare), typing.get_args(bare)
    if origin is typing.Annotated:
        return _with_paths(value, args[0], annotation, folder, lenient)
    if bare is Path:
        if isinstance(value, str | os.PathLike) and os.fspath(value):
            return _path(os.fspath(value), folder)
        raise BadValue(_say(value, bare))
    if bare is URL:
        return _url(value, folder)
    if origin in (typing.Union, types.UnionType):
        far: NotHere | None = None
        for option in sorted(args, key=lambda a: a is Path):
            try:
                return _convert(value, option, option, folder, lenient)
            except NotHere as error:
                far = error
            except BadValue:
                continue
        raise far or BadValue(_say(value, bare))
    if origin in (list, tuple, set, frozenset) and isinstance(value, list | tuple | set | frozenset):
        inner = [a for a in args if a is not Ellipsis]
        return origin(_convert(v, inner[0], inner[0], folder, lenient) for v in value)
    if origin is dict and isinstance(value, dict):
        return {k: _convert(v, args[1], args[1], folder, lenient) for k, v in value.items()}
    raise BadValue(_say(value, bare))


def _path(text: Any, folder: str) -> Path:
    if text == "-":
        return Path("-")
    if "\0" in str(text):
        raise BadValue("a path cannot hold a NUL character")
    text = str(text)
    if is_url(text):
        raise NotHere(f"{short(text)} is a URL, but only files of this machine are taken here")
    if is_url(folder) and not text.startswith("/"):  # beside a pipeline that was fetched
        raise NotHere(
            f"{short(text)} is relative to {short(folder)}, but only files of this machine are taken here"
        )
    was = collapsed(text)
    if was is not None and not os.path.exists(os.path.join(folder, text.partition("/")[0])):
        raise NotHere(
            f"{short(text)} was the URL {short(was)}, before `Path` made one slash of two",
            "give it as text, or as a `petal.URL`",
        )
    return Path(folder, text)


def _url(value: Any, folder: str) -> URL:
    """Return the URL that a text is, or that it is relative to, where the pipeline itself was fetched."""
    if isinstance(value, str) and value:
        if "\0" in value:
            raise BadValue("a URL cannot hold a NUL character")
        if is_url(value):
            return URL(value)
        if is_url(folder) and not value.startswith("/") and value != "-":
            return URL(folder).beside(value)
    raise BadValue(_say(value, URL))


def _misfit(value: Any, bare: object, reason: str, at: str) -> BadValue:
    """Say in our own words what msgspec found wrong, and where inside the value."""
    bad = BadValue("", at)
    inner = _inside(value, bad.steps) if "[...]" not in at else MISSING
    if inner is MISSING:
        inner = value
    got, field = _GOT.fullmatch(reason), _FIELD.fullmatch(reason)
    if got and at and inner is value:
        text = f"{short(value)} holds `{got.group(2)}` where `{got.group(1)}` is wanted"
    elif got and at:
        text = _say(inner, got.group(1).replace("array", "list").replace("object", "mapping"))
    elif got:
        text = _say(value, bare)
    elif field:
        text = f"the field `{field.group(2)}` is " + ("missing" if "missing" in reason else "not one it has")
    elif reason.startswith("Invalid enum value"):
        text = (
            f"{short(inner)} is none of {', '.join(_choices(bare))}"
            if inner is value
            else f"{short(inner)} is not one of its values"
        )
    elif reason.startswith("Expected "):  # a constraint: Expected `int` >= 1
        text = f"{short(inner)} is given, but {reason.removeprefix('Expected ')} is wanted"
    else:
        text = reason[:1].lower() + reason[1:]
    return BadValue(text, at)


def _inside(value: Any, steps: tuple[str | int, ...]) -> Any:
    for step in steps:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return MISSING
    return value


def _choices(bare: object) -> list[str]:
    """Write every value that an enum, a Literal, or a union with one takes."""
    if isinstance(bare, type) and issubclass(bare, Enum):
        return [repr(e.value) for e in bare]
    if typing.get_origin(bare) is typing.Literal:
        return [repr(a) for a in typing.get_args(bare)]
    return [c for a in typing.get_args(bare) for c in _choices(a)]


def _say(value: Any, wanted: object) -> str:
    text = wanted if isinstance(wanted, str) else type_text(wanted)
    if value is None:
        return f"nothing (null) is given, but {text} is wanted"
    return f"{short(value)} is {kind_of(value)}, but {text} is wanted"


def kind_of(value: Any) -> str:
    """Name a value's kind in the words of a pipeline file."""
    if value is None:
        return "nothing (null)"
    for cls, name in ((bool, "true or false"), (int, "a whole number"), (float, "a number"), (str, "text")):
        if isinstance(value, cls):
            return name
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return f"a {type(value).__name__}"


def short(value: Any, limit: int = 60) -> str:
    """Write a value in one short line."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    text = text.replace("\n", "\\n")
    return text if len(text) <= limit else text[: limit - 1] + "…"
