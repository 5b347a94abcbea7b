"""Pipelines whose outputs other machines find: `cache_io: URL` and `$PETAL_CACHE`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from petal import Pipeline
from petal.errors import UsageError

CODE = """
from petal import operator

@operator
def load(*, size: int = 3) -> list[int]:
    with open("calls", "a") as file:
        file.write("load ")
    return list(range(size))

@operator
def total(load: list[int]) -> int:
    with open("calls", "a") as file:
        file.write("total ")
    return sum(load)
"""
FILE = """
plugins: [./ops.py]
cache_io: {url}
nodes:
  - {{id: load, type: load, cache: {{version: "1"}}}}
  - {{id: total, type: total}}
"""


def machine(folder: Path, url: str) -> Path:
    """Put the project on a machine of its own."""
    folder.mkdir()
    (folder / "ops.py").write_text(CODE)
    (folder / "etl.yaml").write_text(FILE.format(url=url))
    return folder


def petal(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    found = subprocess.run(
        [sys.executable, "-m", "petal", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert "Traceback" not in found.stderr, found.stderr
    return found


def calls(folder: Path) -> list[str]:
    file = folder / "calls"
    found = file.read_text().split() if file.exists() else []
    file.unlink(missing_ok=True)
    return found


RECORDS = """
from typing import TypedDict

from petal import operator

class Found(TypedDict):
    number: int

@operator
def load() -> list[Found]:
    with open("calls", "a") as file:
        file.write("load ")
    return [{"number": 1}]

@operator
def total(load: list[Found]) -> int:
    return len(load)
"""
#: Two projects in one process, whose operators lie in files of the same name.
TWO = """
import sys
from petal import Pipeline
for folder in sys.argv[1:]:
    Pipeline.from_file(f"{folder}/etl.yaml").run().check()
