"""Artifacts: what a node gave as bytes with a digest, which are equal for equal values alone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petal import Batches
from petal.data.artifact import Artifact, Making, digest_of
from petal.data.cache import Cache
from petal.data.codecs import Codecs
from petal.data.disk_store import DiskStore
from petal.errors import DataError, OutputError
from petal.spec.pipeline import MISSING
from petal.spec.views import seen


@dataclass
class Point:
    x: int
    y: float


@dataclass
class Vector:
    x: int
    y: float


class Colour(Enum):
    RED = "red"


class Row(NamedTuple):
    name: str
    number: int


def made(annotation: Any, *values: Any, folder: Path | None = None) -> Artifact:
    """Make an artifact of the pieces of a stream, or of one value."""
    view = seen(annotation)
    making = Making(str(folder) if folder else None, annotation, view)
    if view.view.streams:
        for piece in values:
            making.put(piece)
    else:
        making.value(*values)
    return making.finish()


def rows(artifact: Artifact) -> list[Any]:
    """Return the items of a stream."""
    return [row for piece in artifact.stream() for row in piece]


VALUES: list[tuple[Any, Any]] = [
    (int, 5),
    (int, 10**30),
    (str, "é" * 2000),
    (bytes, b"\0" * 400_000),
    (MISSING, {"a": [1, 2.5, None, {"b": True}]}),
    (Any, None),
    (float, float("inf")),
    (Point, Point(1, 2.0)),
    (dict[str, Point], {"p": Point(1, 2.0)}),
    (Colour, Colour.RED),
    (Path, Path("/a/b")),
    (list[int], [*range(20_000)]),
    (set[str], {"a", "b", "c"}),
    (frozenset[int], frozenset({1, 2})),
    (tuple[int, str], (1, "a")),
    (list[Row], [Row("a", 1)] * 3),
    (bool, True),
]


@pytest.mark.parametrize(("annotation", "value"), VALUES, ids=range(len(VALUES)))
def test_a_value_comes_back_as_it_was(annotation: Any, value: Any, tmp_path: Path) -> None:
    """Small ones from memory, large ones from a file, which is gone at the end."""
    with made(annotation, value, folder=tmp_path) as artifact:
        found = artifact.load()
        assert found == value
        assert type(found) is type(value)
        assert artifact.load() == value
        assert artifact.digest == digest_of(value, annotation, seen(annotation))
    assert list(tmp_path.iterdir()) == []


FRAME = pl.DataFrame({"n": range(5), "t": ["a", None, "c", "d" * 20, ""]})


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (pl.DataFrame, FRAME),
        (pl.Series, FRAME["t"]),
        (pl.DataFrame, pl.DataFrame({"n": range(300_000), "t": ["some text"] * 300_000})),
        (pa.Table, FRAME.to_arrow()),
        (dict[str, pl.DataFrame], {"one": FRAME}),
    ],
)
def test_a_frame_comes_back_as_it_was(annotation: Any, value: Any, tmp_path: Path) -> None:
    """As the library and the kind that it was, small and large, also inside of another value."""
    with made(annotation, value, folder=tmp_path) as artifact:
        found = artifact.load()
        assert type(found) is type(value)
        same = (
            found["one"].equals(value["one"])
            if isinstance(value, dict)
            else found.to_list() == value.to_list()
            if isinstance(value, pl.Series)
            else found.equals(value)
        )
        assert same
    assert list(tmp_path.iterdir()) == []


def test_a_lazy_frame_comes_back_lazy() -> None:
    """It is collected to be written."""
    with made(pl.LazyFrame, FRAME.lazy()) as artifact:
        assert artifact.load().collect().equals(FRAME)


@given(st.lists(st.integers(0, 3000), max_size=12), st.data())
@settings(max_examples=40, deadline=None)
def test_how_a_stream_was_cut_does_not_matter(sizes: list[int], data: st.DataObject) -> None:
    """The digest is of the rows, in their order."""
    items = [f"row {i}" for i in range(sum(sizes) * 7)]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(items)), max_size=10)))
    pieces = [items[a:b] for a, b in zip([0, *cuts], [*cuts, len(items)], strict=True)]
    whole, cut = made(Iterator[str], items), made(Iterator[str], *pieces)
    with whole, cut:
        assert whole.digest == cut.digest
        assert rows(cut) == items
        assert cut.rows == len(items)


@given(st.lists(st.integers(0, 100_000), max_size=6))
@settings(max_examples=30, deadline=None)
def test_how_batches_were_cut_does_not_matter(cuts: list[int]) -> None:
    """Batches of any size, also without rows, and slices of larger ones with chunks of their own."""
    frame = pl.DataFrame({"n": range(100_000), "t": [f"text {i % 977}" for i in range(100_000)]})
    places = [0, *sorted(cuts), 100_000]
    pieces = [frame[a:b] for a, b in pairwise(places)]
    glued = pl.concat([frame[:10], frame[10:]], rechunk=False)
    view = seen(Batches[dict])
    assert digest_of(pieces, Batches[dict], view) == digest_of([glued], Batches[dict], view)
    with made(Batches[dict], *pieces) as artifact:
        assert pl.concat(list(artifact.stream())).equals(frame)


def test_a_stream_without_rows_keeps_its_columns() -> None:
    """A batch without rows says what the columns are."""
    with made(Batches[dict], FRAME[:0], FRAME[:0]) as artifact:
        (found,) = artifact.stream()
        assert found.schema == FRAME.schema
        assert artifact.rows == 0
    with made(Iterator[str]) as nothing:
        assert rows(nothing) == []


def test_batches_may_be_lists_and_change_their_columns() -> None:
    """What cannot be glued stays apart, in order."""
    other = pl.DataFrame({"z": [1.5]})
    with made(Batches[str], ["a", "b"], pl.Series(["c"]), ["d"]) as artifact:
        assert rows(artifact) == ["a", "b", "c", "d"]
    with made(Batches[dict], FRAME, other, FRAME) as artifact:
        found = list(artifact.stream())
        assert [f.columns for f in found] == [["n", "t"], ["z"], ["n", "t"]]


DIFFERENT: list[tuple[Any, Any]] = [
    (MISSING, 1),
    (MISSING, True),
    (MISSING, 1.0),
    (MISSING, "1"),
    (MISSING, None),
    (int, 1),
    (float, 1.0),
    (float, -0.0),
    (float, 0.0),
    (str, "red"),
    (Colour, Colour.RED),
    (Path, Path("red")),
    (Point, Point(1, 2.0)),
    (Vector, Vector(1, 2.0)),
    (list[int], [1]),
    (list[int], [1, 1]),
    (list[int], []),
    (tuple[int, ...], (1,)),
    (set[int], {1}),
    (bytes, b"1"),
    (dict[str, int], {"a": 1, "b": 2}),
    (dict[str, int], {"b": 2, "a": 1}),
    (pl.DataFrame, pl.DataFrame({"a": [1]})),
    (pl.DataFrame, pl.DataFrame({"a": [1.0]})),
    (pl.DataFrame, pl.DataFrame({"b": [1]})),
    (pl.Series, pl.Series("a", [1])),
    (pl.Series, pl.Series("b", [1])),
]


def test_different_values_have_different_digests() -> None:
    """Also where their bytes would be equal: a text and a member of an enumeration, two records of the same fields."""
    digests = [digest_of(value, annotation, seen(annotation)) for annotation, value in DIFFERENT]
    assert len(set(digests)) == len(digests)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(plain, plain)
@settings(max_examples=300, deadline=None)
def test_digests_are_equal_for_equal_values_alone(one: Any, other: Any) -> None:
    """Of plain values; a value's text says whether two are the same, types and order included."""
    view = seen(MISSING)
    assert digest_of(one, MISSING, view) == digest_of(one, MISSING, view)
    same = digest_of(one, MISSING, view) == digest_of(other, MISSING, view)
    assert same == (repr(one) == repr(other))


