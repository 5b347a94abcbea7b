"""Make requests as the driver does, and read replies."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from petal.code.loader import forget_projects, load_file, reference
from petal.data.values import decode_port, encode_port
from petal.data.wire import Outgoing, unpack
from petal.spec.operator import OperatorSpec
from petal.spec.signature import describe
from petal.spec.views import Seen, View

_VALUE = Seen(View.VALUE)

OPERATORS = '''
import asyncio
import dataclasses
import datetime
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import helper
from petal import Batches, Context, open_output, operator
from petal.errors import DataError, RowError

@dataclasses.dataclass
class Order:
    id: int
    when: datetime.datetime
    note: str | None = None

@operator
def add(x: int, *, n: int = 1) -> int:
    return x + n

@operator
def later(order: Order, *, days: int) -> Order:
    return dataclasses.replace(order, when=order.when + datetime.timedelta(days=days))

@operator
def total(*parts: int) -> int:
    return sum(parts)

@operator
def untyped(x):
    return x

@operator
def longest(lines: Iterable[str]) -> str:
    first = list(lines)
    return max(first, key=len)

@operator
def numbers(*, count: int) -> Iterator[int]:
    yield from range(count)

@operator
def doubled(rows: Iterator[int]) -> Iterator[int]:
    for row in rows:
        yield row * 2

@operator
async def asleep(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1

@operator
async def arriving(rows: AsyncIterator[int]) -> AsyncIterator[int]:
    async for row in rows:
        yield row + 1

@operator
def lengths(lines: Batches[str]) -> Batches[int]:
    for batch in lines:
        yield batch.str.len_chars()

@operator
def grouped(frame: "pl.DataFrame") -> "pl.DataFrame":
    return frame.group_by("k", maintain_order=True).sum()

import polars as pl

@operator
def facts(context: Context) -> dict[str, Any]:
    return {
        "run": context.run_id, "node": context.node_id, "attempt": context.attempt, "pipeline": context.pipeline,
        "key": context.idempotency_key, "columns": list(context.columns or ()), "cancelled": context.cancelled,
        "remaining": context.remaining, "secret": context.secret("env/PETAL_TEST_TOKEN"),
    }

@operator
def tells(x: int, *, token: str = "") -> int:
    logging.getLogger("mine").info("token is %s", token)
    logging.getLogger("mine").debug("not shown")
    logging.warning("plain")
    if x < 0:
        raise ValueError(f"no {token}, half: \\ud800")
    return len(token)

@operator
def chatty(*, count: int) -> None:
    for i in range(count):
        logging.getLogger("petal.node").info("line %d", i)

class Fault(ConnectionError):
    pass

def inner():
    raise Fault("the line is dead")

@operator
def fails(x: int) -> int:
    inner()
    return x

@operator
def fails_as(*, how: str) -> Iterator[int]:
    yield 1
    if how == "row":
        raise RowError("not a number", row=7, field="price", hint="correct it")
    if how == "memory":
        raise MemoryError
    if how == "exit":
        sys.exit(3)
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "deep":
        def again(): again()
        again()
    if how == "odd":
        class Odd(Exception):
            def __str__(self): raise RuntimeError("no text")
            __repr__ = __str__
        raise Odd

@operator
def write(text: str, context: Context, *, path: Path, fails: bool = False) -> None:
    with open_output(path, context) as file:
        file.write(text.encode())
    if fails:
        raise DataError("after all", hint="do not")

@operator
def where() -> str:
    return os.getcwd()

@operator
def helped(x: int) -> int:
    import helper
    return helper.help(x)

@operator
def late(x: int) -> int:
    import imported_late
    return imported_late.VALUE + x

@operator
def unfit() -> Iterator[int]:
    try:
        yield 1
        yield "two"
    finally:
        logging.getLogger("mine").info("ended")

@operator
def strange(x):
    return [x, {"when": datetime.date(2026, 1, 1)}]

@operator
def sleeps() -> int:
    time.sleep(600)
    return 1


@operator
def pid() -> int:
    return os.getpid()

@operator
def noisy(*, how: str) -> str:
    import ctypes, subprocess
    mark = f"[{how}]"
    if how == "print":
        print(mark)
    elif how == "descriptor":
        os.write(1, mark.encode())
    elif how == "subprocess":
        subprocess.run(["echo", mark], check=True)
    elif how == "shell":
        os.system(f"echo '{mark}'; echo '{mark}' >&1")
    elif how == "c":
        libc = ctypes.CDLL(None)
        libc.printf(b"%s\\n", mark.encode())
        libc.fflush(None)
    elif how == "unflushed":
        sys.stdout.write(mark)
    elif how == "original":
        sys.__stdout__.write(mark)
    elif how == "fork":
        child = os.fork()
        if child == 0:
            print(mark)
            sys.stdout.flush()
            sys.exit(0)
        os.waitpid(child, 0)
    elif how == "fork that returns":
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        else:
            print(mark)
    elif how == "closes":
        print(mark)
        sys.stdout.close()
    elif how == "stdin":
        print(mark, sys.stdin.read(), subprocess.run(["cat"], capture_output=True, check=True).stdout)
    elif how == "descendant":
        subprocess.Popen(["sh", "-c", f"sleep 0.2; echo '{mark}'"])
    elif how == "inherit":
        subprocess.run([sys.executable, "-c", f"""
