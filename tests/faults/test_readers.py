"""Somebody reads every target all the time, through kills, retries and resumes, and sees only whole files (G1)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.kills import RUN, different, effects, journal_of
from tests.faults.kills import Undisturbed as Expected
from tests.faults.pipelines import CASES, OLD, write
from tests.faults.scale import seeded, share
from tests.faults.warm import Warm

READ = ("fan_out", "retry", "timeout")
ROUNDS = share(300, least=8)

#: Reads the targets over and over, piece by piece, until its stdin is closed; then says what it has seen of each.
_READER = """
import hashlib, json, os, select, sys, time
seen = {target: {} for target in sys.argv[1:]}
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    for target, counts in seen.items():
        try:
            file = os.open(target, os.O_RDONLY)
        except FileNotFoundError:
            found = "nothing"
        else:
            content = hashlib.sha256()
            while piece := os.read(file, 4096):
                content.update(piece)
            os.close(file)
            found = content.hexdigest()
        counts[found] = counts.get(found, 0) + 1
    time.sleep(0.0002)  # or it takes the machine from those that it watches
print(json.dumps(seen))
"""


class Reader:
    """A process that reads; ``seen`` has how often it saw which content of each target, once it has ended."""

    seen: dict[str, dict[str, int]]


@contextmanager
def reading(folder: Path, targets: tuple[str, ...]) -> Iterator[Reader]:
    """Have the targets read, by another process, while the block runs."""
    found = Reader()
    with subprocess.Popen(
        [sys.executable, "-c", _READER, *targets],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        yield found
        process.stdin.close()
        found.seen = json.loads(process.stdout.readline())


def digest(content: bytes) -> str:
    """Return what the reader calls a content."""
    return hashlib.sha256(content).hexdigest()


def afresh(case: str, folder: Path) -> None:
    """Put the old files back, each at once, and forget all runs."""
    for target in CASES[case].targets:
        (folder / "put").write_bytes(OLD)
        os.replace(folder / "put", folder / target)
    shutil.rmtree(folder / ".petal", ignore_errors=True)
    (folder / "effects").unlink(missing_ok=True)


def run_and_kill(
    runner: Warm, case: str, folder: Path, rounds: int, without: str | None = None
) -> tuple[Reader, dict[str, bytes], int]:
    """Run a pipeline so many times, each killed at random times until it has ended, while its targets are read.

    Returns:
        What the reader saw; what the targets hold in the end; and how often a run was killed.
    """
    write(case, folder)
    first = runner.learn(RUN, folder)
    assert first.code == 0, first.said
    new = {target: (folder / target).read_bytes() for target in CASES[case].targets}
    lasts, chance, kills = first.seconds, seeded("readers", case), 0
    with reading(folder, CASES[case].targets) as reader:
        for _ in range(rounds):
            afresh(case, folder)
            while not journal_of(folder).is_done:
                argv = (*RUN, "--resume") if journal_of(folder).can_resume else RUN
                wait = chance.random() * lasts if chance.random() < 0.7 else None
                ran = runner.run(argv, folder, kill_after=wait, without=without)
                assert ran.code in (0, -9), ran.said
                kills += ran.code == -9
                lasts = min(lasts, ran.seconds) if ran.code == 0 else lasts
            assert effects(folder)
            if without is None:
                assert different(folder, Expected([], new)) == []
    return reader, new, kills


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", READ)
def test_a_reader_sees_only_whole_files(case, runner, tmp_path):
    """Whatever happens to the run, who opens a target reads the old file or the new one, from its beginning to its end."""
    reader, new, kills = run_and_kill(runner, case, tmp_path / case, ROUNDS)
    told = []
    for target, counts in reader.seen.items():
        assert set(counts) <= {digest(OLD), digest(new[target])}, f"{target}: {counts}"
        assert len(counts) == 2, f"{target}: it was to be seen old and new: {counts}"
        told.append(f"{target} {counts[digest(OLD)]:,} old {counts[digest(new[target])]:,} new")
    assert kills
    print(f"{case}: {ROUNDS} rounds, {kills} kills; {', '.join(told)}")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_reader_sees_what_is_written_in_place(runner, tmp_path):
    """The positive control: without the temporary file the same reader sees files that are neither old nor new."""
    reader, new, _ = run_and_kill(runner, "retry", tmp_path / "retry", max(8, ROUNDS // 10), "temporary")
    torn = sum(
        number
        for target, counts in reader.seen.items()
        for found, number in counts.items()
        if found not in (digest(OLD), digest(new[target]))
    )
    print(f"torn {torn:,} times of {sum(map(sum, (c.values() for c in reader.seen.values()))):,}")
    assert torn
