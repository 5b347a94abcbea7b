"""Kill a pipeline before one of its changes of files, go on with it, and say what is wrong then."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from petal.data.busy import lock_folder
from petal.metadata.history import records
from petal.spec.event import NodeStored, RunFinished, RunPlanned, Status
from tests.faults.pipelines import CASES, OLD, write
from tests.faults.tracer import Step
from tests.faults.warm import Ran, Warm

RUN = ("run", "pipeline.yaml", "--quiet")
#: A resume that is killed is killed at one of its first so many steps (F18).
_WITHIN = 60


class Undisturbed(NamedTuple):
    """What a pipeline does when nobody disturbs it: its steps, and what it leaves in its targets."""

    steps: list[Step]
    contents: dict[str, bytes]


class Outcome(NamedTuple):
    """What came of a kill.

    Attributes:
        killed: Whether it fell within the run.
        wrong: What is wrong, one sentence each.
        at: The step that was not done any more.
        resumed: Whether there was a run to go on with.
        reused: How many nodes had their output stored.
    """

    killed: bool
    wrong: list[str]
    at: str = ""
    resumed: bool = False
    reused: int = 0


def undisturbed(warm: Warm, case: str, folder: Path) -> Undisturbed:
    """Run a pipeline to its end, after a first run that warms the process up."""
    warmed = folder.with_name(f"{folder.name}-first")
    write(case, warmed)
    first = warm.learn(RUN, warmed)
    assert first.code == 0, first.said
    shutil.rmtree(warmed)
    write(case, folder)
    ran = warm.trace(RUN, folder)
    assert ran.code == 0, ran.said
    contents = {target: (folder / target).read_bytes() for target in CASES[case].targets}
    assert OLD not in contents.values()
    shutil.rmtree(folder)
    return Undisturbed(ran.steps, contents)


def kill(
    warm: Warm,
    case: str,
    folder: Path,
    at: int,
    expected: Undisturbed,
    *,
    chance: random.Random | None = None,
    without: str | None = None,
) -> Outcome:
    """Kill a new run of a pipeline before its n-th step, go on with it, and look at everything.

    Args:
        warm: Runs it.
        case: The pipeline.
        folder: Where; it is made and removed.
        at: The step, from 1.
        expected: What an undisturbed run leaves.
        chance: Has the resume killed as well, now and then.
        without: A defence that is taken away.
    """
    write(case, folder)
    ran = warm.trace(RUN, folder, kill_at=at, without=without)
    if ran.code != -9:
        wrong = [] if ran.code == 0 else [f"exit code {ran.code} although nobody killed it: {ran.said}"]
        shutil.rmtree(folder)
        return Outcome(False, wrong)
    step = str(ran.steps[-1]).replace(str(folder), "")
    wrong = torn(case, folder, expected)
    if ran.stray:
        wrong.append(f"{ran.stray} worker processes live on")
    journal = journal_of(folder)
    resumed, reused = journal.can_resume, len(journal.stored)
    if not journal.is_done:
        wrong += go_on(warm, case, folder, expected, chance, without)
    wrong += [f"{target} is not as it should be" for target in different(folder, expected)]
    wrong += [f"left behind: {path}" for path in left_behind(folder, CASES[case].targets)]
    shutil.rmtree(folder)
    return Outcome(True, [f"killed before {at} ({step}): {what}" for what in wrong], step, resumed, reused)


def go_on(
    warm: Warm,
    case: str,
    folder: Path,
    expected: Undisturbed,
    chance: random.Random | None = None,
    without: str | None = None,
) -> list[str]:
    """Resume a run, or run it again where there is nothing to resume; what is stored must not happen again."""
    wrong: list[str] = []
    while True:
        journal, before, files = journal_of(folder), effects(folder), _inodes(folder, case)
        argv = (*RUN, "--resume") if journal.can_resume else RUN
        again = chance is not None and chance.random() < 0.3
        at = chance.randint(1, _WITHIN) if chance is not None and again else None
        ran: Ran = (
            warm.trace(argv, folder, kill_at=at, without=without)
            if again
            else warm.run(argv, folder, without=without)
        )
        for node in sorted(journal.stored):
            if effects(folder)[node] > before[node]:
                wrong.append(f"`{node}` was stored, and ran again")
        wrong += [
            f"{t} was stored, and is written again" for t in journal.targets if files[t] != _inode(folder, t)
        ]
        if ran.code != -9:
            break
        wrong += torn(case, folder, expected)
        if journal_of(folder).is_done:
            return wrong
    if ran.code != 0:
        wrong.append(f"`petal {' '.join(argv)}` ends with {ran.code}: {ran.said}")
    return wrong


# -- what is there ------------------------------------------------------------------------------------------------


class Journal(NamedTuple):
    """What the last run's journal says."""

    can_resume: bool
    is_done: bool
    stored: frozenset[str]
    targets: frozenset[str]


def journal_of(folder: Path) -> Journal:
    """Read the last journal; no run has begun where its first record is not there."""
    events = []
    for path in sorted((folder / ".petal" / "runs").glob("*.jsonl"), key=lambda p: p.stat().st_mtime_ns):
        found, problems = records(path)
        assert not problems, problems
        events = found or events
    begun = any(isinstance(e, RunPlanned) for e in events)
    is_done = bool(events) and isinstance(events[-1], RunFinished) and events[-1].status is Status.SUCCEEDED
    stored = [e for e in events if isinstance(e, NodeStored)]
    targets = frozenset(Path(t.path).name for e in stored for t in e.targets)
    return Journal(begun and not is_done, is_done, frozenset(e.node for e in stored), targets)


def effects(folder: Path) -> Counter[str]:
    """Return how often each node's code has run."""
    path = folder / "effects"
    return Counter(path.read_text().splitlines() if path.exists() else [])


def left_behind(folder: Path, targets: tuple[str, ...]) -> list[str]:
    """Return temporary files and locks that nobody needs any more."""
    found = [
        str(p.relative_to(folder))
        for p in folder.rglob("*")
        if p.name.endswith((".tmp", ".lock")) and p.name != ".lock"
    ]
    found += [str(p.relative_to(folder)) for p in (folder / ".petal" / "spill").glob("*")]
    found += [p.name for p in (folder.parent / "tmp").glob("*")]
    locks = lock_folder()
    for target in targets:
        digest = hashlib.sha256(os.fsencode(os.path.realpath(folder / target))).hexdigest()[:32]
        if locks is not None and os.path.exists(os.path.join(locks, digest)):
            found.append(f"the lock of {target}")
    return found


def different(folder: Path, expected: Undisturbed) -> list[str]:
    return [name for name, content in expected.contents.items() if _content(folder / name) != content]


def torn(case: str, folder: Path, expected: Undisturbed) -> list[str]:
    """Say which targets are neither old nor new, and which manifests name what is not there."""
    found = {name: _content(folder / name) for name in CASES[case].targets}
    wrong = [
        f"{name} is torn" for name, content in found.items() if content not in (OLD, expected.contents[name])
    ]
    for data, manifest in CASES[case].pairs:
        if found[manifest] != OLD and found[data] == OLD:
            wrong.append(f"{manifest} is published before {data}")
    return wrong


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b"(nothing)"


def _inode(folder: Path, name: str) -> int:
    return (folder / name).stat().st_ino


def _inodes(folder: Path, case: str) -> dict[str, int]:
    return {name: _inode(folder, name) for name in CASES[case].targets if (folder / name).exists()}