import os
for number in range(3, 64):
    try: os.write(number, b"stray")
    except OSError: pass
print("{mark}")
"""], check=True, close_fds=False)
    return how

made = []

@operator
class Counter:
    """Counts its own calls."""
    def __init__(self, *, start: int = 0):
        made.append("made")
        self.count = start
    def process(self, x: int) -> list[Any]:
        self.count += 1
        if x < 0:
            raise ValueError("negative")
        return [self.count, made.count("made"), made.count("closed")]

@operator
class Closed(Counter):
    def close(self):
        made.append("closed")

@operator
class FailsToClose(Counter):
    def close(self):
        raise RuntimeError("the rest could not be written")
'''
HELPER = "def help(x):\n    return deeper(x) + 1\n\ndef deeper(x):\n    return x * 10\n"


@pytest.fixture
def project(tmp_path: Path) -> Any:
    """A project with many operators, loaded as the driver loads it; imports and logging end up as they were."""
    (tmp_path / "etl.py").write_text(OPERATORS)
    (tmp_path / "helper.py").write_text(HELPER)
    (tmp_path / "imported_late.py").write_text("VALUE = 40\n")
    path, root = list(sys.path), logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield Project(tmp_path)
    forget_projects()
    assert sys.path == path
    assert (root.level, root.handlers) == (level, handlers)


class Project:
    """One project: requests for its operators, and the replies to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.module = load_file(folder / "etl.py")

    def spec(self, name: str) -> OperatorSpec:
        return describe(getattr(self.module, name))

    def header(self, spool: Any, name: str, inputs: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
        spec, target = self.spec(name), getattr(self.module, name)
        given: dict[str, Any] = {}
        for port in spec.inputs:
            if port.name in inputs:
                many = inputs[port.name] if port.variadic else [inputs[port.name]]
                parts = [encode_port(v, port.annotation, port.seen, spool, port.name) for v in many]
                given[port.name] = parts if port.variadic else parts[0]
        return {
            "petal": 1,
            "operator_id": name,
            "type": spec.name,
            "reference": msgspec.to_builtins(reference(target)),
            "folders": [str(self.folder)],
            "params": {
                p.name: encode_port(params[p.name], p.annotation, _VALUE, spool, p.name)
                for p in spec.params
                if p.name in params
            },
            "inputs": given,
            "run": "20260101T000000Z-0123abcd",
            "attempt": 1,
            "key": f"run:{name}",
            "pipeline": "etl",
        }

    def request(self, name: str, inputs: dict[str, Any] | None = None, /, **params: Any) -> bytes:
        """Make a packed request."""
        return self.changed(name, {}, inputs, **params)

    def changed(
        self, name: str, header: dict[str, Any], inputs: dict[str, Any] | None = None, /, **params: Any
    ) -> bytes:
        """Make a packed request with some keys of its header changed."""
        with Outgoing() as message:
            message.write(self.header(message.spool, name, inputs or {}, params) | header)
            return message.packed()

    def reply(self, name: str, data: bytes) -> Any:
        """Read a reply: its header's keys as attributes, and ``value``."""
        message = unpack(data, None)
        found = SimpleNamespace(**message.header)
        outputs = self.spec(name).outputs
        if found.status == "ok" and outputs:
            port = outputs[0]
            found.value = decode_port(found.output, port.annotation, port.seen, message.parts, "output")
            if port.seen.view.streams:
                found.value = list(found.value)
        return found
