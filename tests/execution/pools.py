"""What the tests of the pool share: messages, and handlers that workers import from a file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from petal.execution.pool import Answer, Pool
from tests.execution.conftest import settles

#: A module of handlers: the header names the function in it that is called, with arguments.
HANDLERS = '''
import ctypes, json, mmap, os, resource, signal, subprocess, sys, tempfile, threading, time

from petal.data.wire import Spool

IMPORTED_BY = os.getpid()
CALLS = []


def handle(header, parts, folder, emit):
    name, *arguments = json.loads(header)
    CALLS.append(name)
    spool = Spool(folder)
    if name == "echo":
        for part in parts:
            spool.add(bytes(part))
        return header, spool
    value = globals()[name](*arguments) if name != "tell" else tell(emit, *arguments)
    return json.dumps(value).encode(), spool


def about():
    main = sys.modules["__main__"]
    return {
        "pid": os.getpid(),
        "group": os.getpgid(0),
        "session": os.getsid(0),
        "parent": os.getppid(),
        "imported_by": IMPORTED_BY,
        "on_main_thread": threading.current_thread() is threading.main_thread(),
        "threads": len(os.listdir("/proc/self/task")),
        "main": getattr(main, "__file__", None),
        "calls": len(CALLS),
        "variable": os.environ.get("PETAL_POOL_TEST"),
        "modules": sorted(sys.modules),
        "open": sorted(os.listdir("/proc/self/fd"), key=int),
    }


def tell(emit, count, after=0):
    time.sleep(after)
    for number in range(count):
        emit(b"%d" % number)
    threading.Thread(target=lambda: (time.sleep(0.05), emit(b"late")), daemon=True).start()


def say(text):
    print(text)
    print("error " + text, file=sys.stderr)
    ctypes.CDLL(None).printf(b"from C\\\\n")
    subprocess.run(["sh", "-c", "echo from a child"], check=True)


def flood(megabytes):
    os.write(1, b"the first line\\\\n")
    block = b"x" * 65535 + b"\\\\n"
    for _ in range(megabytes * 16):
        os.write(1, block)
    os.write(2, b"the last line\\\\n")
    return megabytes


def sleep(seconds):
    time.sleep(seconds)
    return os.getpid()


def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.002)


def stubborn(path, seconds):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open(path, "w").close()
    ctypes.PyDLL(None).sleep(seconds)


def cleans(path, seconds):
    try:
        time.sleep(seconds)
    finally:
        open(path, "w").close()


def die(how, value):
    sys.stdout.write("these are the last words")
    sys.stdout.flush()
    if how == "signal":
        os.kill(os.getpid(), value)
        time.sleep(60)
    if how == "exit":
        os._exit(value)
    if how == "leave":
        raise SystemExit(value)
    if how == "raise":
        raise ValueError(value)
    if how == "memory":
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        bytearray(1 << 34)
    if how == "abort":
        os.write(2, value.encode())
        os.abort()


def grow(megabytes):
    global KEPT
    KEPT = b"x" * (megabytes << 20)
    return os.getpid()


def crowd(folder, number):
    """Start processes that write down that they live: a child, one in a session of its own, and its own child."""
    beat = "import os,sys,time,signal\\\\nsignal.signal(15, signal.SIG_IGN)\\\\n"
    beat += "os.fork() if len(sys.argv) > 2 else 0\\\\n"
    beat += "path = sys.argv[1] + '/' + str(os.getpid())\\\\n"
    beat += "while True: open(path, 'a').write('.'); time.sleep(0.005)"
    for more in ([], ["own"]):
        subprocess.Popen([sys.executable, "-c", beat, folder, *more], start_new_session=bool(more))
    path = folder + "/" + str(os.getpid())
    while True:
        with open(path, "a") as file:
            file.write(".")
        time.sleep(0.005)


def daemon(folder):
    code = "import os,sys,time\\\\nif os.fork(): os._exit(0)\\\\nos.setsid()\\\\n"
    code += "open(sys.argv[1] + '/' + str(os.getpid()), 'w').close()\\\\ntime.sleep(60)"
    subprocess.run([sys.executable, "-c", code, folder], check=True)


def starve(group, megabytes):
    with open(group + "/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))
    return len(bytearray(b"x") * (megabytes << 20))
'''.replace("\\\\n", "\\n")


class Note:
    """A message."""

    def __init__(self, *header: Any, parts: tuple[bytes, ...] = (), path: str | None = None) -> None:
        self.header = json.dumps(header).encode()
        self.parts = [memoryview(part) for part in parts]
        self.path = path

    def packed(self) -> bytes:
        return b"".join([self.header, *self.parts])


@contextmanager
def pool_of(place: Path, size: int = 2, **options: Any) -> Iterator[Pool]:
    """A pool whose handlers are in a file of the folder."""
    with Pool("handlers_of_tests:handle", size=size, **given(place, **options)) as pool:
        yield pool


def given(place: Path, environment: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
    """Write the handlers, and say where they are."""
    (place / "handlers_of_tests.py").write_text(HANDLERS)
    return {"environment": {"PYTHONPATH": str(place), **(environment or {})}, **options}


def said(answer: Answer) -> Any:
    """What a handler returned."""
    return json.loads(answer.header)


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be asked for its exit code does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def gone(pids: list[int], seconds: float = 5.0) -> bool:
    """Wait until processes have ended."""
    return settles(lambda: not any(map(alive, pids)), seconds)


def pids_in(folder: Path) -> list[int]:
    """The processes that have written a file named after them."""
    return [int(name) for name in os.listdir(folder) if name.isdigit()]


def pause() -> None:
    """Give others the time to do what they should not."""
    time.sleep(0.1)
