"""A little text goes through pipelines without Polars, and nobody can tell but by the clock."""

import gzip
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Annotated

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from petal import LISTS, Batches, NodeFailed, Pipeline, node, operator
from petal.library import text

CODE = """
import sys
from petal import Pipeline, node
reader = node("FileReader", id="lines", file_path="in.txt")
some = node("RegexFilter", id="some", pattern="^ERROR", inputs={"lines": "lines"})
Pipeline.of(reader, some, node("FileWriter", id="out", file_path="out.txt", inputs={"lines": "some"})).run().check()
print("polars" in sys.modules)
"""


@operator
def shout(lines: Iterable[str]) -> Iterator[str]:
    return (line.upper() for line in lines)


@operator
def columns(lines: Batches[str]) -> Batches[str]:
    for batch in lines:
        assert isinstance(batch, pl.Series)
        yield batch.str.to_uppercase()


@operator
def lists(lines: Batches[str]) -> Batches[str]:
    yield []
    for batch in lines:
        yield [line.upper() for line in batch]


@pytest.mark.parametrize("pattern", ["^ERROR", "(?i)error"])
def test_polars_is_not_imported_for_a_few_lines(tmp_path, pattern):
    """Neither to validate the pattern nor to read, filter and write."""
    (tmp_path / "in.txt").write_text("ERROR a\nok\nERROR b\n")
    code = CODE.replace("^ERROR", pattern)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "False\n"
    assert (tmp_path / "out.txt").read_text() == "ERROR a\nERROR b\n"


PIECES = [b"\n", b"\r\n", b"\r", b"\x00", b"ERROR ", b"error", b"x", b'"', b",", b"\xff", "é\u2028".encode()]


@pytest.mark.slow
@given(
    parts=st.lists(st.sampled_from(PIECES), max_size=20),
    mark=st.booleans(),
    form=st.sampled_from(["txt", "gz"]),
    middle=st.sampled_from([None, shout, columns, lists]),
)
@settings(deadline=None, max_examples=120, suppress_health_check=list(HealthCheck))
def test_the_bytes_are_the_same_with_polars_and_without(tmp_path_factory, parts, mark, form, middle):
    """Whatever text, compression and operators there are, also those of users who take columns."""
    folder = tmp_path_factory.mktemp("small")
    data = (b"\xef\xbb\xbf" if mark else b"") + b"".join(parts)
    path = folder / f"in.{form}"
    if form == "zst":
        pl.DataFrame({"line": [data]}).select(
            pl.col("line").bin.encode("hex")
        )  # only text can be packed here
        data = data.replace(b"\xff", b"")
        path.write_bytes(data)
    else:
        path.write_bytes(gzip.compress(data) if form == "gz" else data)
    nodes = [
        node("FileReader", id="lines", file_path=path, errors="replace"),
        node("RegexFilter", id="some", pattern="ERR|é", inputs={"lines": "lines"}),
    ]
    if middle is not None:
        nodes.append(node(middle, id="middle", inputs={"lines": "some"}))
    last = nodes[-1].id
    nodes.append(node("FileWriter", id="out", file_path=folder / "out.txt", inputs={"lines": last}))
    found = []
    for small in (256 << 10, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(text, "SMALL", small)
            Pipeline.of(*nodes).run().check()
        found.append((folder / "out.txt").read_bytes())
    assert found[0] == found[1]


def test_results_are_columns(tmp_path):
    """What a run gives back is a Series however the lines were read; a branch sees the same."""
    (tmp_path / "in.txt").write_text("a\nb\n")
    reader = node("FileReader", id="lines", file_path=tmp_path / "in.txt")
    kept = Pipeline.of(reader).run().check().outputs["lines"]
    assert isinstance(kept, pl.Series)
    assert kept.to_list() == ["a", "b"]
    p = Pipeline.of(reader, node(shout, inputs={"lines": "lines"}), node(columns, inputs={"lines": "lines"}))
    outputs = p.run().check().outputs
    assert outputs["shout"] == ["A", "B"]
    assert outputs["columns"].to_list() == ["A", "B"]


def test_lists_become_columns_for_whoever_takes_columns():
    """An operator may give lists of rows as batches: text, numbers or records."""

    @operator
    def records() -> Batches[dict]:
        yield [{"a": 1}]
        yield [{"a": None}, {"a": 2}]

    @operator
    def total(records: Batches[dict]) -> int:
        return sum(int(frame["a"].sum()) for frame in records)

    assert Pipeline.of(records, total).run().check().outputs["total"] == 3
    (frame,) = Pipeline.of(records).run().check().outputs.values()
    assert frame.to_dicts() == [{"a": 1}, {"a": None}, {"a": 2}]


def test_whoever_says_so_gets_lists_of_text_and_only_of_text():
    """Items that are no text, where text is declared, are named by their row all the same."""
    seen = []

    @operator
    def items(*, bad: bool = False) -> Iterator[str]:
        for n in range(20_000):
            yield n if bad and n == 19_000 else str(n)

    @operator
    def takes(items: Annotated[Batches[str], LISTS]) -> None:
        seen.extend(type(batch) for batch in items)

    Pipeline.of(items, takes).run().check()
    assert set(seen) == {list}
    with pytest.raises(NodeFailed, match="row 19001 is 19000"):
        Pipeline.of(node(items, bad=True), takes).run().check()
