"""What a declared record type does: columns and their types, conversion, and errors that name row and field (S3.5)."""

from __future__ import annotations

import datetime as dt
import enum
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Generic, NamedTuple, NotRequired, TypedDict, TypeVar

import msgspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from petal import Batches, DataError, Pipeline, RowError, node

T = TypeVar("T")


class AsStruct(msgspec.Struct):
    a: int
    score: float | None = None


@dataclass
class AsDataclass:
    a: int
    score: float | None = None


class AsTuple(NamedTuple):
    a: int
    score: float | None = None


class AsTyped(TypedDict):
    a: int
    score: NotRequired[float | None]


KINDS: list[Any] = [AsStruct, AsDataclass, AsTuple, AsTyped]


def feed(gives: Any, make: Any, takes: Any, read: Any) -> Any:
    """Run two nodes; return what the second one read, or raise its error."""

    def give():  # type: ignore[no-untyped-def]
        return make()

    def take(rows):  # type: ignore[no-untyped-def]
        return read(rows)

    give.__annotations__["return"] = gives
    take.__annotations__["rows"] = takes
    result = Pipeline.of(give, node(take, inputs={"rows": "give"})).run()
    error = result.nodes["take"].error
    if error is not None:
        assert error.node == "take"
        assert error.hint
        raise error.__cause__
    return result.check().outputs["take"]


def error_of(*pair: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        feed(*pair)
    return caught.value


# -- where the row is ---------------------------------------------------------------------------------------------


def many(bad: dict[str, Any], row: int) -> Any:
    return lambda: (bad if i + 1 == row else {"a": i, "score": None} for i in range(20_000))


@pytest.mark.parametrize("row", [1, 8192, 8193, 20_000])
@pytest.mark.parametrize("view", ["Iterable", "list", "Batches"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("through", ["items", "batches", "frame"])
def test_a_row_that_does_not_fit_is_counted_across_batches(kind, view, row, through):
    """Node, row and field are named in every view of every kind of record, and whatever the rows come from."""
    takes = {"Iterable": Iterable[kind], "list": list[kind], "Batches": Batches[kind]}[view]
    bad: dict[str, Any] = {"a": None, "score": None}
    rows = many(bad, row)
    gives, make = {
        "items": (Iterator[dict[str, Any]], rows),
        "batches": (Batches[dict[str, Any]], lambda: pl.DataFrame(list(rows())).iter_slices(3000)),
        "frame": (pl.DataFrame, lambda: pl.DataFrame(list(rows()))),
    }[through]
    error = error_of(gives, make, takes, lambda found: sum(1 for _ in found))
    assert isinstance(error, RowError)
    assert (error.row, error.field) == (row, "a")
    assert f"row {row}" in error.message
    assert f"{kind.__name__}" in error.message


def test_a_declared_type_is_what_a_row_is_measured_by():
    """Rows that lie about their declared type are an error where a batch is made of them."""
    error = error_of(Iterator[AsTyped], lambda: iter([{"a": 1}, {"a": "x"}]), pl.DataFrame, len)
    assert isinstance(error, RowError)
    assert (error.row, error.field) == (2, "a")
    assert "`AsTyped.a`" in error.message


# -- the columns of batches ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "scores",
    [[None] * 9000 + [1.5], [1] * 9000 + [1.5], [None, 1, 2.5]],
    ids=["late", "whole first", "mixed"],
)
def test_declared_fields_have_their_types_from_the_first_batch_on(kind, scores):
    """A first batch without values, or of whole numbers, does not fix the wrong type."""
    rows = [{"a": i, "score": s} if kind is AsTyped else kind(i, s) for i, s in enumerate(scores)]
    found = feed(
        Iterator[kind],
        lambda: iter(rows),
        Batches[dict],
        lambda bs: [(b.schema, b["score"].to_list()) for b in bs],
    )
    assert {str(schema) for schema, _ in found} == {str(pl.Schema({"a": pl.Int64, "score": pl.Float64}))}
    assert [s for _, part in found for s in part] == scores


EMPTY: dict[Any, Any] = {
    pl.DataFrame: lambda f: f.columns,
    pl.LazyFrame: lambda f: f.collect_schema().names(),
    pa.Table: lambda t: t.column_names,
    pa.RecordBatch: lambda b: b.schema.names,
    pa.RecordBatchReader: lambda r: r.schema.names,
    pd.DataFrame: lambda f: list(f.columns),
    Batches[dict]: lambda bs: next(bs).columns,
}


@pytest.mark.parametrize("takes", EMPTY)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gives", ["Iterator", "list", "Batches"])
def test_an_empty_stream_of_a_declared_record_has_its_columns(kind, takes, gives):
    """No rows, but the schema is known."""
    annotation = {"Iterator": Iterator[kind], "list": list[kind], "Batches": Batches[kind]}[gives]
    if (gives, takes) == ("Batches", Batches[dict]):  # batches pass as they are, here none
        assert feed(annotation, lambda: iter([]), takes, list) == []
    else:
        assert feed(annotation, lambda: iter([]) if gives != "list" else [], takes, EMPTY[takes]) == [
            "a",
            "score",
        ]


def test_an_empty_leaf_of_a_declared_record_has_its_columns():
    """What a run returns is no exception."""

    def give() -> Batches[AsStruct]:
        yield from ()

    assert Pipeline.of(give).run().check().outputs["give"].columns == ["a", "score"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pl.DataFrame({"score": [1.5]}), "no column `a`"),
        (pl.DataFrame({"a": ["x"]}), "column `a` holds values of type String"),
        (pl.DataFrame({"a": [1.5]}), "column `a` holds values of type Float64"),
        (pl.DataFrame({"a": [1], "score": ["x"]}), "column `score` holds values of type String"),
        (pl.Series([1]), "records are wanted"),
    ],
)
def test_columns_that_do_not_fit_the_declared_record_are_named(kind, frame, words):
    """A frame feeds Batches[Record] only if it has the record's columns with their types."""
    error = error_of(Any, lambda: frame, Batches[kind], list)
    assert words in error.message


