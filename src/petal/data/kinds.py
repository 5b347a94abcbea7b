"""Prove that values are what their annotation says, so that none is changed as it is written and read (S6.1).

Values are looked at level by level: all of one level at once, which is several times as fast as one after another.
"""

# What each kind overrides is said once, by the base class.
# ruff: noqa: D102, ARG002

from __future__ import annotations

import datetime
import enum
import numbers
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import chain
from math import isfinite
from operator import attrgetter, itemgetter
from types import NoneType
from typing import Any

from petal.spec.views import READER, container_of

#: Containers inside one another, beyond which a value is taken to contain itself.
DEEPEST = 500
#: What a step into a value gives: how it is written, the value there, and its kind.
Step = tuple[str, Any, "Kind"]


class Notes:
    """What was noticed on the way.

    Attributes:
        wide: Whether there is what MessagePack has no word for: another zone than UTC, the second of two same hours.
        depth: Levels below the value, so far.
    """

    __slots__ = ("depth", "wide")

    def __init__(self) -> None:
        self.wide = False
        self.depth = 0


class Kind:
    """What values may be. The base takes everything: what it stands for is checked as it is read back."""

    #: How it is written in messages.
    name = "anything"
    #: Whether frames may be inside.
    frames = False
    #: Whether classes alone may tell that values are of this kind.
    flat = False

    def fits(self, values: list[Any], notes: Notes) -> bool:
        """Whether all values are of this kind, to their innermost parts."""
        return True

    def of_classes(self, kinds: set[type]) -> bool | None:
        """Whether values of these classes are of this kind; None where the values must be looked at."""
        return None

    def takes(self, kind: type) -> bool:
        """Whether a value of this very class may be of this kind."""
        return True

    def steps(self, value: Any) -> Iterator[Step]:
        """Give the parts of a value that is of this kind itself."""
        return iter(())


class Plain(Kind):
    """What needs no annotation: None, bool, int, str, finite float, list, and dict with keys of text."""

    name = "plain data"

    def takes(self, kind: type) -> bool:
        return kind in _PLAIN

    def fits(self, values: list[Any], notes: Notes) -> bool:
        for _ in range(DEEPEST):
            kinds = set(map(type, values))
            if not kinds <= _PLAIN:
                return False
            if float in kinds and not all(map(isfinite, (v for v in values if type(v) is float))):
                return False
            inner: list[Any] = []
            if dict in kinds:
                dicts = values if len(kinds) == 1 else [v for v in values if type(v) is dict]
                if not set(map(type, chain.from_iterable(dicts))) <= _TEXT:
                    return False
                inner += chain.from_iterable(map(dict.values, dicts))
            if list in kinds:
                inner += chain.from_iterable(v for v in values if type(v) is list)
            if not inner:
                return True
            values = inner
        return False

    def steps(self, value: Any) -> Iterator[Step]:
        if type(value) is dict:
            for key, inner in value.items():
                if type(key) is not str:
                    yield f"[{key!r:.40}] (a key)", key, KEY
                yield (f".{key}" if type(key) is str else f"[{key!r}]"), inner, self
        elif type(value) is list:
            for i, inner in enumerate(value):
                yield f"[{i}]", inner, self


class Atom(Kind):
    """Values with nothing inside, of some classes and, where that changes nothing, their subclasses."""

    flat = True

    def __init__(self, name: str, kinds: Iterable[type], more: tuple[type, ...] = ()) -> None:
        self.name = name
        self._kinds = frozenset(kinds)
        self._more = more

    def takes(self, kind: type) -> bool:
        return kind in self._kinds or (
            bool(self._more) and issubclass(kind, self._more) and not issubclass(kind, bool | enum.Enum)
        )

    def of_classes(self, kinds: set[type]) -> bool | None:
        return kinds <= self._kinds or all(map(self.takes, kinds))

    def fits(self, values: list[Any], notes: Notes) -> bool:
        return bool(self.of_classes(set(map(type, values))))


class Float(Atom):
    """Floats; whole numbers too, as far as a float is the same number."""

    def of_classes(self, kinds: set[type]) -> bool | None:
        return True if kinds <= _FLOAT else None if all(map(self.takes, kinds)) else False

    def fits(self, values: list[Any], notes: Notes) -> bool:
        sure = self.of_classes(set(map(type, values)))
        if sure is not None:
            return sure
        return all(-(1 << 53) <= v <= 1 << 53 for v in values if isinstance(v, numbers.Integral))  # type: ignore[operator]


