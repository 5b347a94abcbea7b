"""How findings are shown: carets, GitHub's annotations, and files of any content."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petal.cli.render import as_github, as_text, excerpt
from petal.spec.diagnostic import Diagnostic, Severity


@pytest.mark.parametrize(
    ("line", "column", "shown", "offset"),
    [
        ("  key: value", 8, "key: value", 5),
        ("\tkey: value", 7, "key: value", 5),
        ("a:\tb", 4, "a:  b", 4),
        ("界界: x", 5, "界界: x", 6),
        ("e\u0301: x", 5, "e\u0301: x", 3),
        ("a\x1b[31mb", 7, "a\\x1b[31mb", 9),
        ("abc", 4, "abc", 3),
        ("abc", 99, "abc", 3),
    ],
)
def test_the_caret_stands_below_its_character(tmp_path, line, column, shown, offset):
    """Tabs, wide characters, combining marks and control characters do not move the caret off."""
    file = tmp_path / "x.yaml"
    file.write_text(f"first\n{line}\n", encoding="utf-8")
    assert excerpt(str(file), 2, column) == [f"    {shown}", f"    {' ' * offset}^"]


def test_a_long_line_is_cut_around_the_column(tmp_path):
    """A line of a thousand characters is shown around its column."""
    file = tmp_path / "x.json"
    file.write_text("a" * 500 + "X" + "b" * 500)
    line, caret = excerpt(str(file), 1, 501)
    assert len(line) < 120
    assert line[caret.index("^")] == "X"
    assert line.strip()[0] == line.strip()[-1] == "…"


@given(st.binary(max_size=200), st.integers(-1, 12), st.integers(-1, 60))
@settings(max_examples=150, deadline=None)
def test_no_content_is_too_odd(tmp_path_factory, content, line, column):
    """Whatever bytes a file holds and wherever a finding points, it is shown."""
    file = tmp_path_factory.mktemp("odd") / "x.yaml"
    file.write_bytes(content)
    text = as_text([Diagnostic("c", Severity.ERROR, "m", str(file), line, column, "h")])
    assert all(part.isprintable() for part in text.split("\n"))


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00",
        b"a: \xff",
        b"\x00" * 50,
        b"[" * 3000,
        b"nodes: &a [*a]",
        b"a: !!python/object:x 1",
        b"",
        b"\r\r\n- a\tb: [",
    ],
)
@pytest.mark.parametrize("ending", ["yaml", "json", "toml", "py"])
def test_validate_never_shows_a_traceback(petal, tmp_path, content, ending):
    """A file of any content gives findings and exit code 3."""
    (tmp_path / f"x.{ending}").write_bytes(content)
    ran = petal("validate", f"x.{ending}")
    assert ran.code == (3 if ending != "py" or content else ran.code)
    assert "Traceback" not in ran.out + ran.err


def test_validate_as_text(petal, chain):
    """Text has place, code, source line, caret and hint; the tally goes to stderr."""
    (chain / "bad.yaml").write_text("nodes:\n  - id: a\n    type: FileReadr\n")
    ran = petal("validate", "bad.yaml", "chain.yaml")
    assert ran.code == 3
    assert ran.out.startswith(
        "bad.yaml:3:11: error[unknown-operator]: there is no operator `FileReadr`\n"
        "    type: FileReadr\n          ^\n    hint: did you mean `FileReader`"
    )
    assert ran.err == "1 error in 2 files\n"


def test_validate_as_json(petal, chain):
    """JSON is a list of findings."""
    (chain / "bad.yaml").write_text("nodes:\n  - id: a\n    type: FileReadr\n")
    (found,) = petal("validate", "bad.yaml", "--format", "json").data
    assert set(found) == {"code", "severity", "message", "file", "line", "column", "hint"}
    assert (found["code"], found["line"], found["column"]) == ("unknown-operator", 3, 11)
    assert petal("validate", "chain.yaml", "--format", "json").data == []


def test_github_annotations_are_escaped():
    """Percent signs, line ends, colons and commas cannot break out of an annotation."""
    finding = Diagnostic("c", Severity.WARNING, "50%\nnext: a,b", "a,b:c.yaml", 3, 4, "do")
    assert (
        as_github([finding])
        == "::warning file=a%2Cb%3Ac.yaml,line=3,col=4,title=c::50%25%0Anext: a,b%0Ahint: do"
    )


def test_a_finding_in_a_module_names_the_way_there(petal, tmp_path):
    """A finding inside a module says which module entries led to it."""
    (tmp_path / "part.yaml").write_text("nodes:\n  - {id: a, type: Nope}\noutputs: {output: a}\n")
    (tmp_path / "main.yaml").write_text(
        "modules:\n  - {id: m, path: part.yaml}\nnodes:\n  - {id: s, type: NoOpSink, inputs: {items: m.output}}\n"
    )
    ran = petal("validate", "main.yaml")
    assert ran.code == 3
    assert "part.yaml:2:19: error[unknown-operator]" in ran.out
    assert "    in module at main.yaml:2:" in ran.out


def test_warnings_do_not_fail(petal, tmp_path):
    """A pipeline with warnings alone is valid."""
    (tmp_path / "w.py").write_text(
        "from petal import operator\n@operator\ndef a(missing: int) -> int:\n    return missing\n"
    )
    ran = petal("validate", "w.py")
    assert ran.code == 0
    assert "warning[" in ran.out


def test_no_code_imports_nothing(petal, tmp_path):
    """--no-code leaves a pipeline's Python alone, and its operators are then unknown without being errors."""
    (tmp_path / "ops.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "p.yaml").write_text("plugins: [./ops.py]\nnodes:\n  - {id: a, type: Own}\n")
    assert petal("validate", "--no-code", "p.yaml").code == 0
    assert petal("validate", "p.yaml").code == 3
    refused = petal("validate", "--no-code", "ops.py")
    assert refused.code == 2
    assert "--no-code" in refused.out


def test_findings_of_a_missing_file_are_findings_too(petal, chain):
    """A file that is not there does not keep the others from being checked."""
    ran = petal("validate", "nope.yaml", "chain.yaml", "--format", "json")
    assert ran.code == 2
    assert [f["code"] for f in json.loads(ran.out)] == ["no-such-file"]
