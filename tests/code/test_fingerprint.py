"""The fingerprint of an operator: what changes it, what does not, and that every process agrees on it (S9.2)."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from petal.code.fingerprint import ABSENT, differences, fingerprint
from petal.code.loader import forget_projects, load_file, project_path

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def no_projects_left():
    yield
    forget_projects()


def taken(folder: Path, name: str = "step", **files: str):
    """Write a project, load its ``etl.py`` and return the fingerprint of one of its functions."""
    for file, text in files.items():
        (folder / f"{file}.py").write_text(text)
    forget_projects()
    return fingerprint(getattr(load_file(folder / "etl.py"), name))


ETL = """
from petal import operator, retry
import helpers
from helpers import clean
from tables import *

FACTOR = 3

@retry(max_attempts=3)
@operator
def step(x: int, *, k: int = 2) -> "helpers.Row":
    return helpers.Row(clean(x) * FACTOR + k)

def unrelated(x):
    return x - 1
"""
HELPERS = '''
"""What is shared."""
import re
from dataclasses import dataclass
import deep

PATTERN = re.compile("a+", re.IGNORECASE)

@dataclass(frozen=True)
class Row:
    """A row."""
    value: int

def clean(x):
    """Clean."""
    # carefully
    if PATTERN.match(str(x)):
        return 0
    return deep.inner(x)

def unused(x):
    return x
'''
DEEP = "from functools import cache\n\n@cache\ndef inner(x):\n    return LIMIT + x\n\nLIMIT = 10\n"
PROJECT = {"etl": ETL, "helpers": HELPERS, "deep": DEEP, "tables": "A = 1\n"}

MATTERS = {
    "the operator": ("etl", "+ k)", "- k)"),
    "a default": ("etl", "k: int = 2", "k: int = 4"),
    "an annotation": ("etl", "x: int,", "x: float,"),
    "a global constant": ("etl", "FACTOR = 3", "FACTOR = 5"),
    "a helper": ("helpers", "return 0", "return 1"),
    "a helper's helper": ("deep", "LIMIT + x", "LIMIT - x"),
    "a constant of a helper's helper": ("deep", "LIMIT = 10", "LIMIT = 11"),
    "a regex": ("helpers", '"a+"', '"b+"'),
    "a regex's flags": ("helpers", "re.IGNORECASE", "re.DOTALL"),
    "a field of an annotation written as text": ("helpers", "value: int", "value: float"),
    "a decorator of the user's": ("deep", "@cache", "@lambda f: f"),
}
#: Ways to load `helpers` by a call, each of which uses its `clean`.
LOADING = {
    "an attribute": 'return importlib.import_module("helpers").clean(x)',
    "a variable": 'h = importlib.import_module("helpers")\n    return h.clean(x)',
    "a name of its own": 'from importlib import import_module\n    return import_module("helpers").clean(x)',
    "the built-in": 'return __import__("helpers").clean(x)',
    "the module as a value": 'return getattr(importlib.import_module("helpers"), "clean")(x)',
    "a name relative to a package": 'return importlib.import_module(".inner", package="box").clean(x)',
}
DOES_NOT = {
    "an unrelated function": ("etl", "x - 1", "x - 2"),
    "an unused helper": ("helpers", "def unused(x):", "def unused(x, y):"),
    "a comment": ("helpers", "# carefully", "# carelessly"),
    "a docstring": ("helpers", "Clean.", "Clean well."),
    "the docstring of a class": ("helpers", "A row.", "One row."),
    "the docstring of a module": ("helpers", "What is shared.", "All."),
    "formatting": ("helpers", "if PATTERN.match(str(x)):", "if (PATTERN\n        .match( str(x) ) ):"),
    "a blank line": ("deep", "LIMIT = 10", "\n\nLIMIT = 10"),
    "a policy": ("etl", "@retry(max_attempts=3)", "@retry(max_attempts=5)"),
    "a policy that goes": ("etl", "@retry(max_attempts=3)\n", ""),
}


@pytest.mark.parametrize("what", MATTERS)
def test_an_edit_that_matters_changes_it(tmp_path, what):
    """An edit of anything that the operator reaches changes the fingerprint, and the original restores it."""
    file, old, new = MATTERS[what]
    before = taken(tmp_path, **PROJECT)
    assert PROJECT[file].count(old) == 1
    assert taken(tmp_path, **PROJECT | {file: PROJECT[file].replace(old, new)}).digest != before.digest
    assert taken(tmp_path, **PROJECT) == before


@pytest.mark.parametrize("what", DOES_NOT)
def test_an_edit_that_does_not_matter_leaves_it(tmp_path, what):
    """Comments, docstrings, formatting, policies and what is not reached do not count."""
    file, old, new = DOES_NOT[what]
    before = taken(tmp_path, **PROJECT)
    assert PROJECT[file].count(old) == 1
    assert taken(tmp_path, **PROJECT | {file: PROJECT[file].replace(old, new)}) == before


def test_there_are_no_problems(tmp_path):
    """Code with regexes, records, caches, modules and decorators of the usual kinds has no problems."""
    assert taken(tmp_path, **PROJECT).problems == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_exactly_what_is_reached_counts(tmp_path, data):
    """In a random graph of functions over three files, an edit counts exactly where the operator reaches it."""
    count = data.draw(st.integers(2, 9))
    calls = [data.draw(st.sets(st.integers(0, count - 1), max_size=3)) for _ in range(count)]
    homes = ["etl"] + [data.draw(st.sampled_from(["etl", "one", "two"])) for _ in range(count - 1)]
    edited = data.draw(st.integers(0, count - 1))
    folder = tmp_path / str(next(_numbers))
    folder.mkdir()

    def project(edit: int | None) -> dict[str, str]:
        files = {"etl": "import one, two\n", "one": "", "two": ""}
        for i in range(count):
            head, body = "", []
            for j in sorted(calls[i]):
                if homes[j] != homes[i] and homes[i] == "etl":
                    body.append(f"{homes[j]}.f{j}()")
                    continue
                if homes[j] != homes[i]:  # files that import each other do so inside functions
                    head += f"    from {homes[j]} import f{j}\n"
                body.append(f"f{j}()")
            number = 1000 + i if i == edit else i
            files[homes[i]] += f"def f{i}():\n{head}    return [{number}, {', '.join(body)}]\n"
        return files

    reached, todo = set(), [0]
    while todo:
        i = todo.pop()
        if i not in reached:
            reached.add(i)
            todo += calls[i]
    before = taken(folder, "f0", **project(None))
    after = taken(folder, "f0", **project(edited))
    assert (before.digest != after.digest) == (edited in reached)
    assert before.problems == []


REPORT = """
import sys
from pathlib import Path
from petal.code.loader import load_file
from petal.code.fingerprint import fingerprint
found = fingerprint(load_file(Path(sys.argv[1])).step)
print(found.digest, found.problems)
"""

EVERYTHING = """
import collections, contextlib, datetime, decimal, enum, functools, logging, operator as op, pathlib, random, re, typing, uuid
from petal import operator
import msgspec, polars as pl
from polars import Int64, col
from os.path import join

