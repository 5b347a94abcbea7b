"""The pool when something breaks: a worker, its handler, the process that starts workers, the driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from petal.errors import TaskLost, TimedOut, WorkerDied
from petal.execution.pool import Pool
from petal.execution.pool_deaths import kills
from petal.execution.pool_files import sweep
from petal.execution.pool_tasks import Tasks
from tests.execution.conftest import settles
from tests.execution.pools import Note, alive, gone, pause, pids_in, pool_of, said

#: Seconds after its driver's death within which no process of a pool may live.
SOON = 2.0


def test_a_death_fails_only_its_own_task(tmp_path: Path) -> None:
    """Of 40 tasks of which one kills its worker, 39 succeed and one says by what it was killed."""
    notes = [Note("die", "signal", 9) if n == 7 else Note("sleep", 0.002) for n in range(40)]
    with pool_of(tmp_path) as pool:
        errors = [f.exception() for f in [pool.submit(note) for note in notes]]
    assert [n for n, error in enumerate(errors) if error is not None] == [7]
    assert isinstance(errors[7], WorkerDied)
    assert "killed by SIGKILL (9)" in str(errors[7])
    assert errors[7].kind == "infrastructure"


def _sleep_or_die(number: int) -> None:
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.002)


def test_a_death_breaks_the_pool_of_the_standard_library() -> None:
    """The positive control: there, tasks that did nothing wrong fail with the one that did."""
    from multiprocessing import get_context

    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        errors = []
        for future in [pool.submit(_sleep_or_die, n) for n in range(40)]:
            errors.append(future.exception())
    assert sum(isinstance(error, BrokenProcessPool) for error in errors) > 1


@pytest.mark.parametrize(
    ("how", "value", "message", "kind"),
    [
        ("signal", signal.SIGKILL, "was killed by SIGKILL (9)", "infrastructure"),
        ("signal", signal.SIGSEGV, "was killed by SIGSEGV (11)", "infrastructure"),
        ("signal", 40, "was killed by signal (40)", "infrastructure"),
        ("exit", 3, "exited with code 3", "infrastructure"),
        ("exit", 0, "exited with code 0\n  hint: something in the task ended", "infrastructure"),
        ("leave", 5, "exited with code 5", "infrastructure"),
        ("leave", "bye", "exited with code 1", "infrastructure"),
        ("raise", "wrong", "exited with code 1: ValueError: wrong", "infrastructure"),
        ("memory", "", "exited with code 1: MemoryError: , probably out of memory", "out_of_memory"),
        ("abort", "", "was killed by SIGABRT (6)", "infrastructure"),
        ("abort", "memory allocation of 9 bytes failed", "(6), probably out of memory", "out_of_memory"),
    ],
)
def test_an_error_says_how_the_worker_ended(
    how: str, value: object, message: str, kind: str, tmp_path: Path
) -> None:
    """Signal, exit code, exception or want of memory, with what was written before; the next task succeeds."""
    with pool_of(tmp_path, 1) as pool:
        with pytest.raises(WorkerDied) as caught:
            pool.submit(Note("die", how, value)).result()
        assert said(pool.submit(Note("echo")).result()) == ["echo"]
    assert message in str(caught.value)
    assert caught.value.kind == kind
    assert caught.value.output.startswith("these are the last words")
    if how in ("raise", "memory"):
        assert "Traceback (most recent call last)" in caught.value.output


def test_a_kill_by_the_kernel_for_want_of_memory_is_named(tmp_path: Path) -> None:
    """A worker whose control group has no memory left is said to be out of memory."""
    group = Path("/sys/fs/cgroup/memory", f"petal-test-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(64 << 20))
    except OSError:
        pytest.skip("no control group of memory can be made here")
    try:
        before = kills()
        with pool_of(tmp_path, 1) as pool:
            with pytest.raises(WorkerDied, match=r"SIGKILL \(9\), probably out of memory") as caught:
                pool.submit(Note("starve", str(group), 200)).result()
            assert kills() == before + 1
            with pytest.raises(WorkerDied) as other:
                pool.submit(Note("die", "signal", 9)).result()
    finally:
        settles(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()
    assert caught.value.kind == "out_of_memory"
    assert caught.value.hint is not None
    assert other.value.kind == "infrastructure", "the kernel's kill is explained already"


def test_every_task_that_kills_its_worker_fails_and_the_pool_goes_on(tmp_path: Path) -> None:
    """Thirty tasks in a row that kill their workers, queued with as many that do not."""
    notes = [Note("die", "exit", 4) if n % 2 else Note("sleep", 0) for n in range(60)]
    with pool_of(tmp_path) as pool:
        errors = [f.exception() for f in [pool.submit(note) for note in notes]]
    assert [isinstance(error, WorkerDied) for error in errors] == [bool(n % 2) for n in range(60)]


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        ("no_such_module_here:handle", "ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("json:no_such_function", "AttributeError: module 'json' has no attribute 'no_such_function'"),
        ("ends_at_import:handle", "exited with code 7, before it could take a task"),
    ],
)
def test_a_handler_that_cannot_be_imported_fails_each_task(
    handler: str, message: str, tmp_path: Path
) -> None:
    """The error says what is missing, and nothing is tried for ever."""
    (tmp_path / "ends_at_import.py").write_text("import os\nos._exit(7)")
    with Pool(handler, size=2, environment={"PYTHONPATH": str(tmp_path)}) as pool:
        futures = [pool.submit(Note("echo")) for _ in range(3)]
        for future in futures:
            with pytest.raises(WorkerDied) as caught:
                future.result()
            assert message in str(caught.value)


def test_an_idle_worker_that_was_killed_is_replaced(tmp_path: Path) -> None:
    """The next task does not fail for it, whether its end is known already or not."""
    with pool_of(tmp_path, 1) as pool:
        for number in range(20):
            before = said(pool.submit(Note("sleep", 0)).result())
            os.kill(before, signal.SIGKILL)
            if number % 2:
                gone([before])
            assert said(pool.submit(Note("sleep", 0)).result()) != before


def test_a_task_that_its_worker_never_read_goes_to_another(tmp_path: Path) -> None:
    """A worker that is stopped when it gets a task, and then killed, has not begun it: another does it."""
    with pool_of(tmp_path, 1) as pool:
        before = said(pool.submit(Note("sleep", 0)).result())
        os.kill(before, signal.SIGSTOP)
        future = pool.submit(Note("sleep", 0))
        pause()
        os.kill(before, signal.SIGKILL)
        assert said(future.result()) != before


def test_a_worker_that_dies_just_before_it_is_sent_its_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end is known, and its socket closed, when the task is to be sent: it has not begun, and another does it."""
    send = Tasks.send

    with pool_of(tmp_path, 1) as pool:
        before = said(pool.submit(Note("sleep", 0)).result())

        def late(self: Tasks, member: Any, job: Any) -> None:
            if member.pid == before:
                os.kill(before, signal.SIGKILL)
                settles(lambda: member.number not in self.members)
            send(self, member, job)

        monkeypatch.setattr(Tasks, "send", late)
        assert said(pool.submit(Note("sleep", 0)).result()) != before


