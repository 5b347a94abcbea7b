"""Values, rows and frames through a message: they come back as they were, or are refused where they stand."""

import asyncio
import dataclasses
import datetime
import decimal
import enum
import gc
import math
import uuid
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from petal import LISTS, Batches
from petal.data.adapters import AsyncRows
from petal.data.batches import BATCH_ROWS
from petal.data.values import MARK, decode_port, encode_port
from petal.data.wire import LIMITS, Limits, Spool, pack, unpack
from petal.errors import DataError, PetalError, WireError
from petal.spec.pipeline import MISSING
from petal.spec.views import Seen, View, seen
from tests.data.fuzz_wire import same

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0
    inner: "Point | None" = None
    colour: Colour = Colour.RED


@dataclasses.dataclass
class Point3(Point):
    z: float = 0.0


class Order(msgspec.Struct, rename="camel"):
    order_number: int
    placed_at: datetime.datetime
    points: list[Point] = []
    extra: Any = None


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag=True):
    name: str


class Box(msgspec.Struct, Generic[T]):
    inside: T


class Row(TypedDict, total=False):
    name: str
    price: decimal.Decimal


class Pair(NamedTuple):
    key: str
    when: datetime.date | None = None


class Frames(NamedTuple):
    good: pl.DataFrame
    bad: pa.Table
    count: int


UserId = NewType("UserId", int)

_text = st.text(st.characters(exclude_categories=("Cs",)))
_zones = st.none() | st.just(datetime.UTC) | st.timezones() | st.timedeltas(
    datetime.timedelta(hours=-23), datetime.timedelta(hours=23)
).map(datetime.timezone)  # fmt: skip
_moments = st.datetimes(timezones=_zones, allow_imaginary=False)
_points = st.recursive(
    st.builds(Point, st.floats(), st.floats(), st.none(), st.sampled_from(Colour)),
    lambda inner: st.builds(Point, st.floats(), st.floats(), inner, st.sampled_from(Colour)),
    max_leaves=4,
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text | st.just(MARK), inner, max_size=4),
    max_leaves=20,
)
_orders = st.builds(Order, st.integers(), _moments, st.lists(_points, max_size=2), _json)

