"""`petal cache` and cached runs: what an edit does to a hit, and how `explain` names what changed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ETL = '''\
"""A pipeline whose middle is cached."""

import re
from dataclasses import dataclass

from helpers.near import clean
from petal import cache, operator

PATTERN = re.compile("^E")
LIMIT = 100
UNUSED = 1


@dataclass(frozen=True)
class Rule:
    suffix: str


RULE = Rule("!")


def unrelated() -> int:
    return UNUSED


@operator
def lines(*, count: int = 5) -> list[str]:
    return [f"{'E' if i % 2 else 'W'}{i}" for i in range(count)]


@cache
@operator
def errors(lines: list[str], *, mark: str = "a") -> list[str]:
    """Keep errors."""
    # a comment
    return [clean(line) + RULE.suffix + mark for line in lines if PATTERN.search(line)][:LIMIT]


@cache
@operator
def size(errors: list[str]) -> int:
    return len(errors)
'''
NEAR = "from helpers.far import strip\n\n\ndef clean(text: str) -> str:\n    return strip(text).lower()\n"
FAR = "def strip(text: str) -> str:\n    return text.strip()\n\n\ndef other() -> int:\n    return 1\n"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A pipeline with helpers two modules away, in the folder of the command line."""
    (tmp_path / "helpers").mkdir()
    (tmp_path / "etl.py").write_text(ETL)
    (tmp_path / "helpers" / "__init__.py").write_text("")
    (tmp_path / "helpers" / "near.py").write_text(NEAR)
    (tmp_path / "helpers" / "far.py").write_text(FAR)
    yield tmp_path
    for name in [n for n in sys.modules if n.partition(".")[0] in ("helpers", "etl")]:
        del sys.modules[name]


def edit(project: Path, file: str, before: str, after: str) -> None:
    """Change a file, at once: within the same second as the run before it."""
    path = project / file
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


def cached(ran: Any) -> set[str]:
    """Return the nodes whose outputs came from the cache."""
    return {name for name, node in ran.data["nodes"].items() if node["cached"]}


MISSES = [
    ("helpers/far.py", "text.strip()", "text.rstrip()", "the code of `helpers.far:strip` changed"),
    ("helpers/near.py", ".lower()", ".upper()", "the code of `helpers.near:clean` changed"),
    ("etl.py", "[:LIMIT]", "[:LIMIT + 1]", "the code of `etl:errors` changed"),
    (
        "etl.py",
        "LIMIT = 100",
        "LIMIT = 99",
        "the value of `LIMIT`, which `etl:errors` uses, changed from 100 to 99",
    ),
    (
        "etl.py",
        '"^E"',
        '"^E[0-9]"',
        "the value of `PATTERN`, which `etl:errors` uses, changed from '^E' to '^E[0-9]'",
    ),
    (
        "etl.py",
        'compile("^E")',
        'compile("^E", re.I)',
        "the value of `PATTERN`, which `etl:errors` uses, changed",
    ),
    ("etl.py", 'Rule("!")', 'Rule("?")', "the value of `RULE`, which `etl:errors` uses, changed"),
    ("etl.py", 'mark: str = "a"', 'mark: str = "b"', "a default of `etl:errors` changed"),
    ("etl.py", "clean(line) +", "clean(line.title()) +", "the code of `etl:errors` changed"),
    (
        "etl.py",
        '-> list[str]:\n    """Keep',
        '-> tuple[str, ...]:\n    """Keep',
        "the code of `etl:errors` changed",
    ),
]
HITS = [
    ("etl.py", "# a comment", "# another comment, which is longer"),
    ("etl.py", '"""Keep errors."""', '"""Keep what is an error."""'),
    ("etl.py", "UNUSED = 1", "UNUSED = 2"),
    ("etl.py", "return UNUSED", "return UNUSED + 1"),
    ("etl.py", "RULE.suffix + mark", "RULE.suffix  +  mark"),
    ("helpers/far.py", "return 1", "return 2"),
    ("helpers/near.py", "from helpers.far", "# why\nfrom helpers.far"),
]


@pytest.mark.parametrize(("file", "before", "after", "told"), MISSES)
def test_an_edit_that_counts_is_a_miss_and_is_named(
    petal: Callable[..., Any], project: Path, file: str, before: str, after: str, told: str
) -> None:
    """Also two modules away, also within the same second; what comes after it is computed anew if its input changed."""
    assert cached(petal("run", "etl.py", "--json")) == set()
    assert cached(petal("run", "etl.py", "--json")) == {"errors", "size"}
    edit(project, file, before, after)
    explained = petal("cache", "explain", "etl.py", "errors").out
    assert explained.startswith("errors: miss\n")
    assert told in explained
    assert "errors" not in cached(petal("run", "etl.py", "--json"))
    assert cached(petal("run", "etl.py", "--json")) == {"errors", "size"}
    edit(project, file, after, before)
    assert cached(petal("run", "etl.py", "--json")) == {"errors", "size"}


