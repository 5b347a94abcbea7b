"""What comes of an attempt after its time was over never counts: a real run on a backend that cannot stop a task (F27)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.kills import left_behind
from tests.faults.warm import ROOT

#: A backend whose tasks go on when their time is over, and an operator whose first attempt takes too long.
STEPS = '''
import os
import threading
import time
from concurrent.futures import Future, InvalidStateError
from pathlib import Path

from msgspec import Struct
from petal import Backend, Capabilities, Context, hookimpl, open_output, operator, register_plugin
from petal.errors import TimedOut
from petal.worker.execute import execute


def wait_for(name: str) -> None:
    for _ in range(3000):
        if os.path.exists(name):
            return
        time.sleep(0.01)
    raise RuntimeError(f"nobody made {name}")


class Settings(Struct):
    """It has none."""


class Deaf:
    """Runs tasks on threads, which nobody can stop."""

    name = "deaf"
    capabilities = Capabilities(shares_files=True, has_code=True)
    settings = Settings

    def open(self, settings: Settings, folder: str | None) -> "Deaf":
        self.threads: list[threading.Thread] = []
        return self

    def submit(self, task: object) -> Future:
        future: Future = Future()
        future.set_running_or_notify_cancel()
        message = bytes(task.payload.packed())

        def late() -> None:
            if not future.done():
                future.set_exception(TimedOut("it took too long, and goes on", kind="timeout"))

        def work() -> None:
            reply = execute(message)
            Path(f"replied-{task.attempt}").write_bytes(reply)
            try:
                future.set_result(task.payload.answered(reply))
            except InvalidStateError:
                Path("late").touch()

        timer = threading.Timer(0.3, late)
        timer.start()
        self.threads += [timer, threading.Thread(target=work)]
        self.threads[-1].start()
        return future

    def cancel(self, future: Future) -> None:
        pass

    def close(self, grace: float) -> None:
        Path("closing").touch()
        for thread in self.threads:
            thread.join()


@register_plugin
class Brings:
    @hookimpl
    def petal_backends(self) -> list[Backend]:
        return [Deaf()]


@operator(effects="idempotent")
def writes(context: Context, *, order: str) -> int:
    """Write which attempt it is; the first one is held up, until the second has begun or all is over."""
    first = context.attempt == 1
    Path(f"begun-{context.attempt}").touch()
    with open_output("target", context) as file:
        file.write(f"attempt {context.attempt}".encode())
        if first:
            wait_for("begun-2" if order == "before" else "closing")
    if not first and order == "before":
        wait_for("late")
    return context.attempt
'''
PIPELINE = """
plugins: [./steps.py]
nodes:
  - id: slow
    type: writes
    params: { order: ORDER }
    execution: deaf
    timeout: 60s
    retry: { max_attempts: 2, delay: 1ms }
"""
_RUN = """
import sys
sys.path.append({root!r})
if {without!r} != "None":
    from tests.faults.mutants import WITHOUT
    import petal.worker.task
    WITHOUT[{without!r}]()
from petal.cli.main import main
main()
"""


def run(folder: Path, order: str, without: str | None = None) -> dict[str, Any]:
    """Run the pipeline in a process of its own; return its result."""
    folder.mkdir(exist_ok=True)
    (folder.parent / "tmp").mkdir(exist_ok=True)
    (folder / "steps.py").write_text(STEPS)
    (folder / "pipeline.yaml").write_text(PIPELINE.replace("ORDER", order))
    (folder / "target").write_text("old")
    script = _RUN.format(root=str(ROOT), without=str(without))
    done = subprocess.run(
        [sys.executable, "-c", script, "run", "pipeline.yaml", "--json"],
        cwd=folder,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(folder.parent / "tmp")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "late").exists(), "the first attempt ended after its time was over"
    return dict(json.loads(done.stdout))


#: What a run leaves that says how far it came.
MARKS = ("begun-1", "begun-2", "replied-1", "replied-2", "late", "closing")
#: When the first attempt comes to its end: before the second one publishes, or after.
ORDERS = ("before", "after")


@pytest.mark.parametrize("order", ORDERS)
def test_a_late_result_is_dropped(order, tmp_path):
    """The attempt that is current commits; one that was given up neither publishes its file nor gives its value."""
    result = run(tmp_path / "run", order)
    node = result["nodes"]["slow"]
    assert (node["status"], node["attempts"]) == ("succeeded", 2)
    assert [attempt["kind"] for attempt in node["history"]] == ["timeout", None]
    assert (tmp_path / "run" / "target").read_text() == "attempt 2"
    assert b'"ok"' in (tmp_path / "run" / "replied-1").read_bytes(), "it has done its work, in vain"
    (left,) = left_behind(tmp_path / "run", ("target",))
    assert left.startswith(".target.petal-"), "its file, which nobody took"
    for name in MARKS:
        (tmp_path / "run" / name).unlink()
    run(tmp_path / "run", order)
    assert left not in left_behind(tmp_path / "run", ("target",)), "the next run sweeps it away"


def test_without_the_fence_a_late_result_is_published(tmp_path):
    """The positive control: where each attempt publishes for itself, what was given up overwrites what is current."""
    run(tmp_path / "run", "after", without="fence")
    assert (tmp_path / "run" / "target").read_text() == "attempt 1"
