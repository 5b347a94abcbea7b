"""A call that must not run twice and that a stop cuts short is `unknown`, wherever it ran; a resume asks (S5.4, S9.3)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from tests.cli.conftest import ENVIRONMENT, PETAL, Ran

Petal = Callable[..., Ran]

#: Operators that note that their work has begun, and do not come to its end before the file `release` is there.
OPERATORS = '''\
"""Effects that take their time."""

import os
import time
from collections.abc import Iterable, Iterator

from petal import Context, open_output, operator


def begin(name: str) -> None:
    with open("begun", "a") as begun:
        begun.write(name + "\\n")


def work() -> None:
    for _ in range(3000):
        if os.path.exists("release"):
            return
        time.sleep(0.01)


@operator(effects="once")
def charge(context: Context) -> int:
    begin(context.node_id)
    work()
    return 1


@operator
def pays(context: Context) -> None:
    begin(context.node_id)
    work()


@operator(effects="once")
def plain():
    begin("plain")
    work()


@operator
def numbers(context: Context, *, count: int = 5) -> Iterator[int]:
    for number in range(count):
        yield number


@operator
def pours(rows: Iterable[int], context: Context) -> None:
    for row in rows:
        begin(context.node_id)
        work()


@operator
def writes(rows: Iterable[int], context: Context) -> None:
    with open_output("target", context) as file:
        for row in rows:
            file.write(b"%d\\n" % row)
    begin(context.node_id)
    work()


@operator
def pure(context: Context) -> int:
    begin(context.node_id)
    work()
    return 1


@operator
def fails() -> int:
    for _ in range(3000):
        if os.path.exists("begun"):
            break
        time.sleep(0.01)
    time.sleep(0.1)
    raise ValueError("on purpose")
'''

PAID, STREAM = "{id: paid, type: %s%s}", "{id: source, type: numbers}\n  - {id: paid, type: %s%s}"
#: Where the node `paid` is when the run is stopped.
WHERE = {
    "on the engine's thread": PAID % ("charge", ""),
    "a sink": PAID % ("pays", ""),
    "called directly": PAID % ("plain", ""),
    "on another thread": "{id: first, type: pure}\n  - " + PAID % ("charge", ""),
    "in a stream": STREAM % ("pours", ", inputs: {rows: source}"),
    "with a file": STREAM % ("writes", ", inputs: {rows: source}"),
    "in a worker": PAID % ("charge", ", execution: process"),
    "with a time-out": PAID % ("pays", ", timeout: 50s"),
    "in a group": STREAM % ("pours", ", inputs: {rows: source}, timeout: 50s"),
    "in a group, with a file": STREAM % ("writes", ", inputs: {rows: source}, timeout: 50s"),
    "in batches": "{id: source, type: numbers}\n  - {id: paid, type: split, inputs: {rows: source}, batch: 2}",
}
_SPLIT = """

@operator(effects="once")
def split(rows: list[int], context: Context) -> list[int]:
    begin(context.node_id)
    work()
    return rows
"""

_FAKE = """

from petal import hookimpl, register_plugin
from petal.testing import FakeBackend


@register_plugin
class Brings:
    @hookimpl
    def petal_backends(self):
        return [FakeBackend()]
"""

#: The command `petal`, in which SIGINT is heard also where a shell has this process ignore it.
_HEARD = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from petal.cli.main import main; main()"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the operators."""
    (tmp_path / "ops.py").write_text(OPERATORS + _SPLIT)
    return tmp_path


def pipeline(folder: Path, nodes: str, more: str = "") -> None:
    """Write a pipeline."""
    (folder / "p.yaml").write_text(f"{more}plugins: [./ops.py]\nnodes:\n  - {nodes}\n")


def begun(folder: Path, name: str = "paid") -> bool:
    """Say whether a node's work has begun."""
    file = folder / "begun"
    return file.exists() and {name, "plain"} & set(file.read_text().split()) != set()


