"""Whether a value of one type annotation can be handed to another.

Answers have three values, because annotations say less than values do: True, False ("certainly not": the
planner reports it) and None ("unknown": the planner stays silent). The rules are those of the typing
specification, softened where a run would go well: breaking only the invariance of a mutable container is
unknown, for example, as operators read what they are given.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections import abc
from enum import Enum
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias, TypeVar

from petal.planning.annotations import (
    Arguments,
    declares_fields,
    fields_of,
    is_annotation,
    is_interface,
    is_literal,
    is_open_ended,
    is_protocol,
    is_union,
    is_unpacked,
    parts,
    plain,
    protocol_members,
    record_like,
    seen_as,
    type_text,
    union_of,
    variances,
)

__all__ = ["assignable", "element_assignable", "record_like", "type_text"]

Verdict: TypeAlias = bool | None

_DEEPEST: Final = 40
_MOST_STEPS: Final = 2_000
_PROMOTIONS: dict[type, tuple[type, ...]] = {float: (int,), complex: (int, float)}


# --- The questions --------------------------------------------------------------------------------


def assignable(given: object, wanted: object) -> Verdict:
    """Tell whether a value annotated `given` fits a place annotated `wanted`.

    Never raises, whatever the annotations are.

    Returns:
        True for yes, False for certainly not, None where the annotations do not tell.
    """
    return _ask(given, wanted, by_field=False)


def element_assignable(given: object, wanted: object) -> Verdict:
    """Tell whether a stream of `given` can feed a stream of `wanted`.

    As `assignable`, except that Petal converts records to one another by their fields: a plain mapping fits
    every record and the other way round, and two declared records are compared by field, at any depth.
    """
    return _ask(given, wanted, by_field=True)


def _ask(given: object, wanted: object, by_field: bool) -> Verdict:
    """Answer from memory where both annotations can be hashed."""
    try:
        return _remembered(given, wanted, by_field)
    except Exception:
        return _answer(given, wanted, by_field)


def _answer(given: object, wanted: object, by_field: bool) -> Verdict:
    try:
        return _Comparison(by_field)(given, wanted)
    except Exception:
        return None


_remembered = lru_cache(maxsize=8192)(_answer)


# --- The comparison -------------------------------------------------------------------------------


class _Comparison:
    """One question being answered; calling it compares two annotations within the answer.

    Bounds the work, and ends at types that refer to themselves: a pair of records that is being compared
    counts as fitting within itself.
    """

    def __init__(self, by_field: bool) -> None:
        self.by_field = by_field
        self.open_records: set[tuple[type, type]] = set()
        self._depth = 0
        self._steps = 0

    def __call__(self, given: object, wanted: object) -> Verdict:
        if self._depth >= _DEEPEST or self._steps >= _MOST_STEPS:
            return None
        self._depth += 1
        self._steps += 1
        try:
            return _compare(plain(given), plain(wanted), self)
        finally:
            self._depth -= 1


def _compare(given: Any, wanted: Any, compare: _Comparison) -> Verdict:
    """Compare two plain annotations by the first rule that applies; the order of the rules matters."""
    if given is Any or given is typing.Never or given is typing.NoReturn or wanted is Any or wanted is object:
        return True
    if not (is_annotation(given) and is_annotation(wanted)):
        return None
    if given == wanted:
        return True
    if is_union(given):
        return _all(compare(member, wanted) for member in typing.get_args(given))
    if is_literal(given) and len(typing.get_args(given)) > 1:
        return _all(compare(Literal[value], wanted) for value in typing.get_args(given))
    if is_union(wanted):
        return _any(compare(given, member) for member in typing.get_args(wanted))
    if isinstance(given, TypeVar) or isinstance(wanted, TypeVar):
        return _compare_variables(given, wanted, compare)
    if given is object:
        return None
    if is_literal(wanted):
        return _compare_literal(given, typing.get_args(wanted))
    if is_literal(given):
        return compare(type(typing.get_args(given)[0]), wanted)
    if isinstance(given, typing.NewType):
        return compare(given.__supertype__, wanted)
    if isinstance(wanted, typing.NewType):
        return False
    if compare.by_field and record_like(given) and record_like(wanted):
        return _compare_records(given, wanted, compare)
    return _compare_classes(given, wanted, compare)


def _compare_variables(given: Any, wanted: Any, compare: _Comparison) -> Verdict:
    """Compare where either is a TypeVar: what it stands for is unknown, so only a bound can refuse."""
    if isinstance(wanted, TypeVar):
        if wanted.__constraints__:
            return _any(compare(given, choice) for choice in wanted.__constraints__)
        return True if wanted.__bound__ is None else compare(given, wanted.__bound__)
    choices = given.__constraints__ or (object if given.__bound__ is None else given.__bound__,)
    verdicts = [compare(choice, wanted) for choice in choices]
    if given.__constraints__ and not any(verdict is not False for verdict in verdicts):
        return False
    return _all(verdicts) or None


def _compare_literal(given: Any, allowed: tuple[Any, ...]) -> Verdict:
    """Compare with a Literal: every value that the given type has must be listed."""
    if is_literal(given):
        values: abc.Iterable[Any] = typing.get_args(given)
    elif given is bool:
        values = (False, True)
    elif given is types.NoneType:
        values = (None,)
    elif isinstance(given, type) and issubclass(given, Enum):
        values = given
    else:
        return False
    return all(any(type(value) is type(other) and value == other for other in allowed) for value in values)


def _compare_classes(given: Any, wanted: Any, compare: _Comparison) -> Verdict:
    """Compare two classes, with or without brackets."""
    giver, giver_arguments = parts(given)
    taker, taker_arguments = parts(wanted)
    if not (isinstance(giver, type) and isinstance(taker, type)):
        return None
    if typing.is_typeddict(taker):
        return _compare_with_typed_dict(giver, giver_arguments, taker, compare)
    if typing.is_typeddict(giver):
        giver, giver_arguments = dict, (str, union_of([field.type for field in fields_of(giver).values()]))
    if issubclass(giver, _PROMOTIONS.get(taker, ())):
        return True
    if taker not in giver.__mro__:
        if is_protocol(taker):
            return _compare_with_protocol(giver, taker, is_generic=taker_arguments is not None)
        if not issubclass(giver, taker):
            return None if _may_turn_out(giver, taker) else False
    return _compare_arguments(giver, giver_arguments, taker, taker_arguments, compare)


def _compare_arguments(
    giver: type, given: Arguments, taker: Any, wanted: Arguments, compare: _Comparison
) -> Verdict:
    """Compare what stands in the brackets of a class and of one that it is a subclass of."""
    if wanted is None or (giver is taker and given is None):
        return True
    seen = seen_as(taker, giver, given)
    if seen is None:
        return None
    if taker is tuple:
        return _compare_tuples(seen, wanted, compare)
    if len(seen) != len(wanted):
        return None
    if taker is abc.Callable:
        return _compare_callables(seen, wanted, compare)
    pairs = zip(seen, wanted, variances(taker, len(wanted)), strict=True)
    return _all(_compare_argument(one, other, variance, compare) for one, other, variance in pairs)


def _compare_argument(given: Any, wanted: Any, variance: str, compare: _Comparison) -> Verdict:
    if variance == "-":
        return compare(wanted, given)
    forward = compare(given, wanted)
    if variance == "+" or forward is not True or isinstance(wanted, TypeVar):
        return None if variance == "?" and forward is False else forward
    return compare(wanted, given) or None  # only invariance is violated: fine for a reader


def _compare_tuples(given: tuple[Any, ...], wanted: tuple[Any, ...], compare: _Comparison) -> Verdict:
    """Compare the brackets of two tuples; that the length is not known refuses nothing."""
    if any(is_unpacked(item) for item in given + wanted):
        return None
    if is_open_ended(wanted):
        items = given[:1] if is_open_ended(given) else given
        return _all(compare(item, wanted[0]) for item in items)
    if is_open_ended(given):
        fits = _all(compare(given[0], item) for item in wanted)
        return False if fits is False else None
    if len(given) != len(wanted):
        return False
    return _all(compare(one, other) for one, other in zip(given, wanted, strict=True))


def _compare_callables(given: tuple[Any, ...], wanted: tuple[Any, ...], compare: _Comparison) -> Verdict:
    """Compare the brackets of two Callables: parameters the other way round, then the result."""
    (takes, returns), (must_take, must_return) = given, wanted
    result = compare(returns, must_return)
    if takes is ... or must_take is ...:
        return result
    if not (isinstance(takes, list) and isinstance(must_take, list)):
        return False if result is False else None
    if len(takes) != len(must_take):
        return False
    return _all([result, *(compare(one, other) for one, other in zip(must_take, takes, strict=True))])


def _compare_with_protocol(giver: type, protocol: type, is_generic: bool) -> Verdict:
    """Compare by the names of the members: one that every instance lacks refuses."""
    known = {name for base in giver.__mro__ for name in (*vars(base), *inspect.get_annotations(base))}
    missing = {name: is_method for name, is_method in protocol_members(protocol).items() if name not in known}
    if not missing:
        return None if is_generic else True
    if is_interface(giver) or "__getattr__" in known:
        return None
    may_set_attributes = bool(giver.__dictoffset__)
    return False if any(missing.values()) or not may_set_attributes else None


def _may_turn_out(giver: type, taker: type) -> bool:
    """Tell whether a value of an interface may be of this class: a Mapping that is a dict, for one."""
    return is_protocol(giver) or (is_interface(giver) and issubclass(taker, giver))


def _all(verdicts: abc.Iterable[Verdict]) -> Verdict:
    """Say yes if all do, no if one does."""
    result: Verdict = True
    for verdict in verdicts:
        if verdict is False:
            return False
        result = result and verdict
    return result


def _any(verdicts: abc.Iterable[Verdict]) -> Verdict:
    """Say yes if one does, no if all do."""
    result: Verdict = False
    for verdict in verdicts:
        if verdict:
            return True
        result = None if verdict is None else result
    return result


# --- Records --------------------------------------------------------------------------------------


def _compare_by_field(giver: type, taker: type, compare: _Comparison) -> Verdict:
    """Compare two record classes by the names and types of their fields."""
    pair = (giver, taker)
    if pair in compare.open_records:
        return True
    given, verdicts = fields_of(giver), list[Verdict]()
    compare.open_records.add(pair)
    try:
        for name, field in fields_of(taker).items():
            if name in given:
                maybe_absent = field.required and not given[name].present
                verdicts += [compare(given[name].type, field.type), None if maybe_absent else True]
            else:
                verdicts.append(not field.required)
    finally:
        compare.open_records.discard(pair)
    return _all(verdicts)


def _compare_with_typed_dict(giver: type, given: Arguments, taker: type, compare: _Comparison) -> Verdict:
    if typing.is_typeddict(giver):
        return _compare_by_field(giver, taker, compare)
    if not issubclass(giver, dict):
        return None if _may_turn_out(giver, dict) else False
    keys = seen_as(dict, giver, given)
    return False if keys and compare(keys[0], str) is False else None


def _compare_records(given: Any, wanted: Any, compare: _Comparison) -> Verdict:
    """Compare two records as Petal converts them; what keys a mapping has is not known."""
    giver, given_items = _record_parts(given)
    taker, wanted_items = _record_parts(wanted)
    if (Any, Any) in (given_items, wanted_items):
        return True
    if given_items is None and wanted_items is None:
        if taker in giver.__mro__:
            return _compare_classes(given, wanted, compare)
        return _compare_by_field(giver, taker, compare)
    if wanted_items is None:
        return _compare_items_with_fields(given_items or (Any, Any), taker, compare)
    if given_items is None:
        verdicts = [compare(field.type, wanted_items[1]) for field in fields_of(giver).values()]
        return _all([compare(str, wanted_items[0]), *verdicts])
    return _all(compare(one, other) for one, other in zip(given_items, wanted_items, strict=True))


def _compare_items_with_fields(items: tuple[Any, Any], taker: type, compare: _Comparison) -> Verdict:
    """Refuse a mapping only if a field that the record needs cannot be among its values."""
    key, value = items
    members = typing.get_args(value) if is_union(value) else (value,)
    needed = [field.type for field in fields_of(taker).values() if field.required]
    verdicts = [compare(key, str), *(_any(compare(member, type_) for member in members) for type_ in needed)]
    return False if False in verdicts else None


def _record_parts(annotation: Any) -> tuple[Any, tuple[Any, Any] | None]:
    """Return a record's class and, for a mapping, its key and value; (Any, Any) if it says nothing."""
    origin, arguments = parts(annotation)
    if declares_fields(origin):
        return origin, None
    key, value = (plain(argument) for argument in arguments or (Any, Any))
    return origin, (Any, Any) if key in (str, Any) and value in (Any, object) else (key, value)
