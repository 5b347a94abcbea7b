"""pipefunc: functions bind by name; values between them."""

import sys

import hello_functions
import log_lists
import shapes
from common import PATTERNS, load, main, timed
from pipefunc import PipeFunc, Pipeline


def hello() -> int:
    """Run three functions."""
    functions = (hello_functions.a, hello_functions.b, hello_functions.c)
    return Pipeline([PipeFunc(f, f.__name__) for f in functions])("c")


def nodes(shape: str) -> int:
    """Make a pipeline of functions and call it."""
    _, functions = load(shape)
    with timed("seconds"):
        return Pipeline([PipeFunc(f, f.__name__) for f in functions])(functions[-1].__name__)


def nodes_deep(shape: str) -> int:
    """The same with Python's recursion limit raised, which pipefunc needs for long chains."""
    sys.setrecursionlimit(100_000)
    return nodes(shape)


def filter_lists(source: str, target: str) -> None:
    """Filter with lists."""
    functions = (log_lists.lines, log_lists.errors, log_lists.written)
    Pipeline([PipeFunc(f, f.__name__) for f in functions])("written", source=source, target=target)


def fanout(source: str, target: str) -> None:
    """Three filters, three files."""
    functions = [PipeFunc(log_lists.lines, "lines")]
    for i, pattern in enumerate(PATTERNS, 1):
        functions.append(PipeFunc(log_lists.errors, f"kept{i}", bound={"pattern": pattern}))
        names = {"errors": f"kept{i}"}
        functions.append(
            PipeFunc(log_lists.written, f"written{i}", renames=names, bound={"target": f"{target}.{i}"})
        )
    functions.append(PipeFunc(_all, "written"))
    Pipeline(functions)("written", source=source)


def _all(written1: int, written2: int, written3: int) -> int:
    return written1 + written2 + written3


def _total(results) -> int:
    return int(sum(results))


def _map(function, count: int, **options) -> int:
    made = Pipeline(
        [PipeFunc(function, "results", mapspec="number[i] -> results[i]"), PipeFunc(_total, "total")]
    )
    with timed("seconds"):
        return made.map({"number": list(range(count))}, storage="dict", **options)["total"].output


def waits() -> int:
    """Wait 64 times in a pool of 64 threads."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(shapes.WAITS) as executor:
        return _map(shapes.wait, shapes.WAITS, executor=executor, chunksizes=1)


def burns() -> int:
    """Compute 8 times in its default pool of processes."""
    return _map(shapes.burn, shapes.CPU_TASKS, parallel=True)


if __name__ == "__main__":
    main(globals())