class Time(Atom):
    """Dates and times that may have a zone."""

    flat = False

    def fits(self, values: list[Any], notes: Notes) -> bool:
        if set(map(type, values)) - self._kinds:
            return False
        if not set(map(attrgetter("tzinfo"), values)) <= _ZONES or any(map(attrgetter("fold"), values)):
            notes.wide = True
        return True


class Literal(Kind):
    """Some values."""

    def __init__(self, values: tuple[Any, ...]) -> None:
        self.name = f"one of {', '.join(map(repr, values))}"
        self._values = {(type(v), v) for v in values}
        self._kinds = {type(v) for v in values}

    def takes(self, kind: type) -> bool:
        return kind in self._kinds

    def fits(self, values: list[Any], notes: Notes) -> bool:
        if set(map(type, values)) - self._kinds:
            return False
        return {(type(v), v) for v in values} <= self._values


class Exact(Kind):
    """Instances of one class, whose fields have kinds; of no subclass: more fields would be lost."""

    def __init__(self, cls: type, fields: dict[str, Kind]) -> None:
        self.name = cls.__name__
        self._cls = cls
        self._fields = [(name, attrgetter(name), kind) for name, kind in fields.items()]

    def takes(self, kind: type) -> bool:
        return kind is self._cls

    def fits(self, values: list[Any], notes: Notes) -> bool:
        kinds = set(map(type, values))
        return kinds <= {self._cls} and all(
            _deeper(kind, lambda get=getter: map(get, values), notes)  # type: ignore[misc]
            for _, getter, kind in self._fields
        )

    def steps(self, value: Any) -> Iterator[Step]:
        for name, getter, kind in self._fields:
            yield f".{name}", getter(value), kind


class Typed(Kind):
    """Dicts with the keys of a TypedDict and no others: they would be lost."""

    def __init__(self, name: str, fields: dict[str, Kind]) -> None:
        self.name = name
        self._fields = fields
        self._keys = frozenset(fields)

    def takes(self, kind: type) -> bool:
        return issubclass(kind, dict)

    def fits(self, values: list[Any], notes: Notes) -> bool:
        if not all(map(self.takes, set(map(type, values)))):
            return False
        if not set(chain.from_iterable(values)) <= self._keys:
            return False
        for name, kind in self._fields.items():
            get = itemgetter(name)
            try:
                fits = _deeper(kind, lambda get=get: map(get, values), notes)  # type: ignore[misc]
            except KeyError:  # not every record has it
                found = [v[name] for v in values if name in v]
                fits = _deeper(kind, found.__iter__, notes)
            if not fits:
                return False
        return True

    def steps(self, value: Any) -> Iterator[Step]:
        for name, inner in value.items():
            if name in self._fields:
                yield f".{name}", inner, self._fields[name]
            else:
                yield f".{name}", inner, Atom(f"declared: `{self.name}` has no such key", ())


class Many(Kind):
    """Lists, sets and tuples of one kind of items."""

    def __init__(self, name: str, kinds: tuple[type, ...], item: Kind) -> None:
        self.name = name
        self._kinds = kinds
        self._item = item

    def takes(self, kind: type) -> bool:
        return kind in self._kinds or (issubclass(kind, self._kinds) and not hasattr(kind, "_fields"))

    def fits(self, values: list[Any], notes: Notes) -> bool:
        return all(map(self.takes, set(map(type, values)))) and _deeper(
            self._item, lambda: chain.from_iterable(values), notes
        )

    def steps(self, value: Any) -> Iterator[Step]:
        for i, inner in enumerate(value):
            yield f"[{i}]", inner, self._item


class Places(Kind):
    """Tuples with a kind for each place."""

    def __init__(self, items: list[Kind]) -> None:
        self.name = f"tuple of {len(items)}"
        self._items = items

    def takes(self, kind: type) -> bool:
        return kind is tuple

    def fits(self, values: list[Any], notes: Notes) -> bool:
        if set(map(type, values)) - {tuple} or set(map(len, values)) - {len(self._items)}:
            return False
        return all(
            _deeper(kind, lambda at=at: map(itemgetter(at), values), notes)  # type: ignore[misc]
            for at, kind in enumerate(self._items)
        )

    def steps(self, value: Any) -> Iterator[Step]:
        for i, (inner, kind) in enumerate(zip(value, self._items, strict=False)):
            yield f"[{i}]", inner, kind