def test_a_worker_that_stops_reading_holds_up_nobody_else(tmp_path: Path) -> None:
    """While 5 MB cannot be sent to a stopped worker, the other works, and the time-out of the first is kept."""
    with pool_of(tmp_path, 2) as pool:
        one, two = (pool.submit(Note("sleep", 0.1)) for _ in range(2))
        stopped = said(one.result())
        two.result()
        os.kill(stopped, signal.SIGSTOP)
        futures = [pool.submit(Note("echo", "x" * 5_000_000), timeout=2.0) for _ in range(2)]
        errors = [f.exception() for f in futures]
        assert sum(isinstance(error, TimedOut) for error in errors) == 1
        assert sum(error is None for error in errors) == 1
    assert gone([stopped])


# -- time-outs ----------------------------------------------------------------------------------------------------


def test_a_task_that_takes_too_long_is_killed_though_it_ignores_sigterm(tmp_path: Path) -> None:
    """A sleep in C that keeps the interpreter's lock and ignores SIGTERM ends by its time-out."""
    with pool_of(tmp_path, 1) as pool:
        pid = said(pool.submit(Note("sleep", 0)).result())
        began = time.monotonic()
        future = pool.submit(Note("stubborn", str(tmp_path / "ready"), 60), timeout=1.0)
        with pytest.raises(TimedOut, match="took longer than its timeout of 1s") as caught:
            future.result()
        took = time.monotonic() - began
        assert not alive(pid)
        assert (tmp_path / "ready").exists()
        assert caught.value.kind == "timeout"
        assert said(pool.submit(Note("echo")).result()) == ["echo"]
    assert 1.0 < took < 1.5


