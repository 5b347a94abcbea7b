"""Ctrl-C and SIGTERM: the run ends within its grace period, and no output is torn (F24, F25, DESIGN 5)."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import asyncio, os, sys, time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from petal import Context, Pipeline, node, open_output

OUT = Path(sys.argv[2])

def say(text):
    os.write(1, (text + "\\n").encode())

def sink(rows: Iterable[int], *, name: str, context: Context) -> None:
    with open_output(OUT / name, context) as file:
        for row in rows:
            file.write(b"%d\\n" % row * 1000)
    time.sleep(0.01)

def slow() -> Iterator[int]:
    for i in range(100_000):
        if i == 1:
            say("ready")
        time.sleep(0.001)
        yield i

def fast() -> Iterator[int]:
    say("ready")
    for i in range(10_000_000):
        yield i

async def later() -> AsyncIterator[int]:
    say("ready")
    for i in range(100_000):
        await asyncio.sleep(0.001)
        yield i

async def waits(rows: AsyncIterator[int]) -> int:
    return sum([x async for x in rows])

def inline() -> int:
    say("ready")
    time.sleep(60)
    return 1

def short(*, k: int) -> int:
    say("ready") if k == 0 else None
    time.sleep(0.05)
    return k

def deaf() -> int:
    say("ready")
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            time.sleep(0.1)
        except BaseException:
            pass
    return 1

def deaf_sink(rows: Iterable[int], *, context: Context) -> None:
    with open_output(OUT / "deaf", context) as file:
        file.write(b"half")
        file.flush()
        deaf()

def source() -> Iterator[int]:
    while True:
        yield 1

def deaf_iterator() -> Iterator[int]:
    deaf()
    yield 1

def one() -> int:
    time.sleep(0.3)
    return 1

SINK = lambda rows, name="out": node(sink, id=name, inputs={"rows": rows}, name=name)
PIPELINES = {
    "inline": lambda: [inline],
    "inline sink": lambda: [slow, SINK("slow")],
    "busy sink": lambda: [fast, SINK("fast")],
    "stage": lambda: [slow, SINK("slow"), SINK("slow", "out2"), node(lambda rows: 1, id="n", inputs={"rows": "slow"})],
    "busy stage": lambda: [fast, SINK("fast"), SINK("fast", "out2")],
    "async": lambda: [later, node(waits, inputs={"rows": "later"}), SINK("later")],
    "threads": lambda: [node(short, id=f"n{k}", k=k) for k in range(6400)],
    "deaf thread": lambda: [one] + [node(deaf, id=f"d{k}") for k in range(3)],
    "deaf stage": lambda: [source, node(deaf_sink, inputs={"rows": "source"}), SINK("source")],
    "deaf iterator": lambda: [deaf_iterator, node(waits, inputs={"rows": "deaf_iterator"})],
}
pipeline = Pipeline.of(*PIPELINES[sys.argv[1]](), name="p")
try:
    pipeline.run()
except Exception as error:
    say("exception " + repr(error))
    sys.exit(9)
except (KeyboardInterrupt, SystemExit) as error:
    stopped = error.__cause__
    say("stopped " + str(stopped) + " " + str(stopped.result.status))
    sys.exit(128 + stopped.signal)
say("done")
"""


class Run:
    """A pipeline in a process of its own."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.folder = folder
        script = folder.parent / "script.py"
        script.write_text(SCRIPT)
        self.process = subprocess.Popen(
            [sys.executable, str(script), kind, str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.first = self.process.stdout.readline()

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, seconds: float = 30) -> tuple[int, float, str]:
        began = time.monotonic()
        try:
            out, err = self.process.communicate(timeout=seconds)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.communicate()
        assert "Traceback" not in err, err
        return self.process.returncode, time.monotonic() - began, out

    def left(self) -> list[str]:
        return sorted(p.name for p in self.folder.iterdir())


@pytest.fixture
def folder(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    return out


KINDS = ["inline", "inline sink", "busy sink", "stage", "busy stage", "async", "threads"]


@pytest.mark.slow
@pytest.mark.timeout(110)
@pytest.mark.parametrize("seed", range(30))
def test_a_signal_at_any_time_ends_the_run_in_order(seed, folder):
    """F24: SIGINT or SIGTERM at a random time: ended within the grace period, targets untouched, nothing left."""
    rng = random.Random(seed)
    kind, number = KINDS[seed % len(KINDS)], rng.choice((signal.SIGINT, signal.SIGTERM))
    (folder / "out").write_text("old")
    run = Run(kind, folder)
    assert run.first == "ready\n"
    time.sleep(rng.random() * 0.25)
    run.send(number)
    code, seconds, out = run.end()
    assert code == 128 + number, out
    assert f"stopped by {number.name}" in out
    assert "cancelled" in out
    assert seconds < 4
    assert run.left() == ["out"]
    assert (folder / "out").read_text() == "old"


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["deaf thread", "deaf stage", "deaf iterator"])
def test_a_thread_that_ignores_everything_holds_up_the_exit_no_longer_than_the_grace(kind, folder):
    """F26, DESIGN 5: threads never hold up the exit; what they were writing is gone."""
    (folder / "out").write_text("old")
    run = Run(kind, folder)
    time.sleep(0.4)
    run.send(signal.SIGTERM)
    code, seconds, out = run.end()
    assert code == 143, out
    assert seconds < 5
    assert run.left() == ["out"]
    assert (folder / "out").read_text() == "old"


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["deaf thread", "deaf stage"])
def test_a_second_signal_ends_the_process_at_once(kind, folder):
    """F25: the second signal does not wait for the grace period, and still nothing is torn."""
    (folder / "out").write_text("old")
    run = Run(kind, folder)
    time.sleep(0.4)
    run.send(signal.SIGINT)
    time.sleep(0.3)
    run.send(signal.SIGINT)
    code, seconds, _ = run.end()
    assert code == 130
    assert seconds < 1
    assert run.left() == ["out"]
    assert (folder / "out").read_text() == "old"


@pytest.fixture
def ctrl_c_is_heard():
    """Undo what a shell does to what it runs in the background: SIGINT is ignored there, and would never arrive."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.timeout(30)
@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_an_interrupt_in_this_process_restores_the_handlers():
    """DESIGN 5: Ctrl-C in a notebook stops the run by KeyboardInterrupt, whose cause says how far the run came."""
    import os
    import threading

    from petal import Pipeline

    timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))

    def wait() -> int:
        timer.start()  # the signal comes while the node runs, however busy the machine is
        time.sleep(10)
        return 1

    before = (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt) as caught:
        Pipeline.of(wait).run()
    stopped = caught.value.__cause__
    timer.join()
    assert time.monotonic() - began < 3
    assert "SIGINT" in str(stopped)
    assert stopped.result.nodes["wait"].status == "cancelled"
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert Pipeline.of(lambda_node()).run().status == "succeeded"


def lambda_node():
    def fine() -> int:
        return 1

    return fine


def test_a_handler_of_the_applications_own_stays(monkeypatch):
    """DESIGN 5: an application that handles SIGTERM itself keeps its handler while a pipeline runs."""
    from petal import Pipeline

    def mine(*_: object) -> None:
        pass

    seen = []

    def look() -> int:
        seen.append(signal.getsignal(signal.SIGTERM))
        return 1

    before = signal.signal(signal.SIGTERM, mine)
    try:
        Pipeline.of(look).run().check()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [mine]
