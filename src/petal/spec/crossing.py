"""Say which annotations cannot cross a process boundary: nothing could tell what their values were (S6.1)."""

from __future__ import annotations

import collections.abc as abc
import datetime
import decimal
import enum
import typing
import uuid
from collections import deque
from functools import lru_cache
from pathlib import PurePath
from types import NoneType
from typing import Any

import msgspec

from petal.spec.pipeline import MISSING
from petal.spec.rows import declared_record, fields_of, members
from petal.spec.url import URL
from petal.spec.views import READER, Seen, View, container_of

#: Classes without fields that are written as text or lists, and made anew of them.
HOOKED = (PurePath, deque, URL)
_ATOMS = frozenset(
    {bool, int, float, str, bytes, bytearray, NoneType, decimal.Decimal, uuid.UUID}
    | {datetime.datetime, datetime.date, datetime.time, datetime.timedelta}
)
_CONTAINERS = frozenset(
    {list, tuple, set, frozenset, dict}
    | {abc.Sequence, abc.MutableSequence, abc.Collection, abc.Set, abc.MutableSet}
    | {abc.Mapping, abc.MutableMapping}
)


def undecodable(annotation: object, seen: Seen) -> str | None:
    """Say why a value so annotated can never cross a process boundary, or None where it can.

    Values of ``Any``, ``object`` and without annotation are looked at when they are written.

    Args:
        annotation: A port's or a parameter's annotation, or MISSING.
        seen: The annotation taken apart.
    """
    if seen.view is View.BATCHES or container_of_seen(seen):
        return None
    wanted = annotation if seen.view is View.VALUE else seen.element
    try:
        return _problem(wanted)
    except TypeError:  # unhashable, as Annotated[str, []] is
        return _problem.__wrapped__(wanted)


def container_of_seen(seen: Seen) -> bool:
    """Whether an annotation is a frame or a column."""
    return seen.view is View.WHOLE and "." in seen.container


def paths_as_text(annotation: Any) -> Any | None:
    """Return ``str | list[str]`` for ``Path | URL | list[Path]``, None for anything else.

    A path is written as text, and so is a URL, so a union of these alone can be read as one of texts, of which paths are
    made again.
    """
    found = members(annotation)
    texts = [_as_text(member) for member in found]
    several = len(found) > 1 and any(map(_is_path, found))
    if None in texts or not (several or any(map(_is_list_of_either, found))):
        return None
    return typing.Union[tuple(texts)]  # noqa: UP007 - of types that are found at run time


def _as_text(member: Any) -> Any | None:
    if member is NoneType:
        return NoneType
    if _is_path(member):
        return str
    items = _items(member)
    return list[str] if items and all(map(_is_path, items)) else None


def _is_list_of_either(member: Any) -> bool:
    return len(_items(member)) > 1


def _items(member: Any) -> tuple[Any, ...]:
    """Return what the items of a list may be; nothing where it is none."""
    arguments = typing.get_args(member)
    return members(arguments[0]) if typing.get_origin(member) is list and len(arguments) == 1 else ()


def _is_path(member: Any) -> bool:
    return isinstance(member, type) and issubclass(member, PurePath | URL)


@lru_cache(4096)
def _problem(annotation: Any) -> str | None:
    if annotation is MISSING or annotation in (Any, object):
        return None
    annotation = paths_as_text(annotation) or annotation
    found = _inside(annotation, set())
    if found is not None:
        return found
    try:
        msgspec.msgpack.Decoder(annotation)
    except Exception as error:  # msgspec resolves the names of records: what that raises is not known
        return f"`{_text(annotation)}` cannot be read back: {str(error).partition(' - ')[0]}"
    return None


def _inside(annotation: Any, seen: set[Any]) -> str | None:
    """Look for what no decoder can be made for, in an annotation and all that it names."""
    if isinstance(annotation, typing.TypeVar):
        annotation = annotation.__bound__ or Any
    annotation = paths_as_text(annotation) or annotation
    found = members(annotation)
    for member in found:
        problem = _of_member(member, seen)
        if problem is not None:
            return problem
    if len(found) > 1:
        try:
            msgspec.msgpack.Decoder(annotation)
        except TypeError:
            return f"a value of `{_text(annotation)}` does not say which of them it is when it is read back"
        except Exception:  # a name that is not known: said of the whole
            return None
    return None


def _of_member(member: Any, seen: set[Any]) -> str | None:
    if isinstance(member, typing.TypeVar):
        return _inside(member, seen)
    origin = typing.get_origin(member) or member
    if origin is typing.Literal or member in (Any, object, None):
        return None
    record = declared_record(member)
    if record is not None:
        if record in seen:
            return None
        seen.add(record)
        for field in fields_of(record):
            problem = _inside(field.type, seen)
            if problem is not None:
                return f"field `{field.name}` of `{record.__name__}`: {problem}"
        return None
    if isinstance(origin, type):
        if origin in _ATOMS or container_of(origin) not in ("", READER) or hasattr(origin, "__attrs_attrs__"):
            return None
        if issubclass(origin, enum.Enum):
            return _of_enum(origin)
        if origin in _CONTAINERS or issubclass(origin, HOOKED):
            parts = (_inside(a, seen) for a in typing.get_args(member) if a is not Ellipsis)
            return next((p for p in parts if p is not None), None)
    return f"a `{_text(member)}` cannot be written to a message"


def _of_enum(kind: type[enum.Enum]) -> str | None:
    values = {type(m.value) for m in kind}
    if issubclass(kind, enum.Flag) or any(all(issubclass(v, t) for v in values) for t in (str, int)):
        return None
    return f"the values of `{kind.__name__}` are neither all text nor all whole numbers"


def _text(annotation: Any) -> str:
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    return str(annotation).replace("typing.", "").replace("collections.abc.", "")
