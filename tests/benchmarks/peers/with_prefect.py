"""Prefect: tasks of a flow, against the server that its settings name, or a temporary one of its own."""

import hello_functions
import log_lists
import shapes
from common import PATTERNS, load, main, needs, timed
from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from prefect.utilities.annotations import quote


def hello() -> int:
    """Run three functions."""
    a, b, c = task(hello_functions.a), task(hello_functions.b), task(hello_functions.c)

    @flow
    def run() -> int:
        first = a()
        return c(first, b(first))

    return run()


def nodes(shape: str) -> int:
    """Make tasks of functions and call them in a flow."""
    _, functions = load(shape)
    with timed("seconds"):
        tasks = [(task(f), needs(f)) for f in functions]

        @flow
        def run() -> int:
            values = {}
            for made, names in tasks:
                values[made.fn.__name__] = made(*[values[name] for name in names])
            return values[functions[-1].__name__]

        return run()


def filter_lists(source: str, target: str) -> None:
    """Filter with three tasks; `quote` spares the lists a search for other tasks' results."""
    lines, errors, written = task(log_lists.lines), task(log_lists.errors), task(log_lists.written)

    @flow
    def run() -> int:
        return written(quote(errors(quote(lines(source)))), target)

    run()


def fanout(source: str, target: str) -> None:
    """Three filters, three files."""
    lines, errors, written = task(log_lists.lines), task(log_lists.errors), task(log_lists.written)

    @flow
    def run() -> int:
        log = lines(source)
        kept = [errors(quote(log), pattern) for pattern in PATTERNS]
        return sum(written(quote(k), f"{target}.{i}") for i, k in enumerate(kept, 1))

    run()


def waits() -> int:
    """Wait 64 times with its runner for threads."""
    wait = task(shapes.wait)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=64))
    def run() -> int:
        with timed("seconds"):
            return sum(wait.map(list(range(shapes.WAITS))).result())

    return run()


def burns() -> int:
    """Compute 8 times with its runner for processes."""
    burn = task(shapes.burn)

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    def run() -> int:
        with timed("seconds"):
            return sum(burn.map(list(range(shapes.CPU_TASKS))).result())

    return run()


if __name__ == "__main__":
    main(globals())
