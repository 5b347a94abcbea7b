"""Thousands of whole runs of the scheduler under a virtual clock, in a world where most things go wrong (DESIGN §5, §11).

20,000 seeds by default; ``PETAL_TEST_SCALE=10`` makes it 200,000, ``PETAL_TEST_SEED`` gives other ones. A failure names
its seed; ``python -m tests.simulation SEED`` replays it.
"""

from __future__ import annotations

import os
import re
from collections import Counter

import pytest

from petal.execution.scheduler import Scheduler, State
from tests.simulation.__main__ import main
from tests.simulation.checks import Broken
from tests.simulation.mutants import WITHOUT
from tests.simulation.run import Run

SCALE = float(os.environ.get("PETAL_TEST_SCALE", "1"))
SEED = int(os.environ.get("PETAL_TEST_SEED", "0"))
SHARES = 8  # tests of their own, so that they run side by side
EACH = int(20_000 * SCALE / SHARES)
#: Seeds that a switched-off defence is given to be noticed; the least of them takes a few hundred.
ENOUGH = 4000
#: Seeds that are counted to see what happens in them.
COUNTED = 400


def breaks(seed: int, scheduler: type[Scheduler] = Scheduler, *, has_keys: bool = True) -> str | None:
    """Return what breaks in one run, or None."""
    try:
        Run(seed, scheduler, has_keys=has_keys).go()
    except Broken as error:
        return str(error)
    return None


def first_broken(scheduler: type[Scheduler] = Scheduler, *, has_keys: bool = True) -> str | None:
    """Return what breaks first, or None where nothing does within so many seeds."""
    seeds = range(SEED, SEED + ENOUGH)
    return next(filter(None, (breaks(seed, scheduler, has_keys=has_keys) for seed in seeds)), None)


@pytest.mark.parametrize("share", range(SHARES))
def test_no_invariant_breaks(share):
    """Attempts are capped, once is once, stale attempts publish nothing, waits are kept, and every run ends."""
    for seed in range(SEED + share * EACH, SEED + (share + 1) * EACH):
        run = Run(seed)
        try:
            run.go()
        except Exception as error:
            pytest.fail(f"seed {seed}: {error} (python -m tests.simulation {seed})\n" + "\n".join(run.trace))


@pytest.mark.parametrize(
    ("defence", "notices"),
    [
        ("fencing", "publishes|too late|starts twice|starts while"),
        ("unknown", "tried again after|ends as FAILED"),
        ("cap", "is tried again after"),
        ("budget", "is tried again after"),
        ("clock", "before its wait is over|nobody said so"),
        ("stop", "tried again|after the stop"),
        ("retry", "is not tried again|ends as"),
        ("skip", "reads a stream that is broken"),
    ],
)
def test_a_defence_that_is_switched_off_is_noticed(defence, notices):
    """The positive control: without it some seed breaks an invariant, and says which."""
    found = first_broken(WITHOUT[defence])
    assert found is not None
    assert re.search(notices, found), found


def test_without_idempotency_keys_effects_happen_twice():
    """The positive control of the world: what happens out there is known again by its key, or happens twice."""
    assert "take" in (first_broken(has_keys=False) or "")


def test_a_seed_is_always_the_same_run():
    """A failing seed replays: the same steps at the same times."""
    for seed in range(SEED, SEED + 20):
        first, second = Run(seed), Run(seed)
        first.go()
        second.go()
        assert first.trace == second.trace
        assert first.trace


@pytest.mark.parametrize(("defence", "code"), [((), 0), (("--without", "retry"), 1)])
def test_a_seed_is_replayed_from_the_command_line(defence, code, monkeypatch, capsys):
    """`python -m tests.simulation SEED` shows each step, and what breaks where something does."""
    seed = next(s for s in range(SEED, SEED + ENOUGH) if breaks(s, WITHOUT["retry"]))
    monkeypatch.setattr("sys.argv", ["simulation", str(seed), *defence])
    assert main() == code
    shown = capsys.readouterr().out
    assert "unit 0: attempt 1 in place 0" in shown
    assert ("BROKEN: " in shown) == bool(code)


def test_the_world_does_what_the_invariants_are_about():
    """Retries, moves, throttles, unknown ends, stale replies, stops and skips all happen, and often."""
    seen: Counter[str] = Counter()
    for seed in range(SEED, SEED + COUNTED):
        run = Run(seed)
        run.go()
        text = "\n".join(run.trace)
        states = run.scheduler.states
        seen["succeeded"] += State.SUCCEEDED in states
        seen["unknown"] += State.UNKNOWN in states
        seen["skipped"] += State.SKIPPED in states
        seen["third attempt"] += ": attempt 3 in" in text
        seen["moved"] += "in place 1" in text
        seen["throttled"] += "says TooMany" in text
        seen["stopped"] += "the run is stopped" in text
        seen["waited"] += "time has passed" in text
    assert all(count > COUNTED / 20 for count in seen.values()), seen