class Colour(enum.Enum):
    RED = "r"
    def shown(self): return self.value.upper()

class Point(typing.NamedTuple):
    x: int
    y: int = 2

class Frozen(msgspec.Struct, frozen=True):
    names: frozenset[str]

Row = collections.namedtuple("Row", "a b")
Typed = typing.TypedDict("Typed", {"a": int})
Key = typing.NewType("Key", int)
T = typing.TypeVar("T", bound=int)
Rows = list[dict[str, int | None]]
WORDS = {"alpha", "beta", "gamma", "delta", "epsilon"}
FROZEN = Frozen(frozenset(WORDS))
TABLE = {Colour.RED: Point(1), "when": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), 3: {1.5, None, b"x"}}
HOME, LOG, MATCH = pathlib.PurePosixPath("/srv"), logging.getLogger("etl"), re.compile("a").match
MONEY, ID, GET, END = decimal.Decimal("1.5"), uuid.UUID(int=7), op.itemgetter(1), object()
SCHEMA = {"a": pl.Int64, "b": pl.String}
ADD = functools.partial(pow, 2, mod=WORDS and 7)
small, large = lambda x: x in {"p", "q", "r"}, lambda x: x + 2

@contextlib.contextmanager
def opened():
    yield small

def twice(fn):
    @functools.wraps(fn)
    def inner(*args):
        return fn(fn(*args))
    return inner

@twice
def doubled(x):
    return x * 2

def recursive(n):
    return other(n - 1) if n else opened

def other(n):
    return recursive(n)

class Base:
    scale = 2
    def process(self, x): return super().__init__() or x