@pytest.mark.parametrize("kind", KINDS)
def test_batches_of_a_declared_record_have_its_columns_and_no_others(kind):
    """Columns come in the record's order; those that may be missing are filled, whole numbers become fractions."""

    def give() -> Iterator[pl.DataFrame]:
        yield pl.DataFrame({"more": ["x"], "score": [1], "a": [2]})
        yield pl.DataFrame({"a": pl.Series([3], dtype=pl.Int16)})
        yield pl.DataFrame({"a": [4], "score": [None]})

    found = feed(Batches[dict], give, Batches[kind], list)
    assert [b.columns for b in found] == [["a", "score"]] * 3
    assert [r for b in found for r in b.rows()] == [(2, 1.0), (3, None), (4, None)]
    assert {b["score"].dtype for b in found} == {pl.Float64()}


def test_single_values_and_records_are_told_apart():
    """Batches[str] of a frame, and text where numbers are wanted, are errors that say which."""
    frame = pl.DataFrame({"a": ["x"]})
    assert "single values are wanted" in error_of(Any, lambda: frame, Batches[str], list).message
    assert "type String" in error_of(pl.Series, lambda: pl.Series(["x"]), Batches[int], list).message
    assert "single values are wanted" in error_of(Any, lambda: [{"a": 1}], pl.Series, len).message
    assert feed(pl.Series, lambda: pl.Series([1]), Batches[float], lambda bs: next(bs).to_list()) == [1.0]


# -- nothing changes silently -------------------------------------------------------------------------------------

EAST = dt.timezone(dt.timedelta(hours=2))


