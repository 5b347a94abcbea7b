"""A warm process that forks command lines of Petal, so that one takes a few hundredths of a second, and kills them.

It has one thread, runs nothing of Petal's itself, and is asked for one child at a time, in JSON, a line each.
``Warm`` is its other end.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.mutants import WITHOUT
from tests.faults.tracer import Step, can_trace, traced

ROOT = Path(__file__).resolve().parents[2]
#: Seconds after which a child counts as hanging.
_LONGEST = 60.0
#: What each child loads for itself: some of it starts threads, with which no process may be forked.
_LEFT = ("tests", "__main__", "polars", "_polars_runtime_32", "numpy", "pyarrow")


class Ran(NamedTuple):
    """How a command line ended.

    Attributes:
        code: Its exit code; minus the signal that killed it.
        said: What it wrote to stdout and stderr.
        seconds: How long it took.
        steps: Its changes of files, where it was traced.
        stray: How many of its worker processes lived on.
    """

    code: int
    said: str
    seconds: float
    steps: list[Step]
    stray: int


class Warm:
    """A warm process, started when it is first asked for something.

    Args:
        temporary: The temporary folder of what it runs.
    """

    def __init__(self, temporary: Path) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PETAL_")}
        environment |= {"TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.warm"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def learn(self, argv: Sequence[str], folder: Path) -> Ran:
        """Run a command line in a child, and load whatever it has loaded into the warm process."""
        return self._ask(argv=list(argv), folder=str(folder), how="learn")

    def run(
        self,
        argv: Sequence[str],
        folder: Path,
        *,
        kill_after: float | None = None,
        without: str | None = None,
    ) -> Ran:
        """Run ``petal ARGV`` in a folder, and kill it after some seconds where that is asked for.

        Args:
            argv: The command line.
            folder: The current folder.
            kill_after: Seconds until it is killed.
            without: A defence that is taken away, see :mod:`tests.faults.mutants`.
        """
        how = {"how": "run", "kill_after": kill_after, "without": without}
        return self._ask(argv=list(argv), folder=str(folder), **how)

    def trace(
        self, argv: Sequence[str], folder: Path, *, kill_at: int | None = None, without: str | None = None
    ) -> Ran:
        """Run ``petal ARGV`` in a folder, and kill it before its n-th change of files.

        Args:
            argv: The command line.
            folder: The current folder.
            kill_at: The step, from 1, that is not done any more.
            without: A defence that is taken away.
        """
        how = {"how": "trace", "kill_at": kill_at, "without": without}
        return self._ask(argv=list(argv), folder=str(folder), **how)

    def can_trace(self) -> bool:
        """Say whether this machine lets a process be traced."""
        return self._ask(argv=[], folder="", how="probe").code == 0

    def _ask(self, **what: Any) -> Ran:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return Ran(**{**answer, "steps": [Step(*step) for step in answer["steps"]]})

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@contextlib.contextmanager
def warm(temporary: Path) -> Iterator[Warm]:
    """Have a warm process while the block runs."""
    temporary.mkdir(exist_ok=True)
    process = Warm(temporary)
    try:
        yield process
    finally:
        process.close()


# -- the warm process -----------------------------------------------------------------------------------------------


def main() -> None:
    """Do what the other end asks for, until it closes stdin."""
    import petal.app.pipeline
    import petal.cli.main
    import petal.cli.run
    import petal.execution.engine  # noqa: F401

    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = _answer(**asked)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def _answer(
    argv: list[str],
    folder: str,
    how: str,
    kill_after: float | None = None,
    kill_at: int | None = None,
    without: str | None = None,
) -> dict[str, Any]:
    if how == "probe":
        return {"code": int(not can_trace()), "said": "", "seconds": 0.0, "steps": [], "stray": 0}
    said, loaded = os.memfd_create("said"), os.memfd_create("loaded")
    try:

        def work() -> None:
            os.dup2(said, 1)
            os.dup2(said, 2)
            os.chdir(folder)
            if without is not None:
                WITHOUT[without]()
            try:
                _petal(argv)
            finally:
                os.write(loaded, json.dumps(_modules(folder)).encode())

        began = time.monotonic()
        if how == "trace":
            code, steps, stray = traced(work, kill_at)
        else:
            (code, stray), steps = _forked(work, kill_after), []
        seconds = time.monotonic() - began
        if how == "learn":
            _load(json.loads(os.pread(loaded, 1 << 20, 0) or b"[]"))
        text = os.pread(said, 1 << 16, 0).decode(errors="replace")
        return {"code": code, "said": text, "seconds": seconds, "steps": steps, "stray": stray}
    finally:
        os.close(said)
        os.close(loaded)


def _petal(argv: list[str]) -> None:
    """Be the command ``petal`` of a process of its own."""
    from petal.cli.main import main as petal

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    sys.argv = ["petal", *argv]
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    petal()


def _forked(work: Any, kill_after: float | None) -> tuple[int, int]:
    child = os.fork()
    if not child:
        code: Any = 70
        try:
            work()
            code = 0
        except SystemExit as error:
            code = error.code
        finally:
            os._exit(code if isinstance(code, int) else int(code is not None))
    poll, handle = select.poll(), os.pidfd_open(child)
    poll.register(handle, select.POLLIN)
    try:
        if not poll.poll((_LONGEST if kill_after is None else kill_after) * 1000):
            os.kill(child, signal.SIGKILL)
    finally:
        os.close(handle)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0


def _modules(folder: str) -> list[str]:
    """Return what is loaded and does not come from a pipeline's folder."""
    modules = [(name, getattr(m, "__file__", None) or "") for name, m in tuple(sys.modules.items())]
    return [name for name, file in modules if file and not file.startswith(folder)]


def _load(names: list[str]) -> None:
    for name in names:
        if name not in sys.modules and name.partition(".")[0] not in _LEFT:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise RuntimeError(f"the warm process has {threads} threads, and must not be forked")


if __name__ == "__main__":
    main()
