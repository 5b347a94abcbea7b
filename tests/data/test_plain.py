"""Plain JSON for programs of any kind: what is written is what a JSON parser reads, and the other way round (S6.3)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petal.data.plain import PlainCall, plain_data, read_plain
from petal.errors import DataError, WireError
from petal.spec.pipeline import MISSING
from petal.spec.views import Seen, View, seen

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
ATOMS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(ATOMS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=10)
VALUE = Seen(View.VALUE)


@given(inputs=st.lists(VALUES), params=st.dictionaries(TEXT, VALUES))
@pytest.mark.slow
def test_any_plain_value_is_written_as_it_is(inputs, params):
    """Both shapes say the same: stdin with the parameters in the environment, and the one payload."""
    call = PlainCall("node", "Type", plain_data(inputs, "inputs"), plain_data(params, "params"), {})
    payload = json.loads(call.packed())
    assert payload == {"inputs": inputs, "operator_id": "node", "type": "Type", "params": params}
    assert list(payload) == ["inputs", "operator_id", "type", "params"]
    plain = call.plain
    assert json.loads(plain.stdin) == inputs
    assert json.loads(plain.environment["PETAL_PARAMS"]) == params
    assert plain.stdin.isascii()
    assert plain.environment["PETAL_PARAMS"].isascii()
    assert "\0" not in plain.environment["PETAL_PARAMS"]


@given(value=VALUES)
def test_any_reply_is_read_as_it_is(value):
    """Whatever JSON a program writes, with or without escapes, is the output."""
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1) + "\n"):
        assert read_plain(text.encode(), MISSING, VALUE) == value


@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_value_or_an_error(data):
    """Nothing that a program may write is anything else than a value or an error that shows it."""
    shown = ""
    try:
        json.dumps(read_plain(data, MISSING, VALUE))
    except WireError as error:
        shown = error.message
    assert len(shown) < 1500


def test_a_reply_beyond_the_limit_is_refused_before_it_is_parsed():
    """The error says how large it is."""
    with pytest.raises(WireError, match=r"33,554,4.. bytes, but at most 33,554,432"):
        read_plain(b'"' + b"x" * (32 << 20) + b'"', MISSING, VALUE)


def test_a_reply_that_is_not_what_is_declared_is_an_error():
    """It names the place."""
    with pytest.raises(DataError, match=r"\$\[1\]"):
        read_plain(b'[1, "two"]', list[int], seen(list[int]))


def test_a_huge_number_is_an_error_with_a_remedy():
    """Python writes no more than 4,300 digits."""
    with pytest.raises(DataError) as found:
        PlainCall("node", "Type", [10**5000], {}, {})
    assert "as text" in (found.value.hint or "")