#: Two values that no column of one type holds; and pairs that do fit where one batch has both.
NEVER: list[tuple[Any, Any]] = [
    (Decimal("1.5"), Decimal("NaN")),
    (dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 1, tzinfo=EAST)),
    (dt.datetime(2026, 1, 1, tzinfo=EAST), dt.datetime(2026, 1, 1)),
    (dt.date(2026, 1, 1), dt.datetime(2026, 1, 1, 5)),
    (1.5, 2**60 + 1),
    ({"x": 1}, {"x": 1.5}),
    ([1], ["x"]),
    ("x", "\ud800"),
]
LATE: list[tuple[Any, Any]] = [
    (Decimal("1.5"), Decimal("1.255")),
    (1, 2**63),
    ({"x": 1}, {"x": 1, "y": 2}),
]


@pytest.mark.parametrize(
    ("first", "later", "row"), [(*p, 2) for p in NEVER] + [(*p, 9000) for p in NEVER + LATE]
)
def test_a_value_that_a_column_would_change_is_an_error(first, later, row):
    """Rounding, a lost zone, a dropped field: the row is named instead."""
    rows = [{"v": first}] * (row - 1) + [{"v": later}]
    error = error_of(Iterator[dict], lambda: iter(rows), pl.DataFrame, len)
    assert isinstance(error, RowError)
    assert (error.row, error.field) == (row, "v")


@pytest.mark.parametrize(("first", "later"), LATE)
def test_within_a_batch_the_column_is_made_wide_enough(first, later):
    """The same values come back exactly where their type is found out from both."""
    found = feed(
        Iterator[dict], lambda: iter([{"v": first}, {"v": later}]), pl.DataFrame, lambda f: f["v"].to_list()
    )
    if isinstance(later, dict):
        found = [{k: v for k, v in row.items() if v is not None} for row in found]
    assert found == [first, later]


def test_within_a_batch_records_inside_may_have_different_fields():
    """The column has all of them."""
    rows = [{"v": {"x": 1}}, {"v": {"y": [2.5]}}, {"v": None}, {"v": {}}]
    found = feed(Iterator[dict], lambda: iter(rows), pl.DataFrame, lambda f: f["v"].to_list())
    assert found == [{"x": 1, "y": None}, {"x": None, "y": [2.5]}, None, {"x": None, "y": None}]


def test_batches_that_do_not_go_together_are_an_error_with_row_and_column():
    """Text under numbers would make text of the numbers; a new column would be null before."""

    def give() -> Iterator[pl.DataFrame]:
        yield pl.DataFrame({"a": [1, 2]})
        yield pl.DataFrame({"a": ["x"]})

    error = error_of(Batches[dict], give, pl.DataFrame, len)
    assert isinstance(error, RowError)
    assert (error.row, error.field) == (3, "a")
    added = [pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2], "b": [1]})]
    error = error_of(Batches[dict], lambda: iter(added), pl.DataFrame, len)
    assert isinstance(error, RowError)
    assert (error.row, error.field) == (2, "b")
    wider = [pl.DataFrame({"a": [None]}), pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [1.5]})]
    assert feed(Batches[dict], lambda: iter(wider), pl.DataFrame, lambda f: f["a"].to_list()) == [
        None,
        1.0,
        1.5,
    ]


def test_python_objects_never_become_addresses():
    """Arrow cannot hold a Python object, and is not given its address."""

    def give() -> Iterator[dict]:
        yield {"p": Path("x")}

    assert (
        "column `p` holds Python objects (PosixPath)" in error_of(Iterator[dict], give, pa.Table, len).message
    )
    assert feed(Iterator[dict], give, pl.DataFrame, lambda f: f["p"].to_list()) == [Path("x")]


def test_whole_numbers_with_gaps_stay_whole_in_pandas():
    """2**62 + 1 would be rounded, were the column made one of fractions because a value is missing."""
    rows = [{"n": 2**62 + 1}, {"n": None}]
    found = feed(Iterator[dict], lambda: iter(rows), pd.DataFrame, lambda f: f["n"].tolist())
    assert found == [2**62 + 1, pd.NA]


# -- records in records -------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"


class Place(NamedTuple):
    x: int
    y: int = 0


class Line(msgspec.Struct, rename="camel"):
    unit_price: float
    place: Place | None = None


