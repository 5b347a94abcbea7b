"""RegexFilter and Splitter: the answers of Python's `re`, and what only one engine can do (S3.6)."""

import re
import warnings

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petal.library import regex
from petal.library.lines import regex_filter, splitter

ATOMS = [
    r"a",
    r"b",
    r"K",
    r"k",
    r"é",
    r"ß",
    r"1",
    r".",
    r"\d",
    r"\w",
    r"\s",
    r"\b",
    r"\B",
    r"\S",
    r"\W",
    r"\D",
    r"^",
    r"$",
    r"[ab]",
    r"[^a]",
    r"[\w-]",
    r"[^\s]",
    r"[\D]",
    r"[a[b]",
    r"[]a]",
    r"[a-z]",
    r"(a|b)",
    r"(?:ab)",
    r"(?i:k)",
    r"(a)\1",
    r"(?=a)",
    r"(?<!b)",
    r"\.",
    r"\Z",
    r"\A",
    r"a{2}",
    r"a{,2}",
    r"\n",
    r"\x41",
    r"\u00e9",
    r"\<",
    r"}",
    r"]",
    r"\-",
    r"[a-b-c]",
    r"(?P<n>a)",
    r"\_",
    r"[\b]",
    r"(?m:$)",
    r"(?s:.)",
    r"_",
    r"İ",
    r"ſ",
    r"²",
    r"\[",
    r"\]",
    r"[\]a]",
    r"[\[a]",
    r"\\",
    r"#",
    r"&",
]
QUANTIFIERS = ["", "", "", "*", "+", "?", "+?", "*?", "++", "?+", "{1,2}", "{2}+"]
FLAGS = ["", "", "", "(?i)", "(?m)", "(?x)", "(?a)", "(?s)", "(?im)", "(?u)"]
LETTERS = [*"abKkéß1 \n\x1c\x1fA²ıİſsS\u212aE_-٣\u2028\r[]\\B&\x85\xa0ẞIi", "e\u0301"]

patterns = st.builds(
    lambda flags, parts: flags + "".join(a + q for a, q in parts),
    st.sampled_from(FLAGS),
    st.lists(st.tuples(st.sampled_from([" ", *ATOMS]), st.sampled_from(QUANTIFIERS)), min_size=1, max_size=4),
)
rows = st.lists(
    st.lists(st.sampled_from(LETTERS), max_size=5).map("".join) | st.none(), min_size=20, max_size=40
)


def kept(lines, **params):
    """What the filter keeps, which is the same of a list as of a column."""
    found = [x for s in regex_filter([pl.Series(lines, dtype=pl.String)], **params) for x in s]
    assert [x for s in regex_filter([list(lines)], **params) for x in s] == found
    return found


@pytest.mark.slow
@given(pattern=patterns, lines=rows)
@settings(deadline=None, max_examples=600)
def test_what_python_takes_gives_the_result_of_python(pattern, lines):
    """Whichever engine is chosen, the lines kept are those of `re.search`."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            search = re.compile(pattern).search
        except (re.error, FutureWarning):
            return
    found = [x for x in lines if x is not None and search(x)]
    assert kept(lines, pattern=pattern) == found
    if None not in lines:
        assert kept(lines, pattern=pattern, invert=True) == [x for x in lines if not search(x)]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (r"\p{Lu}", ["É", "A1"]),
        (r"^[[:alpha:]]+$", ["abc"]),
        (r"^[^[:digit:]]+$", ["É", "abc"]),
        (r"[a-z&&[^b]]", ["abc"]),
        (r"(?<=A)\d", ["A1"]),
        (r"(.)\1", ["11"]),
        (r"\d++1", []),
    ],
)
def test_each_dialect_is_at_hand(pattern, found):
    """Unicode and POSIX classes come from Polars, look-around and back-references from Python."""
    assert kept(["É", "A1", "abc", "11"], pattern=pattern) == found


def test_null_does_not_match():
    """A missing line is dropped by the filter and kept by the inverted one."""
    assert kept([None, "a", "b"], pattern="a") == ["a"]
    assert kept([None, "a", "b"], pattern="a", invert=True) == [None, "b"]


def test_the_plain_case_stays_on_the_fast_engine():
    """A pattern that both read alike is not asked of Python."""
    for pattern in ("^ERROR", "disk (full|gone)", r"^\d{4}-\d\d ", "(?i)error", "a$", r"[\w.]+@"):
        assert "python" not in regex.compiled(pattern).__qualname__, pattern


def test_a_pattern_that_nobody_takes_is_refused():
    """The message says what is wrong and where."""
    with pytest.raises(ValueError, match=r"'\(a' is not a regular expression: .*position 0"):
        regex.check("(a")
    regex.check(r"\p{L}")
    regex.check(r"(?=a)")


def test_each_line_goes_to_the_first_port_that_matches():
    """The rest has a port of its own, and nothing is lost."""
    lines = [pl.Series(["ERROR disk", "WARN disk", "INFO"]), pl.Series(["WARN ERROR", None])]
    assert splitter(lines, patterns={"errors": "ERROR", "warnings": "WARN"}) == {
        "errors": ["ERROR disk", "WARN ERROR"],
        "warnings": ["WARN disk"],
        "rest": ["INFO"],
    }


def test_ports_are_the_names_of_the_patterns():
    """What the planner asks for ports, and what it refuses."""
    assert list(splitter.__petal_outputs__({"patterns": {"a": "x"}})) == ["a", "rest"]
    (check,) = splitter.__annotations__["patterns"].__metadata__
    for bad in ({}, {"rest": "x"}, {"output": "x"}, {"a b": "x"}, {"a": "("}):
        with pytest.raises(ValueError):  # noqa: PT011
            check.test(bad)
    check.test({"a": "x"})