def interrupted(folder: Path, ready: Callable[[], bool]) -> tuple[dict[str, Any], str]:
    """Run the pipeline, send SIGINT once it is ready, and return its result and what it wrote to stderr."""
    with subprocess.Popen(
        [sys.executable, "-c", _HEARD, "run", "p.yaml", "--json"],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            while not ready():
                assert process.poll() is None, process.communicate()[1]
                time.sleep(0.01)
            time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130, err
    return json.loads(out), err


def shown(petal: Petal) -> dict[str, Any]:
    """Return what `petal show` says of the node `paid`."""
    [found] = [n for n in petal("show", "last", "--json").data["nodes"] if n["id"] == "paid"]
    return dict(found)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("where", WHERE)
def test_what_a_signal_cuts_short_is_unknown(where: str, folder: Path, petal: Petal) -> None:
    """Ctrl-C: the result, the message, `petal show` and the resume all say that nobody knows, and nothing runs twice."""
    pipeline(folder, WHERE[where])
    result, err = interrupted(folder, lambda: begun(folder))
    assert (result["status"], result["nodes"]["paid"]["status"]) == ("cancelled", "unknown")
    assert "what node `paid` did is not known" in err
    assert "--assume-done paid" in err
    node = shown(petal)
    assert (node["status"], node["attempts"][-1]["status"], node["kind"]) == ("unknown", "unknown", "unknown")
    assert (
        f"petal run {folder / 'p.yaml'} --resume {result['run_id']} --rerun paid" in petal("show", "last").out
    )
    (folder / "release").touch()
    (folder / "begun").unlink()
    asks = petal("run", "p.yaml", "--resume")
    assert asks.code == 1
    assert "`paid` was started" in asks.err
    assert not begun(folder)
    assert petal("run", "p.yaml", "--resume", "--rerun", "paid").code == 0
    assert begun(folder)


@pytest.mark.timeout(60)
def test_what_a_backend_goes_on_with_is_unknown(folder: Path, petal: Petal) -> None:
    """A call that a backend cannot stop is given up: what comes of it after the signal counts for nothing."""
    with (folder / "ops.py").open("a") as ops:
        ops.write(_FAKE)
    pipeline(folder, PAID % ("charge", ", execution: fake"))

    def ready() -> bool:
        if begun(folder):
            Timer(1.0, (folder / "release").touch).start()  # it comes to its end after the signal
        return begun(folder)

    result, err = interrupted(folder, ready)
    assert (result["status"], result["nodes"]["paid"]["status"]) == ("cancelled", "unknown")
    assert result["nodes"]["paid"]["backend"] == "fake"
    assert "what node `paid` did is not known" in err
    assert petal("run", "p.yaml", "--resume").code == 1
    assert petal("run", "p.yaml", "--resume", "--assume-done", "paid").code == 0


def test_what_may_run_twice_is_cancelled(folder: Path, petal: Petal) -> None:
    """The same signal leaves a pure node `cancelled`, and the resume runs it again without asking."""
    pipeline(folder, "{id: paid, type: pure}")
    result, err = interrupted(folder, lambda: begun(folder))
    assert result["nodes"]["paid"]["status"] == "cancelled"
    assert "not known" not in err
    assert shown(petal)["status"] == "cancelled"
    (folder / "release").touch()
    assert petal("run", "p.yaml", "--resume").code == 0


def test_what_had_not_begun_is_cancelled(folder: Path, petal: Petal) -> None:
    """A call that still waited for a worker has done nothing, and the resume makes it without asking."""
    alone = "execution: {backend: process, workers: 1}"
    pipeline(
        folder,
        f"{{id: holds, type: pure, {alone}}}\n  - {{id: paid, type: charge, {alone}, after: [starts]}}\n"
        "  - {id: starts, type: waits}",
    )
    with (folder / "ops.py").open("a") as ops:
        ops.write(
            "\n\n@operator\ndef waits() -> int:\n    while not os.path.exists('begun'):\n        time.sleep(0.01)\n"
            "    return 1\n"
        )

    def submitted() -> bool:
        found = list((folder / ".petal" / "runs").glob("*.jsonl"))
        return bool(found) and b'"node":"paid"' in found[0].read_bytes()

    result, err = interrupted(folder, lambda: begun(folder, "holds") and submitted())
    assert result["nodes"]["paid"]["status"] == "cancelled"
    assert "not known" not in err
    (folder / "release").touch()
    assert petal("run", "p.yaml", "--resume").code == 0
    assert begun(folder)


def stopped(folder: Path, *args: str) -> tuple[dict[str, Any], str]:
    """Run the pipeline, which fails, and return its result and what it wrote to stderr."""
    done = subprocess.run(
        [*PETAL, "run", "p.yaml", "--json", *args],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    return json.loads(done.stdout), done.stderr


def assert_unknown(result: dict[str, Any], err: str, petal: Petal) -> None:
    """Assert that all that is said of the run says that nobody knows what `paid` did."""
    assert (result["status"], result["nodes"]["paid"]["status"]) == ("failed", "unknown")
    assert "what node `paid` did is not known" in err
    assert shown(petal)["status"] == "unknown"
    asks = petal("run", "p.yaml", "--resume")
    assert asks.code == 1
    assert "`paid` was started" in asks.err


@pytest.mark.timeout(60)
@pytest.mark.parametrize("where", ["on another thread", "in a stream", "in a worker", "in a group"])
def test_what_a_run_timeout_cuts_short_is_unknown(where: str, folder: Path, petal: Petal) -> None:
    """A run whose time is over says so too, also of a thread that nobody can stop."""
    pipeline(folder, WHERE[where], "run_timeout: 2s\n")
    result, err = stopped(folder)
    if not begun(folder):
        pytest.skip("not run: the machine was too busy for the node to begin in time")
    assert "run_timeout of 2s" in err
    assert_unknown(result, err, petal)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("where", ["in a stream", "in a worker", "in a group"])
def test_what_a_failure_elsewhere_cuts_short_is_unknown(where: str, folder: Path, petal: Petal) -> None:
    """With --fail-fast, another node's failure stops what streams and what is in workers."""
    pipeline(folder, WHERE[where] + "\n  - {id: bad, type: fails}")
    assert_unknown(*stopped(folder, "--fail-fast"), petal)
