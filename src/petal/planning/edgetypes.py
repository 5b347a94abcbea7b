"""Types across edges: views are adapted, so only what flows is compared, and only a sure mismatch is an error (S3.1)."""

from __future__ import annotations

import collections.abc as abc
import typing
from typing import Any

from petal.planning.annotations import type_text
from petal.planning.assignable import assignable, element_assignable, record_like
from petal.planning.values import BadValue, convert, kind_of, short, structured
from petal.spec.operator import Input, Output
from petal.spec.pipeline import MISSING
from petal.spec.rows import declared_record, no_batch_holds
from petal.spec.views import COLUMN_KINDS, Seen, View, missing_libraries, without_extras

_RECORD = dict[str, Any]
_SETS = ("set", "frozenset", "abstract set", "mutable set")
_ANYTHING = (Any, object)


class Mismatch(Exception):
    """The two ends of an edge do not fit; ``hint`` is the remedy."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def check_edge(given: Output, wanted: Input) -> None:
    """Compare the two ends of an edge.

    Raises:
        Mismatch: They certainly do not fit.
    """
    if wanted.annotation is MISSING or _bare(wanted.annotation) in _ANYTHING:
        return
    out, into = given.seen, wanted.seen
    if into.view is View.VALUE:
        _into_value(given, wanted)
        return
    _check_container(out, wanted)
    if out.view is View.VALUE:
        _value_into_rows(given.annotation, wanted)
    elif (
        MISSING not in (_element(out), _element(into))
        and element_assignable(_element(out), _element(into)) is False
    ):
        raise Mismatch(
            f"it gives {rows_text(given.seen)}, but `{wanted.name}` takes {rows_text(into)}",
            _convert_hint(_element(out), _element(into)),
        )


def _check_container(out: Seen, wanted: Input) -> None:
    """Find out whether what is to be built for the consumer can hold such rows at all."""
    into = wanted.seen
    elements = [e for e in (into.element, out.element) if e is not MISSING and out.view is not View.VALUE]
    missing = missing_libraries(into.container) if into.container != out.container else ()
    if missing:
        raise Mismatch(
            f"`{wanted.name}` takes {rows_text(into)} of {into.container.partition('.')[0]}, "
            f"but {' and '.join(missing)} is not installed",
            f"`pip install {' '.join(missing)}`, or take a `polars.DataFrame`",
        )
    if into.container in _SETS:
        kept = next((e for e in elements if _is_unhashable(e)), None)
        if kept is not None:
            raise Mismatch(
                f"`{wanted.name}` takes {rows_text(into)}, but {type_text(kept)} cannot be in a set",
                f"take `list[{type_text(kept)}]`, or make the record immutable (`frozen=True`)",
            )
    if into.view is View.BATCHES or into.holds_records or into.container in COLUMN_KINDS:
        lost = next((e for e in elements if no_batch_holds(e)), None)
        if lost is not None:
            raise Mismatch(
                f"`{wanted.name}` takes {rows_text(into)}, and no batch can hold {type_text(lost)}",
                f"take `Iterable[{type_text(lost)}]`, or make it a record (dataclass, msgspec Struct, NamedTuple)",
            )
    if into.container in COLUMN_KINDS and out.view is not View.VALUE and _holds_records(out):
        raise Mismatch(
            f"it gives {rows_text(out)}, which are records, but `{wanted.name}` takes {rows_text(into)}, a single column",
            "take a DataFrame, or put a node between them that chooses one field",
        )


def _holds_records(seen: Seen) -> bool:
    return seen.holds_records or (seen.element is not MISSING and record_like(seen.element))


def _is_unhashable(element: object) -> bool:
    kind = typing.get_origin(element) or element
    return isinstance(kind, type) and getattr(kind, "__hash__", None) is None


def _into_value(given: Output, wanted: Input) -> None:
    if given.seen.view.streams:
        if given.annotation is MISSING or assignable(given.annotation, wanted.annotation) is not True:
            element = given.seen.element
            raise Mismatch(
                f"it gives {rows_text(given.seen)}, but `{wanted.name}` takes one {type_text(wanted.annotation)}",
                f"annotate `{wanted.name}` as `Iterable[{type_text(element) if element is not MISSING else 'T'}]` for a stream, or as a list for everything at once",
            )
        return
    if given.annotation is not MISSING and assignable(given.annotation, wanted.annotation) is False:
        raise Mismatch(
            f"it gives {type_text(given.annotation)}, but `{wanted.name}` takes {type_text(wanted.annotation)}",
            _convert_hint(given.annotation, wanted.annotation),
        )


def _value_into_rows(annotation: object, wanted: Input) -> None:
    if annotation is MISSING or _bare(annotation) in _ANYTHING:
        return
    bare = _bare(annotation)
    for never in (str, bytes, abc.Mapping):
        if assignable(bare, never) is True or declared_record(bare) is not None:
            raise Mismatch(
                f"it gives {type_text(annotation)}, but `{wanted.name}` takes {rows_text(wanted.seen)}",
                f"return `list[{type_text(bare)}]`: one value is never taken apart into rows",
            )
    if hasattr(bare, "__arrow_c_stream__") or hasattr(bare, "__arrow_c_array__"):
        return
    if assignable(bare, abc.Iterable) is False:
        raise Mismatch(
            f"it gives {type_text(annotation)}, but `{wanted.name}` takes {rows_text(wanted.seen)}",
            f"return `list[{type_text(bare)}]`, or take the value itself: `{wanted.name}: {type_text(bare)}`",
        )


def check_constant(value: Any, wanted: Input, folder: str, *, lenient: bool) -> Any:
    """Return a constant as an input wants it.

    Raises:
        BadValue: It does not fit.
    """
    if value is MISSING:
        return value
    seen = wanted.seen
    if seen.view is View.VALUE:
        return convert(value, wanted.annotation, folder, lenient=lenient)
    if lenient and (data := structured(value)) is not MISSING:
        value, lenient = data, False
    if isinstance(value, str | bytes | abc.Mapping) or not (
        isinstance(value, abc.Iterable)
        or hasattr(value, "__arrow_c_stream__")
        or hasattr(value, "__aiter__")
        or hasattr(value, "collect_schema")
        or any(adapter.takes(type(value)) for adapter in seen.adapters)
    ):
        raise BadValue(f"{short(value)} is {kind_of(value)}, but {rows_text(seen)} is wanted: give a list")
    if isinstance(value, list | tuple) and seen.element is not MISSING and _is_plain(seen.element):
        return convert(list(value), list[seen.element], folder, lenient=lenient)  # type: ignore[name-defined]
    return value


def _is_plain(element: object) -> bool:
    return element in (str, int, float, bool, bytes)


def _element(seen: Seen) -> object:
    return _RECORD if seen.holds_records else seen.element


def _bare(annotation: object) -> object:
    return without_extras(annotation)


def rows_text(seen: Seen) -> str:
    """Say in words what a view holds: ``a stream of str``, ``a list of Score``, ``a DataFrame``."""
    if "." in seen.container:  # a frame or a column
        return f"a {seen.container.rpartition('.')[2]}"
    of = "" if seen.element is MISSING else f" of {type_text(seen.element)}"
    if seen.view.streams:
        return f"a stream{of}"
    return f"a {seen.container or 'list'}{of}"


def _convert_hint(given: object, wanted: object) -> str | None:
    if given is MISSING or wanted is MISSING:
        return None
    return f"put a node between them that turns {type_text(given)} into {type_text(wanted)}"
