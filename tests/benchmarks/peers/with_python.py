"""Python's standard library alone: what a script without a framework takes."""

import re
from contextlib import ExitStack

from common import PATTERNS, in_turn, load, main, needs, timed


def hello() -> int:
    """Call three functions."""
    from hello_functions import a, b, c

    first = a()
    return c(first, b(first))


def nodes(shape: str) -> int:
    """Call functions in order, their values in a dictionary."""
    _, functions = load(shape)
    with timed("seconds"):
        values = {}
        for f in functions:
            values[f.__name__] = f(*[values[name] for name in needs(f)])
    return values[functions[-1].__name__]


def nodes_sorted(shape: str) -> int:
    """Read the signatures and sort the graph with `graphlib` first."""
    import graphlib
    import inspect

    _, functions = load(shape)
    with timed("seconds"):
        by_name = {f.__name__: f for f in functions}
        graph = {name: tuple(inspect.signature(f).parameters) for name, f in by_name.items()}
        values = {}
        for name in graphlib.TopologicalSorter(graph).static_order():
            values[name] = by_name[name](*[values[need] for need in graph[name]])
    return values[functions[-1].__name__]


def filter_match(source: str, target: str) -> None:
    """Filter lines in a loop, with a regular expression."""
    match = re.compile("^ERROR").match
    with open(source, encoding="utf-8") as lines, open(target, "w", encoding="utf-8") as file:
        for line in lines:
            if match(line):
                file.write(line)


def filter_startswith(source: str, target: str) -> None:
    """Filter lines in a loop, with a method of `str`."""
    with open(source, encoding="utf-8") as lines, open(target, "w", encoding="utf-8") as file:
        for line in lines:
            if line.startswith("ERROR"):
                file.write(line)


def filter_bytes(source: str, target: str) -> None:
    """Filter lines of bytes without a loop in Python."""
    with open(source, "rb", 1 << 20) as lines, open(target, "wb", 1 << 20) as file:
        file.writelines(filter(re.compile(rb"^ERROR").search, lines))


def fanout(source: str, target: str) -> None:
    """Three filters, three files, in one loop."""
    with ExitStack() as stack:
        lines = stack.enter_context(open(source, encoding="utf-8"))
        pairs = []
        for i, pattern in enumerate(PATTERNS, 1):
            file = stack.enter_context(open(f"{target}.{i}", "w", encoding="utf-8"))
            pairs.append((re.compile(pattern).search, file.write))
        for line in lines:
            for matches, write in pairs:
                if matches(line):
                    write(line)


def read_twice(source: str, target: str) -> None:
    """Count the lines, then read them again and pass them on."""
    with open(source, encoding="utf-8") as lines:
        count = sum(1 for _ in lines)
    assert count > 0
    with open(source, encoding="utf-8") as lines, open(target, "w", encoding="utf-8") as file:
        file.writelines(lines)


def waits() -> int:
    """Wait 64 times in a pool of 64 threads."""
    from concurrent.futures import ThreadPoolExecutor

    import shapes

    with timed("seconds"), ThreadPoolExecutor(shapes.WAITS) as executor:
        return sum(executor.map(shapes.wait, range(shapes.WAITS)))


def burns() -> int:
    """Compute 8 times in a pool of two processes."""
    from concurrent.futures import ProcessPoolExecutor

    import shapes

    with timed("seconds"), ProcessPoolExecutor(2) as executor:
        return sum(executor.map(shapes.burn, range(shapes.CPU_TASKS)))


def trips() -> int:
    """Call a function that does next to nothing, in turn, in a pool of two processes."""
    from concurrent.futures import ProcessPoolExecutor

    import pool_tasks

    with ProcessPoolExecutor(2) as pool:
        first = pool.submit(pool_tasks.increment, 0).result()
        return in_turn(pool_tasks.TRIPS, lambda v: pool.submit(pool_tasks.increment, v).result(), first)


def large() -> int:
    """Send 100 MB to a process and back."""
    from concurrent.futures import ProcessPoolExecutor

    import pool_tasks

    data = bytes(pool_tasks.LARGE)
    with ProcessPoolExecutor(2) as pool:
        pool.submit(pool_tasks.increment, 0).result()
        with timed("seconds"):
            answer = pool.submit(pool_tasks.same, data).result()
    assert answer == data
    return len(answer)


def burns_in_turn() -> int:
    """Compute 8 times, one after the other."""
    import shapes

    with timed("seconds"):
        return sum(map(shapes.burn, range(shapes.CPU_TASKS)))


if __name__ == "__main__":
    main(globals())
