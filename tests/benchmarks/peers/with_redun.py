"""redun: lazy expressions of tasks, its default scheduler with the database in memory."""

import logging
import re
import sys

import hello_functions
import shapes
from common import load, main, needs, timed
from redun import File, Scheduler, task
from redun.config import Config

logging.getLogger("redun").setLevel(logging.ERROR)
redun_namespace = "benchmarks"


def hello() -> int:
    """Run three functions."""
    a, b, c = (task(namespace="hello")(f) for f in (hello_functions.a, hello_functions.b, hello_functions.c))
    first = a()
    return Scheduler().run(c(first, b(first)))


def nodes(shape: str) -> int:
    """Make an expression of tasks and run it."""
    _, functions = load(shape)
    with timed("seconds"):
        values = {}
        for f in functions:
            values[f.__name__] = task(namespace="nodes")(f)(*[values[name] for name in needs(f)])
        return Scheduler().run(values[functions[-1].__name__])


def nodes_deep(shape: str) -> int:
    """The same with Python's recursion limit raised, which redun needs for long chains."""
    sys.setrecursionlimit(100_000)
    return nodes(shape)


@task()
def errors(log: File, target: str) -> File:
    """Keep the errors of a log."""
    match, kept = re.compile("^ERROR").match, File(target)
    with log.open("r") as lines, kept.open("w") as file:
        for line in lines:
            if match(line):
                file.write(line)
    return kept


def filter_task(source: str, target: str) -> None:
    """Filter within one task."""
    Scheduler().run(errors(File(source), target))


@task()
def wait(number: int) -> int:
    """Wait."""
    return shapes.wait(number)


@task()
def burn(number: int) -> int:
    """Compute."""
    return shapes.burn(number)


@task()
def total(numbers: list[int]) -> int:
    """Add up."""
    return sum(numbers)


def _run(tasks: list, mode: str, workers: int) -> int:
    scheduler = Scheduler(
        config=Config({"executors.default": {"type": "local", "mode": mode, "max_workers": workers}})
    )
    with timed("seconds"):
        return scheduler.run(total(tasks))


def waits() -> int:
    """Wait 64 times in 64 threads."""
    return _run([wait(i) for i in range(shapes.WAITS)], "thread", 64)


def burns() -> int:
    """Compute 8 times in two processes."""
    return _run([burn(i) for i in range(shapes.CPU_TASKS)], "process", 2)


if __name__ == "__main__":
    main(globals())
