"""Types across edges: views are adapted, so only what flows is compared, and only a sure mismatch is an error (S3.1)."""

from __future__ import annotations

import collections.abc as abc
from typing import Any

from petal.planning.annotations import type_text
from petal.planning.assignable import assignable, element_assignable
from petal.planning.values import BadValue, convert, kind_of, short, structured
from petal.spec.operator import Input, Output
from petal.spec.pipeline import MISSING
from petal.spec.views import Seen, View, without_extras

_RECORD = dict[str, Any]
_FRAMES = ("polars.DataFrame", "polars.LazyFrame", "pyarrow.Table", "pandas.DataFrame")
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
    elif out.view is View.VALUE:
        _value_into_rows(given.annotation, wanted)
    elif (
        MISSING not in (_element(out), _element(into))
        and element_assignable(_element(out), _element(into)) is False
    ):
        raise Mismatch(
            f"it gives {rows_text(given.seen)}, but `{wanted.name}` takes {rows_text(into)}",
            _convert_hint(_element(out), _element(into)),
        )


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
        if assignable(bare, never) is True:
            raise Mismatch(
                f"it gives {type_text(annotation)}, but `{wanted.name}` takes {rows_text(wanted.seen)}",
                f"return `list[{type_text(bare)}]`: one value is never taken apart into rows",
            )
    if hasattr(bare, "__arrow_c_stream__"):
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
    ):
        raise BadValue(f"{short(value)} is {kind_of(value)}, but {rows_text(seen)} is wanted: give a list")
    if isinstance(value, list | tuple) and seen.element is not MISSING and _is_plain(seen.element):
        return convert(list(value), list[seen.element], folder, lenient=lenient)  # type: ignore[name-defined]
    return value


def _is_plain(element: object) -> bool:
    return element in (str, int, float, bool, bytes)


def _element(seen: Seen) -> object:
    return _RECORD if seen.container in _FRAMES else seen.element


def _bare(annotation: object) -> object:
    return without_extras(annotation)


def rows_text(seen: Seen) -> str:
    """Say in words what a view holds: ``a stream of str``, ``a list of Score``, ``a DataFrame``."""
    if seen.container in _FRAMES or seen.container == "polars.Series":
        return f"a {seen.container.rpartition('.')[2]}"
    of = "" if seen.element is MISSING else f" of {type_text(seen.element)}"
    if seen.view.streams:
        return f"a stream{of}"
    return f"a {seen.container or 'list'}{of}"


def _convert_hint(given: object, wanted: object) -> str | None:
    if given is MISSING or wanted is MISSING:
        return None
    return f"put a node between them that turns {type_text(given)} into {type_text(wanted)}"
