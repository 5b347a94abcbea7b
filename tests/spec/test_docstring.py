"""Taking Google-style docstrings apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petal.spec.docstring import Doc, parse_doc

FULL = """Keep the lines in which
    a regular expression is found.

    The expression is Polars'.

    A second paragraph: with a colon.

    Args:
        lines (Iterable[str]): The lines.
        *more: Other lines,
            read after these.

            And a paragraph.
        pattern (Annotated[str, Check(fn)], optional): The expression.
        empty:
    Returns:
        The lines.

    Raises:
        DataError: A line is bad.

    Example:
        >>> regex_filter(["a"])

        with: a body
    """


def test_sections_are_told_apart() -> None:
    """Summary, description, arguments and example are found, the other sections left out."""
    assert parse_doc(FULL) == Doc(
        "Keep the lines in which a regular expression is found.",
        "The expression is Polars'.\n\nA second paragraph: with a colon.",
        {
            "lines": "The lines.",
            "more": "Other lines, read after these. And a paragraph.",
            "pattern": "The expression.",
            "empty": "",
        },
        '>>> regex_filter(["a"])\n\nwith: a body',
    )


@pytest.mark.parametrize(
    ("text", "doc"),
    [
        ("", Doc()),
        ("One line.", Doc("One line.")),
        ("\n    Indented.\n\n    More.\n", Doc("Indented.", "More.")),
        ("\nArgs:\n  x: Only arguments.", Doc(args={"x": "Only arguments."})),
        ("S.\n\nArgs:\n\tx: Tabs.\n\ty: Too.", Doc("S.", args={"x": "Tabs.", "y": "Too."})),
        ("S.\n\nArgs:\n    x: A.\n\nAfter the section.", Doc("S.", "After the section.", {"x": "A."})),
        ("S.\n\nArguments:\n    no colon here\n    x: A.", Doc("S.", args={"x": "A."})),
        ("S.\n\nSomething else:\n    x: A.", Doc("S.", "Something else:\n    x: A.")),
        ("S.\n\nArgs:\n    x: http://a: b.", Doc("S.", args={"x": "http://a: b."})),
        ("S.\n\nArgs:", Doc("S.")),
    ],
)
def test_odd_docstrings(text: str, doc: Doc) -> None:
    """Short, indented, unusual and unfinished docstrings are read as far as they go."""
    assert parse_doc(text) == doc


@given(
    st.text() | st.lists(st.sampled_from(["Args:", "  x: y", "    z", "", "Example:", "a"])).map("\n".join)
)
def test_nothing_is_raised(text: str) -> None:
    """Any text is a docstring."""
    assert isinstance(parse_doc(text), Doc)
