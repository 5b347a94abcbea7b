"""300 signals at random times to `petal run` in a process of its own, then `--resume` (F23, F24, F25; G11)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.kills import RUN, Undisturbed, different, go_on, journal_of, left_behind, torn
from tests.faults.pipelines import CASES, write
from tests.faults.scale import seeded, share
from tests.faults.warm import ROOT, Warm

SHARES = 4  # tests of their own, so that they run side by side
EACH = share(300 // SHARES, least=4)
CASE = "signals"
MARK = "PETAL_FAULTS_MARK"
#: Seconds that children have to end after their parent (F23), and that a run may take to stop (G11: grace and exit).
PATIENCE, LONGEST = 2.0, 8.0

#: What is sent, one signal after the other; a pipe whose reader goes away brings SIGPIPE.
SENT: dict[str, tuple[int, ...]] = {
    "SIGINT": (signal.SIGINT,),
    "SIGTERM": (signal.SIGTERM,),
    "SIGHUP": (signal.SIGHUP,),
    "SIGINT twice": (signal.SIGINT, signal.SIGINT),
    "SIGTERM, then SIGINT": (signal.SIGTERM, signal.SIGINT),
    "pipe": (),
}


class Process:
    """`petal run` in a process of its own, marked so that its children are known."""

    def __init__(self, folder: Path, without: str | None = None) -> None:
        self._mark = uuid.uuid4().hex
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PETAL_")}
        environment |= {
            MARK: self._mark,
            "TMPDIR": str(folder.parent / "tmp"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._errors = folder.parent / "errors"
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _HEARD.format(root=str(ROOT), without=str(without)), *RUN],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def wait(self, seconds: float) -> int | None:
        """Wait for its end while its output is read; return the exit code, None where it runs on."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self._process.poll() is None:
            self._read()
            time.sleep(0.001)
        return self._process.poll()

    def send(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def stop_reading(self) -> None:
        """Close the reading end of its standard output."""
        self._read()
        self._process.stdout.close()

    def _read(self) -> None:
        stdout = self._process.stdout
        if not stdout.closed:
            stdout.read()

    def errors(self) -> str:
        """Return what it wrote to stderr."""
        return self._errors.read_text(errors="replace")

    def alive(self) -> list[int]:
        """Return which processes of its own are alive, itself included, once they had time to end."""
        until = time.monotonic() + PATIENCE
        while (found := self._marked()) and time.monotonic() < until:
            time.sleep(0.01)
        return found

    def _marked(self) -> list[int]:
        mark = f"{MARK}={self._mark}".encode()
        found = []
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                try:
                    if mark in Path(entry.path, "environ").read_bytes():
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    def end(self) -> None:
        """End it and all its children, whatever they do."""
        for one in self._marked():
            os.kill(one, signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()


#: The command `petal`, in which signals are heard also where the shell has this process ignore them.
_HEARD = """
import signal, sys
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
if {without!r} != "None":
    sys.path.append({root!r})
    from tests.faults.mutants import WITHOUT
    WITHOUT[{without!r}]()
from petal.cli.main import main
main()
"""


def expected_codes(kind: str) -> set[int]:
    """Return the exit codes that say the truth; a signal's default, before Petal runs, is the same for a shell."""
    codes = {0, 141} if kind == "pipe" else {0}
    for number in SENT[kind]:
        codes |= {128 + number, -number}
    return codes


def disturb(
    runner: Warm, folder: Path, kind: str, chance: random.Random, lasts: float, expected: Undisturbed
) -> tuple[str, list[str]]:
    """Send signals to a run at random times and go on with it; return how it ended, and what is wrong."""
    write(CASE, folder)
    process = Process(folder)
    try:
        code = process.wait(chance.random() * lasts)
        if kind == "pipe" and code is None:
            process.stop_reading()
        for at, number in enumerate(SENT[kind]):
            code = process.wait(chance.random() * 0.1) if at else code
            if code is None:
                process.send(number)
        code = process.wait(LONGEST)
        alive = process.alive()
    finally:
        process.end()
    wrong = [] if code in expected_codes(kind) else [f"exit code {code}: {process.errors()}"]
    if "Traceback" in process.errors() and journal_of(folder).can_resume:
        wrong.append(f"a traceback: {process.errors()}")
    if alive:
        wrong.append(f"{len(alive)} processes live on")
    wrong += torn(CASE, folder, expected)
    targets = CASES[CASE].targets
    journal = journal_of(folder)
    if len(SENT[kind]) < 2 and code is not None and code >= 128:
        wrong += [f"left behind by the run itself: {path}" for path in left_behind(folder, targets)]
    if not journal.is_done:
        if code == 0:
            wrong.append("exit code 0, although the journal says that it is not done")
        wrong += go_on(runner, CASE, folder, expected)
    wrong += [f"{target} is not as it should be" for target in different(folder, expected)]
    wrong += [f"left behind: {path}" for path in left_behind(folder, targets)]
    how = "done" if journal.is_done else "stopped" if journal.can_resume else "not begun"
    return how, [f"{kind}, exit code {code}, {how}: {what}" for what in wrong]


@pytest.fixture
def expected(runner, tmp_path) -> Undisturbed:
    """What an undisturbed run leaves."""
    folder = tmp_path / "undisturbed"
    write(CASE, folder)
    assert runner.learn(RUN, folder).code == 0
    return Undisturbed([], {name: (folder / name).read_bytes() for name in CASES[CASE].targets})


@pytest.fixture
def lasts(tmp_path, expected) -> float:
    """How many seconds a run takes in a process of its own."""
    folder = tmp_path / "timed"
    write(CASE, folder)
    began = time.monotonic()
    process = Process(folder)
    try:
        assert process.wait(60) == 0, process.errors()
    finally:
        process.end()
    return time.monotonic() - began


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(SHARES))
def test_a_signal_at_any_time_ends_the_run_in_order_and_it_can_go_on(part, runner, tmp_path, expected, lasts):
    """The exit code is right, no process lives on, nothing is left, and the resume ends as if nobody had disturbed it."""
    wrong: list[str] = []
    seen: Counter[str] = Counter()
    for number in range(part * EACH, (part + 1) * EACH):
        chance = seeded("signal", number)
        kind = list(SENT)[number % len(SENT)]
        how, found = disturb(runner, tmp_path / f"run-{number}", kind, chance, lasts, expected)
        seen[how] += 1
        wrong += [f"{number}: {what}" for what in found]
    print(dict(seen))
    assert not wrong, "\n".join(wrong)
    assert seen["stopped"]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_without_a_cleanup_a_stopped_run_leaves_its_temporary_files(tmp_path):
    """The positive control: what a run was writing would stay if it did not drop it."""
    folder = tmp_path / "run"
    (tmp_path / "tmp").mkdir()
    write(CASE, folder)
    process = Process(folder, without="cleanup")
    try:
        until = time.monotonic() + 60
        while not list(folder.glob(".near*.tmp")) and time.monotonic() < until:
            process.wait(0.01)
        process.send(signal.SIGTERM)
        assert process.wait(LONGEST) == 143, process.errors()
        assert process.alive() == []
    finally:
        process.end()
    assert left_behind(folder, CASES[CASE].targets)


#: A run that hears a signal right after a step of its writer, between two instructions of Python.
_CUT = """
import fcntl, os, signal, sys
from petal import Context, Pipeline, open_output, operator
from petal.data import busy, publishing
from tests.faults.mutants import WITHOUT

@operator
def writes(context: Context) -> None:
    module, name = {step!r}.split(".")
    place = dict(os=os, fcntl=fcntl)[module]
    real = getattr(place, name)
    def step(*given, **named):
        found = real(*given, **named)
        if place.__dict__[name] is step:
            setattr(place, name, real)
            signal.raise_signal(signal.SIGINT)
        return found
    setattr(place, name, step)
    with open_output("target", context) as file:
        file.write(b"new")

if {without!r} != "None":
    WITHOUT[{without!r}]()
signal.signal(signal.SIGINT, signal.default_int_handler)
Pipeline.of(writes).run()
"""


def cut(folder: Path, step: str, without: str | None = None) -> list[str]:
    """Interrupt a run right after a step of its writer; return what it leaves behind."""
    folder.mkdir()
    (folder.parent / "tmp").mkdir(exist_ok=True)
    (folder / "target").write_text("old")
    script = folder.parent / f"{folder.name}.py"
    script.write_text(_CUT.format(step=step, without=str(without)))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, str(script)],
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGINT, done.stderr
    assert "stopped by SIGINT" in done.stderr
    assert (folder / "target").read_text() == "old"
    return left_behind(folder, ("target",))


@pytest.mark.parametrize("step", ["os.open", "fcntl.flock", "os.fstat", "os.pwrite", "os.dup", "os.fdopen"])
def test_a_signal_right_after_a_step_of_the_writer_leaves_nothing(tmp_path, step):
    """What has just come to be is noted before the signal is heard, so that it is removed."""
    assert cut(tmp_path / "run", step) == []


def test_a_signal_that_cuts_a_step_of_the_writer_in_two_leaves_a_lock(tmp_path):
    """The positive control: heard at once, the signal leaves what nobody has noted yet."""
    assert cut(tmp_path / "run", "fcntl.flock", without="whole") == ["the lock of target"]
