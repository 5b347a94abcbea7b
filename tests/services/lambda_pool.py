"""The process of one function on AWS's emulator of Lambda: as many sandboxes as calls may run at once, and one address.

The emulator serves one call at a time, for a function called ``function``. In front of several of them, this hands each
call to one that is free, and otherwise answers as Lambda does: 429 where all are busy, 413 to what is too large, 204 to a
dry run. What the function answers passes untouched.

Its settings come as a line of JSON on its standard input, whose end is its own, that of all that it started, and of the
folder of its files.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from tests.services.loopback import Exchange, Loopback

#: How many bytes a call may have.
LIMIT = 6_291_556
#: How long one of AWS's emulators may take to listen, in seconds.
START = 30.0

_PR_SET_CHILD_SUBREAPER = 36
_INVOKE = re.compile(r"/2015-03-31/functions/[^/]+/invocations")
#: Held while an emulator is started, and for good when all are ended.
_STARTING = threading.Lock()


class Sandbox:
    """One of AWS's emulators, which starts the function's process itself at its first call."""

    def __init__(self, settings: Mapping[str, Any], number: int) -> None:
        self._settings = settings
        self._temporary = Path(settings["folder"], f"tmp-{number}")
        self._temporary.mkdir()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: http.client.HTTPConnection | None = None
        self.address = ""
        self.start()

    def start(self) -> None:
        """Start it unless it runs."""
        for _ in range(5):  # a port that was free may be taken a moment later
            if self._process is not None and self._process.poll() is None:
                return
            self._connection = None
            self._launch()
        raise OSError("AWS's emulator does not start; see the log")

    def call(self, exchange: Exchange) -> tuple[int, dict[str, str], bytes]:
        """Hand a call on, and return what the function answers.

        Raises:
            OSError, http.client.HTTPException: The emulator died.
        """
        self.start()
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self.address)
            self._connection.connect()
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        kept = {k: v for k, v in exchange.headers.items() if k.startswith(("x-amz", "content-type"))}
        try:
            self._connection.request(
                "POST", "/2015-03-31/functions/function/invocations", exchange.body, kept
            )
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = None
            raise
        if response.will_close:
            self._connection = None
        headers = {k: v for k, v in response.getheaders() if k.lower().startswith(("x-amz", "content-type"))}
        return response.status, headers, body

    def _launch(self) -> None:
        settings = self._settings
        self.address = f"127.0.0.1:{_free_port()}"
        emulator = [
            settings["emulator"],
            "--log-level=warning",
            f"--runtime-interface-emulator-address={self.address}",
            f"--runtime-api-address=127.0.0.1:{_free_port()}",
        ]
        with _STARTING, open(settings["log"], "ab") as log:
            self._process = subprocess.Popen(
                [*emulator, settings["python"], "-m", "awslambdaric", settings["handler"]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=settings["task_root"],
                env={
                    **settings["environment"],
                    "LAMBDA_TASK_ROOT": settings["task_root"],
                    "TMPDIR": str(self._temporary),
                },
            )
        until = time.monotonic() + START
        while self._process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(OSError):
                host, _, port = self.address.partition(":")
                socket.create_connection((host, int(port)), timeout=1).close()
                return
            time.sleep(0.005)


class Pool:
    """The sandboxes of one function."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.calls = 0
        self.sandboxes = [Sandbox(settings, number) for number in range(settings["concurrency"])]
        self._free = list(self.sandboxes)
        self._lock = threading.Lock()

    def serve(self, exchange: Exchange) -> None:
        """Answer a call of the API."""
        if (exchange.method, exchange.path) == ("GET", "/calls"):
            exchange.reply(200, {}, json.dumps(self.calls).encode())
        elif exchange.method == "POST" and _INVOKE.fullmatch(exchange.path):
            self._invoke(exchange)
        else:
            _refuse(
                exchange, 404, "ResourceNotFoundException", f"{exchange.method} {exchange.path} is not here"
            )

    def _invoke(self, exchange: Exchange) -> None:
        with self._lock:
            self.calls += 1
        kind = exchange.headers.get("x-amz-invocation-type", "RequestResponse")
        if kind == "DryRun":
            exchange.reply(204, {"x-amzn-RequestId": str(uuid.uuid4())}, b"")
        elif kind != "RequestResponse":
            _refuse(exchange, 400, "InvalidParameterValueException", f"AWS's emulator knows no {kind}")
        elif len(exchange.body) > LIMIT:
            text = f"Request must be smaller than {LIMIT} bytes for the InvokeFunction operation"
            _refuse(exchange, 413, "RequestTooLargeException", text)
        else:
            with self._one() as sandbox:
                if sandbox is None:
                    _throttle(exchange)
                    return
                try:
                    status, headers, body = sandbox.call(exchange)
                except (OSError, http.client.HTTPException) as error:
                    _refuse(exchange, 500, "ServiceException", f"the sandbox died: {error}")
                    return
            exchange.reply(status, {"x-amzn-RequestId": str(uuid.uuid4()), **headers}, body)

    @contextlib.contextmanager
    def _one(self) -> Iterator[Sandbox | None]:
        """Give a sandbox that is free, the one that was used last, as Lambda does; None when all are busy."""
        with self._lock:
            sandbox = self._free.pop() if self._free else None
        try:
            yield sandbox
        finally:
            if sandbox is not None:
                with self._lock:
                    self._free.append(sandbox)


def _unpacked(settings: Mapping[str, Any]) -> Path:
    """Return the folder with the function's code, unpacked where it is a zip."""
    code = Path(settings["code"])
    if code.is_dir():
        return code
    task_root = Path(settings["folder"], "task")
    with zipfile.ZipFile(code) as files:
        files.extractall(task_root)
    return task_root


def _refuse(exchange: Exchange, status: int, code: str, message: str) -> None:
    body = json.dumps({"Type": "User", "message": message}).encode()
    exchange.reply(status, {"x-amzn-ErrorType": code, "Content-Type": "application/json"}, body)


def _throttle(exchange: Exchange) -> None:
    body = {
        "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
        "Type": "User",
        "message": "Rate Exceeded.",
        "retryAfterSeconds": "1",
    }
    headers = {
        "x-amzn-ErrorType": "TooManyRequestsException",
        "Content-Type": "application/json",
        "Retry-After": "1",
    }
    exchange.reply(429, headers, json.dumps(body).encode())


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _end_children() -> None:
    """Kill all that this process and its children have started, also what their death leaves to this process."""
    _STARTING.acquire()
    with contextlib.suppress(ChildProcessError):
        while True:
            for child in _children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            os.waitpid(-1, 0)


def _children() -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, IndexError):
            state, parent = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()[:2]
            if int(parent) == os.getpid() and state != b"Z":
                found.append(int(name))
    return found


def _ended(*_: object) -> NoReturn:
    raise SystemExit(0)


def main() -> None:
    """Serve until the standard input ends."""
    signal.signal(signal.SIGTERM, _ended)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    settings = json.loads(sys.stdin.readline())
    started = False
    try:
        pool = Pool({**settings, "task_root": str(_unpacked(settings))})
        server = Loopback(pool.serve)
        print(json.dumps({"url": server.url, "direct": [s.address for s in pool.sandboxes]}), flush=True)
        started = True
        sys.stdin.read()
    except Exception:
        traceback.print_exc()
    finally:
        _end_children()
        sys.stderr.flush()
        if started:  # else its log is still to be read
            shutil.rmtree(settings["folder"], ignore_errors=True)
        os._exit(0)  # threads that wait for a sandbox's answer have nobody to give it to


if __name__ == "__main__":
    main()
