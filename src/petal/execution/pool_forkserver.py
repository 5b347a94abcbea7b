"""The process between a pool and its workers: it forks them, kills them, says how they ended, and leaves none behind.

It has one thread, so a fork inherits no lock, and has imported the handler, so a worker is ready in milliseconds. When
the driver ends, however that is, it kills every worker with all that they have started.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from petal.data.unpublished import unpublished
from petal.data.whole import whole
from petal.execution import pool_worker
from petal.execution.pool_worker import flush, process_control

#: What a pool asks for, about one worker: a byte, and the worker's number. Two open files go with SPAWN.
ORDER = struct.Struct("<cxxxI")
SPAWN, STOP = b"+", b"-"
#: What it is told: a byte, the worker's number; its exit code or an errno; its largest memory, bytes.
NEWS = struct.Struct("<cxxxIqQ")
FAILED, ENDED = b"f", b"e"
#: Seconds between SIGTERM and SIGKILL.
PATIENCE = 0.2
#: Seconds for which a last look is taken for what workers have left behind.
_SEARCH = 1.0
#: Of `prctl`.
_DEATH_SIGNAL, _SUBREAPER = 1, 36


def main(options: dict[str, Any]) -> NoReturn:
    """Serve one pool. ``options`` come from :class:`petal.execution.pool_start.Forkserver`."""
    parent = options["parent"]
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = _Server(options)
    die_with(parent, signal.SIGTERM)
    process_control(_SUBREAPER, 1)
    if options["preload"]:
        _preload(options)
    gc.collect()
    gc.freeze()
    server.serve()


def die_with(parent: int, number: int) -> None:
    """Have a signal sent to this process when its parent ends; end at once if that has happened already."""
    process_control(_DEATH_SIGNAL, number)
    if os.getppid() != parent:
        os._exit(1)


def _preload(options: dict[str, Any]) -> None:
    for name in options["preload"]:
        with contextlib.suppress(Exception):  # the worker will say it: it has somebody to say it to
            importlib.import_module(name)
    flush()
    if _threads() > 1:
        # A module has started threads, and a fork would have their locks without them: start over, import nothing.
        text = json.dumps({**options, "preload": []})
        os.execv(sys.executable, [*sys.orig_argv[:-1], text])


def _threads() -> int:
    try:
        with os.scandir("/proc/self/task") as threads:
            return sum(1 for _ in threads)
    except OSError:
        import threading

        return threading.active_count()


class _Server:
    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._control = socket.socket(fileno=options["control"])
        self._control.set_inheritable(True)  # a second start of this program needs it
        self._pids: dict[int, int] = {}  # by number
        self._ending: dict[int, tuple[float, list[int]]] = {}  # when to kill, and what it has started
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)

    def serve(self) -> NoReturn:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        try:
            while True:
                ready = {file for file, _ in poll.poll(self._patience())}
                if self._woken in ready and signal.SIGTERM in os.read(self._woken, 4_096):
                    break
                self._reap()
                if self._control.fileno() in ready and not self._obey():
                    break
                self._kill_late()
        finally:
            self._end()
            os._exit(0)

    def _patience(self) -> float | None:
        """Return the milliseconds until the next worker is to be killed."""
        if not self._ending:
            return None
        return max(0.0, min(at for at, _ in self._ending.values()) - time.monotonic()) * 1_000 + 1

    # -- orders ----------------------------------------------------------------------------------------------------

    def _obey(self) -> bool:
        """Do what the pool asks for; False when there is no pool any more."""
        try:
            data, files, _, _ = socket.recv_fds(self._control, ORDER.size, 2)
        except OSError:
            return False
        if len(data) < ORDER.size:
            return False
        what, worker = ORDER.unpack(data)
        if what == SPAWN:
            self._spawn(worker, files)
        elif worker in self._pids and worker not in self._ending:
            pid = self._pids[worker]
            self._ending[worker] = time.monotonic() + PATIENCE, list(descendants(pid))
            _signal(pid, signal.SIGTERM)
        return True

    def _spawn(self, worker: int, files: Sequence[int]) -> None:
        server = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._tell(FAILED, worker, error.errno or 0)
        else:
            if not pid:
                self._be_worker(server, *files)
            self._pids[worker] = pid
        finally:
            for file in files:
                os.close(file)

    def _be_worker(self, server: int, sock: int, output: int) -> NoReturn:
        code = 1
        try:
            os.setsid()
            die_with(server, signal.SIGKILL)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, _terminated)
            os.dup2(output, 1)
            os.dup2(output, 2)
            for file in (output, self._woken, self._wake, self._control.detach()):
                os.close(file)
            sys.stdout, sys.stderr = _text(1), _text(2)
            sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]
            sys.argv = ["petal-worker"]
            gc.unfreeze()
            options = self._options
            code = pool_worker.run(
                socket.socket(fileno=sock), options["handler"], options["folder"], options["measures"]
            )
            atexit._run_exitfuncs()
            flush()
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)

    # -- ends ------------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        """Say how workers have ended; what is left of theirs is killed."""
        workers = {pid: worker for worker, pid in self._pids.items()}
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            worker = workers.get(pid)
            if worker is None:
                continue  # what a worker had started and left to us
            del self._pids[worker]
            _, started = self._ending.pop(worker, (0.0, []))
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            self._kill_left(pid, started)
            size = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1_024)
            self._tell(ENDED, worker, os.waitstatus_to_exitcode(status), size)

    def _kill_left(self, pid: int, started: Sequence[int]) -> None:
        """Kill what a worker had started outside its process group; it is our child now."""
        for child in _children(os.getpid()):
            if child in self._pids.values():
                continue
            with contextlib.suppress(ProcessLookupError):
                if child in started or os.getsid(child) == pid:
                    for process in (child, *descendants(child)):
                        os.kill(process, signal.SIGKILL)

    def _kill_late(self) -> None:
        now = time.monotonic()
        for worker, (at, started) in self._ending.items():
            if now >= at:
                pid = self._pids[worker]
                self._ending[worker] = now + 3_600, [*started, *descendants(pid)]
                _signal(pid, signal.SIGKILL)

    def _end(self) -> None:
        """Kill all workers and all that they have started, and what that has started, as far as it can be found."""
        signal.set_wakeup_fd(-1)
        left = [process for pid in self._pids.values() for process in descendants(pid)]
        for pid in self._pids.values():
            _signal(pid, signal.SIGKILL)
        for process in left:
            _signal_one(process, signal.SIGKILL)
        until = time.monotonic() + _SEARCH
        while time.monotonic() < until:
            for child in _children(os.getpid()):
                _signal_one(child, signal.SIGKILL)
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                time.sleep(0.001)

    def _tell(self, what: bytes, worker: int, value: int, memory: int = 0) -> None:
        with contextlib.suppress(OSError):  # there is no pool any more: the next look at the socket says so
            self._control.sendall(NEWS.pack(what, worker, value, memory))


def _text(file: int) -> io.TextIOWrapper:
    """Return a stream of text that refuses no character, and holds back no line: its process may be killed."""
    raw = io.BufferedWriter(io.FileIO(file, "w", closefd=False))
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _terminated(*_: object) -> None:
    whole.then(_end)


def _end() -> NoReturn:
    # what its threads are writing would stay: they do not see the exception, and SIGKILL follows soon
    unpublished.abandon()
    raise SystemExit(128 + signal.SIGTERM)


def _signal(pid: int, number: int) -> None:
    """Signal a worker's process group, and the worker, which may be too young to have one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
    _signal_one(pid, number)


def _signal_one(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def descendants(pid: int) -> Iterator[int]:
    """Yield the processes that a process has started, and those that they have, as far as Linux tells."""
    for child in _children(pid):
        yield child
        yield from descendants(child)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/task") as threads:
        for thread in threads:
            with open(f"{thread.path}/children", "rb") as file:
                found += map(int, file.read().split())
    return found
