"""What the peers' scripts share: commands by name, and one line to say what was measured."""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any

#: What `timed` measured, in seconds, by name.
SECONDS: dict[str, float] = {}
PATTERNS = ("^ERROR", "^WARN", "user=42[0-9]")


def main(commands: dict[str, Callable[..., Any]]) -> None:
    """Carry out `script.py COMMAND [ARGUMENT...]`, and say what it returned and how long its parts took."""
    name, *arguments = sys.argv[1:]
    value = commands[name](*arguments)
    print("\n@@" + json.dumps({"value": value, **SECONDS}), flush=True)


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Measure a part of a command."""
    start = time.perf_counter()
    yield
    SECONDS[name] = time.perf_counter() - start


def in_turn(count: int, call: Callable[[int], int], value: int) -> int:
    """Call with what the call before returned, and measure the median call."""
    took = []
    for _ in range(count):
        start = time.perf_counter()
        value = call(value)
        took.append(time.perf_counter() - start)
    SECONDS["seconds"] = statistics.median(took)
    return value


def load(module: str) -> tuple[ModuleType, list[FunctionType]]:
    """Import one of the modules that `shapes.modules` describes; return it and its functions in order."""
    loaded = importlib.import_module(module)
    return loaded, [f for f in vars(loaded).values() if isinstance(f, FunctionType)]


def needs(function: FunctionType) -> list[str]:
    """Return the names of a function's parameters."""
    return list(function.__code__.co_varnames[: function.__code__.co_argcount])
