"""Kedro: nodes, a catalog and a runner, without a project; values between nodes are passed on without a copy."""

import logging
from typing import Any

import hello_functions
import log_lists
import shapes
from common import PATTERNS, load, main, needs, timed
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import node, pipeline
from kedro.runner import SequentialRunner

logging.disable(logging.INFO)


def _result(found: Any) -> Any:
    return found.load() if hasattr(found, "load") else found


def _values(**values: str) -> dict[str, MemoryDataset]:
    return {name: MemoryDataset(value) for name, value in values.items()}


def _uncopied(*names: str) -> dict[str, MemoryDataset]:
    return {name: MemoryDataset(copy_mode="assign") for name in names}


def hello() -> int:
    """Run three functions."""
    functions = hello_functions
    made = pipeline(
        [node(functions.a, None, "a"), node(functions.b, "a", "b"), node(functions.c, ["a", "b"], "c")]
    )
    return _result(SequentialRunner().run(made, DataCatalog())["c"])


def nodes(shape: str) -> int:
    """Make a pipeline of functions and run it."""
    _, functions = load(shape)
    with timed("seconds"):
        made = pipeline([node(f, needs(f) or None, f.__name__) for f in functions])
        result = SequentialRunner().run(made, DataCatalog())
    return _result(result[functions[-1].__name__])


def filter_lists(source: str, target: str) -> None:
    """Filter with three nodes."""
    made = pipeline(
        [
            node(log_lists.lines, "source", "lines"),
            node(log_lists.errors, "lines", "errors"),
            node(log_lists.written, ["errors", "target"], "written"),
        ]
    )
    catalog = DataCatalog({**_values(source=source, target=target), **_uncopied("lines", "errors")})
    SequentialRunner().run(made, catalog)


def filter_datasets(source: str, target: str) -> None:
    """Filter with one node; the catalog reads and writes."""
    from kedro_datasets.text import TextDataset

    def keep(text: str) -> str:
        return "".join(log_lists.errors(text.splitlines(keepends=True)))

    catalog = {"log": TextDataset(filepath=source), "errors": TextDataset(filepath=target)}
    SequentialRunner().run(pipeline([node(keep, "log", "errors")]), DataCatalog(catalog))


def fanout(source: str, target: str) -> None:
    """Three filters, three files."""
    nodes = [node(log_lists.lines, "source", "lines")]
    catalog = {**_values(source=source), **_uncopied("lines")}
    for i, pattern in enumerate(PATTERNS, 1):
        catalog |= _values(**{f"pattern{i}": pattern, f"target{i}": f"{target}.{i}"}) | _uncopied(f"kept{i}")
        nodes.append(node(log_lists.errors, ["lines", f"pattern{i}"], f"kept{i}", name=f"keep{i}"))
        nodes.append(node(log_lists.written, [f"kept{i}", f"target{i}"], f"written{i}", name=f"write{i}"))
    SequentialRunner().run(pipeline(nodes), DataCatalog(catalog))


def waits() -> int:
    """Wait 64 times with the runner for threads."""
    from kedro.runner import ThreadRunner

    _, functions = load("waits")
    made = pipeline([node(f, needs(f) or None, f.__name__) for f in functions])
    with timed("seconds"):
        result = ThreadRunner(max_workers=64).run(made, DataCatalog())
    return _result(result["total"])


def burns() -> int:
    """Compute 8 times with the runner for processes; the sum goes to a file, as shared memory ends with the run."""
    from kedro.io import SharedMemoryDataCatalog
    from kedro.runner import ParallelRunner
    from kedro_datasets.json import JSONDataset

    count = range(shapes.CPU_TASKS)
    inputs = {f"i{i}": MemoryDataset(i) for i in count}
    catalog = SharedMemoryDataCatalog({**inputs, "total": JSONDataset(filepath="kedro_total.json")})
    tasks = [node(shapes.burn, f"i{i}", f"y{i}", name=f"task{i}") for i in count]
    made = pipeline([*tasks, node(_sum, [f"y{i}" for i in count], "total", name="total")])
    with timed("seconds"):
        ParallelRunner(max_workers=2).run(made, catalog)
    return catalog["total"].load()


def _sum(*numbers: int) -> int:
    return sum(numbers)


if __name__ == "__main__":
    main(globals())
