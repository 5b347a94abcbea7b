"""The house rules: floors, types, lint, imports, the one writer, and what may lie in the repository."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import petal
from tests import house_map

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "petal"
SOURCES = sorted(PACKAGE.rglob("*.py"))

#: What may lie at the repository's top.
TOP = {
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "examples",
    "plugins",
    "pyproject.toml",
    "src",
    "tests",
}
#: Packages that `import petal` must not load: each takes tens of milliseconds.
HEAVY = {
    "click",
    "diskcache",
    "msgspec",
    "pluggy",
    "polars",
    "structlog",
    "tomli_w",
    "tomllib",
    "yaml",
    "inspect",
    "asyncio",
}
#: The core knows neither, installed or not.
VENDORS = {"boto3", "botocore", "docker"}
#: The longest file of `src/petal`, in lines, and the largest file of the repository, in bytes.
LONGEST = 500
LARGEST = 200_000


def tool(*command: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a tool of this environment as a module or script, with its output as text."""
    return subprocess.run([*command], cwd=folder, capture_output=True, text=True, timeout=110, check=False)


def script(name: str) -> str:
    """Return the path of a console script beside this interpreter."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    assert found is not None, f"{name} is missing: pip install -e '.[dev]'"
    return found


def tracked() -> list[Path]:
    """Return the files of the repository; in a copy without git, those that git would not ignore."""
    listed = tool("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    if listed.returncode == 0 and listed.stdout:
        return [p for name in listed.stdout.split("\0") if name and (p := ROOT / name).is_file()]
    ignored = {n.rstrip("/") for n in (ROOT / ".gitignore").read_text().split()} | {".git"}
    found = [p for p in ROOT.rglob("*") if p.is_file()]
    return [
        p
        for p in found
        if not any(Path(part).match(i) for part in p.relative_to(ROOT).parts for i in ignored)
    ]


# -- floors, types, lint ----------------------------------------------------------------------------------------


def test_the_floors_hold() -> None:
    done = tool(script("lint-imports"), "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_broken_floor_is_found(tmp_path: Path) -> None:
    """A positive control: an import that goes up a floor fails the contract."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "src/petal/spec/event.py").open("a") as file:
        file.write("\n\ndef up():\n    import petal.app.session\n")
    code = (
        "import sys; sys.path.insert(0, 'src'); from importlinter.cli import lint_imports_command as c; c()"
    )
    done = tool(sys.executable, "-c", code, "--no-cache", folder=tmp_path)
    assert done.returncode != 0
    assert "petal.spec.event -> petal.app.session" in done.stdout, done.stdout + done.stderr


def test_every_type_is_checked() -> None:
    done = tool(sys.executable, "-m", "mypy")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_finds_nothing(command: list[str]) -> None:
    done = tool(script("ruff"), *command, "--output-format=concise", ".")
    assert done.returncode == 0, done.stdout + done.stderr


# -- the public names ---------------------------------------------------------------------------------------------