class Step(Base):
    def process(self, x: Key) -> Rows:
        def inner():
            nonlocal x
            x += 1
            return x
        return [ADD(x), recursive(x), doubled(x), large(inner()), random.choice([x]), join("a", "b"), col("a"), Int64]

@operator
def step(x: T) -> Typed:
    for WORD in WORDS: pass
    return Step().process(x), Row(1, 2), FROZEN, TABLE, HOME, LOG, MATCH, MONEY, ID, GET, END, SCHEMA, pl.lit(1)
"""


def test_every_process_agrees(tmp_path):
    """Another process with another hash seed takes the same fingerprint, of values of all kinds that there are."""
    mine = taken(tmp_path, etl=EVERYTHING)
    assert mine.problems == []
    for seed in ("0", "1", "4711"):
        done = subprocess.run(
            [sys.executable, "-c", REPORT, str(tmp_path / "etl.py")],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stdout == f"{mine.digest} []\n"


def test_a_script_that_is_main_has_the_fingerprint_of_its_file(tmp_path):
    """The file gives one fingerprint whether it is the program itself or was loaded by a worker."""
    text = (
        "from petal import operator\nFACTOR = 2\n@operator\ndef step(x: int) -> int:\n    return x * FACTOR\n"
    )
    mine = taken(tmp_path, etl=text)
    main = text + "from petal.code.fingerprint import fingerprint\nprint(fingerprint(step).digest)\n"
    (tmp_path / "etl.py").write_text(main)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "etl.py")], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == mine.digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x * 2", "x * 3"),
        ("fn(fn(*args))", "fn(*args)"),
        ('RED = "r"', 'RED = "R"'),
        ('"p", "q"', '"p", "s"'),
        ("self.value.upper()", "self.value"),
        ("scale = 2", "scale = 3"),
        ("y: int = 2", "y: int = 3"),
        ("frozenset(WORDS)", "frozenset()"),
        ('PurePosixPath("/srv")', 'PurePosixPath("/opt")'),
        ('getLogger("etl")', 'getLogger("other")'),
        ('re.compile("a").match', 're.compile("b").match'),
        ("itemgetter(1)", "itemgetter(2)"),
        ('"a": pl.Int64', '"a": pl.Int32'),
        ("pow, 2", "pow, 3"),
        ("lambda x: x + 2", "lambda x: x + 3"),
        ("lambda x: x in", "lambda x: x not in"),
        ('NewType("Key", int)', 'NewType("Key", str)'),
        ('namedtuple("Row", "a b")', 'namedtuple("Row", "a c")'),
        ('{"a": int})', '{"a": str})'),
        ("x += 1", "x += 2"),
        ("int | None]]", "int]]"),
        ("return other(n - 1)", "return other(n - 2)"),
        ("return recursive(n)", "return recursive(n + 0)"),
    ],
)
def test_every_kind_of_value_counts(tmp_path, old, new):
    """A change of a value of any kind, or of code that is reached through it, is seen."""
    assert EVERYTHING.count(old) == 1
    before = taken(tmp_path, etl=EVERYTHING)
    after = taken(tmp_path, etl=EVERYTHING.replace(old, new))
    assert after.digest != before.digest
    assert after.problems == []


def test_two_constants_that_change_places_count(tmp_path):
    """The same helpers under exchanged names are other code."""
    text = "def one(): return 1\ndef two(): return 2\na, b = one, two\ndef step(): return a() - b()\n"
    swapped = text.replace("a, b = one, two", "a, b = two, one")
    assert taken(tmp_path, etl=text).digest != taken(tmp_path, etl=swapped).digest


def test_closures_count(tmp_path):
    """What a function has closed over is part of it."""
    text = "def make(n):\n    def step(x): return x + n\n    return step\nstep = make({})\n"
    one = taken(tmp_path, etl=text.format(1))
    assert one.digest != taken(tmp_path, etl=text.format(2)).digest
    assert one.digest == taken(tmp_path, etl=text.format(1)).digest


def test_a_local_name_is_no_global(tmp_path):
    """A local variable that is called like a global does not make the global count."""
    text = "import threading\nlock = threading.Lock()\ndef step(x):\n    lock = x\n    return lock\n"
    assert taken(tmp_path, etl=text).problems == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("held = threading.Lock()", "_thread.lock"),
        ("class A: pass\nheld = A()", "etl.A"),
        ("held = [iter([])]", "builtins.list_iterator"),
        ("held = []\nheld.append(held)", "nested too deeply"),
    ],
)
def test_a_global_that_cannot_be_told_apart_is_a_problem(tmp_path, text, kind):
    """A global of a kind whose content nobody can know is named, with its kind."""
    found = taken(tmp_path, etl=f"import threading\n{text}\ndef step(): return held\n")
    assert len(found.problems) == 1
    assert "uses held" in found.problems[0]
    assert kind in found.problems[0]


def test_versions_of_packages_count(tmp_path, monkeypatch):
    """The version of a package that is used is a part of its own."""
    import importlib.metadata

    from petal.code import fingerprint as module

    text = "import polars as pl\ndef step(): return pl.lit(1)\n"
    before = taken(tmp_path, etl=text)
    assert before.parts["package polars"] == importlib.metadata.version("polars")
    monkeypatch.setattr(module, "_version", lambda top: "0.0.1")
    after = taken(tmp_path, etl=text)
    assert after.digest != before.digest
    assert differences(after.parts, before.parts) == [
        f"package polars: 0.0.1 here, {before.parts['package polars']} there"
    ]


def test_a_module_that_is_used_as_a_value_counts_as_a_whole(tmp_path):
    """Where nobody can tell which part of a module matters, all of it does."""
    text = "import helpers\ndef step(name): return getattr(helpers, name)()\n"
    one = taken(tmp_path, etl=text, helpers="def a(): return 1\n")
    assert one.digest != taken(tmp_path, etl=text, helpers="def a(): return 2\n").digest


def test_code_without_source_is_told_by_its_bytecode(tmp_path):
    """A function that was made by `exec` has a fingerprint too, which follows what it uses."""
    text = "K = {}\nexec('def step(x): return x + K + {}')\n"
    found = [taken(tmp_path, etl=text.format(*pair)).digest for pair in ((1, 1), (1, 2), (2, 1), (1, 1))]
    assert found[0] == found[3]
    assert len(set(found)) == 3


def test_differences_are_named():
    """What differs is named by part; a package that one side does not have is no difference."""
    mine = {"etl:step": "1", "etl:helper": "1", "package a": "1", "package b": ABSENT, "etl:mine": "1"}
    theirs = {"etl:step": "1", "etl:helper": "2", "package a": "2", "package b": "1", "package c": "1"}
    assert differences(mine, theirs) == [
        "`etl:helper`",
        "`etl:mine` is not there",
        "package a: 1 here, 2 there",
    ]
    assert differences(mine, mine) == []


# -- modules that are loaded by a call ---------------------------------------------------------------------------


def loaded(folder: Path, **files: str):
    """Take the fingerprint as a run does: with the project's folder on the path."""
    for file, text in files.items():
        (folder / f"{file}.py").write_text(text)
    forget_projects()
    step = load_file(folder / "etl.py").step
    with project_path(folder):
        return fingerprint(step)


