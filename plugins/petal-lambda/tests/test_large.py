"""Data that is larger than a message: streams in batches, and single values by claim check (F53)."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from petal_lambda.envelope import LIMIT, body_of, envelope, room

from petal.execution.result import RunResult
from petal.spec.event import Status
from petal.testing import tasks
from petal.worker.execute import execute
from tests.services import aws_stub as faults
from tests.services.aws_stub import AwsStub

Run = Callable[..., RunResult]
_MB = 1_000_000


class _Sizes:
    """AWS's function: it takes and gives what fits, and counts."""

    def __init__(self) -> None:
        self.most_at_once = 0
        self.largest = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def __call__(self, stub: AwsStub, call: Any, exchange: Any) -> None:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        made = stub.carry_out(call, exchange)
        with self._lock:
            self._at_once -= 1
            self.largest = max(self.largest, len(call.body), len(made.body))
        del stub.calls[:]  # or this process would hold all that was sent
        if len(call.body) > LIMIT:
            faults.error(413, "RequestTooLargeException", "Request must be smaller")(stub, call, exchange)
        elif len(made.body) > LIMIT:
            told = {
                "errorType": "Function.ResponseSizeTooLarge",
                "errorMessage": "Response payload size exceeded",
            }
            faults.function_error(told)(stub, call, exchange)
        else:
            exchange.reply(made.status, made.headers, made.body)


@pytest.fixture
def sizes(worker: AwsStub) -> _Sizes:
    """What the function saw of sizes; it takes no more than AWS does."""
    worker.function = lambda payload: envelope(execute(body_of(payload), limit=room()))
    found = _Sizes()
    worker.always("Invoke", found)
    return found


@pytest.fixture
def claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A place for large messages that both sides are configured with."""
    url = f"file://{tmp_path}/claims"
    monkeypatch.setenv("PETAL_CLAIMS", url)
    yield url
    left = [path for path in (tmp_path / "claims").rglob("*") if path.is_file()]
    assert not left, "what lay in the store for the run is deleted at its end"


@pytest.mark.parametrize("megabytes", [4.4, 6.1, 20.0])
def test_what_is_too_large_for_a_message_lies_in_the_store(
    megabytes: float, sizes: _Sizes, claims: str, run: Run
) -> None:
    """Decided by its encoded size, in both directions; no message is larger than AWS takes."""
    value = os.urandom(int(megabytes * _MB))
    result = run(tasks.hands_bytes, value, settings={"claims": claims}).check()
    assert result.outputs["it"] == value
    assert sizes.largest <= LIMIT


def test_control_without_that_aws_refuses_it(
    sizes: _Sizes, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If size were decided before base64, AWS would refuse it: it is sent for nothing."""
    from petal_lambda import session

    monkeypatch.setattr(session, "room", lambda limit: limit)
    found = run(tasks.hands_bytes, os.urandom(5 * _MB)).nodes["it"]
    assert "AWS does not take a message" in found.error.message
    assert sizes.largest > LIMIT


def test_without_a_store_nothing_is_sent_and_the_error_says_what_to_do(sizes: _Sizes, run: Run) -> None:
    """It has surely not run, also for what must happen once."""
    found = run(tasks.hands_bytes, os.urandom(5 * _MB), effects="once").nodes["it"]
    assert (found.status, found.error.code) == (Status.FAILED, "message-too-large")
    assert all(word in found.error.hint for word in ("batch", "claims"))
    assert sizes.largest == 0


@pytest.mark.slow
def test_a_batch_that_is_too_large_goes_through_the_store(sizes: _Sizes, claims: str, run: Run) -> None:
    """Rows keep their order, whichever way their batch went."""
    rows = [2**60 + k for k in range(1_300_000)]
    batch = {"size": 650_000, "in_flight": 2}
    result = run(tasks.doubles, rows, settings={"claims": claims}, batch=batch).check()
    assert list(result.outputs["it"]) == [2 * n for n in rows]
    assert sizes.largest <= LIMIT


@pytest.mark.slow
def test_a_single_value_of_50_mb(sizes: _Sizes, claims: str, run: Run) -> None:
    """There and back."""
    value = os.urandom(50 * _MB)
    result = run(tasks.hands_bytes, value, settings={"claims": claims}).check()
    assert result.outputs["it"] == value
    assert sizes.largest < 10_000


_STREAM = """\
nodes:
  - { id: reader, type: FileReader, params: { file_path: input.txt } }
  - id: filter
    type: RegexFilter
    params: { pattern: '7' }
    execution: { backend: aws_lambda, function_name: f }
    batch: { size: 20000, in_flight: 4 }
  - { id: writer, type: FileWriter, params: { file_path: output.txt } }
edges:
  - [reader, filter]
  - [filter, writer]
"""


def _streamed(megabytes: int, folder: Path) -> int:
    """Run a stream through the function in a process of its own, and return the memory that it took, in bytes."""
    folder.mkdir()
    lines = [f"{k:0100d}\n" for k in range(megabytes * 10_000)]
    (folder / "input.txt").write_text("".join(lines))
    (folder / "etl.yaml").write_text(_STREAM)
    process = subprocess.Popen(
        [sys.executable, "-m", "petal", "run", "etl.yaml"], cwd=folder, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said.decode()
    assert (folder / "output.txt").read_text() == "".join(line for line in lines if "7" in line)
    return used.ru_maxrss * 1024


@pytest.mark.slow
def test_a_stream_of_50_mb_keeps_its_order_and_needs_no_more_memory_than_one_of_10(
    sizes: _Sizes, tmp_path: Path
) -> None:
    """Each message fits, as many calls are under way as the node says, and memory is that of those in flight."""
    small = _streamed(10, tmp_path / "small")
    large = _streamed(50, tmp_path / "large")
    assert large < 1.2 * small
    assert sizes.largest <= LIMIT
    assert 2 <= sizes.most_at_once <= 4
