"""Hypothesis strategies: values of a type, rows of a record, and small pipelines that run."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import typing
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path, PurePath
from types import NoneType, UnionType
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import Struct

from petal.authoring.pipeline import Node, node
from petal.spec.pipeline import MISSING
from petal.spec.views import COLUMN_KINDS, READER, Check, Seen, View, seen
from petal.testing import tasks
from petal.testing.specs import pipeline_specs
from petal.testing.subject import giver

__all__ = ["Graph", "frames", "graphs", "pipeline_specs", "rows", "values"]

Strategy: typing.TypeAlias = st.SearchStrategy[Any]

_TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
_EARLY, _LATE = dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)
_OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
_INT64 = st.integers(-(2**63), 2**63 - 1)
#: JSON-like data, which may go untyped to another process (S6.1).
_PLAIN = st.recursive(
    st.none() | st.booleans() | _INT64 | _TEXTS | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)
_PATHS = st.lists(st.from_regex(r"[a-zé_-]{1,8}", fullmatch=True), min_size=1, max_size=3).map(
    lambda parts: Path(*parts)
)

#: Every value of a type, and those of them that a column of a batch holds.
_ANYWHERE: Mapping[Any, Strategy] = {
    int: st.integers(),
    dt.datetime: st.datetimes() | st.datetimes(timezones=st.just(dt.UTC) | _OFFSETS),
    dt.date: st.dates(),
    dt.timedelta: st.timedeltas(),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
}
_IN_COLUMNS: Mapping[Any, Strategy] = {
    int: _INT64,
    dt.datetime: st.datetimes(_EARLY, _LATE),
    dt.date: st.dates(_EARLY.date(), _LATE.date()),
    dt.timedelta: st.timedeltas(dt.timedelta(-(10**6)), dt.timedelta(10**6)),
    Decimal: st.decimals(-(10**12), 10**12, places=4),
}
_EITHER: Mapping[Any, Strategy] = {
    None: st.none(),
    NoneType: st.none(),
    bool: st.booleans(),
    float: st.floats(),
    str: _TEXTS,
    bytes: st.binary(max_size=20),
    dt.time: st.times(),
    uuid.UUID: st.uuids(),
    Path: _PATHS,
    PurePath: _PATHS,
    Any: _PLAIN,
    object: _PLAIN,
    MISSING: _PLAIN,
}


def values(annotation: Any, *, in_columns: bool = False) -> Strategy:
    """Return values that an annotation stands for, as an operator's input, parameter or output has it.

    A stream (``Iterator[T]``, ``Batches[T]``) is a list of rows, from which a test makes the stream it needs.

    Args:
        annotation: A type: of single values, records, containers, frames or streams.
        in_columns: Whether only values come that a column of a batch holds: integers of 64 bits, naive times of
            some centuries, decimals of four places.
    """
    return _Maker(in_columns).of(annotation)


def rows(record: Any, *, max_size: int = 10) -> Strategy:
    """Return lists of records, or of single values, that batches hold too.

    Args:
        record: Their type: a Struct, dataclass, TypedDict, NamedTuple or a type of single values.
        max_size: Rows at most.
    """
    return st.lists(values(record, in_columns=True), max_size=max_size)


def frames(kind: str = "polars.DataFrame", *, max_size: int = 10) -> Strategy:
    """Return frames or columns, those without rows and without columns among them.

    Args:
        kind: What to make, such as ``polars.LazyFrame``, ``polars.Series`` or ``pyarrow.Table``.
        max_size: Rows at most.
    """
    import polars as pl

    columns = {
        "n": pl.Int64,
        "f": pl.Float64,
        "t": pl.String,
        "b": pl.Boolean,
        "y": pl.Binary,
        "at": pl.Datetime,
    }
    kinds = {"n": int, "f": float, "t": str, "b": bool, "y": bytes, "at": dt.datetime}

    def made(name_and_values: dict[str, list[Any]]) -> Any:
        from petal.data.frames import to_container

        schema: Any = {name: columns[name] for name in name_and_values}
        frame = pl.DataFrame(name_and_values, schema=schema)
        is_column = kind in COLUMN_KINDS
        return to_container([frame.to_series() if is_column else frame], kind)

    def of(names: list[str], height: int) -> Strategy:
        return st.fixed_dictionaries(
            {
                name: st.lists(
                    st.none() | values(kinds[name], in_columns=True), min_size=height, max_size=height
                )
                for name in names
            }
        )

    least, most = (1, 1) if kind in COLUMN_KINDS else (0, len(columns))
    names = st.lists(st.sampled_from([*columns]), min_size=least, max_size=most, unique=True)
    return st.builds(lambda n, h: (n, h), names, st.integers(0, max_size)).flatmap(lambda d: of(*d)).map(made)


class _Maker:
    """Makes strategies; a record that holds itself is made once and named."""

    def __init__(self, in_columns: bool) -> None:
        self._table = {**_EITHER, **(_IN_COLUMNS if in_columns else _ANYWHERE)}
        self._records: dict[Any, Strategy] = {}

    def of(self, annotation: Any) -> Strategy:
        """Return the values of any annotation."""
        if type(annotation).__name__ == "TypeAliasType":
            return self.of(annotation.__value__)
        origin, args = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is typing.Annotated:
            return self._constrained(annotation, args[0])
        if origin in (typing.Union, UnionType):
            return st.one_of(*map(self.of, args))
        if origin is typing.Literal:
            return st.sampled_from(args)
        if origin in (typing.Required, typing.NotRequired, typing.Final, typing.ClassVar):
            return self.of(args[0])
        try:
            found = self._table.get(annotation)
        except TypeError:  # unhashable
            found = None
        if found is not None:
            return found
        return self._container(annotation, origin or annotation, args)

    def _constrained(self, annotation: Any, bare: Any) -> Strategy:
        """Leave out what a constraint refuses: msgspec's Meta, or Petal's Check."""
        metas = [extra for extra in annotation.__metadata__ if isinstance(extra, msgspec.Meta)]
        checks = [extra for extra in annotation.__metadata__ if isinstance(extra, Check)]

        def fits(value: Any) -> bool:
            try:
                for one in checks:
                    one.test(value)
                return not metas or msgspec.convert(value, annotation) is not None
            except (ValueError, msgspec.ValidationError):
                return False

        found = _within(bare, metas[-1]) if metas else None
        found = self.of(bare) if found is None else found
        return found.filter(fits) if metas or checks else found

    def _container(self, annotation: Any, origin: Any, args: tuple[Any, ...]) -> Strategy:
        if origin is tuple and args and args[-1] is not Ellipsis:
            return st.tuples(*map(self.of, args))
        if origin in (dict, Mapping):
            key, value = args or (str, Any)
            return st.dictionaries(self.of(key), self.of(value), max_size=4)
        if origin is deque:
            return st.lists(self.of(args[0] if args else Any), max_size=5).map(deque)
        look = seen(annotation)
        if look.view is not View.VALUE:
            return self._rows(look)
        if isinstance(origin, type) and issubclass(origin, enum.Enum):
            return st.sampled_from(list(origin))
        fields = _fields(origin)
        if fields is None:
            return st.from_type(annotation)
        if annotation not in self._records:
            self._records[annotation] = st.deferred(lambda: self._record(origin, fields))
        return self._records[annotation]

    def _rows(self, look: Seen) -> Strategy:
        if look.container == READER or "." in look.container:
            return frames("pyarrow.Table" if look.container == READER else look.container)
        if "set" in look.container:
            found = st.sets(self.of(look.element), max_size=5)
            return found.map(frozenset) if look.container == "frozenset" else found
        many = st.lists(self.of(look.element), max_size=5)
        return many.map(tuple) if look.container == "tuple" else many

    def _record(self, cls: Any, fields: Mapping[str, Any]) -> Strategy:
        made = {name: self.of(kind) for name, kind in fields.items()}
        if not typing.is_typeddict(cls):
            return st.builds(cls, **made)
        needed = {name: one for name, one in made.items() if name in cls.__required_keys__}
        return st.fixed_dictionaries(needed, optional={n: s for n, s in made.items() if n not in needed})


def _within(bare: Any, meta: msgspec.Meta) -> Strategy | None:
    """Return the values of a constraint that would seldom be met by chance; None for every other."""
    if meta.pattern is not None:
        return st.from_regex(meta.pattern)
    least, most = meta.ge if meta.ge is not None else meta.gt, meta.le if meta.le is not None else meta.lt
    if bare is int and (least, most) != (None, None):
        return st.integers(least, most)  # type: ignore[arg-type]
    if bare is float and (least, most) != (None, None):
        return st.floats(least, most, allow_nan=False)
    size = {"min_size": meta.min_length or 0, "max_size": meta.max_length}
    if bare is str and (meta.min_length, meta.max_length) != (None, None):
        return st.text(st.characters(codec="utf-8"), **size)  # type: ignore[arg-type]
    return None


def _fields(cls: Any) -> Mapping[str, Any] | None:
    """Return the fields of a record class that its constructor takes, with their types; None for other classes."""
    if not isinstance(cls, type) and not typing.is_typeddict(cls):
        return None
    if typing.is_typeddict(cls) or (issubclass(cls, tuple) and hasattr(cls, "_fields")):
        return typing.get_type_hints(cls, include_extras=True)
    if issubclass(cls, msgspec.Struct):
        return {f.name: f.type for f in msgspec.structs.fields(cls)}
    if dataclasses.is_dataclass(cls):
        hints = typing.get_type_hints(cls, include_extras=True)
        return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}
    return None


# -- small pipelines ---------------------------------------------------------------------------------------------


class Step(Struct, frozen=True):
    """One node of a graph.

    Attributes:
        id: Its id.
        operator: A function of :mod:`petal.testing.tasks` from rows to rows; None for a source.
        sources: The steps that feed it.
        given: The rows of a source.
        away: Whether it may run on another backend.
    """

    id: str
    operator: Callable[..., Any] | None
    sources: tuple[str, ...] = ()
    given: tuple[int, ...] = ()
    away: bool = False


class Graph(Struct, frozen=True):
    """A pipeline of streams of numbers, whose outputs plain Python can tell.

    Attributes:
        steps: Its nodes, each after those that feed it.
    """

    steps: tuple[Step, ...]

    @property
    def ids(self) -> list[str]:
        """The ids of all nodes but the sources."""
        return [step.id for step in self.steps if step.operator is not None]

    def nodes(self, place: Callable[..., Node] | None = None) -> list[Node]:
        """Return the pipeline's nodes.

        Args:
            place: Makes the nodes that may run elsewhere, of operator, id and inputs; by default they run here.
        """
        found = []
        for step in self.steps:
            if step.operator is None:
                found.append(node(giver(list(step.given)), id=step.id))
                continue
            several = step.operator is tasks.merges
            inputs = {"streams": list(step.sources)} if several else {"rows": step.sources[0]}
            made = place if place is not None and step.away else _placed
            found.append(made(step.operator, step.id, **inputs))
        return found

    def rows(self) -> dict[str, list[int]]:
        """Return the rows that each node gives, sources left out."""
        found: dict[str, list[int]] = {}
        for step in self.steps:
            if step.operator is None:
                found[step.id] = list(step.given)
                continue
            given = [list(found[source]) for source in step.sources]
            double = step.operator in (tasks.doubles, tasks.doubles_batches)
            found[step.id] = [2 * n for n in given[0]] if double else list(step.operator(*given))
        return {name: found[name] for name in self.ids}


@st.composite
def graphs(draw: st.DrawFn, *, max_nodes: int = 6) -> Graph:
    """Return pipelines that run: one or two sources, streams that part and meet again, lists and batches between.

    Args:
        draw: What hypothesis gives.
        max_nodes: Nodes at most, sources left out.
    """
    steps = [
        Step(f"s{i}", None, given=tuple(draw(st.lists(st.integers(-1000, 1000), max_size=30))))
        for i in range(draw(st.integers(1, 2)))
    ]
    for i in range(draw(st.integers(1, max_nodes))):
        operator: Any = draw(
            st.sampled_from([tasks.doubles, tasks.doubles_batches, tasks.turns, tasks.merges])
        )
        ids = st.sampled_from([step.id for step in steps])
        sources = draw(st.lists(ids, min_size=1, max_size=3 if operator is tasks.merges else 1))
        steps.append(Step(f"n{i}", operator, tuple(sources), away=draw(st.booleans())))
    return Graph(tuple(steps))


def _placed(operator: Any, id: str, **inputs: Any) -> Node:
    return node(operator, id=id, inputs=inputs)
