"""Two runs at once that write one file: the second fails with the first one's id, wherever the nodes run (F14)."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from petal import Context, Pipeline, open_output, operator
from petal.data.busy import lock_of

MODULE = '''
from petal import Context, open_output, operator


@operator
def write(*, path: str, text: str = "x", context: Context | None = None) -> None:
    """Write a file."""
    with open_output(path, context) as file:
        file.write(text.encode())
'''
FILE = """
plugins: [./writing.py]
nodes:
  - {{id: writer, type: write, params: {{path: {path}, text: {text}}}, execution: {{backend: {backend}}}}}
"""


@operator
def hold_open(*, path: str, begun: object, end: object, context: Context | None = None) -> None:
    """Write a file, and take a while."""
    assert isinstance(begun, threading.Event)
    assert isinstance(end, threading.Event)
    with open_output(path, context) as file:
        file.write(b"first")
        begun.set()
        end.wait(30)


def piped(folder: Path, target: Path, text: str, backend: str) -> Pipeline:
    (folder / "writing.py").write_text(MODULE)
    (folder / "pipeline.yaml").write_text(FILE.format(path=target, text=text, backend=backend))
    return Pipeline.from_file(folder / "pipeline.yaml")


@pytest.mark.parametrize("backend", ["local", "process"])
def test_the_second_run_fails_and_the_first_one_publishes(tmp_path, backend):
    """F14: the error has a code, the owner's run id and process; after the first run's end the second succeeds."""
    target, begun, end = tmp_path / "out.txt", threading.Event(), threading.Event()
    first: list = []
    params = {"hold_open.path": str(target), "hold_open.begun": begun, "hold_open.end": end}
    thread = threading.Thread(target=lambda: first.append(Pipeline.of(hold_open).run(params=params)))
    thread.start()
    assert begun.wait(30)
    second = piped(tmp_path, target, "second", backend)
    result = second.run()
    end.set()
    thread.join()
    error = result.nodes["writer"].error
    assert error is not None
    assert error.code == "target-busy"
    assert f"run {first[0].run_id} (process {os.getpid()}) is writing it" in error.message
    assert first[0].status == "succeeded"
    assert target.read_text() == "first"
    assert second.run().check().status == "succeeded"
    assert target.read_text() == "second"
    lock = lock_of(target)
    assert lock is not None
    assert not os.path.exists(lock)
    assert not list(tmp_path.glob(".*.tmp"))