def test_a_task_whose_time_is_over_can_clean_up(tmp_path: Path) -> None:
    """SIGTERM comes first, and runs its `finally`."""
    with pool_of(tmp_path) as pool:
        future = pool.submit(Note("cleans", str(tmp_path / "cleaned"), 60), timeout=0.1)
        assert isinstance(future.exception(), TimedOut)
    assert (tmp_path / "cleaned").exists()


def test_the_time_of_a_task_begins_with_the_task(tmp_path: Path) -> None:
    """Neither the wait in the queue nor the start of a worker counts."""
    with pool_of(tmp_path, 1) as pool:
        futures = [pool.submit(Note("sleep", 0.1), timeout=0.35) for _ in range(5)]
        assert [f.exception() for f in futures] == [None] * 5


@pytest.mark.slow
def test_a_time_out_kills_all_that_the_task_has_started(tmp_path: Path) -> None:
    """A child that ignores SIGTERM, one in a session of its own, and its child write no more after the time-out."""
    place = tmp_path / "place"
    place.mkdir()
    with pool_of(tmp_path) as pool:
        future = pool.submit(Note("crowd", str(place), 1), timeout=1.0)
        assert settles(lambda: len(pids_in(place)) == 4), "the control: all four live and write"
        pids = pids_in(place)
        assert all(map(alive, pids))
        assert isinstance(future.exception(), TimedOut)
        assert gone(pids, 0.5)
        _silent(place)


def _silent(place: Path) -> None:
    """Nobody writes there any more."""
    sizes = {path.name: path.stat().st_size for path in place.iterdir()}
    pause()
    assert {path.name: path.stat().st_size for path in place.iterdir()} == sizes


# -- the process that starts workers, and the driver --------------------------------------------------------------


def test_the_process_that_starts_workers_can_die(tmp_path: Path) -> None:
    """Running tasks fail, their workers die, and the next task has new ones."""
    with pool_of(tmp_path, 2) as pool:
        about = said(pool.submit(Note("about")).result())
        begun = tmp_path / "begun"  # else the task could come back to the queue, and be done
        future = pool.submit(Note("stubborn", str(begun), 60))
        assert settles(begun.exists)
        os.kill(about["parent"], signal.SIGKILL)
        with pytest.raises(WorkerDied, match="SIGKILL"):
            future.result()
        assert gone([about["pid"]], SOON)
        futures = [pool.submit(Note("about")) for _ in range(4)]
        assert {said(f.result())["parent"] for f in futures} != {about["parent"]}


DRIVER = """
import json, os, sys, time
from petal.execution.pool import Pool
from tests.execution.pools import Note, given
from pathlib import Path

folder, place = map(Path, sys.argv[1:])
pool = Pool("handlers_of_tests:handle", size=2, folder=sys.argv[1], **given(folder))
futures = [pool.submit(Note("crowd", str(place), n)) for n in range(2)]
if os.environ.get("PETAL_FORKS"):
    while len(os.listdir(place)) < 8:
        time.sleep(0.01)
    if not os.fork():  # it has copies of all that the driver has open
        (folder / "forked").touch()
        time.sleep(30)
        os._exit(0)
futures[0].result()
"""


def _driver(folder: Path, place: Path, root: Path, **variables: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(root), **variables}
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(folder), str(place)], env=environment, start_new_session=True
    )


def _kill_driver(tmp_path: Path, root: Path, **variables: str) -> None:
    place = tmp_path / "place"
    place.mkdir(parents=True)
    driver = _driver(tmp_path, place, root, **variables)
    try:
        assert settles(lambda: len(pids_in(place)) == 8, 20), "two workers and three processes of each"
        assert not variables or settles((tmp_path / "forked").exists)
        pids = pids_in(place)
        parents = {int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in pids}
        everybody = [*pids, *(parents - {1, os.getpid(), driver.pid})]
        os.kill(driver.pid, signal.SIGKILL)
        assert gone(everybody, SOON), [pid for pid in everybody if alive(pid)]
        _silent(place)
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()

    def swept() -> bool:
        sweep(str(tmp_path))
        return not list(tmp_path.glob("petal-pool-*"))

    assert settles(swept), "what it left behind is removed by the next"


