"""5,000 runs killed at random times while they write: nothing is torn; a naive writer in the same place tears (F01, G1)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.faults.kills import left_behind
from tests.faults.scale import seeded, share
from tests.faults.warm import Warm

SHARES = 8  # tests of their own, so that they run side by side
EACH = share(5000 // SHARES, least=25)
LINES = 30_000

STEPS = f"""
from collections.abc import Iterable, Iterator

from petal import operator


@operator
def rows(*, version: int) -> Iterator[str]:
    '''Give lines that name their version.'''
    for at in range({LINES}):
        yield f"{{version}} {{at}}"


@operator(effects="idempotent")
def naive(rows: Iterable[str]) -> None:
    '''Write in place, as one would without Petal.'''
    with open("out.txt", "w") as file:
        for row in rows:
            file.write(row + "\\n")
"""
PIPELINE = """
name: writes
plugins: [./steps.py]
nodes:
  - { id: rows, type: rows, params: { version: 0 } }
  - WRITER
"""
WRITERS = {
    "petal": "{ id: writer, type: FileWriter, inputs: { lines: rows }, params: { file_path: out.txt } }",
    "naive": "{ id: writer, type: naive, inputs: { rows: rows } }",
}


def content(version: int) -> str:
    """Return what a whole file of a version holds."""
    return "".join(f"{version} {at}\n" for at in range(LINES))


def kill_many(runner: Warm, writer: str, folder: Path, part: int, kills: int) -> Counter[str]:
    """Kill so many runs that write one file over and over; count how often it was old, new and torn."""
    folder.mkdir()
    (folder / "steps.py").write_text(STEPS)
    (folder / "pipeline.yaml").write_text(PIPELINE.replace("WRITER", WRITERS[writer]))
    target, chance, seen = folder / "out.txt", seeded("kill", writer, part), Counter[str]()

    def argv(version: int) -> list[str]:
        return ["run", "pipeline.yaml", "--quiet", "--set", f"rows.version={version}"]

    first = runner.learn(argv(0), folder)
    assert first.code == 0, first.said
    lasts = sorted(runner.run(argv(0), folder).seconds for _ in range(5))[2]
    held = content(0)
    version = 0
    while seen["killed"] < kills:  # a run that ends before its time is up does not count
        version += 1
        ran = runner.run(argv(version), folder, kill_after=chance.random() * lasts)
        assert ran.code in (0, -9), ran.said
        found, new = target.read_text(), content(version)
        if found == new:
            seen["new"] += 1
        else:
            seen["old" if found == held else "torn"] += 1
        seen["killed"] += ran.code == -9
        held = found
    last = runner.run(argv(version + 1), folder)
    assert last.code == 0, last.said
    assert target.read_text() == content(version + 1)
    return seen


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(SHARES))
def test_killed_at_any_time_a_target_is_old_or_new(part, runner, tmp_path):
    """A reader finds the old file or the new one, whole, and the next run leaves nothing behind."""
    seen = kill_many(runner, "petal", tmp_path / "petal", part, EACH)
    print(dict(seen))
    assert seen["torn"] == 0
    assert left_behind(tmp_path / "petal", ("out.txt",)) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_naive_writer_is_torn_by_the_same_kills(runner, tmp_path):
    """The positive control: at least a tenth of the kills leave half a file."""
    kills = share(500, least=40)
    seen = kill_many(runner, "naive", tmp_path / "naive", 0, kills)
    print(dict(seen))
    assert seen["torn"] >= kills / 10, seen