#: Types, and what makes values of them.
_TYPES = {
    "None": (None, st.none()),
    "bool": (bool, st.booleans()),
    "int": (int, st.integers()),
    "float": (float, st.floats()),
    "str": (str, _text),
    "bytes": (bytes, st.binary()),
    "bytearray": (bytearray, st.binary().map(bytearray)),
    "Decimal": (decimal.Decimal, st.decimals(allow_nan=False)),
    "datetime": (datetime.datetime, _moments),
    "date": (datetime.date, st.dates()),
    "time": (datetime.time, st.times(timezones=st.none() | st.timezones())),
    "timedelta": (datetime.timedelta, st.timedeltas()),
    "UUID": (uuid.UUID, st.uuids()),
    "Enum": (Colour, st.sampled_from(Colour)),
    "IntEnum": (Level, st.sampled_from(Level)),
    "Flag": (Rights, st.sampled_from([*Rights, Rights.READ | Rights.WRITE])),
    "Literal": (Literal[1, "a"] | None, st.sampled_from([1, "a", None])),
    "Path": (Path, st.lists(_text.map(lambda t: t.replace("\0", ""))).map(lambda p: Path(*p))),
    "dataclass": (Point, _points),
    "Struct": (Order, _orders),
    "tagged Structs": (Cat | Dog, st.builds(Cat, st.integers()) | st.builds(Dog, _text)),
    "generic Struct": (Box[int], st.builds(Box, st.integers())),
    "TypedDict": (Row, st.fixed_dictionaries({}, optional={"name": _text, "price": st.decimals(allow_nan=False)})),
    "NamedTuple": (Pair, st.builds(Pair, _text, st.none() | st.dates())),
    "NewType": (UserId, st.integers()),
    "Annotated": (Annotated[int, msgspec.Meta(ge=0)], st.integers(0)),
    "optional": (int | None, st.none() | st.integers()),
    "union": (int | str | list[float], st.integers() | _text | st.lists(st.floats())),
    "dict": (dict[str, int], st.dictionaries(_text | st.just(MARK), st.integers())),
    "dict of moments": (dict[datetime.datetime, float], st.dictionaries(_moments, st.floats(), max_size=4)),
    "dict of numbers": (dict[int, bytes], st.dictionaries(st.integers(), st.binary())),
    "Mapping": (Mapping[str, Pair], st.dictionaries(_text, st.builds(Pair, _text))),
    "tuple": (tuple[int, str, Path], st.tuples(st.integers(), _text, st.just(Path("a/b")))),
    "nested": (
        dict[str, list[tuple[Point, set[int], dict[int, Row]]]],
        st.dictionaries(
            _text,
            st.lists(
                st.tuples(_points, st.sets(st.integers()), st.dictionaries(st.integers(), st.just(Row(name="n")))),
                max_size=2,
            ),
            max_size=3,
        ),
    ),
    "Any": (Any, _json),
    "object": (object, _json),
    "unannotated": (MISSING, _json),
    "list": (list[int], st.lists(st.integers())),
    "list of moments": (list[datetime.datetime], st.lists(_moments)),
    "list of anything": (list, st.lists(_json)),
    "list of dicts": (list[dict], st.lists(st.dictionaries(_text, _json))),
    "list of records": (list[Order], st.lists(_orders, max_size=3)),
    "set": (set[str], st.sets(_text)),
    "frozenset": (frozenset[Pair], st.frozensets(st.builds(Pair, _text), max_size=4)),
    "many in a tuple": (tuple[float, ...], st.lists(st.floats()).map(tuple)),
    "deque": (deque[int], st.lists(st.integers()).map(deque)),
    "Sequence": (Sequence[int], st.lists(st.integers()) | st.lists(st.integers()).map(tuple)),
}  # fmt: skip


def through(
    value, annotation, limits: Limits | None = LIMITS, spool: Spool | None = None, look: Seen | None = None
):
    """Send a value through a message, and say what stood in the header."""
    look = look or seen(annotation)
    spool = spool or Spool()
    found = encode_port(value, annotation, look, spool, "input `x`")
    message = unpack(pack({"x": found}, spool), None)
    spool.close()
    back = decode_port(message.header["x"], annotation, look, message.parts, "input `x`", limits)
    return back, found


@pytest.mark.parametrize("name", _TYPES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_comes_back(name, data):
    """Every value of every type comes back: equal, of the same class, with its zone of time."""
    annotation, values = _TYPES[name]
    value = data.draw(values)
    back, _ = through(value, annotation)
    assert _same(value, back), back


def _same(value, back):
    if isinstance(value, datetime.datetime | datetime.time):
        return (
            value.replace(tzinfo=None) == back.replace(tzinfo=None)
            and value.fold == back.fold
            and value.utcoffset() == back.utcoffset()
            and getattr(value.tzinfo, "key", None) == getattr(back.tzinfo, "key", None)
        )
    return same(value, back)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        -math.inf,
        -0.0,
        2**63,
        2**64,
        -(2**63) - 1,
        10**3000,
        decimal.Decimal("NaN"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_odd_numbers(value):
    """NaN, infinities and numbers beyond 64 bits survive, alone and inside."""
    kind = type(value)
    assert same(through(value, kind)[0], value)
    assert same(through([value], list[kind])[0], [value])
    assert same(through({"a": [value]}, dict[str, list[kind]])[0], {"a": [value]})


def test_zones_by_name():
    """A moment keeps the name of its zone, so that arithmetic with it goes on as before."""
    moment = datetime.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))
    back, _ = through({"at": [moment]}, dict[str, list[datetime.datetime]])
    assert back["at"][0].tzinfo is ZoneInfo("Europe/Berlin")
    assert back["at"][0].fold == 1