@pytest.mark.parametrize(("file", "before", "after"), HITS)
def test_an_edit_that_does_not_count_is_a_hit(
    petal: Callable[..., Any], project: Path, file: str, before: str, after: str
) -> None:
    """Comments, docstrings, formatting, and what the operator does not reach."""
    petal("run", "etl.py")
    edit(project, file, before, after)
    assert petal("cache", "explain", "etl.py", "errors").out.startswith("errors: hit")
    assert cached(petal("run", "etl.py", "--json")) == {"errors", "size"}


def test_an_unchanged_value_stops_the_recomputation(petal: Callable[..., Any], project: Path) -> None:
    """Keys are of values: `size` is found although `errors` ran again."""
    petal("run", "etl.py")
    edit(project, "etl.py", "[:LIMIT]", "[: LIMIT + 0]")
    assert cached(petal("run", "etl.py", "--json")) == {"size"}


def test_parameters_and_inputs_are_named(petal: Callable[..., Any], project: Path) -> None:
    """With what they were and what they are; a secret is not shown."""
    petal("run", "etl.py")
    told = petal("cache", "explain", "etl.py", "errors", "--set", "errors.mark=z").out
    assert "parameter `mark` is new" in told
    petal("run", "etl.py", "--set", "errors.mark=y")
    told = petal("cache", "explain", "etl.py", "errors", "--set", "errors.mark=z").out
    assert "parameter `mark` changed from 'y' to 'z'" in told
    told = petal("cache", "explain", "etl.py", "errors").out
    assert told.startswith("errors: hit")
    petal("run", "etl.py", "--set", "lines.count=9")
    edit(project, "etl.py", "LIMIT = 100", "LIMIT = 1")
    record = petal("cache", "explain", "etl.py", "--json").data
    assert [r["node"] for r in record] == ["errors", "size"]
    assert [r["hit"] for r in record] == [False, True]
    assert record[1]["assumed"] == ["errors"]


def test_explain_says_what_it_assumes_and_what_it_does_not_know(
    petal: Callable[..., Any], project: Path
) -> None:
    """Before the first run nothing is known; afterwards the last run's values stand for nodes that are not cached."""
    assert "nothing is stored yet" in petal("cache", "explain", "etl.py").out
    assert not (project / ".petal").exists()
    petal("run", "etl.py")
    told = petal("cache", "explain", "etl.py").out
    assert "(if `lines` gives what it gave last: that has not run)" in told
    petal("cache", "clear", "errors")
    told = petal("cache", "explain", "etl.py", "errors").out
    assert "nothing changed, but what was stored is gone" in told
    ran = petal("cache", "explain", "etl.py", "lines")
    assert ran.code == 2
    assert "not cached" in ran.err
    assert "did you mean `errors`" in petal("cache", "explain", "etl.py", "erors").err


def test_the_plan_says_hit_or_miss(petal: Callable[..., Any], project: Path) -> None:
    """With the reason, as text and as JSON; a plan leaves nothing behind."""
    assert "cached     miss: nothing is stored yet" in petal("plan", "etl.py").out
    assert not (project / ".petal").exists()
    petal("run", "etl.py")
    assert "cached     hit" in petal("plan", "etl.py").out
    edit(project, "helpers/far.py", "text.strip()", "text")
    assert "miss: the code of `helpers.far:strip` changed" in petal("plan", "etl.py").out
    nodes = {n["id"]: n for n in petal("plan", "etl.py", "--json").data["nodes"]}
    assert nodes["lines"]["cached"] is None
    assert nodes["errors"]["cached"]["hit"] is False


def test_what_is_cached_is_listed_verified_and_cleared(petal: Callable[..., Any], project: Path) -> None:
    """As text and as JSON, from any folder beneath the home, or of the home that is named."""
    petal("run", "etl.py")
    listed = petal("cache", "ls")
    assert "errors" in listed.out
    assert "2 outputs" in listed.err
    record = petal("cache", "ls", "--json").data
    assert {e["label"]["about"]["node"] for e in record["entries"]} == {"errors", "size"}
    assert petal("cache", "verify").out == "0 outputs removed\n"
    assert petal("cache", "verify", "--json").data["removed"] == []
    assert petal("cache", "clear", "size", "--home", ".petal").out == "1 output removed\n"
    assert petal("cache", "clear", "--pipeline", "another").out == "0 outputs removed\n"
    assert petal("cache", "clear", "--json").data == {"removed": 1}
    assert petal("cache", "ls").out == "nothing is cached yet\n"


