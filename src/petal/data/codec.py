"""Lists of items to bytes and back: they come back exactly as they were, or the codec does not take them."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import operator
import typing
import uuid
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, compress
from types import NoneType
from typing import Any, Union

import msgspec

from petal.spec.pipeline import MISSING

#: Values with nothing inside: the first are the same where they are equal, the others where they are written alike.
_PLAIN = frozenset({str, int, bool, bytes, NoneType})
_WRITTEN = frozenset({float, datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID})
_ATOMS = _PLAIN | _WRITTEN | {datetime.datetime}
#: Pieces that were refused one after another, after which no more are tried.
_PATIENCE = 8
_MOST_DECODERS = 256


class Codec:
    """Turns lists of items into msgpack, and proves for each list that it comes back as it is.

    MessagePack knows neither tuples nor dates nor records: what it gives back depends on the type that is read, so
    several are tried: what is declared, what the items are, and what is inside of dicts and tuples.

    Args:
        element: What the items are declared to be, or MISSING.
    """

    def __init__(self, element: Any = MISSING) -> None:
        self._declared = () if element in (MISSING, Any, object) else (element,)
        self._decoders: list[Any] = []
        self._numbers: dict[Any, int | None] = {}
        self._last: tuple[Any, ...] = ()
        self._refused = 0

    def encode(self, rows: list[Any]) -> bytearray | None:
        """Return the rows as bytes; None where they would not come back as they are."""
        if self._refused >= _PATIENCE:
            return None
        data = bytearray()
        try:
            msgspec.msgpack.Encoder().encode_into(rows, data, 1)
            if any(self._proves(data, rows, kind) for kind in self._candidates(rows)):
                self._refused = 0
                return data
        except (TypeError, ValueError, OverflowError, NotImplementedError, RecursionError):
            pass
        self._refused += 1
        return None

    def decode(self, data: bytes) -> Any:
        """Return the rows."""
        return self._decoders[data[0]].decode(memoryview(data)[1:])

    def _proves(self, data: bytearray, rows: list[Any], kind: Any) -> bool:
        """Whether the rows come back when they are read as items of this type; says so in the first byte."""
        number = self._number(kind)
        if number is None:
            return False
        data[0] = number
        try:
            if not _same(rows, self.decode(data)):  # type: ignore[arg-type]
                return False
        except (msgspec.ValidationError, TypeError, ValueError):
            return False
        self._last = (kind,)
        return True

    def _candidates(self, rows: list[Any]) -> Iterator[Any]:
        yield from self._last
        yield from self._declared
        yield Any
        kinds = set(map(type, rows))
        yield _union(kinds)
        yield from _guesses(rows, kinds)

    def _number(self, kind: Any) -> int | None:
        if kind not in self._numbers:
            number = None
            if len(self._decoders) < _MOST_DECODERS:
                try:
                    self._decoders.append(msgspec.msgpack.Decoder(list[kind]))
                    number = len(self._decoders) - 1
                except (TypeError, ValueError, NameError, AttributeError):  # not a type that msgspec reads
                    pass
            self._numbers[kind] = number
        return self._numbers[kind]


def _union(kinds: Iterable[Any]) -> Any:
    return Union[tuple(sorted(kinds, key=repr))]  # noqa: UP007 - of types that are found at run time


def _guesses(rows: list[Any], kinds: set[type]) -> Iterator[Any]:
    """Give the type that the fields of dicts and the places of tuples have, as far as these rows say."""
    if kinds == {dict}:
        fields: dict[str, set[type]] = {}
        for row in rows:
            for name, value in row.items():
                fields.setdefault(name, set()).add(type(value))
        yield typing.TypedDict("Row", {n: _union(k) for n, k in fields.items()}, total=False)  # type: ignore[operator]
    elif kinds == {tuple} and len(set(map(len, rows))) == 1:
        yield tuple[tuple(_union(set(map(type, values))) for values in zip(*rows, strict=True))]  # type: ignore[misc]


def _same(given: list[Any], back: list[Any]) -> bool:
    """Whether two lists hold the same: equal values of the same types, to their innermost parts."""
    kinds = [*map(type, given)]
    if kinds != [*map(type, back)]:
        return False
    found = set(kinds)
    for kind in found:
        mine, theirs = given, back
        if len(found) > 1:
            chosen = [k is kind for k in kinds]
            mine, theirs = [*compress(given, chosen)], [*compress(back, chosen)]
        if not _same_of(kind, mine, theirs):
            return False
    return True


def _same_of(kind: type, given: list[Any], back: list[Any]) -> bool:
    if kind in _PLAIN:
        return given == back
    if kind is float:
        return given == back or [*map(repr, given)] == [*map(repr, back)]
    if kind in _ATOMS:
        return [*map(repr, given)] == [*map(repr, back)]
    if issubclass(kind, enum.Enum):
        return all(map(operator.is_, given, back))
    if kind in (set, frozenset):
        atoms = _ATOMS.issuperset(map(type, chain.from_iterable(given)))
        return atoms and [sorted(map(repr, s)) for s in given] == [sorted(map(repr, s)) for s in back]
    parts = _parts(kind)
    return parts is not None and all(
        [*map(len, map(part, given))] == [*map(len, map(part, back))]
        and _same([*chain.from_iterable(map(part, given))], [*chain.from_iterable(map(part, back))])
        for part in parts
    )


def _parts(kind: type) -> tuple[Callable[[Any], Any], ...] | None:
    """Return what gives the parts of a value of this type, or None where that is not known."""
    if kind is dict:
        return dict.keys, dict.values
    if kind in (list, tuple) or (issubclass(kind, tuple) and hasattr(kind, "_fields")):
        return (_itself,)
    if issubclass(kind, msgspec.Struct):
        names = kind.__struct_fields__
    elif dataclasses.is_dataclass(kind):
        names = tuple(f.name for f in dataclasses.fields(kind))
    else:
        return None
    fields = _getter(names)
    if kind.__dictoffset__:  # what is not a field too
        return fields, lambda value: value.__dict__.keys(), lambda value: value.__dict__.values()
    return (fields,)


def _itself(value: Any) -> Any:
    return value


def _getter(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return operator.attrgetter(*names)
    return lambda value: tuple([getattr(value, n) for n in names])