def test_long_text():
    """A text of 10 MB travels as an attachment, and comes back."""
    text = "äx" * 5_000_000
    back, found = through(text, str)
    assert back == text
    assert found == {MARK: {"m": 0}}


@pytest.mark.parametrize("name", ["a/b", "\udcff.csv", "ä/€"])
def test_odd_paths(name):
    """A path comes back even where its name is in no encoding."""
    assert through(Path(name), Path)[0] == Path(name)
    assert through({"p": PurePosixPath(name)}, dict[str, PurePosixPath])[0] == {"p": PurePosixPath(name)}


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (np.float64(1.5), float),
        (np.int64(3), int),
        (3, float),
        (OrderedDict(a=1), dict[str, int]),
        (defaultdict(int, a=1), dict[str, int]),
        (PurePosixPath("x"), PurePath),
    ],
)
def test_equal_values_of_near_classes(value, annotation):
    """What is equal to a value of the declared class becomes one."""
    assert through(value, annotation)[0] == value


def test_none_is_none():
    """None passes through every port: an argument's default often is, whatever the annotation says."""
    for annotation in (int, list[int], pl.DataFrame, Iterator[str], Batches[str], Point, MISSING):
        assert through(None, annotation) == (None, None)


# -- what stands in the header --------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1, "a", True, 1.5, [1, 2], {"a": [None]}, []])
def test_small_in_the_header(value):
    """Small plain values stand in the header as what they are."""
    assert through(value, Any) == (value, value)


@pytest.mark.parametrize(
    "mark", [{"m": 0}, {"rows": [["m", 0]]}, {"frame": "polars.DataFrame", "part": 0}, None, 1]
)
@pytest.mark.parametrize("annotation", [Any, dict, dict[str, Any], MISSING])
def test_marks_in_data(mark, annotation):
    """A dict that looks like a mark is data: it comes back, and nothing is done as it says (F78)."""
    value = {MARK: mark}
    assert through(value, annotation)[0] == value
    assert through({"a": value, "b": [value]}, annotation)[0] == {"a": value, "b": [value]}
    assert through([value], list[annotation] if annotation is not MISSING else list)[0] == [value]


# -- refusals -------------------------------------------------------------------------------------------------


class Opaque:
    pass


_NOW = datetime.datetime(2024, 5, 1)


@pytest.mark.parametrize(
    ("value", "annotation", "where", "hint"),
    [
        ("x", int, "`x`: str 'x' instead of int", "annotation"),
        (1, str, "`x`: int 1 instead of str", "annotation"),
        (True, int, "bool True instead of int", "annotation"),
        (_NOW, str, "datetime", "annotation"),
        (_NOW, datetime.date, "datetime", "annotation"),
        (2**53 + 1, float, "instead of float", "annotation"),
        ([1, "x"], list[int], "at [1]: str 'x'", "annotation"),
        ({"a": [1, "x"]}, dict[str, list[int]], "at .a[1]: str 'x'", "annotation"),
        (Point3(1), Point, "Point3 instead of Point", "annotation"),
        ([Point(1), Point(1, inner=Point3(1))], list[Point], "at [1].inner: Point3", "annotation"),
        (Point("x"), Point, "at .x: str 'x' instead of float", "annotation"),
        ({"name": "a", "more": 1}, Row, "at .more", "annotation"),
        ({"name": 1}, Row, "at .name: int 1 instead of str", "annotation"),
        ((1, 2), tuple[int, str], "at [1]: int 2", "annotation"),
        ((1, "a", 3), tuple[int, str], "tuple (1, 'a', 3)", "annotation"),
        ("red", Colour, "str 'red' instead of Colour", "annotation"),
        (3, Literal[1, 2], "int 3 instead of one of 1, 2", "annotation"),
        ({1: 2}, dict[str, int], "a key", "annotation"),
        (_NOW, Any, "`x`: datetime", "`datetime`"),
        ([0, 0, 0, {"when": _NOW}], Any, "at [3].when: datetime", "`when: datetime`"),
        ({"a": (1,)}, MISSING, "at .a: tuple (1,)", "a: tuple[...]"),
        ({1: 2}, object, "a key", "dict[int, str]"),
        (float("nan"), Any, "float nan", "`float`"),
        ([[math.inf]], list, "at [0][0]: float inf", "list[list[float]]"),
        (Opaque(), Any, "`x`: Opaque", "`Opaque`"),
        ({"f": pl.DataFrame()}, Any, "at .f: DataFrame", "f: DataFrame"),
        (Order(1, _NOW, extra={"at": _NOW}), Order, "at .extra.at: datetime", "at: datetime"),
        (Opaque(), int, "Opaque instead of int", "annotation"),
        ("\ud800", str, "no Unicode", "bytes"),
        (["\ud800"], Any, "no Unicode", "bytes"),
        ("rows", list[str], "should be rows, but is one str", "list"),
        ({"a": 1}, list[dict], "should be rows, but is one dict", "list"),
        (5, Iterator[int], "should be rows, but is one int", "list"),
    ],
)
def test_refused(value, annotation, where, hint):
    """What is not what is declared is refused, with the place where it stands and what to write."""
    with pytest.raises(DataError) as found:
        through(value, annotation)
    assert found.value.message.startswith("input `x`")
    assert where in found.value.message
    assert hint in (found.value.hint or "")