@dataclass
class Order:
    lines: list[Line]
    colour: Colour = Colour.RED
    note: str = "none"
    days: tuple[dt.date, ...] = ()
    tags: list[str] = field(default_factory=list)


@dataclass
class Box(Generic[T]):
    held: T


class OrderRow(TypedDict):
    lines: list[Line]
    colour: NotRequired[Colour]
    note: NotRequired[str]
    days: NotRequired[tuple[dt.date, ...]]
    tags: NotRequired[list[str]]


ORDERS = [Order([Line(1.5, Place(1, 2)), Line(2.0)], note="x", days=(dt.date(2026, 1, 1),)), Order([])]


@pytest.mark.parametrize("between", [pl.DataFrame, pa.Table, Batches[dict], Batches[Order], list[Order]])
def test_records_in_records_survive_frames(between):
    """Nested Structs with renamed fields, NamedTuples, enumerations and tuples come back as they were declared."""

    def give() -> Iterator[Order]:
        yield from ORDERS

    def pass_on(rows):  # type: ignore[no-untyped-def]
        return rows

    def take(rows: Iterable[Order]) -> list[Order]:
        return list(rows)

    pass_on.__annotations__ |= {"rows": between, "return": between}
    nodes = [give, node(pass_on, inputs={"rows": "give"}), node(take, inputs={"rows": "pass_on"})]
    assert Pipeline.of(*nodes).run().check().outputs["take"] == ORDERS


def test_fields_that_are_not_there_get_their_defaults_through_batches():
    """Null in a batch stands for an absent field where None is not allowed; other defaults hold too."""
    rows: list[Any] = [{"lines": []}, {"lines": [], "note": "y"}]
    found = feed(Iterator[OrderRow], lambda: iter(rows), Batches[dict], lambda bs: [b.columns for b in bs])
    assert found == [["lines", "colour", "note", "days", "tags"]]

    def between(give: Batches[dict]) -> Batches[dict]:
        yield from give

    def give() -> Iterator[OrderRow]:
        yield from rows

    def take(between: list[Order]) -> list[Order]:
        return between

    found = Pipeline.of(give, between, take).run().check().outputs["take"]
    assert found == [Order([]), Order([], note="y")]


def test_generic_and_annotated_records_are_records_too():
    """`Box[int]` and `Annotated[Box[int], ...]` are converted as `Box` is."""
    for wanted in (Box[int], Annotated[Box[int], "meta"]):
        found = feed(Iterator[dict], lambda: iter([{"held": 1}]), list[wanted], list)
        assert found == [Box(1)]
    error = error_of(Iterator[dict], lambda: iter([{"held": "x"}]), list[Box[int]], list)
    assert isinstance(error, RowError)
    assert (error.row, error.field) == (1, "held")


def test_rows_of_a_producer_that_declares_nothing_become_dicts():
    """A consumer of dicts gets dicts, also of Structs that nobody declared."""

    def give():  # type: ignore[no-untyped-def]
        yield AsStruct(1)
        yield {"a": 2}

    def take(give: list[dict[str, Any]]) -> list[Any]:
        return give

    assert Pipeline.of(give, take).run().check().outputs["take"] == [{"a": 1, "score": None}, {"a": 2}]


# -- shared, not copied; read as asked for ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (list[int], [1]),
        (tuple[int, ...], (1,)),
        (set[int], {1}),
        (pl.DataFrame, pl.DataFrame({"a": [1]})),
        (pl.LazyFrame, pl.LazyFrame({"a": [1]})),
        (pa.Table, pa.table({"a": [1]})),
        (pd.DataFrame, pd.DataFrame({"a": [1]}, index=["i"])),
    ],
)
def test_a_value_that_is_what_is_wanted_is_passed_on(annotation, value):
    """S3.4: it is shared, not copied, whatever was declared of it."""
    assert feed(Any, lambda: value, annotation, lambda found: found is value)


