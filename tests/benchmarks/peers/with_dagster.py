"""Dagster: ops and jobs, executed in process or in processes; only errors are logged.

Data is annotated as `Any`: of a `list[str]` Dagster checks each element, which takes longer.
"""

from typing import Any

import dagster
import hello_functions
import log_lists
from common import PATTERNS, load, main, needs, timed
from dagster import job, mem_io_manager, op

QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
IN_MEMORY = {"resource_defs": {"io_manager": mem_io_manager}, "config": QUIET}


def hello() -> int:
    """Run three functions."""
    a, b, c = op(hello_functions.a), op(hello_functions.b), op(hello_functions.c)

    @job(config=QUIET)
    def run() -> None:
        first = a()
        c(first, b(first))

    return run.execute_in_process().output_for_node("c")


def hello_assets() -> int:
    """Materialize three assets."""
    functions = (hello_functions.a, hello_functions.b, hello_functions.c)
    assets = [dagster.asset(f) for f in functions]
    return dagster.materialize(assets).output_for_node("c")


def _job(functions: list[Any]) -> dagster.JobDefinition:
    ops = [op(f) for f in functions]

    @job(**IN_MEMORY)
    def run() -> None:
        values: dict[str, Any] = {}
        for f, made in zip(functions, ops, strict=True):
            values[f.__name__] = made(*[values[name] for name in needs(f)])

    return run


def nodes(shape: str) -> int:
    """Make a job of functions and execute it."""
    _, functions = load(shape)
    with timed("seconds"):
        return _job(functions).execute_in_process().output_for_node(functions[-1].__name__)


def _read(source: str) -> Any:
    @op
    def lines() -> Any:
        return log_lists.lines(source)

    return lines()


def _keep(lines: Any, pattern: str, target: str, number: int = 1) -> None:
    @op(name=f"keep{number}")
    def keep(lines: Any) -> Any:
        return log_lists.errors(lines, pattern)

    @op(name=f"write{number}")
    def write(kept: Any) -> int:
        return log_lists.written(kept, target)

    write(keep(lines))


def filter_lists(source: str, target: str) -> None:
    """Filter with three ops."""

    @job(**IN_MEMORY)
    def run() -> None:
        _keep(_read(source), "^ERROR", target)

    assert run.execute_in_process().success


def fanout(source: str, target: str) -> None:
    """Three filters, three files."""

    @job(**IN_MEMORY)
    def run() -> None:
        lines = _read(source)
        for i, pattern in enumerate(PATTERNS, 1):
            _keep(lines, pattern, f"{target}.{i}", i)

    assert run.execute_in_process().success


def waits() -> int:
    """Wait 64 times in process: one after the other."""
    made = _job(load("waits")[1])
    with timed("seconds"):
        return made.execute_in_process().output_for_node("total")


def burns_job() -> dagster.JobDefinition:
    """Make the job of 8 tasks, in each process anew."""
    _, functions = load("burns")
    ops = [op(f) for f in functions]

    @job
    def run() -> None:
        ops[-1](*[made() for made in ops[:-1]])

    return run


def burns() -> int:
    """Compute 8 times with its executor for processes, two at a time."""
    config = {"execution": {"config": {"multiprocess": {"max_concurrent": 2}}}, **QUIET}
    made = dagster.build_reconstructable_job("with_dagster", "burns_job")
    with (
        timed("seconds"),
        dagster.execute_job(made, instance=dagster.DagsterInstance.get(), run_config=config) as result,
    ):
        return result.output_for_node("total")


if __name__ == "__main__":
    main(globals())