def stub_names() -> dict[str, str | None]:
    """Return the public names of ``__init__.pyi`` with the modules that they come from; None: it describes them itself."""
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text())
    imports = [n for n in tree.body if isinstance(n, ast.ImportFrom) and str(n.module).startswith("petal.")]
    assert all(a.asname == a.name for n in imports for a in n.names), "a stub exports a name as `X as X`"
    own = [n.target.id for n in tree.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
    return {a.name: n.module for n in imports for a in n.names} | dict.fromkeys(own)


def test_the_stub_names_what_the_lazy_table_names() -> None:
    stub = stub_names()
    assert set(stub) == {*petal._NAMES, "__version__"}
    assert {name: module for name, module in stub.items() if module} == {
        n: petal._NAMES[n] for n in stub if stub[n]
    }
    assert set(petal.__all__) == set(stub)
    assert all(getattr(petal, name) is not None for name in petal.__all__)


def test_the_version_is_that_of_the_distribution() -> None:
    assert f'\nversion = "{petal.__version__}"\n' in (ROOT / "pyproject.toml").read_text()


USER_PROGRAM = '''
from collections.abc import Iterable, Iterator

from petal import Batches, Context, Pipeline, batch, cache, node, operator, remote, retry, timeout


@remote(backend="aws_lambda", function_name="score")
@retry(max_attempts=3, retry_on=(TimeoutError,))
@timeout("30s")
@cache(ttl="1h")
@batch(size=10)
@operator
def score(lines: Iterable[str], *, bonus: int = 0, context: Context | None = None) -> Iterator[int]:
    """Score lines."""
    for line in lines:
        yield len(line) + bonus


@cache
@retry
@operator(rowwise=True)
def shout(lines: Iterable[str]) -> list[str]:
    """Shout."""
    return [line.upper() for line in lines]


@operator
class Model:
    """A class operator."""

    def __init__(self, *, path: str) -> None:
        self.path = path

    def process(self, lines: Iterable[str]) -> list[str]:
        return [self.path, *lines]


reveal_type(score)
reveal_type(shout)
reveal_type(Model(path="a").process([]))
result = Pipeline.of(node(shout, id="a"), score, name="p").run(inputs={"lines": ["a"]})
reveal_type(result.run_id)
score([1])
'''


@pytest.mark.slow
def test_mypy_sees_through_the_decorators(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(USER_PROGRAM)
    config = f"[mypy]\nstrict = True\nmypy_path = {ROOT / 'src'}\n"
    (tmp_path / "mypy.ini").write_text(config)
    done = tool(sys.executable, "-m", "mypy", "program.py", folder=tmp_path)
    revealed = re.findall(r'Revealed type is "(.*)"', done.stdout)
    assert [
        r.replace("typing.", "").replace("collections.abc.", "").replace("builtins.", "") for r in revealed
    ] == [
        "def (lines: Iterable[str], *, bonus: int =, context: petal.spec.context.Context | None =) -> Iterator[int]",
        "def (lines: Iterable[str]) -> list[str]",
        "list[str]",
        "str",
    ], done.stdout
    errors = [line for line in done.stdout.splitlines() if " error: " in line]
    assert len(errors) == 1, done.stdout
    assert 'List item 0 has incompatible type "int"; expected "str"' in errors[0]


@pytest.mark.slow
def test_the_examples_are_typed(tmp_path: Path) -> None:
    """What a user who checks types strictly would see."""
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nstrict = True\nmypy_path = {ROOT / 'src'}\n")
    mypy = [
        sys.executable,
        "-m",
        "mypy",
        f"--config-file={tmp_path / 'mypy.ini'}",
        f"--cache-dir={tmp_path / 'cache'}",
    ]
    for folder in sorted((ROOT / "examples").glob("*/")):
        files = [p.name for p in sorted(folder.glob("*.py")) if not p.name.startswith("test_")]
        done = tool(*mypy, *files, folder=folder) if files else None
        assert done is None or done.returncode == 0, done.stdout


# -- imports --------------------------------------------------------------------------------------------------------


def loaded(code: str) -> set[str]:
    """Return the top-level modules that are loaded after some code in a fresh interpreter."""
    script = f"{textwrap.dedent(code)}\nimport sys; print(*{{m.partition('.')[0] for m in sys.modules}})"
    done = tool(sys.executable, "-c", script)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_import_petal_loads_nothing_heavy() -> None:
    assert loaded("import petal") & HEAVY == set()


@pytest.mark.slow
def test_the_core_needs_no_vendor() -> None:
    names = ["petal." + ".".join(p.relative_to(PACKAGE).with_suffix("").parts) for p in SOURCES]
    modules = [n.removesuffix(".__init__") for n in names if not n.endswith("__main__")]
    code = f"import importlib\nfor name in {modules!r}: importlib.import_module(name)"
    assert loaded(code) & VENDORS == set()


# -- the one writer -----------------------------------------------------------------------------------------------

#: Modules that may open files for writing, and why.
WRITERS = {
    "data/files.py": "the one writer",
    "data/publishing.py": "its steps",
    "data/busy.py": "locks on targets, in the user's own folder",
    "data/journal.py": "append-only: checksums and not a rename make it whole",
    "data/spill.py": "streams that outgrow memory; the files have no name",
    "data/wire.py": "attachments of messages; they do not outlive the message",
    "execution/pool_files.py": "the same between a pool's processes",
    "data/artifact_bytes.py": "outputs that are being encoded; the files go into the cache or away",
    "data/cache_lock.py": "locks, so that a value is made once",
    "data/disk_cache.py": "the cache's lock, and a damaged database that is moved aside",
    "data/disk_store.py": "values of the cache: their checksums make them whole",
    "data/folder_store.py": "the same in a folder that machines share, renamed when they are complete",
    "library/paths.py": "temporary copies of files that URLs name, for what reads files alone",
    "testing/stores.py": "the contract of stores gives them files to take over",
    "testing/filesystems.py": "the file system over a folder, for tests",
}
_WRITE_CALLS = {
    "write_text",
    "write_bytes",
    "mkstemp",
    "NamedTemporaryFile",
    "TemporaryFile",
    "rename",
    "renames",
}
_OS_CALLS = {"replace", "link", "symlink", "truncate"}
_CREATING = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"}


def writes(tree: ast.AST) -> Iterator[int]:
    """Yield the lines at which code opens a file for writing, or creates, renames or links one."""
    own = {
        a.name
        for n in ast.walk(tree)
        if isinstance(n, ast.ImportFrom) and n.module == "petal.data.files"
        for a in n.names
    }
    nowhere = {id(a) for n in ast.walk(tree) if _opens_devnull(n) for a in ast.walk(n)}
    for found in ast.walk(tree):
        if isinstance(found, ast.Attribute) and found.attr in _CREATING and id(found) not in nowhere:
            yield found.lineno
        if not isinstance(found, ast.Call):
            continue
        name, base = _called(found.func)
        calls = name in _WRITE_CALLS and not own & {name, base}
        if (
            calls
            or (base == "os" and name in _OS_CALLS)
            or (name in ("open", "fdopen") and _mode_writes(found, base))
        ):
            yield found.lineno


def _called(function: ast.expr) -> tuple[str, str | None]:
    """Return the name that is called, and what it is an attribute of: None for nothing, "" for no plain name."""
    if isinstance(function, ast.Attribute):
        return function.attr, function.value.id if isinstance(function.value, ast.Name) else ""
    return getattr(function, "id", ""), None


def _opens_devnull(found: ast.AST) -> bool:
    return isinstance(found, ast.Call) and bool(found.args) and ast.unparse(found.args[0]) == "os.devnull"


def _mode_writes(call: ast.Call, base: str | None) -> bool:
    at = 1 if base in (None, "os", "io", "gzip") else 0
    modes = [k.value for k in call.keywords if k.arg == "mode"] or call.args[at : at + 1]
    texts = [m.value for m in modes if isinstance(m, ast.Constant) and isinstance(m.value, str)]
    return any(set(t) & set("wax+") and len(t) <= 4 for t in texts)


#: What writes in plugins: the context of an image, and the package of a function, in a temporary folder; a value that
#: comes from a bucket and is too large for memory, in a temporary file without a name.
PLUGINS_WRITERS = (
    "plugins/petal-aws/src/petal_aws/store.py",
    "plugins/petal-docker/src/petal_docker/archive.py",
    "plugins/petal-lambda/src/petal_lambda/package.py",
)


def test_only_the_one_writer_opens_files_for_writing() -> None:
    plugins = sorted((ROOT / "plugins").glob("*/src/**/*.py"))
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in [*SOURCES, *plugins]
        if path not in {PACKAGE / name for name in WRITERS} | {ROOT / name for name in PLUGINS_WRITERS}
        for line in writes(ast.parse(path.read_text()))
    ]
    assert found == []


def test_every_writer_that_is_named_is_one() -> None:
    """The list of exceptions holds no module that needs none."""
    idle = [n for n in WRITERS if not list(writes(ast.parse((PACKAGE / n).read_text())))]
    assert idle == []


@pytest.mark.parametrize(
    "code",
    [
        "open(p, 'w')",
        "open(p, mode='ab')",
        "p.open('x')",
        "Path(p).open('w')",
        "os.fdopen(n, 'wb')",
        "Path(p).write_text('a')",
        "os.replace(a, b)",
        "os.open(p, os.O_WRONLY | os.O_CREAT)",
        "tempfile.NamedTemporaryFile()",
    ],
)
def test_the_search_for_writers_finds_one(code: str) -> None:
    assert list(writes(ast.parse(code))) != []


@pytest.mark.parametrize(
    "code", ["open(p)", "open(p, 'rb')", "p.open()", "text.replace(a, b)", "os.open(os.devnull, os.O_WRONLY)"]
)
def test_the_search_for_writers_lets_readers_be(code: str) -> None:
    assert list(writes(ast.parse(code))) == []


# -- the repository -----------------------------------------------------------------------------------------------


def test_the_top_level_holds_only_what_belongs_there() -> None:
    assert {p.relative_to(ROOT).parts[0] for p in tracked()} <= TOP


def test_no_file_names_a_registry_or_a_developers_folder() -> None:
    pattern = re.compile(
        r"pypi\.org|pythonhosted|registry\.npm|deb\.debian|/root/|/home/(?!me/?\b)[a-z]|/Users/|/opt/pypi|/work/(main|venv)"
    )
    texts = {p: p.read_text(errors="replace") for p in tracked() if p != Path(__file__)}
    found = [
        f"{p.relative_to(ROOT)}: {m[0]}" for p, text in texts.items() for m in [pattern.search(text)] if m
    ]
    assert found == []


def test_no_file_is_too_large() -> None:
    assert [str(p.relative_to(ROOT)) for p in tracked() if p.stat().st_size > LARGEST] == []


def test_no_source_file_is_too_long() -> None:
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in SOURCES}
    assert {name: n for name, n in lengths.items() if n > LONGEST} == {}


def test_every_room_and_file_is_on_the_map() -> None:
    """The visitor's map, ``src/petal/README.md``; ``python -m tests.house_map`` writes it."""
    found = (
        house_map.MAP.read_text(encoding="utf-8").partition(house_map.BEGIN)[2].partition(house_map.END)[0]
    )
    assert found.strip() == house_map.rooms().strip()


def test_every_room_has_a_floor() -> None:
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and any(p.glob("*.py"))}
    assert rooms <= {r for floor in house_map.FLOORS for r in floor}


def test_every_file_that_the_map_names_is_there() -> None:
    text = house_map.MAP.read_text(encoding="utf-8").partition(house_map.BEGIN)[0]
    named = re.findall(r"`([\w./]+\.pyi?)`", text)
    there = {p.name for p in PACKAGE.rglob("*.py*")}
    assert len(named) > 20
    assert [n for n in named if not (PACKAGE / n).exists() and not ("/" not in n and n in there)] == []