@pytest.mark.parametrize("annotation", [Any, list, list[Any]])
def test_endless(annotation):
    """A value that contains itself is refused."""
    value: list[Any] = []
    value.append(value)
    with pytest.raises(DataError, match="nested too deeply"):
        through(value, annotation)


def test_where_in_a_stream():
    """The row that is wrong is named by its place in the whole stream."""
    rows = [{"n": i} for i in range(BATCH_ROWS + 10)]
    rows[BATCH_ROWS + 3]["n"] = _NOW
    with pytest.raises(DataError) as found:
        through(iter(rows), Iterator[dict])
    assert f"at [{BATCH_ROWS + 3}].n: datetime" in found.value.message


def test_errors_of_the_stream_pass():
    """What a stream itself raises is its own error."""

    def rows():
        yield 1
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        through(rows(), Iterator[int])


# -- streams --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, BATCH_ROWS, BATCH_ROWS + 1, 3 * BATCH_ROWS])
@pytest.mark.parametrize("annotation", [Iterator[int], Iterable[int], Iterator])
def test_items(count, annotation, tmp_path):
    """Items come back in order, piece by piece, from memory and from a file."""
    for limit in (0, 1 << 20):
        back, found = through(iter(range(count)), annotation, spool=Spool(str(tmp_path), limit))
        assert len(found[MARK]["rows"]) == -(-count // BATCH_ROWS)
        assert iter(back) is back
        assert list(back) == list(range(count))
    assert list(tmp_path.iterdir()) == []


def test_decoding_is_lazy():
    """A piece is decoded when its rows are asked for: damage in the second spoils no row of the first."""
    spool, look = Spool(), seen(Iterator[int])
    found = encode_port(iter(range(BATCH_ROWS + 1)), Iterator[int], look, spool, "input `x`")
    rows = decode_port(found, Iterator[int], look, [spool.parts[0], memoryview(b"\xc1")], "input `x`")
    assert [next(rows) for _ in range(BATCH_ROWS)] == list(range(BATCH_ROWS))
    with pytest.raises(WireError):
        next(rows)


@pytest.mark.parametrize("name", ["dataclass", "Struct", "TypedDict", "NamedTuple", "datetime", "Path"])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_items_of_types(name, data):
    """Items of every type of record come back."""
    annotation, values = _TYPES[name]
    rows = data.draw(st.lists(values, max_size=5))
    back, _ = through(iter(rows), Iterator[annotation])
    assert all(map(_same, rows, list(back)))


def test_async_rows():
    """What was made for a coroutine is read as it is, from the row that comes next."""
    rows = AsyncRows(iter(range(10)))
    assert asyncio.run(rows.__anext__()) == 0
    assert list(through(rows, Iterator[int])[0]) == list(range(1, 10))


def _batches():
    return [pl.DataFrame({"a": [1, 2], "b": ["x", None]}), pl.DataFrame({"a": [3], "b": ["y"]})]


def test_batches():
    """Batches come back one by one: frames, columns, and lists where they may be."""
    for batch, back in zip(_batches(), through(iter(_batches()), Batches[dict])[0], strict=True):
        assert batch.equals(back)
    series = [pl.Series("s", ["a", None]), pl.Series("s", [], dtype=pl.String)]
    assert [s.to_list() for s in through(iter(series), Batches[str])[0]] == [["a", None], []]
    mixed = [["a", "b"], series[0], []]
    back = list(through(iter(mixed), Annotated[Batches[str], LISTS])[0])
    assert back[0] == ["a", "b"]
    assert back[1].equals(series[0])
    assert back[2] == []
    assert list(through(iter([]), Batches[str])[0]) == []


def test_batches_of_other_libraries():
    """Batches of Arrow, and a whole reader of them, come as Polars', the schema of an empty one included."""
    table = pl.concat(_batches()).to_arrow()
    assert pl.concat(through(iter([table]), Batches[dict])[0]).equals(pl.concat(_batches()))
    assert pl.concat(through(table.to_reader(), pa.RecordBatchReader)[0]).equals(pl.concat(_batches()))
    empty = list(through(table.schema.empty_table().to_reader(), pa.RecordBatchReader)[0])
    assert [f.schema for f in empty] == [_batches()[0].schema]


@pytest.mark.parametrize("batch", [1, "text", {"a": 1}, None])
def test_no_batches(batch):
    """What is no batch is refused, by its number."""
    with pytest.raises(DataError, match="batch 2 is one"):
        through(iter([["a"], batch]), Batches[str])


# -- frames ---------------------------------------------------------------------------------------------------

_FRAME = pl.DataFrame(
    {
        "i": [1, None, 3],
        "f": [1.5, float("nan"), None],
        "t": ["a", "", None],
        "b": [b"x", None, b""],
        "d": [datetime.date(2024, 1, 1), None, None],
        "m": pl.Series([_NOW, None, _NOW]).dt.replace_time_zone("Europe/Berlin"),
        "l": [[1, 2], [], None],
        "s": [{"x": 1}, {"x": None}, None],
        "c": pl.Series(["u", None, "v"], dtype=pl.Categorical),
        "e": pl.Series(["u", None, "v"], dtype=pl.Enum(["u", "v"])),
        "n": pl.Series([decimal.Decimal("1.20"), None, None], dtype=pl.Decimal(10, 2)),
        "z": pl.Series([None, None, None], dtype=pl.Null),
    }
)
_PANDAS = pd.DataFrame(
    {
        "a": [1, 2],
        "b": ["x", "y"],
        "t": pd.to_datetime(["2024-01-01", "2024-05-01"]).tz_localize("Europe/Berlin"),
    },
    index=pd.Index([5, 7], name="key"),
)
_ARROW = _FRAME.drop("c", "e", "f").to_arrow()


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (_FRAME, pl.DataFrame),
        (_FRAME.head(0), pl.DataFrame),
        (pl.DataFrame(), pl.DataFrame),
        (_FRAME["t"], pl.Series),
        (pl.Series("e", [], dtype=pl.Int8), pl.Series),
        (pl.Series("", [1]), pl.Series),
        (_ARROW, pa.Table),
        (_ARROW.replace_schema_metadata({"k": "v"}), pa.Table),
        (pa.concat_tables([_ARROW, _ARROW]), pa.Table),
        (pa.table({}), pa.Table),
        (_ARROW.schema.empty_table(), pa.Table),
        (_ARROW.combine_chunks().to_batches()[0], pa.RecordBatch),
        (pa.RecordBatch.from_pylist([], schema=_ARROW.schema), pa.RecordBatch),
        (pa.array([1, None]), pa.Array),
        (pa.array([], pa.string()), pa.Array),
        (pa.array(["a", "b", "a"]).dictionary_encode(), pa.Array),
        (pa.chunked_array([[1], [2, None]]), pa.ChunkedArray),
        (pa.chunked_array([], pa.int8()), pa.ChunkedArray),
        (_PANDAS, pd.DataFrame),
        (_PANDAS.head(0), pd.DataFrame),
        (pd.DataFrame(), pd.DataFrame),
        (_PANDAS["a"], pd.Series),
        (pd.Series([1, None], dtype="Int64", name="n"), pd.Series),
        (pd.Series([], dtype="float64"), pd.Series),
    ],
    ids=lambda v: v.__name__ if isinstance(v, type) else "",
)
def test_frames(value, annotation):
    """Frames and columns of every library come back as they were, empty ones too, alone and inside."""
    for kind, inside in ((annotation, False), (dict[str, annotation], True)):
        back, _ = through({"f": value} if inside else value, kind)
        back = back["f"] if inside else back
        assert type(back) is type(value)
        assert back.equals(value)
        assert getattr(back, "schema", None) == getattr(value, "schema", None)
        assert getattr(back, "name", None) == getattr(value, "name", None)
        if hasattr(value, "dtypes"):
            assert list(np.atleast_1d(back.dtypes)) == list(np.atleast_1d(value.dtypes))