@pytest.mark.parametrize("how", LOADING)
def test_a_module_that_is_loaded_by_a_call_is_followed(tmp_path, how):
    """An edit of what an import by a call brings changes the fingerprint, as that of an import statement does."""
    etl = f"import importlib\n\ndef step(x):\n    {LOADING[how]}\n"
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "__init__.py").touch()
    found = []
    for clean in ("x", "x + 1", "x"):
        helpers = f"def clean(x):\n    return {clean}\n"
        (tmp_path / "box" / "inner.py").write_text(helpers)
        found.append(loaded(tmp_path, etl=etl, helpers=helpers))
    assert found[0] == found[2]
    assert found[0].digest != found[1].digest
    assert found[0].problems == []


def test_what_a_loaded_module_has_and_nobody_uses_does_not_count(tmp_path):
    """Of a module that is loaded by a call, and used by name, only what is used counts."""
    etl = f"import importlib\n\ndef step(x):\n    {LOADING['a variable']}\n"
    helpers = "def clean(x):\n    return x\n\ndef unused(x):\n    return 1\n"
    before = loaded(tmp_path, etl=etl, helpers=helpers)
    assert loaded(tmp_path, etl=etl, helpers=helpers.replace("return 1", "return 2")) == before


def test_a_name_that_is_made_while_the_code_runs_is_a_problem(tmp_path):
    """What nobody can follow is named, so that nothing is cached that might be out of date."""
    etl = (
        'import importlib\n\ndef step(x, name):\n    return importlib.import_module("help" + name).clean(x)\n'
    )
    found = loaded(tmp_path, etl=etl)
    assert found.problems == ["etl:step imports a module whose name is made while it runs"]