@pytest.mark.parametrize("gives", [Iterator[dict], Batches[dict], pa.RecordBatchReader])
@pytest.mark.parametrize("takes", [Iterable[dict], Batches[dict], pa.RecordBatchReader])
def test_a_reader_of_arrow_is_a_stream(gives, takes):
    """Of a long RecordBatchReader, only what is asked for is read, on either side."""
    batch = pa.record_batch({"a": list(range(10_000))})
    read: list[int] = []

    def batches() -> Iterator[pa.RecordBatch]:
        for i in range(1000):
            read.append(i)
            yield batch

    first = feed(
        gives,
        lambda: pa.RecordBatchReader.from_batches(batch.schema, batches()),
        takes,
        lambda rows: next(iter(rows)) is not None,
    )
    assert first
    assert len(read) < 10


def test_what_a_reader_of_arrow_gives_has_one_schema():
    """A later batch with other columns is an error that says where it begins."""

    def give() -> Iterator[pl.DataFrame]:
        yield pl.DataFrame({"a": [1, 2]})
        yield pl.DataFrame({"a": ["x"]})

    error = error_of(Batches[dict], give, pa.RecordBatchReader, lambda reader: reader.read_all())
    assert isinstance(error, RowError)
    assert error.row == 3


# -- what is found before the run ---------------------------------------------------------------------------------


class Plain:
    pass


@pytest.mark.parametrize(
    ("gives", "takes", "words"),
    [
        (int, Iterable[int], "`rows` takes a stream of int"),
        (AsTuple, Iterable[int], "one value is never taken apart"),
        (AsDataclass, list[AsDataclass], "one value is never taken apart"),
        (Iterator[Plain], Batches[Plain], "no batch can hold Plain"),
        (Iterator[Plain], pl.DataFrame, "no batch can hold Plain"),
        (Iterator[Path], pa.Array, "no batch can hold Path"),
        (Iterator[dict], pl.Series, "records"),
        (pl.DataFrame, pl.Series, "records"),
        (Iterator[dict], set[dict], "dict cannot be in a set"),
        (list[AsDataclass], frozenset[AsDataclass], "AsDataclass cannot be in a set"),
        (list[int], pl.DataFrame, "turns int into"),
    ],
)
def test_where_no_view_fits_validation_says_so(gives, takes, words):
    """An edge that cannot work is an error before the run, with a remedy."""

    def give():  # type: ignore[no-untyped-def]
        return None

    def take(rows) -> int:  # type: ignore[no-untyped-def]
        return 1

    give.__annotations__["return"] = gives
    take.__annotations__["rows"] = takes
    (finding,) = Pipeline.of(give, node(take, inputs={"rows": "give"})).validate()
    assert finding.code == "type-mismatch"
    assert words in f"{finding.message} {finding.hint}"
    assert finding.hint


_WITHOUT = """
import sys
sys.modules[{missing!r}] = None
from collections.abc import Iterator
import petal
{imports}
def give() -> Iterator[dict]:
    yield {{"a": 1}}
def take(give: {annotation}) -> int:
    return 1
print([(f.code, f.message, f.hint) for f in petal.Pipeline.of(give, take).validate()])
"""


@pytest.mark.parametrize(
    ("missing", "annotation", "code"),
    [
        ("pyarrow", "pd.DataFrame", "type-mismatch"),
        pytest.param("pandas", "'pd.DataFrame'", "unresolved-annotation", marks=pytest.mark.slow),
        pytest.param("pyarrow", "'pa.Table'", "unresolved-annotation", marks=pytest.mark.slow),
        (None, "pd.DataFrame", None),
    ],
)
def test_a_library_that_is_not_installed_is_named(missing, annotation, code):
    """The finding says which package to install; where all is there, nothing is found."""
    imports = "" if "'" in annotation else "import pandas as pd"
    text = _WITHOUT.format(missing=missing or "nothing", annotation=annotation, imports=imports)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]" if code is None else code in done.stdout
    if code is not None:
        assert f"`pip install {missing}" in done.stdout