def test_lazy_frames():
    """A LazyFrame comes back as one."""
    back, _ = through(_FRAME.lazy(), pl.LazyFrame)
    assert isinstance(back, pl.LazyFrame)
    assert back.collect().equals(_FRAME)


def test_large_frames(tmp_path):
    """A frame larger than the memory limit goes to the file, and others before and after it come back too."""
    frame = pl.DataFrame({"a": range(300_000)})
    value = [frame.head(2), frame, frame.head(1)]
    back, _ = through(iter(value), Iterator[pl.DataFrame], LIMITS, Spool(str(tmp_path)))
    assert all(a.equals(b) for a, b in zip(back, value, strict=True))
    arrow = through(frame.to_arrow(), pa.Table, None, Spool(str(tmp_path)))[0]
    assert arrow.equals(frame.to_arrow())
    assert list(tmp_path.iterdir()) == []


def test_several_frames():
    """A NamedTuple of frames of several libraries comes back."""
    value = Frames(_FRAME, _ARROW, 3)
    back, _ = through(value, Frames)
    assert type(back) is Frames
    assert all(map(same, value, back))


def test_rows_declared_frames_given():
    """A frame where a list is declared comes back as a frame: what takes it decides, as it does without a message."""
    assert through(_FRAME, list[dict])[0].equals(_FRAME)
    assert through([1, 2], pl.DataFrame)[0] == [1, 2]


