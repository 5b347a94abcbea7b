"""What the harness itself is worth: it counts each change of files, kills where it is told to, and sees who lives on."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.faults.warm import ROOT

SCRIPT = """
import json, os, sqlite3, sys, threading, time
from pathlib import Path
from tests.faults import tracer

folder = Path(sys.argv[1])

def write_twice():
    for name in ("a", "b"):
        with open(folder / name, "wb", buffering=0) as file:
            file.write(b"half")
            file.write(b"half")
    os.replace(folder / "a", folder / "c")

def by_threads():
    threads = [threading.Thread(target=write_twice) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

def by_sqlite():
    with sqlite3.connect(folder / "db") as database:
        database.execute("CREATE TABLE t (x)")

def by_a_child():
    child = os.fork()
    if not child:
        write_twice()
        os._exit(0)
    os.waitpid(child, 0)

def leaves_a_child():
    if not os.fork():
        tracer._libc.prctl(1, 0, 0, 0, 0)
        time.sleep(60)
    write_twice()

work = locals()[sys.argv[2]]
at = int(sys.argv[3]) or None
ended = tracer.traced(work, at) if tracer.can_trace() else None
print(json.dumps(None if ended is None else [ended.code, [step.call for step in ended.steps], ended.stray]))
"""

WRITES = ["openat", "write", "write", "openat", "write", "write", "rename"]


def traced(folder, work, at=0):
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), work, str(at)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(ran.stdout)
    if found is None:
        pytest.skip("not run: this machine lets no process be traced (ptrace and seccomp on Linux)")
    return found


@pytest.mark.parametrize("at", range(1, 8))
def test_a_kill_falls_between_two_steps(at, tmp_path):
    """Killed before its n-th step, a process has made exactly those before it."""
    code, steps, stray = traced(tmp_path, "write_twice", at)
    assert (code, steps, stray) == (-9, WRITES[:at], 0)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    wanted = [{}, {"a": 0}, {"a": 4}, {"a": 8}, {"a": 8, "b": 0}, {"a": 8, "b": 4}, {"a": 8, "b": 8}]
    assert sizes == wanted[at - 1]


@pytest.mark.parametrize(
    ("work", "least"), [("write_twice", 7), ("by_threads", 19), ("by_sqlite", 10), ("by_a_child", 7)]
)
def test_steps_of_threads_of_c_and_of_children_count(work, least, tmp_path):
    """Whoever makes a step, it is counted."""
    code, steps, _ = traced(tmp_path, work)
    assert len(steps) >= least
    assert (code == 0) or work == "by_threads"


@pytest.mark.slow
def test_a_process_that_lives_on_is_seen(tmp_path):
    """The positive control of what is said of workers: one that outlives its parent is noticed, and ended."""
    assert traced(tmp_path, "leaves_a_child", 3)[2] == 1