def test_digests_are_the_same_in_every_process() -> None:
    """Whatever the seed of hashes: sets are written in one order."""
    code = (
        "from petal.data.artifact import digest_of; from petal.spec.views import seen;"
        "print(digest_of({f'item {i}' for i in range(500)}, set[str], seen(set[str])))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(found) == 1


def test_what_has_no_form_as_bytes_is_refused() -> None:
    """With the node's words, the place and a remedy; nothing is ever pickled."""
    with pytest.raises(DataError, match="cannot be kept without an annotation") as caught:
        made(MISSING, {"a": [object()]})
    assert "object" in str(caught.value)
    with pytest.raises(DataError, match="instead of int"):
        made(Iterator[int], [1, "two"])
    with pytest.raises(DataError, match="no batch"):
        made(Batches[dict], 5)


def test_several_threads_read_one_artifact(tmp_path: Path) -> None:
    """Each from the beginning to the end, at the same time."""
    items = [f"line {i}" for i in range(200_000)]
    batches = pl.DataFrame({"t": items, "n": range(len(items))})
    wrong: list[object] = []
    with made(Iterator[str], items, folder=tmp_path) as one, made(Batches[dict], batches) as two:

        def read() -> None:
            if rows(one) != items:
                wrong.append("items")
            if not pl.concat(list(two.stream())).equals(batches):
                wrong.append("batches")

        threads = [threading.Thread(target=read) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_what_was_loaded_outlives_the_artifact(tmp_path: Path) -> None:
    """Values and frames stay good when the file is gone."""
    table = pa.table({"n": range(500_000)})
    artifact = made(pa.Table, table, folder=tmp_path)
    found = artifact.load()
    artifact.close()
    assert found.equals(table)
    assert list(tmp_path.iterdir()) == []


def test_a_making_that_is_dropped_leaves_nothing(tmp_path: Path) -> None:
    """Closed, or forgotten."""
    for close in (True, False):
        making = Making(str(tmp_path), Iterator[str], seen(Iterator[str]))
        making.put(["x" * 100] * 8192)
        assert len(list(tmp_path.iterdir())) == 1
        if close:
            making.close()
        del making
        assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_used_is_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary folder serves instead; where that fails too, the error says what to do."""
    with made(bytes, b"x" * 1_000_000, folder=tmp_path / "nowhere") as artifact:
        assert artifact.load() == b"x" * 1_000_000
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere either"))
    with pytest.raises(OutputError, match="cannot keep") as caught:
        made(bytes, b"x" * 1_000_000, folder=tmp_path / "nowhere")
    assert "TMPDIR" in str(caught.value)


class Fractions:
    """A codec as a plugin brings it."""

    name = "fraction-1"

    def takes(self, value: Any) -> bool:
        return type(value) is Fraction

    def encode(self, value: Fraction) -> bytes:
        return f"{value.numerator}/{value.denominator}".encode()

    def decode(self, data: memoryview) -> Fraction:
        return Fraction(bytes(data).decode())


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (MISSING, Fraction(1, 3)),
        (list[Any], [Fraction(1, 3)] * 100),
        (Iterator[Any], [Fraction(1, 3)] * 10_000),
    ],
)
def test_codecs_of_plugins_write_what_is_theirs(annotation: Any, value: Any, tmp_path: Path) -> None:
    """It comes back where they take part, and is a miss where they do not."""
    codecs, view = Codecs([Fractions()]), seen(annotation)
    cache = Cache(DiskStore(tmp_path / "cache"), tmp_path / "cache" / "making", codecs=codecs)
    making = Making(cache.folder, annotation, view, codecs=codecs)
    if view.view.streams:
        making.put(value)
    else:
        making.value(value)
    with making.finish() as artifact:
        assert artifact.digest == digest_of([value] if view.view.streams else value, annotation, view, codecs)
        assert cache.put("key", artifact)
    found = cache.get("key", annotation, view)
    assert found is not None
    with found:
        assert (rows(found) if view.view.streams else found.load()) == value
    cache.close()
    without = Cache(DiskStore(tmp_path / "cache"), tmp_path / "cache" / "making")
    assert without.get("key", annotation, view) is None
    without.close()
    with pytest.raises(DataError):
        digest_of([value] if view.view.streams else value, annotation, view)
