"""Tasks that compute, as a module of Hamilton that may run them in parallel."""

import shapes
from hamilton.htypes import Collect, Parallelizable


def task() -> Parallelizable[int]:
    """Number the tasks."""
    yield from range(shapes.CPU_TASKS)


def computed(task: int) -> int:
    """Compute one."""
    return shapes.burn(task)


def total(computed: Collect[int]) -> int:
    """Add up."""
    return sum(computed)
