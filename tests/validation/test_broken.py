"""Broken pipeline files, each with the exact findings that it must give: all of them, in one pass.

``tests/broken/FORMAT/expected.json`` names for each file what :meth:`Pipeline.validate` finds, as
``LINE:COLUMN SEVERITY CODE``; a finding in another file has that file's name in front, and ``raises CODE`` is what
loading raises. After a change of wording or place: ``python tests/validation/test_broken.py`` writes what is
found now; read the difference before it is kept.
"""

from __future__ import annotations

import ast
import json
import re
import time
from collections import Counter
from pathlib import Path

import pytest

from petal import PetalError, Pipeline, Session
from petal.spec.codes import CODES
from petal.spec.diagnostic import Diagnostic

BROKEN = Path(__file__).resolve().parents[1] / "broken"
SOURCE = Path(__file__).resolve().parents[2] / "src" / "petal"
FORMATS = ("yaml", "json", "toml")
EXPECTED: dict[str, list[str]] = {
    f"{folder}/{name}": found
    for folder in FORMATS
    for name, found in json.loads((BROKEN / folder / "expected.json").read_text("utf-8")).items()
}

#: Codes of the planner, of plugins and of files that no pipeline file can provoke here, and why.
OUT_OF_REACH = {
    "implied-input": "only of pipelines written in Python",
    "missing-input": "only when a pipeline is to run",
    "python-unreadable": "needs a file without permissions; the test may run as root",
    "operator-broken": "needs a damaged installed package",
    "broken-plugin": "needs a broken installed plugin",
    "plugin-clash": "needs two installed plugins",
    "needs-code": "only with --no-code",
    "needs-unsigned": "only where there is a keyring, and a backend that speaks plain JSON",
    "worker-lacks": "only in a worker that has not all that is needed",
    "unguarded-run": "only of a script that a worker imports",
}
#: Codes that are documented for commands, runs and operators in Python, not for pipeline files.
_ELSEWHERE = re.compile(
    r"errors\.py|cli/|execution/|worker/|testing/|running/|data/|authoring/|metadata/|app/re|spec/(?!signature)|plugin/(hooks|markers)"
)


def findings_of(name: str) -> list[Diagnostic]:
    return Pipeline.from_file(name, session=Session(environment={})).validate()


def told(name: str, finding: Diagnostic) -> str:
    place = f"{finding.line}:{finding.column}"
    if finding.file != name:
        place = f"{finding.file}:{place}"
    return f"{place} {finding.severity} {finding.code}"


def observed(name: str) -> list[str]:
    try:
        return [told(name, f) for f in findings_of(name)]
    except PetalError as error:
        return [f"raises {error.code}"]


@pytest.fixture(autouse=True)
def _in_the_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BROKEN)


@pytest.mark.parametrize("name", EXPECTED)
def test_every_mistake_is_found_at_its_exact_place(name: str) -> None:
    """A broken file gives exactly the findings that are written beside it, within a second."""
    start = time.perf_counter()
    found = observed(name)
    assert found == EXPECTED[name]
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("name", [n for n, found in EXPECTED.items() if not found[0].startswith("raises")])
def test_a_finding_says_what_and_is_fit_to_print(name: str) -> None:
    """A finding has a documented code with its severity, a place that exists, and one printable line of text."""
    for finding in findings_of(name):
        code = CODES[finding.code]
        assert finding.severity is code.severity
        assert finding.message.isprintable()
        assert (finding.hint or code.remedy).isprintable()
        assert not finding.message.endswith(".")
        assert finding.file is not None
        lines = Path(finding.file).read_bytes().decode("utf-8", "replace").split("\n")
        assert 1 <= finding.line <= len(lines)
        assert 1 <= finding.column <= len(lines[finding.line - 1]) + 1
        for entry in finding.chain:
            file, line, column = entry.rsplit(":", 2)
            assert Path(file).is_file(), entry
            assert int(line) >= 1, entry
            assert int(column) >= 1, entry


def test_the_corpus_is_whole() -> None:
    """Every file has its expectations, every format its share, and ten files and more hold several kinds of mistake."""
    files = [f"{folder}/{p.name}" for folder in FORMATS for p in (BROKEN / folder).iterdir()]
    assert sorted(f for f in files if not f.endswith("/expected.json")) == sorted(EXPECTED)
    share = Counter(name.partition("/")[0] for name in EXPECTED)
    assert len(EXPECTED) >= 70
    assert min(share.values()) >= 20
    assert sum(len({f.split()[-1] for f in found}) >= 3 for found in EXPECTED.values()) >= 10


def test_the_same_mistake_gives_the_same_codes_in_every_format() -> None:
    """Files of one name, one for each format, mean the same where their format can say it."""
    assert all("duplicate-key" in " ".join(EXPECTED[f"{f}/duplicate_keys.{f}"]) for f in FORMATS)
    assert all(EXPECTED[f"{f}/latin1.{f}"][0].endswith("encoding") for f in FORMATS)
    assert all(EXPECTED[f"{f}/deep.{f}"][0].endswith("too-large") for f in FORMATS)


