"""`kill -9` before every change of files of five pipelines, then `--resume` (F01, F02, F04, F18; G1, G3, G9)."""

from __future__ import annotations

import re
from collections import Counter
from itertools import count
from pathlib import Path

import pytest

from tests.faults.kills import kill, undisturbed
from tests.faults.pipelines import KILLED
from tests.faults.scale import SCALE, seeded, share
from tests.faults.warm import Warm

#: Runs that end before they are killed, one after the other, until all steps have had their turn: from run to run
#: threads make a few steps more or less.
_ENOUGH = 3


def every_step(case: str, steps: int) -> list[int]:
    """Return which steps are killed before: all of them, or a share chosen by the seed."""
    if SCALE >= 1:
        return list(range(1, steps + 1))
    return sorted(seeded("steps", case).sample(range(1, steps + 1), min(steps, share(steps, least=6))))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("case", KILLED)
def test_killed_before_any_step_and_resumed_it_ends_as_if_nobody_had_disturbed_it(case, tracer, tmp_path):
    """Targets are old or new and at last right, nothing stored runs again, and nothing is left; also when the resume is killed."""
    expected = undisturbed(tracer, case, tmp_path / case)
    wrong: list[str] = []
    seen: Counter[str] = Counter()

    def run(at: int) -> bool:
        found = kill(tracer, case, tmp_path / f"{case}-{at}", at, expected, chance=seeded("resume", case, at))
        wrong.extend(found.wrong)
        seen.update(killed=found.killed, resumed=found.resumed, reused=found.reused > 0)
        return found.killed

    for at in every_step(case, len(expected.steps)):
        run(at)
    if SCALE >= 1:
        ended = 0
        for at in count(len(expected.steps) + 1):
            ended = 0 if run(at) else ended + 1
            if ended == _ENOUGH:
                break
    print(f"{case}: {len(expected.steps)} steps, {dict(seen)}")
    assert not wrong, "\n".join(wrong)
    assert seen["resumed"] > seen["killed"] / 5, "most kills fall into the run itself"
    assert seen["reused"] or SCALE < 1


def noticed(tracer: Warm, case: str, tmp_path: Path, without: str, notices: str) -> bool:
    """Say whether a kill shows what is expected without a defence; from the last step on, where targets are published."""
    expected = undisturbed(tracer, case, tmp_path / case)
    last = len(expected.steps) + 5
    for at in [*range(last, 0, -1)] * 3:  # the window may be one step wide, and threads move it
        found = kill(tracer, case, tmp_path / f"{case}-{at}", at, expected, without=without)
        if any(re.search(notices, what) for what in found.wrong):
            return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize(
    ("without", "case", "notices"),
    [
        ("temporary", "filter", r"errors\.txt is torn"),
        ("order", "retry", r"both\.manifest is published before both\.data"),
        ("proof", "filter", r"is not as it should be"),
        ("sweep", "fan_out", r"left behind: .*(tmp|lock)"),
    ],
)
def test_without_a_defence_some_kill_is_noticed(without, case, notices, tracer, tmp_path):
    """The positive control: each defence is needed, and its absence is seen."""
    assert noticed(tracer, case, tmp_path, without, notices)
