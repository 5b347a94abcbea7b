"""`petal worker`: a real process that reads requests on stdin, and whose stdout nothing but replies reaches (§5)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from petal.data.wire import MAGIC
from petal.worker.serve import read_frame, write_frame

NOISES = [
    "print",
    "descriptor",
    "subprocess",
    "shell",
    "c",
    "unflushed",
    "original",
    "fork",
    "fork that returns",
    "closes",
    "stdin",
    "inherit",
]


def frame(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


@pytest.fixture
def start(project):
    """Start workers; at the end none is left."""
    started = []

    def make(**options):
        process = subprocess.Popen(
            [sys.executable, "-m", "petal", "worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )
        started.append(process)
        return process

    yield make
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def ask(process, data: bytes) -> bytes:
    write_frame(process.stdin, data)
    process.stdin.flush()
    found = read_frame(process.stdout)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "how", [n if n in ("print", "c") else pytest.param(n, marks=pytest.mark.slow) for n in NOISES]
)
def test_nothing_corrupts_the_protocol(project, start, how):
    """Whatever an operator writes, and however, appears on stderr, and the replies before and after are whole."""
    worker = start()
    assert project.reply("add", ask(worker, project.request("add", {"x": 1}))).value == 2
    found = project.reply("noisy", ask(worker, project.request("noisy", how=how)))
    assert found.error is None
    assert found.value == how
    assert project.reply("add", ask(worker, project.request("add", {"x": 2}))).value == 3
    worker.stdin.close()
    rest, noise = worker.stdout.read(), worker.stderr.read().decode()
    assert worker.wait(30) == 0
    assert rest == b""
    assert f"[{how}]" in noise


@pytest.mark.slow
def test_a_descendant_that_writes_late_does_not_either(project, start):
    """A process that an operator leaves behind writes to stderr too, also when the next reply is on its way."""
    worker = start()
    ask(worker, project.request("noisy", how="descendant"))
    for x in range(200):
        assert project.reply("add", ask(worker, project.request("add", {"x": x}))).value == x + 1
    worker.stdin.close()
    assert worker.stdout.read() == b""
    assert "[descendant]" in worker.stderr.read().decode()


def test_one_process_does_all_tasks(project, start):
    """Requests that are sent without waiting are answered in order, by the same process, errors among them."""
    worker = start()
    requests = [project.request("pid"), project.request("fails", {"x": 1}), project.request("pid")]
    found, errors = worker.communicate(b"".join(map(frame, requests)), timeout=60)
    replies = []
    while found:
        length = int.from_bytes(found[:4], "big")
        replies.append(found[4 : 4 + length])
        found = found[4 + length :]
    first, second, third = map(project.reply, ["pid", "fails", "pid"], replies)
    assert first.value == third.value == worker.pid
    assert second.error["type"] == "Fault"
    assert (worker.returncode, errors) == (0, b"")


@pytest.mark.slow
def test_large_messages(project, start):
    """A request and a reply of many megabytes pass through the pipes."""
    worker = start()
    rows = list(range(1_000_000))
    found = project.reply("doubled", ask(worker, project.request("doubled", {"rows": iter(rows)})))
    assert found.value == [2 * r for r in rows]


def test_it_ends_at_the_end_of_stdin(start):
    """Without a request it ends, quietly and successfully."""
    assert start().communicate(b"", timeout=60) == (b"", b"")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\0\0", "end in the middle of a frame"),
        (b"\0\0\1\0PTL1", "end in the middle of a frame"),
        (frame(b"hello"), "this is no message of Petal"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", "a frame says that it has", marks=pytest.mark.slow),
        pytest.param(frame(MAGIC + b"\0\0\0\2[]"), "is no JSON object", marks=pytest.mark.slow),
        pytest.param(frame(MAGIC + b"\0\0\0\7{} rest"), "not JSON", marks=pytest.mark.slow),
    ],
)
def test_a_damaged_frame_ends_it(start, data, said):
    """Damage is said on stderr, nothing is answered, and the exit code is not 0."""
    worker = start()
    found, errors = worker.communicate(data, timeout=60)
    assert found == b""
    assert said in errors.decode()
    assert "Traceback" not in errors.decode()
    assert worker.returncode == 1


@pytest.mark.slow
def test_tasks_before_a_damaged_frame_are_answered(project, start):
    """What came whole is done, whatever comes after it."""
    worker = start()
    found, _ = worker.communicate(frame(project.request("add", {"x": 1})) + b"\0", timeout=60)
    assert project.reply("add", found[4:]).value == 2
    assert worker.returncode == 1


@pytest.mark.slow
def test_it_ends_when_nobody_reads(project, start):
    """When the reader of its replies is gone, it ends by itself."""
    worker = start()
    worker.stdout.close()
    write_frame(worker.stdin, project.request("add", {"x": 1}))
    worker.stdin.flush()
    assert worker.wait(60) != 0
    worker.stdout = None
    worker.stdin.close()
    worker.stdin = None


@pytest.mark.slow
def test_stderr_may_be_closed(project, start):
    """Started without a stderr, prints go nowhere and replies are whole."""
    worker = subprocess.Popen(
        ["sh", "-c", f"exec {sys.executable} -m petal worker 2>&-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    for how in ("print", "descriptor", "subprocess", "c"):
        found = project.reply("noisy", ask(worker, project.request("noisy", how=how)))
        assert found.value == how
    assert worker.communicate(timeout=60) == (b"", None)
    assert worker.returncode == 0


def test_killed_by_a_signal_it_says_so(project, start):
    """SIGTERM ends it at once: nothing of it holds on."""
    worker = start()
    ask(worker, project.request("pid"))
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(30) == -signal.SIGTERM


def test_what_a_task_prints_ends_with_the_mark_that_was_asked_for(project, start):
    """`$PETAL_WORKER_MARK` is written when the worker is ready and behind each task's prints, and no task sees it."""
    worker = start(env={**os.environ, "PETAL_WORKER_MARK": "<end>"})
    for how in ("print", "c"):
        assert project.reply("noisy", ask(worker, project.request("noisy", how=how))).value == how
    worker.stdin.close()
    worker.wait(30)
    ready, first, second, rest = worker.stderr.read().decode().split("<end>")
    assert "[" not in ready + rest
    assert "[print]" in first
    assert "[c]" in second


def test_a_worker_with_a_mark_ends_with_its_stdin_even_within_a_task(project, start):
    """Nobody waits any more; without a mark it would end its task first."""
    worker = start(env={**os.environ, "PETAL_WORKER_MARK": "<end>"})
    write_frame(worker.stdin, project.request("sleeps"))
    worker.stdin.flush()
    assert worker.stderr.read(5) == b"<end>"
    worker.stdin.close()
    assert worker.wait(30) == 1
