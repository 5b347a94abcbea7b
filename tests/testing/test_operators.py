"""`OperatorContract`: operators that keep it pass, and each way to break it is found and named."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from petal.testing import Case, OperatorContract, assert_operator_contract
from tests.testing import sample_operators as samples

#: Where the samples run; the tests of this room's backends show `process`.
HERE = ("local", "process")


class TestShouted(OperatorContract):
    operator = samples.shouted
    cases = [
        Case(inputs={"lines": ["a", "b", ""]}, output=["A!", "B!", "!"]),
        Case(inputs={"lines": ["a"]}, params={"mark": "?"}, output=["A?"], label="another mark"),
    ]


class TestDoubled(OperatorContract):
    operator = samples.doubled
    cases = [Case(inputs={"values": [1, 2, 3]}, output=[2, 4, 6])]


class TestPrefixed(OperatorContract):
    operator = samples.Prefixed
    cases = [Case(inputs={"lines": ["a"]}, params={"prefix": "> "}, output=["> a"])]


class TestWritten(OperatorContract):
    operator = samples.written
    cases = [Case(inputs={"lines": ["a", "é"]}, params={"path": "out.txt"}, files={"out.txt": "a\né\n"})]


class TestRefused(OperatorContract):
    operator = samples.refused
    cases = [Case(inputs={"value": 1}, output=1), Case(inputs={"value": -1}, raises=ValueError)]


@pytest.mark.parametrize(
    ("operator", "case"),
    [
        (samples.total, {"inputs": {"values": [1, 2]}, "output": 3}),
        (samples.numbered, {"inputs": {"lines": ["a", "b"]}, "output": ["0 a", "1 b"]}),
        (samples.joined, {"inputs": {"texts": ["a", "b"]}, "output": "ab"}),
        (
            samples.counted,
            {
                "inputs": {"frame": pl.DataFrame({"n": [1, 2]})},
                "output": pl.DataFrame({"rows": [2]}, schema={"rows": pl.UInt32}),
            },
        ),
        (samples.refused, {"inputs": {"value": -1}, "raises": ValueError}),
        (samples.throws_dice, {"inputs": {"value": 1}, "deterministic": False}),
        (
            samples.needs_a_row,
            {"inputs": {"values": [3]}, "output": 3, "accepts_empty": False},
        ),
    ],
    ids=lambda found: getattr(found, "__name__", ""),
)
def test_an_operator_that_keeps_the_contract_passes(operator: Any, case: dict[str, Any]) -> None:
    """The function form takes what the class form takes."""
    assert_operator_contract(operator, backends=HERE, **case)


@pytest.mark.parametrize(
    ("operator", "case", "message"),
    [
        (samples.undocumented, {"inputs": {"value": 1}}, "has no docstring"),
        (samples.promises, {"inputs": {"value": 1}, "output": 1}, "'1' is a str, not a int"),
        (samples.refused, {"inputs": {"value": 1}, "output": 2}, "its output: 1 is not 2"),
        (samples.refused, {"inputs": {"value": 1}, "raises": ValueError}, "it raised no ValueError"),
        (samples.shouted, {"inputs": {"lines": ["a"]}, "output": ["A!", "B!"]}, "there are 1 entries, not 2"),
        (samples.remembers, {"inputs": {"value": 1}}, "the output of a second call"),
        (samples.throws_dice, {"inputs": {"value": 1}}, "the output of a second call"),
        (samples.sorts_in_place, {"inputs": {"values": [2, 1]}}, "input `values`, which others share"),
        (
            samples.replaces_in_place,
            {"inputs": {"values": ["ab"]}},
            "an entry of input `values` was replaced",
        ),
        (samples.changes_records, {"inputs": {"rows": [{"n": 1}]}}, "input `rows`, which others share"),
        (samples.needs_a_row, {"inputs": {"values": [1]}}, "it fails when `values` has no rows"),
        (samples.not_rowwise, {"inputs": {"lines": ["a", "b"]}}, "declared `rowwise`, but cut after row 1"),
        (samples.does_not_stop, {"inputs": {"lines": ["a", "b"]}}, "cannot be closed early"),
        (samples.leaves_open, {"inputs": {"lines": ["a", "b"]}}, "leaves something open"),
        (
            samples.written,
            {"inputs": {"lines": ["a"]}, "params": {"path": "x"}, "files": {"y": ""}},
            "the file y was not written",
        ),
    ],
    ids=lambda found: getattr(found, "__name__", ""),
)
def test_an_operator_that_breaks_the_contract_fails_with_the_reason(
    operator: Any, case: dict[str, Any], message: str
) -> None:
    """A positive control for each check."""
    with pytest.raises(AssertionError, match=message):
        assert_operator_contract(operator, backends=["local"], **case)
