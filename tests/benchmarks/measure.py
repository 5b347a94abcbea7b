"""Run one command as a process of its own, and measure from outside how long it took and how much memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Sample:
    """What one run of a command took.

    Attributes:
        seconds: From start to end of the process.
        memory: Peak resident memory of the largest process of the command, in MB of 2**20 bytes.
        read: What all its processes read with system calls, from files and pipes, in bytes.
        said: What the command said of itself, on a line that begins with `@@`.
        failure: Why it failed, in a line; "" when it did not.
    """

    seconds: float
    memory: float
    read: int
    said: dict[str, Any] = field(default_factory=dict)
    failure: str = ""


def measure(
    command: tuple[str, ...],
    *,
    environment: dict[str, str],
    folder: Path,
    stdout: Path | None,
    timeout: float,
) -> Sample:
    """Run a command.

    Args:
        command: The command; GNU `time` starts it, since the peak memory of a child of this process would begin
            with this process's own.
        environment: All of its environment.
        folder: Where it runs, and where what it says is kept meanwhile.
        stdout: Where its standard output goes; by default it is searched for what the command says of itself.
        timeout: After so many seconds it and its children are killed.
    """
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        out, error, peak = stdout or Path(scratch, "out"), Path(scratch, "error"), Path(scratch, "peak")
        with out.open("wb") as out_file, error.open("wb") as error_file:
            start = time.perf_counter()
            process = subprocess.Popen(
                ["/usr/bin/time", "--quiet", "-o", str(peak), "-f", "%M", *command],
                stdin=subprocess.DEVNULL,
                stdout=out_file,
                stderr=error_file,
                env=environment,
                cwd=folder,
                start_new_session=True,
            )
            expired = threading.Event()
            timer = threading.Timer(timeout, _kill, (process.pid, expired))
            timer.start()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            seconds = time.perf_counter() - start
            timer.cancel()
            # Of a process that has ended and is not yet waited for, the kernel still tells what it and its children read.
            read = _read_bytes(process.pid)
            process.wait()
        failure = ""
        if expired.is_set():
            failure = f"not done after {timeout:.0f} s"
        elif process.returncode != 0:
            failure = _last_line(error) or f"exit code {process.returncode}"
        memory = int((peak.read_text().split() or ["0"])[-1]) / 1024 if peak.exists() else 0.0
        return Sample(seconds, memory, read, _said(out) if stdout is None else {}, failure)


def _kill(pid: int, expired: threading.Event) -> None:
    expired.set()
    os.killpg(pid, signal.SIGKILL)  # the session that this process began, so nobody else's


def _read_bytes(pid: int) -> int:
    counts = Path(f"/proc/{pid}/io").read_text().split()
    return int(counts[counts.index("rchar:") + 1])


def _said(out: Path) -> dict[str, Any]:
    lines = out.read_text(errors="replace").splitlines()
    return next((json.loads(line[2:]) for line in lines if line.startswith("@@")), {})


def _last_line(error: Path) -> str:
    lines = [line.strip() for line in error.read_text(errors="replace").splitlines() if line.strip()]
    named = [line for line in lines if line.partition(":")[0].endswith(("Error", "Exception"))]
    return (named or lines or [""])[-1][:100]