@pytest.mark.parametrize(
    "number", [*range(3), *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 20))]
)
def test_nothing_lives_after_the_driver_was_killed(number: int, tmp_path: Path, root: Path) -> None:
    """Workers, the process that forks them and all that tasks have started are gone, and write nothing more."""
    _kill_driver(tmp_path, root)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only the end of the socket tells")
def test_nothing_lives_after_the_driver_was_killed_whose_files_another_has(
    tmp_path: Path, root: Path
) -> None:
    """The same where a forked child of the driver keeps its sockets open."""
    _kill_driver(tmp_path, root, PETAL_FORKS="1")


STANDARD = """
import os, sys, time
from concurrent.futures import ProcessPoolExecutor

def work(place):
    for _ in range(600):
        with open(place + "/" + str(os.getpid()), "a") as file:
            file.write(".")
        time.sleep(0.005)

if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(work, [sys.argv[1]] * 2))
"""


def test_workers_of_the_standard_library_live_on(tmp_path: Path) -> None:
    """The positive control: there, workers go on with their task after their driver was killed, and write."""
    (tmp_path / "standard.py").write_text(STANDARD)
    place = tmp_path / "place"
    place.mkdir()
    driver = subprocess.Popen(
        [sys.executable, str(tmp_path / "standard.py"), str(place)], start_new_session=True
    )
    try:
        assert settles(lambda: len(pids_in(place)) == 2, 20)
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        with pytest.raises(AssertionError):
            _silent(place)
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
    assert gone(pids_in(place))


INTERRUPTED = """
import signal, sys
from pathlib import Path
from petal.execution.pool import Pool
from tests.execution.pools import Note, given, said

folder = Path(sys.argv[1])
seen = []
signal.signal(signal.SIGINT, lambda *_: seen.append(1))
with Pool("handlers_of_tests:handle", size=1, **given(folder)) as pool:
    future = pool.submit(Note("wait_for", str(folder / "go")))
    pool.submit(Note("echo"))
    print("ready", flush=True)
    assert said(future.result()) is None
    assert seen
print("done", flush=True)
"""


def test_an_interrupt_from_the_terminal_reaches_the_driver_alone(tmp_path: Path, root: Path) -> None:
    """SIGINT to the driver's whole process group leaves its workers at work."""
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
    ) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "ready\n"
        pause()
        os.killpg(driver.pid, signal.SIGINT)
        pause()
        (tmp_path / "go").touch()
        assert driver.stdout.readline() == "done\n"
    assert driver.returncode == 0


INTERRUPTING = """
import random, signal, sys
from pathlib import Path
from petal.execution.pool import Pool
from tests.execution.pools import Note, given, said

class Stop(Exception):
    pass

def stop(*_):
    raise Stop

signal.signal(signal.SIGALRM, stop)
draw = random.Random(1)
caught = 0
with Pool("handlers_of_tests:handle", size=1, **given(Path(sys.argv[1]))) as pool:
    pid = said(pool.submit(Note("sleep", 0)).result())
    for _ in range(100):
        future = pool.submit(Note("sleep", 0.02))
        try:
            signal.setitimer(signal.ITIMER_REAL, draw.uniform(0.005, 0.01))
            future.result(20)
        except Stop:
            caught += 1
        assert said(future.result(20)) == pid
print(caught)
"""


@pytest.mark.slow
def test_an_exception_that_interrupts_a_wait_loses_no_task(tmp_path: Path, root: Path) -> None:
    """A signal handler raises while a reply is awaited: who asks again gets it, from the same worker."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTING, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 90, "the control: waits were interrupted"


def test_an_interrupt_while_a_reply_is_being_read_ends_the_task(tmp_path: Path) -> None:
    """What was read is lost then: the future fails, the worker is replaced, and the pool goes on."""

    def interrupt(_: bytes) -> None:
        raise KeyboardInterrupt

    with pool_of(tmp_path, 1) as pool:
        before = said(pool.submit(Note("sleep", 0)).result())
        future = pool.submit(Note("tell", 3, 0.2), on_event=interrupt)
        with pytest.raises(KeyboardInterrupt):
            future.result()
        with pytest.raises(TaskLost, match="was interrupted"):
            future.result()
        assert said(pool.submit(Note("sleep", 0)).result()) != before
