"""Say how a worker process ended, and whether memory ran out."""

from __future__ import annotations

import os
import signal

from petal.errors import WorkerDied

_GROUPS = "/sys/fs/cgroup"
#: What programs write before they abort for want of memory: Rust, C++, C.
_NO_MEMORY = ("memory allocation of", "bad_alloc", "Cannot allocate memory")
#: The part of all memory that a process must have had to be a likely victim.
_NEAR = 0.9


class OutOfMemory:
    """Judges whether a killed process was killed for want of memory.

    Args:
        limit: Bytes above which a worker is replaced when its task has ended, None for no limit.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = min([n for n in (limit, _group_limit(), _machine()) if n is not None])
        self._explained = kills()

    def likely(self, memory: int) -> bool:
        """Return whether a process that was killed by SIGKILL was: each kill that the kernel counts explains one."""
        if kills() > self._explained:
            self._explained += 1
            return True
        return memory >= self._limit * _NEAR


def died(
    code: int, *, words: str, starved: bool, memory: int, judge: OutOfMemory, output: str, started: bool
) -> WorkerDied:
    """Return the error of a task whose worker ended.

    Args:
        code: The exit code, or the negative number of a signal.
        words: By which exception it ended, "" for none.
        starved: Whether that is a `MemoryError`.
        memory: The most bytes that it had.
        judge: Knows how many processes were killed for want of memory.
        output: What the task had written.
        started: Whether the worker had become ready.
    """
    if code < 0:
        what = f"was killed by {_name(-code)} ({-code})"
        if code == -signal.SIGKILL:
            starved = judge.likely(memory)
        elif code == -signal.SIGABRT:
            starved = any(text in output for text in _NO_MEMORY)
    else:
        what = f"exited with code {code}" + (f": {words}" if words else "")
    if starved:
        what += ", probably out of memory"
    if not started:
        what += ", before it could take a task"
    return WorkerDied(
        f"its worker process {what}",
        kind="out_of_memory" if starved else "infrastructure",
        output=output,
        hint=_hint(code, starved),
    )


def _hint(code: int, starved: bool) -> str | None:
    if starved:
        return "let it have less at a time (`batch`), or let fewer workers run beside it (`workers`)"
    if code == 0:
        return "something in the task ended the process; an operator returns, or raises"
    return None


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "signal"


def kills() -> int:
    """Return how many processes the kernel has killed for want of memory: in this control group, else on this machine."""
    group = _group()
    text = _read(f"{group}/memory.events") if group else ""
    return _counter(text or _read("/proc/vmstat"))


def _counter(text: str) -> int:
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)


def _group() -> str | None:
    """Return the folder of this process's control group, of the second version."""
    lines = _read("/proc/self/cgroup").splitlines()
    return next((_GROUPS + line[3:].rstrip("/") for line in lines if line.startswith("0::")), None)


def _group_limit() -> int | None:
    group = _group()
    text = _read(f"{group}/memory.max").strip() if group else ""
    return int(text) if text.isdigit() else None


def _machine() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""