class Pairs(Kind):
    """Dicts, with a kind for keys and one for values."""

    def __init__(self, key: Kind, value: Kind) -> None:
        self.name = "dict"
        self._key = key
        self._value = value

    def takes(self, kind: type) -> bool:
        return issubclass(kind, dict)

    def fits(self, values: list[Any], notes: Notes) -> bool:
        if not all(map(self.takes, set(map(type, values)))):
            return False
        return _deeper(self._key, lambda: chain.from_iterable(values), notes) and _deeper(
            self._value, lambda: chain.from_iterable(v.values() for v in values), notes
        )

    def steps(self, value: Any) -> Iterator[Step]:
        for key, inner in value.items():
            yield f"[{key!r:.40}] (a key)", key, self._key
            yield (f".{key}" if type(key) is str else f"[{key!r}]"), inner, self._value


class OneOf(Kind):
    """Several kinds, told apart by class."""

    def __init__(self, kinds: list[Kind]) -> None:
        self.name = " or ".join(k.name for k in kinds)
        self._kinds = kinds
        self.frames = any(k.frames for k in kinds)
        self.flat = any(k.flat for k in kinds)
        self._of: dict[type, Kind | None] = {}

    def takes(self, kind: type) -> bool:
        return self._kind(kind) is not None

    def _kind(self, cls: type) -> Kind | None:
        if cls not in self._of:
            if len(self._of) > 1024:
                self._of.clear()
            self._of[cls] = next((k for k in self._kinds if k.takes(cls)), None)
        return self._of[cls]

    def of_classes(self, kinds: set[type]) -> bool | None:
        sure: bool | None = True
        for cls in kinds:
            kind = self._kind(cls)
            if kind is None:
                return False
            sure = sure and kind.of_classes({cls})
        return sure

    def fits(self, values: list[Any], notes: Notes) -> bool:
        kinds = set(map(type, values))
        groups: dict[int, tuple[Kind, set[type]]] = {}
        for cls in kinds:
            kind = self._kind(cls)
            if kind is None:
                return False
            groups.setdefault(id(kind), (kind, set()))[1].add(cls)
        if len(groups) == 1:
            return all(k.fits(values, notes) for k, _ in groups.values())
        return all(k.fits([v for v in values if type(v) in c], notes) for k, c in groups.values())

    def steps(self, value: Any) -> Iterator[Step]:
        kind = self._kind(type(value))
        return iter(()) if kind is None else kind.steps(value)


def _deeper(kind: Kind, values: Callable[[], Iterator[Any]], notes: Notes) -> bool:
    """Whether parts of values are of a kind.

    Args:
        kind: The kind.
        values: Gives the parts, each time from the first on.
        notes: Takes what is noticed.
    """
    if kind.flat:
        sure = kind.of_classes(set(map(type, values())))
        if sure is not None:
            return sure
    found = [*values()]
    if not found:
        return True
    notes.depth += 1
    try:
        return notes.depth < DEEPEST and kind.fits(found, notes)
    finally:
        notes.depth -= 1


_PLAIN = frozenset({NoneType, bool, int, str, float, list, dict})
_TEXT = frozenset({str})
_FLOAT = frozenset({float})
_ZONES = frozenset({None, datetime.UTC})
#: The kind of the keys of plain data.
KEY = Atom("text", (str,))
ANYTHING = Plain()
"""The kind of what is not annotated."""


@lru_cache(1024)
def frame_kind(cls: Any) -> str:
    """Name the frame or column that a class is, the arrays of Arrow included: each type of them has a class."""
    if cls.__module__.partition(".")[0] == "pyarrow":
        return next((found for base in cls.__mro__ if (found := container_of(base)) not in ("", READER)), "")
    found = container_of(cls)
    return "" if found == READER else found


class Frame(Kind):
    """A frame or column of one library."""

    def __init__(self, container: str) -> None:
        self.name = container
        self.frames = True

    def takes(self, kind: type) -> bool:
        return frame_kind(kind) == self.name

    def fits(self, values: list[Any], notes: Notes) -> bool:
        return all(map(self.takes, set(map(type, values))))