def test_a_mistake_inside_a_module_names_the_way_to_it() -> None:
    """A finding inside a module stands in the module's file, with each entry that led there, outermost first."""
    (finding,) = findings_of("yaml/module_mistake.yaml")
    assert finding.place == "parts/mistake.yaml:6:16"
    assert finding.chain == ("yaml/module_mistake.yaml:5:11",)
    (deep,) = [f for f in findings_of("yaml/module_recursion_inside.yaml") if "pong" in str(f.file)]
    assert deep.chain == ("yaml/module_recursion_inside.yaml:3:22", "parts/ping.yaml:4:23")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("yaml/cycle.yaml", "a → b → c → a"),
        ("yaml/unknown_operator.yaml", "did you mean `FileReader`"),
        ("yaml/retry_wrapper.yaml", "`nameless` (RetryWrapper) does not say which operator it wraps"),
        ("yaml/sink_as_source.yaml", "`after: [writer]`"),
        ("yaml/dangling.yaml", "did you mean `reader`?"),
        ("yaml/types_value_to_stream.yaml", "return `list[str]`"),
        ("yaml/duplicate_keys.yaml", "first at yaml/duplicate_keys.yaml:6:7"),
        ("yaml/bad_values.yaml", "'ignore' is none of 'strict', 'replace'"),
        ("yaml/module_recursion_inside.yaml", "ping.yaml → pong.yaml → ping.yaml"),
        ("yaml/plugins.yaml", "parts/bad_raise.py:4:9: KeyError: 'b'"),
        ("yaml/module_interface.yaml", "declare it in the module's file: `outputs: {output: NODE}`"),
        ("yaml/references.yaml", "did you mean `pattern`?"),
        ("json/policies.json", "did you mean `retry`?"),
        ("json/single_quotes.json", 'JSON quotes text with "'),
        ("toml/syntax.toml", "put text in quotes"),
    ],
)
def test_the_remedy_is_named(name: str, words: str) -> None:
    """A message or its hint holds the words that let its reader go on."""
    assert any(words in f"{f.message}\n{f.hint}" for f in findings_of(name))


def test_nothing_that_a_file_names_is_run() -> None:
    """Tags and attribute paths in a file reach no function."""
    findings_of("yaml/tag.yaml")
    findings_of("yaml/attribute_walk.yaml")
    findings_of("json/operators.json")
    assert not Path("/tmp/petal-was-here").exists()


@pytest.mark.slow
def test_thousands_of_mistakes_take_seconds(tmp_path: Path) -> None:
    """The time for did-you-mean does not grow with the square of the names."""
    entries = [
        f"  - {{ id: n{i}, type: RegexFilter, params: {{ patern{i}: 1 }}, inputs: {{ lines: m{i} }} }}"
        for i in range(2000)
    ]
    path = tmp_path / "many.yaml"
    path.write_text("\n".join(["nodes:", *entries, ""]), "utf-8")
    start = time.process_time()
    assert len(Pipeline.from_file(path).validate()) == 4000
    assert time.process_time() - start < 8


def test_without_code_unknown_operators_are_no_mistakes() -> None:
    """Where a file's Python is not imported, its operators are unknown, not wrong (S7.3)."""
    session = Session(load_code=False, environment={})
    found = Pipeline.from_file("yaml/types_by_name.yaml", session=session).validate()
    assert found == []


# -- every code is documented -----------------------------------------------------------------------------------

_KEBAB = re.compile(r"[a-z]+(-[a-z]+)*")
#: Which argument of a call is the code, by the function's name.
_POSITIONS = {"_find": 0, "finding": 0, "Diagnostic": 0, "Remark": 0, "report": 1}


def codes_in_the_source() -> dict[str, set[str]]:
    """Find the codes that the source gives to findings and errors, each with the files that use it."""
    found: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            for value in _codes_of(node):
                for part in (value.body, value.orelse) if isinstance(value, ast.IfExp) else (value,):
                    text = part.value if isinstance(part, ast.Constant) else None
                    if isinstance(text, str) and _KEBAB.fullmatch(text):
                        found.setdefault(text, set()).add(path.relative_to(SOURCE).as_posix())
    return found


def _codes_of(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Call):
        codes = [k.value for k in node.keywords if k.arg == "code"]
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name == "add" and node.args:  # config: add(code, ...); planning: add(place, path, code, ...)
            codes.append(
                node.args[0]
                if isinstance(node.args[0], ast.Constant)
                else node.args[min(2, len(node.args) - 1)]
            )
        elif name in _POSITIONS and len(node.args) > _POSITIONS[name]:
            codes.append(node.args[_POSITIONS[name]])
        return codes
    if (
        isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Tuple)
        and isinstance(node.value, ast.Tuple)
    ):
        pairs = zip(node.targets[0].elts, node.value.elts, strict=False)
        return [value for name, value in pairs if isinstance(name, ast.Name) and name.id == "code"]
    if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        return [node.value] if isinstance(target, ast.Name) and target.id == "code" else []
    return []


def test_every_code_is_documented() -> None:
    """Each code that the source uses is in the table, and the table has none that nothing uses."""
    used = codes_in_the_source()
    assert {c: f for c, f in used.items() if c not in CODES} == {}
    assert set(CODES) - set(used) == set()


@pytest.mark.parametrize("code", CODES)
def test_a_code_is_described_in_sentences(code: str) -> None:
    """A code says what is wrong, why, and what to do, each in sentences."""
    for text in (CODES[code].summary, CODES[code].why, CODES[code].remedy):
        assert text[0].isupper() or text[0] in "`-"
        assert text.endswith(".")
        assert len(text) < 140


def test_every_code_of_a_file_is_provoked() -> None:
    """The corpus holds every code that a pipeline file, its modules or its plugins can bring about."""
    provoked = {finding.split()[-1] for found in EXPECTED.values() for finding in found}
    wanted = {c for c, files in codes_in_the_source().items() if any(not _ELSEWHERE.match(f) for f in files)}
    assert wanted - provoked == set(OUT_OF_REACH)


def _write_expectations() -> None:
    """Write what is found now."""
    import os

    os.chdir(BROKEN)
    for folder in FORMATS:
        names = sorted(p.name for p in Path(folder).iterdir() if p.name != "expected.json")
        found = {name: observed(f"{folder}/{name}") for name in names}
        Path(folder, "expected.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    _write_expectations()