@pytest.mark.parametrize(
    ("value", "annotation", "match"),
    [
        (
            pl.DataFrame({"o": [Opaque()]}, schema={"o": pl.Object}),
            pl.DataFrame,
            "column `o` holds Python objects",
        ),
        (pl.Series("o", [Opaque()], dtype=pl.Object), pl.Series, "column `o` holds Python objects"),
        (pd.DataFrame({"o": [Opaque()]}), pd.DataFrame, "Arrow cannot hold"),
        (pd.Series([1], name=("a", "b")), pd.Series, "named by a tuple"),
    ],
)
def test_refused_frames(value, annotation, match):
    """A frame of Python objects is refused."""
    with pytest.raises(DataError, match=match):
        through(value, annotation)


# -- what comes from elsewhere --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "annotation"),
    [
        ({MARK: None}, int),
        ({MARK: {}}, int),
        ({MARK: {"q": 0}}, int),
        ({MARK: {"m": 7}}, int),
        ({MARK: {"m": -1}}, int),
        ({MARK: {"m": True}}, int),
        ({MARK: {"m": "0"}}, int),
        ({MARK: {"rows": 1}}, list[int]),
        ({MARK: {"rows": [1]}}, list[int]),
        ({MARK: {"rows": [["x", 0]]}}, list[int]),
        ({MARK: {"rows": [["s", 0]]}}, list[int]),
        ({MARK: {"rows": [["m", 9]]}}, Iterator[int]),
        ({MARK: {"frame": "os.system", "part": 0}}, pl.DataFrame),
        ({MARK: {"frame": ["polars.DataFrame"], "part": 0}}, pl.DataFrame),
        ({MARK: {"frame": "polars.DataFrame", "part": 0}}, pl.DataFrame),
        ({MARK: {"frame": "pandas.DataFrame", "part": 0}}, pl.DataFrame),
        ({MARK: {"frame": "pyarrow.Array"}}, pl.DataFrame),
        ("x", int),
        ([1, "x"], list[int]),
        ({"a": 1}, Point),
        (5, list[int]),
    ],
)
@pytest.mark.parametrize("limits", [LIMITS, None])
def test_bad_parts(found, annotation, limits):
    """What a header says wrongly is an error of Petal that names the port, and no class is looked up by name."""
    parts = [memoryview(b"\x93\x01\x02")]
    look = seen(annotation)

    def read():
        value = decode_port(found, annotation, look, parts, "input `x`", limits)
        return list(value) if look.view.streams else value

    with pytest.raises(PetalError, match=r"input `x`|attachment|Arrow"):
        read()