"""


def test_a_type_has_the_same_name_on_every_machine(tmp_path: Path) -> None:
    """Also where its file could not be loaded under its own name, as that of another project was."""
    url = (tmp_path / "shared").as_uri()
    one, two = machine(tmp_path / "one", url), machine(tmp_path / "two", url)
    for folder in (one, two):
        (folder / "ops.py").write_text(RECORDS)
    other = machine(tmp_path / "other", (tmp_path / "elsewhere").as_uri())
    subprocess.run([sys.executable, "-c", TWO, other, one], cwd=tmp_path, check=True)
    assert calls(tmp_path) == ["load", "total", "load"]
    petal(two, "run", "etl.yaml")
    assert calls(two) == []


def test_another_machine_runs_nothing_that_this_one_has_made(tmp_path: Path) -> None:
    """The second machine fetches both outputs; its own cache has them from then on, without the store."""
    url = (tmp_path / "shared").as_uri()
    one, two = machine(tmp_path / "one", url), machine(tmp_path / "two", url)
    assert petal(one, "run", "etl.yaml").returncode == 0
    assert calls(one) == ["load", "total"]
    found = petal(two, "run", "etl.yaml", "--json")
    assert found.returncode == 0, found.stderr
    assert calls(two) == []
    assert {node["cached"] for node in json.loads(found.stdout)["nodes"].values()} == {True}
    for path in (tmp_path / "shared").iterdir():
        path.unlink()
    assert petal(two, "run", "etl.yaml").returncode == 0
    assert calls(two) == []


def test_explain_and_plan_say_where_a_hit_comes_from(tmp_path: Path) -> None:
    """`explain` asks the store, `plan` contacts nobody and says so; what was fetched says where it came from."""
    url = (tmp_path / "shared").as_uri()
    one, two = machine(tmp_path / "one", url), machine(tmp_path / "two", url)
    before = petal(two, "plan", "etl.yaml").stdout
    assert f"{url} was not asked" in before
    assert f"hit in {url}" not in petal(two, "cache", "explain", "etl.yaml").stdout
    petal(one, "run", "etl.yaml")
    assert "hit in" not in petal(one, "cache", "explain", "etl.yaml").stdout
    lines = petal(two, "cache", "explain", "etl.yaml").stdout.splitlines()
    assert [line.startswith((f"load: hit in {url}", f"total: hit in {url}")) for line in lines] == [
        True,
        True,
    ]
    assert not (two / ".petal" / "cache" / "cache.db").exists()
    petal(two, "run", "etl.yaml")
    text = petal(two, "plan", "etl.yaml").stdout
    assert text.count(f"hit, fetched from {url}") == 2
    said = json.loads(petal(two, "cache", "explain", "etl.yaml", "--json").stdout)
    assert [(v["hit"], v["fetched"], v["shared"], v["unasked"]) for v in said] == [
        (True, url, None, None)
    ] * 2


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """`$PETAL_CACHE` names another store, or none with `off`; it makes no node a cached one."""
    first, second = (tmp_path / "first").as_uri(), (tmp_path / "second").as_uri()
    one = machine(tmp_path / "one", first)
    assert petal(one, "run", "etl.yaml", PETAL_CACHE=second).returncode == 0
    assert not (tmp_path / "first").exists()
    assert (tmp_path / "second").exists()
    two = machine(tmp_path / "two", first)
    assert petal(two, "run", "etl.yaml", PETAL_CACHE="off").returncode == 0
    assert not (tmp_path / "first").exists()
    three = machine(tmp_path / "three", "false")
    assert petal(three, "run", "etl.yaml", PETAL_CACHE=second).returncode == 0
    assert calls(three) == ["total"]  # `load` says itself that it is cached


def test_with_a_keyring_what_nobody_signed_is_made_anew_and_said(tmp_path: Path) -> None:
    """The warning names the store; the run succeeds, and what it makes is signed."""
    url = (tmp_path / "shared").as_uri()
    petal(machine(tmp_path / "one", url), "run", "etl.yaml")
    keys = {"PETAL_KEYRING": "env:KEYS", "KEYS": "k" * 40}
    two = machine(tmp_path / "two", url)
    found = petal(two, "run", "etl.yaml", **keys)
    assert found.returncode == 0
    assert calls(two) == ["load", "total"]
    assert f"an output in {url} is not used: not signed" in found.stderr
    three = machine(tmp_path / "three", url)
    assert petal(three, "run", "etl.yaml", **keys).returncode == 0
    assert calls(three) == []


def test_a_store_that_fails_costs_one_warning(tmp_path: Path) -> None:
    """A folder that is a file takes nothing, and gives nothing."""
    (tmp_path / "shared").write_text("no folder")
    one = machine(tmp_path / "one", (tmp_path / "shared").as_uri())
    found = petal(one, "run", "etl.yaml")
    assert found.returncode == 0
    assert found.stderr.count("the shared cache") == 1
    assert calls(one) == ["load", "total"]
    assert petal(one, "run", "etl.yaml").returncode == 0
    assert calls(one) == []


@pytest.mark.parametrize("url", ["nowhere://bucket/x", "file://host/x"])
def test_a_store_that_nobody_opens_stops_the_run_before_it_begins(tmp_path: Path, url: str) -> None:
    """Nothing ran, and the error names the URL."""
    one = machine(tmp_path / "one", url)
    found = petal(one, "run", "etl.yaml")
    assert found.returncode in (2, 4)
    assert url.partition("/x")[0].partition("://")[0] in found.stderr
    assert calls(one) == []
    assert not list((one / ".petal").glob("runs/*.jsonl"))


def test_a_pipeline_in_python_shares_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever its home is."""
    from petal import cache

    ran: list[int] = []

    @cache(version="1")
    def three() -> int:
        ran.append(1)
        return 3

    monkeypatch.setenv("PETAL_CACHE", (tmp_path / "shared").as_uri())
    results: list[Any] = [
        Pipeline.of(three, name="p").run(home=tmp_path / name).check().nodes["three"].cached
        for name in ("one", "two")
    ]
    assert results == [False, True]
    assert ran == [1]
    monkeypatch.setenv("PETAL_CACHE", "no url")
    with pytest.raises(UsageError, match="no URL of a store"):
        Pipeline.of(three, name="p").run(home=tmp_path / "three")
