"""Readers read the columns that somebody needs, and nothing else changes by that."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from petal import Pipeline, node
from petal.library import csv_files, json_files, parquet_files

ROWS = {
    "a": [1, 2, 2, 3],
    "b": ["x", "y", "y", None],
    "c": [0.5, 1.5, 2.5, 3.5],
    "d": ["p", "q", "r", "s"],
    "u": [{"n": 1, "m": 2}] * 4,
}
READERS = {"CsvReader": csv_files, "JsonFileReader": json_files, "ParquetReader": parquet_files}
WRITE: dict[str, Any] = {
    "CsvReader": lambda path: pl.DataFrame(ROWS).drop("u").write_csv(path),
    "JsonFileReader": lambda path: pl.DataFrame(ROWS).write_ndjson(path),
    "ParquetReader": lambda path: pl.DataFrame(ROWS).write_parquet(path),
}
SELECT_A = ("Select", {"columns": ["a"]})

#: A chain of operators after the reader, and the columns that it needs, in any order.
CHAINS: list[tuple[list[tuple[str, dict[str, Any]]], set[str]]] = [
    ([("Select", {"columns": {"x": "c", "y": "a"}})], {"a", "c"}),
    ([("KeyExtractor", {"keys": ["d", "a"]})], {"a", "d"}),
    ([("Aggregate", {"group_by": ["b"], "aggregations": {"s": "sum(a)", "n": "count()"}})], {"a", "b"}),
    ([("Sort", {"by": ["c"], "descending": True}), SELECT_A], {"a", "c"}),
    ([("Deduplicate", {"by": ["b"]}), SELECT_A], {"a", "b"}),
    ([("Limit", {"count": 2}), SELECT_A], {"a"}),
    ([("Sample", {"count": 2}), SELECT_A], {"a"}),
    ([("FilterRows", {"where": "c > 1 AND b IS NOT NULL"}), SELECT_A], {"a", "b", "c"}),
    ([("Cast", {"types": {"c": "str"}}), ("Select", {"columns": ["c"]})], {"c"}),
    ([("NoOpTransformer", {}), SELECT_A], {"a"}),
    ([("ListMerger", {}), SELECT_A], {"a"}),
    ([("Sort", {"by": ["c"]}), ("Limit", {"count": 3}), ("Deduplicate", {"by": ["b"]}), SELECT_A], {*"abc"}),
]
#: Chains that need every column, or of which nobody can say.
WHOLE: list[list[tuple[str, dict[str, Any]]]] = [
    [("Sort", {"by": ["c"]})],
    [("Deduplicate", {}), SELECT_A],
    [("Rename", {"columns": {"a": "z"}}), ("Select", {"columns": ["z"]})],
]


def pipeline(reader: str, path: Path, chain: list[tuple[str, dict[str, Any]]]) -> Pipeline:
    nodes = [node(reader, id="n0", file_path=path)]
    for i, (kind, params) in enumerate(chain):
        source: Any = [f"n{i}"] if kind == "ListMerger" else f"n{i}"
        name = {"NoOpTransformer": "items", "ListMerger": "lists"}.get(kind, "records")
        nodes.append(node(kind, id=f"n{i + 1}", inputs={name: source}, params=params))
    return Pipeline.of(*nodes)


def outcome(p: Pipeline) -> Any:
    """What the pipeline gives, or the message of its error."""
    result = p.run()
    if result.status == "failed":
        errors = [str(n.error) for n in result.nodes.values() if n.error is not None]
        return errors[:1]
    (found,) = result.outputs.values()
    return found.to_dicts() if isinstance(found, pl.DataFrame) else found


def with_and_without(monkeypatch: pytest.MonkeyPatch, reader: str, p: Pipeline) -> tuple[Any, Any, list[Any]]:
    """The outcome with the hint and without, and what the hint let the reader read."""
    seen: list[Any] = []
    original = READERS[reader].hinted

    def noted(context: Any, columns: Any) -> Any:
        seen.append(original(context, columns))
        return seen[-1]

    with monkeypatch.context() as patch:
        patch.setattr(READERS[reader], "hinted", noted)
        hinted = outcome(p)
        patch.setattr(READERS[reader], "hinted", lambda *_: None)
        return hinted, outcome(p), seen


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("chain", "needed"), CHAINS, ids=lambda c: "-".join(k for k, _ in c) if isinstance(c, list) else ""
)
def test_readers_read_what_is_needed(monkeypatch, tmp_path, reader, chain, needed):
    """Each operator says what it needs, and the rows are those of a run that reads everything."""
    WRITE[reader](tmp_path / "file")
    p = pipeline(reader, tmp_path / "file", chain)
    hinted, whole, seen = with_and_without(monkeypatch, reader, p)
    assert hinted == whole
    assert len(whole) > 0
    assert set(seen[0]) == needed


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("chain", WHOLE, ids=lambda c: "-".join(k for k, _ in c))
def test_readers_read_everything_where_somebody_may_need_it(monkeypatch, tmp_path, reader, chain):
    """No operator is kept from a column that it might look at."""
    WRITE[reader](tmp_path / "file")
    hinted, whole, seen = with_and_without(monkeypatch, reader, pipeline(reader, tmp_path / "file", chain))
    assert hinted == whole
    assert seen[0] is None


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "chain",
    [
        [("Select", {"columns": ["aa"]})],
        [("Sort", {"by": ["cc"]}), SELECT_A],
        [("Aggregate", {"group_by": ["a"], "aggregations": {"x": "sum(z)"}})],
        [("FilterRows", {"where": "e = 1"}), SELECT_A],
        [("Cast", {"types": {"f": "int"}}), SELECT_A],
        [("Aggregate", {"group_by": ["a"], "aggregations": {"x": "sum(b)"}})],
    ],
    ids=lambda c: str(c[0]),
)
def test_errors_are_those_of_a_run_that_reads_everything(monkeypatch, tmp_path, reader, chain):
    """A column that is not there is missed with all others to choose from."""
    WRITE[reader](tmp_path / "file")
    hinted, whole, _ = with_and_without(monkeypatch, reader, pipeline(reader, tmp_path / "file", chain))
    assert hinted == whole
    assert len(whole) == 1
    assert isinstance(whole[0], str)


def test_a_join_needs_its_keys_and_what_is_wanted_of_both(monkeypatch, tmp_path):
    """The left side reads no more than that, unless a name shows that both sides have a column."""
    WRITE["ParquetReader"](tmp_path / "file")
    pl.DataFrame({"a": [1, 2, 3], "d": ["k", "l", "m"]}).write_csv(tmp_path / "right")

    def joined(columns: list[str]) -> Pipeline:
        return Pipeline.of(
            node("ParquetReader", id="left", file_path=tmp_path / "file"),
            node("CsvReader", id="right", file_path=tmp_path / "right"),
            node("Join", id="both", inputs={"left": "left", "right": "right"}, params={"on": "a"}),
            node("Select", id="some", inputs={"records": "both"}, params={"columns": columns}),
        )

    for columns, read in ((["c"], ["a", "c"]), (["c", "d_right"], None), (["d"], ["a", "d"])):
        hinted, whole, seen = with_and_without(monkeypatch, "ParquetReader", joined(columns))
        assert hinted == whole
        assert len(whole) == 4
        assert seen[0] == read


def test_a_field_that_comes_later_is_noticed(monkeypatch, tmp_path):
    """A key that the first block lacks is no null for ever: the line that has it is named."""
    monkeypatch.setattr("petal.library.blocks.BLOCK", 8)
    (tmp_path / "x").write_text('{"a": 1}\n{"a": 2}\n{"a": 3, "late": 1}\n')
    p = pipeline("JsonFileReader", tmp_path / "x", [("KeyExtractor", {"keys": ["a", "late"]})])
    (message,) = outcome(p)
    assert "line 3" in message
    assert "'late' is new" in message