@pytest.mark.parametrize("limits", [LIMITS, None])
def test_decoded_values_are_checked(limits):
    """An attachment of another type is refused where it is read, too: the other side may have other code."""
    parts = [memoryview(msgspec.msgpack.encode(["a", 1]))]
    with pytest.raises(
        DataError, match=r"input `x` is not what is declared: expected `str`, got `int` - at `\$\[1\]`"
    ):
        decode_port({MARK: {"m": 0}}, tuple[str, str], seen(tuple[str, str]), parts, "input `x`", limits)


@pytest.mark.parametrize("inside", [False, True])
def test_limits(inside):
    """An attachment beyond the limits is refused before it is decoded; without limits it is read."""
    value = {"a": [[[[1]]]] * 100}
    data = msgspec.msgpack.encode(value)
    if inside:  # where an extension holds the value
        data = msgspec.msgpack.encode(msgspec.msgpack.Ext(4, msgspec.msgpack.encode([["a", value["a"]]])))
    found = {MARK: {"t": 0}}
    for limits in (Limits(depth=3), Limits(items=50)):
        with pytest.raises(WireError, match="more than"):
            decode_port(found, Any, seen(Any), [memoryview(data)], "input `x`", limits)
    assert decode_port(found, Any, seen(Any), [memoryview(data)], "input `x`", LIMITS) == value
    assert decode_port(found, Any, seen(Any), [memoryview(data)], "input `x`") == value


def test_unknown_zones():
    """A zone that is not known here is an error that says so."""
    ext = msgspec.msgpack.Ext(2, msgspec.msgpack.encode(["2024-01-01T00:00:00", 0, "Not/There"]))
    part = memoryview(msgspec.msgpack.encode(ext))
    with pytest.raises(WireError, match="time zone 'Not/There' is not known"):
        decode_port({MARK: {"t": 0}}, datetime.datetime, Seen(View.VALUE), [part], "input `x`")


def test_collector_stays_on():
    """The garbage collector is on again after rows were read, and stays off where it was."""
    rows = [Point(float(i)) for i in range(BATCH_ROWS)]
    assert gc.isenabled()
    assert through(rows, list[Point])[0] == rows
    assert gc.isenabled()
    gc.disable()
    try:
        through(rows, list[Point])
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.slow
@settings(deadline=None)
@given(_json)
@example({MARK: {MARK: {"m": 0}}})
def test_all_ways_are_one(value):
    """A value is the same by itself, in a list, as a stream and with no limits."""
    assert through(value, Any)[0] == value
    assert through([value], list[Any], None)[0] == [value]
    assert list(through(iter([value]), Iterator[Any])[0]) == [value]
