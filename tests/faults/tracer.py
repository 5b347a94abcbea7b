"""Run a function in a forked child, and kill it before its n-th change of files: in C, SQLite and workers as well.

A seccomp filter stops the child, its threads and its children before each call of the system that changes files; this
process counts them by ptrace. So a kill falls exactly between two steps, whoever makes them. Linux on x86-64 and
AArch64; :func:`can_trace` says whether it works here.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import time
import traceback
from collections.abc import Callable
from typing import Final, NamedTuple

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

_TRACEME, _CONT, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 7, 0x4200, 0x420E
_EVENT_SECCOMP: Final = 7
#: Follow forks, clones and execs; stop at what the filter marks; die with the tracer.
_OPTIONS: Final = 0x02 | 0x04 | 0x08 | 0x10 | 0x80 | 0x100000
_WALL: Final = 0x40000000
_TRACE, _ALLOW = 0x7FF00000, 0x7FFF0000
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

#: Name, number on x86-64, number on AArch64 (or None), and which argument is a descriptor ("d") or a path ("p").
_CALLS: Final[tuple[tuple[str, int, int | None, str], ...]] = (
    ("openat", 257, 56, ".p"),
    ("write", 1, 64, "d"),
    ("pwrite", 18, 68, "d"),
    ("writev", 20, 66, "d"),
    ("pwritev", 296, 70, "d"),
    ("copy_file_range", 326, 285, "..d"),
    ("sendfile", 40, 71, "d"),
    ("ftruncate", 77, 46, "d"),
    ("fallocate", 285, 47, "d"),
    ("fsync", 74, 82, "d"),
    ("fdatasync", 75, 83, "d"),
    ("flock", 73, 32, "d"),
    ("rename", 82, None, ".p"),
    ("renameat", 264, 38, "...p"),
    ("renameat2", 316, 276, "...p"),
    ("unlink", 87, None, "p"),
    ("unlinkat", 263, 35, ".p"),
    ("rmdir", 84, None, "p"),
    ("mkdir", 83, None, "p"),
    ("mkdirat", 258, 34, ".p"),
    ("chmod", 90, None, "p"),
    ("fchmod", 91, 52, "d"),
    ("fchmodat", 268, 53, ".p"),
    ("linkat", 265, 37, "...p"),
)


class Step(NamedTuple):
    """One change of files: the call, and the file as far as it is known."""

    call: str
    path: str

    def __str__(self) -> str:
        return f"{self.call} {self.path}"


class Ended(NamedTuple):
    """How a traced child ended.

    Attributes:
        code: Its exit code, or minus the signal that killed it.
        steps: What it did until then; the last one was not done any more where it was killed.
        stray: How many processes lived on for longer than :data:`PATIENCE` after it.
    """

    code: int
    steps: list[Step]
    stray: int


#: Seconds in which workers have to notice that their parent is gone (F23).
PATIENCE: Final = 3.0


def can_trace() -> bool:
    """Say whether this machine lets a process be traced so."""
    if platform.system() != "Linux" or _column() is None:
        return False
    try:
        return traced(lambda: os.close(os.open(os.devnull, os.O_WRONLY))).code == 0
    except OSError:
        return False


def traced(work: Callable[[], object], kill_at: int | None = None) -> Ended:
    """Run a function in a child to its end, or until it is about to make a step.

    Call it from a process that has one thread and no other children.

    Args:
        work: What the child does; its exit code is that of a SystemExit, or 0.
        kill_at: Which step, from 1, kills the child (not its workers) before it is made.
    """
    child = os.fork()
    if not child:
        _be_traced(work)
    os.waitpid(child, 0)
    _ptrace(_SETOPTIONS, child, 0, _OPTIONS)
    _ptrace(_CONT, child)
    return _follow(child, kill_at)


def _be_traced(work: Callable[[], object]) -> None:
    code: object = 70
    try:
        _ptrace(_TRACEME, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        _install_filter()
        work()
        code = 0
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code if isinstance(code, int) else int(code is not None))


def _follow(child: int, kill_at: int | None) -> Ended:
    """Let everybody go on from stop to stop until all have ended."""
    steps: list[Step] = []
    code: int | None = None
    new: set[int] = {child}
    stray: set[int] = set()
    until = 0.0
    while True:
        try:
            who, status = os.waitpid(-1, _WALL | (os.WNOHANG if until else 0))
        except ChildProcessError:
            break
        if not who:
            if time.monotonic() > until:
                until += 3600
                stray = _alive(new, child)
                for one in stray:
                    os.kill(one, signal.SIGKILL)
            time.sleep(0.001)
            continue
        if not os.WIFSTOPPED(status):
            if who == child:
                code = os.waitstatus_to_exitcode(status)
                until = until or time.monotonic() + PATIENCE
            new.discard(who)
            continue
        deliver = 0
        if status >> 16 == _EVENT_SECCOMP:
            step = _step(who) if not until else None
            if step is not None:
                steps.append(step)
                if len(steps) == kill_at:
                    os.kill(child, signal.SIGKILL)
                    until = time.monotonic() + PATIENCE
        elif not status >> 16:
            number = os.WSTOPSIG(status)
            deliver = 0 if number == signal.SIGSTOP and who not in new else number
            new.add(who)
        try:
            _ptrace(_CONT, who, 0, deliver)
        except ProcessLookupError:
            continue
    return Ended(70 if code is None else code, steps, len(stray))


def _alive(known: set[int], child: int) -> set[int]:
    """Return which of some threads and processes are the first thread of a process other than the child."""
    found = set()
    for one in known:
        try:
            with open(f"/proc/{one}/status", encoding="ascii", errors="replace") as file:
                lines = dict(line.split(":", 1) for line in file if ":" in line)
        except OSError:
            continue
        group = int(lines["Tgid"])
        if group == one != child and not lines["State"].strip().startswith(("Z", "X")):
            found.add(one)
    return found


def _step(who: int) -> Step | None:
    """Say what a process that is stopped is about to do; None where it changes no file."""
    info = ctypes.create_string_buffer(88)
    try:
        _ptrace(_GET_SYSCALL_INFO, who, len(info), ctypes.addressof(info))
    except ProcessLookupError:
        return None
    number, *arguments = struct.unpack_from("=7Q", info, 24)
    name, what = _names()[number]
    at = len(what) - 1
    if what[at] == "p":
        return Step(name, _text(who, arguments[at]))
    try:
        path = os.readlink(f"/proc/{who}/fd/{arguments[at] & 0xFFFFFFFF}")
    except OSError:
        return None
    return Step(name, path) if path.startswith("/") and not path.startswith(("/dev/", "/memfd:")) else None


def _text(who: int, address: int) -> str:
    try:
        with open(f"/proc/{who}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            return os.fsdecode(memory.read(4096).partition(b"\0")[0])
    except (OSError, OverflowError):
        return "?"


# -- the system ---------------------------------------------------------------------------------------------------


def _column() -> int | None:
    return {"x86_64": 0, "aarch64": 1}.get(platform.machine())


def _names() -> dict[int, tuple[str, str]]:
    column = _column()
    numbers = {call[0]: call[1 + (column or 0)] for call in _CALLS}
    return {number: (call[0], call[3]) for call in _CALLS if (number := numbers[call[0]]) is not None}


def _install_filter() -> None:
    """Have this process stop before each call of the table; of the opening ones, before those that may write."""
    load_number, load_flags = (0x20, 0, 0, 0), (0x20, 0, 0, 16 + 8 * 2)
    equal, has_bits, give = 0x15, 0x45, 0x06
    code = [load_number]
    for number, (name, _) in _names().items():
        if name == "openat":
            code += [(equal, 0, 4, number), load_flags, (has_bits, 0, 1, _WRITES)]
            code += [(give, 0, 0, _TRACE), (give, 0, 0, _ALLOW)]
        else:
            code += [(equal, 0, 1, number), (give, 0, 0, _TRACE)]
    code.append((give, 0, 0, _ALLOW))
    text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in code))
    program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(text))
    if _libc.prctl(38, 1, 0, 0, 0) or _libc.prctl(22, 2, program, 0, 0):
        raise OSError(ctypes.get_errno(), "no seccomp filter can be set here")


def _ptrace(request: int, who: int, address: int = 0, data: int = 0) -> None:
    if _libc.ptrace(request, who, address, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
