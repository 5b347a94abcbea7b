"""Hamilton: functions bind by name; edges carry values, or generators where a node has one consumer."""

import sys
from types import ModuleType
from typing import Any

from common import load, main, timed
from hamilton import driver


def _execute(module: ModuleType, *targets: str, **inputs: str) -> dict[str, Any]:
    return driver.Builder().with_modules(module).build().execute(list(targets), inputs=inputs)


def hello() -> int:
    """Run three functions."""
    import hello_functions

    return _execute(hello_functions, "c")["c"]


def nodes(shape: str) -> int:
    """Build a driver of functions and execute it."""
    module, functions = load(shape)
    target = functions[-1].__name__
    with timed("seconds"):
        return _execute(module, target)[target]


def nodes_deep(shape: str) -> int:
    """The same with Python's recursion limit raised, which Hamilton needs for long chains."""
    sys.setrecursionlimit(100_000)
    return nodes(shape)


def filter_lists(source: str, target: str) -> None:
    """Filter with lists."""
    import log_lists

    _execute(log_lists, "written", source=source, target=target)


def filter_streams(source: str, target: str) -> None:
    """Filter with generators."""
    import log_streams

    _execute(log_streams, "written", source=source, target=target)


def fanout(source: str, target: str) -> None:
    """Three filters, three files."""
    import hamilton_fanout

    _execute(hamilton_fanout, "written1", "written2", "written3", path=source, target=target)


def waits() -> int:
    """Wait 64 times with the adapter for threads."""
    from hamilton.plugins.h_threadpool import FutureAdapter

    module, _ = load("waits")
    built = driver.Builder().with_modules(module).with_adapters(FutureAdapter(max_workers=64)).build()
    with timed("seconds"):
        return built.execute(["total"])["total"]


def waits_default() -> int:
    """Wait 64 times as it comes: one after the other."""
    module, _ = load("waits")
    built = driver.Builder().with_modules(module).build()
    with timed("seconds"):
        return built.execute(["total"])["total"]


def burns() -> int:
    """Compute 8 times in processes, with Parallelizable and Collect."""
    import hamilton_burns
    from hamilton.execution.executors import MultiProcessingExecutor

    built = (
        driver.Builder()
        .with_modules(hamilton_burns)
        .enable_dynamic_execution(allow_experimental_mode=True)
        .with_remote_executor(MultiProcessingExecutor(max_tasks=2))
        .build()
    )
    with timed("seconds"):
        return built.execute(["total"])["total"]


def fill(kind: str, folder: str) -> int:
    """Remember what the functions give."""
    return _cached(kind, folder)


def hits(kind: str) -> int:
    """Find what was remembered."""
    import cached

    with cached.filled(kind) as folder:
        return _cached(kind, folder)


def _cached(kind: str, folder: str) -> int:
    import importlib
    from pathlib import Path

    import cached

    returned = "str" if kind == "small" else "bytes"
    numbers = range(cached.count(kind))
    text = "".join(f"def n{i}() -> {returned}:\n    return cached.{kind}({i})\n" for i in numbers)
    Path(folder, "cached_nodes.py").write_text(f"import cached\n{text}")
    sys.path.insert(0, folder)
    built = (
        driver.Builder().with_modules(importlib.import_module("cached_nodes")).with_cache(path=folder).build()
    )
    with timed("seconds"):
        found = built.execute([f"n{i}" for i in numbers])
        return sum(len(found[f"n{i}"]) for i in numbers)


if __name__ == "__main__":
    main(globals())