def test_a_file_that_a_node_reads_is_part_of_its_key(petal: Callable[..., Any], tmp_path: Path) -> None:
    """By its content: one that is only touched is the same."""
    (tmp_path / "in.txt").write_text("a\nb\n")
    (tmp_path / "p.yaml").write_text(
        "nodes:\n"
        "  - {id: reader, type: FileReader, params: {file_path: in.txt}, cache: true}\n"
        "  - {id: writer, type: FileWriter, params: {file_path: out.txt}}\nedges: [[reader, writer]]\n"
    )
    petal("run", "p.yaml")
    (tmp_path / "in.txt").write_text("a\nb\n")
    assert cached(petal("run", "p.yaml", "--json")) == {"reader"}
    assert (tmp_path / "out.txt").read_text() == "a\nb\n"
    (tmp_path / "in.txt").write_text("a\nc\n")
    assert "file `in.txt` changed" in petal("cache", "explain", "p.yaml", "reader").out
    assert cached(petal("run", "p.yaml", "--json")) == set()
    assert (tmp_path / "out.txt").read_text() == "a\nc\n"
    (tmp_path / "in.txt").unlink()
    assert "is not there any more" in petal("cache", "explain", "p.yaml", "reader").out


def test_depends_on_names_further_files(petal: Callable[..., Any], tmp_path: Path) -> None:
    """Relative to the file that writes them; folders count with all that is in them."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.txt").write_text("1")
    (tmp_path / "ops.py").write_text(
        "import os\nfrom petal import operator\n\n\n@operator\ndef names() -> list[str]:\n"
        "    return sorted(os.listdir(os.path.join(os.path.dirname(__file__), 'data')))\n"
    )
    (tmp_path / "p.yaml").write_text(
        "plugins: [./ops.py]\nnodes:\n  - {id: names, type: Names, cache: {depends_on: [data]}}\n"
    )
    petal("run", "p.yaml")
    assert cached(petal("run", "p.yaml", "--json")) == {"names"}
    (tmp_path / "data" / "two.txt").write_text("2")
    assert "data` changed" in petal("cache", "explain", "p.yaml").out
    assert cached(petal("run", "p.yaml", "--json")) == set()


def test_a_cache_that_is_no_folder_is_an_error(petal: Callable[..., Any], project: Path) -> None:
    """The commands say why; a run goes on without it."""
    petal("run", "etl.py")
    petal("cache", "clear")
    (project / ".petal" / "cache").chmod(0o777)
    ran = petal("cache", "ls")
    assert ran.code == 4
    assert "cannot be used" in ran.err
    ran = petal("run", "etl.py", "--json")
    assert ran.code == 0
    assert cached(ran) == set()


# -- what explain cannot know -------------------------------------------------------------------------------------


def test_behind_a_node_that_is_not_cached_explain_says_what_it_goes_by(petal, tmp_path):
    """S9.4: the last input is what it judges by, and it says that nobody has looked whether that is still so."""
    (tmp_path / "ops.py").write_text(
        "from petal import cache, operator\n\n"
        "@operator\ndef give(*, n: int = 3) -> list[int]:\n    return list(range(n))\n\n"
        "@cache\n@operator\ndef total(give: list[int]) -> int:\n    return sum(give)\n\n"
        "@cache\n@operator\ndef twice(total: int) -> int:\n    return 2 * total\n"
    )
    nodes = "".join(f"  - {{id: {name}, type: {name}}}\n" for name in ("give", "total", "twice"))
    (tmp_path / "p.yaml").write_text(f"plugins: [./ops.py]\nnodes:\n{nodes}")
    assert petal("run", "p.yaml").code == 0
    for node in ("total", "twice"):
        told = petal("cache", "explain", "p.yaml", node).out
        assert f"{node}: hit" in told
        assert "if `give` gives what it gave last: that has not run" in told
        assert "`give` is not cached: nobody looked whether it, or what is before it, has changed" in told
    [verdict] = petal("cache", "explain", "p.yaml", "twice", "--json").data
    assert (verdict["assumed"], verdict["uncached"]) == (["give"], ["give"])


@pytest.mark.parametrize(
    "body",
    [
        "import helper; return helper.add(xs)",
        "from helper import add; return add(xs)",
        "return importlib.import_module('helper').add(xs)",
    ],
)
def test_what_a_function_imports_is_explained_from_any_folder(petal, tmp_path, body):
    """An import within a function, as a statement or by a call, hits as long as nothing changes, and is named after an edit."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "etl.py").write_text(
        "import importlib\nfrom petal import cache\n\n"
        f"@cache\ndef total(xs: list[int] = [1, 2]) -> int:\n    {body}\n"
    )
    (project / "helper.py").write_text("def add(xs):\n    return sum(xs)\n")
    assert petal("run", "project/etl.py").code == 0
    assert "total: hit" in petal("cache", "explain", "project/etl.py").out
    (project / "helper.py").write_text("def add(xs):\n    return sum(xs) + 1\n")
    told = petal("cache", "explain", "project/etl.py").out
    assert "total: miss" in told
    assert "the code of `helper:add` changed" in told
    assert not petal("run", "project/etl.py", "--json").data["nodes"]["total"]["cached"]
