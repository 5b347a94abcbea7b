"""loky's reusable pool of processes."""

import pool_tasks
import shapes
from common import in_turn, main, timed
from loky import get_reusable_executor


def trips() -> int:
    """Call a function that does next to nothing, in turn."""
    pool = get_reusable_executor(max_workers=2)
    first = pool.submit(pool_tasks.increment, 0).result()
    value = in_turn(pool_tasks.TRIPS, lambda v: pool.submit(pool_tasks.increment, v).result(), first)
    pool.shutdown()
    return value


def burns() -> int:
    """Compute 8 times in two workers, from their start to the sum."""
    with timed("seconds"):
        pool = get_reusable_executor(max_workers=2)
        value = sum(pool.map(shapes.burn, range(shapes.CPU_TASKS)))
        pool.shutdown()
    return value


def large() -> int:
    """Send 100 MB there and back."""
    data = bytes(pool_tasks.LARGE)
    pool = get_reusable_executor(max_workers=2)
    pool.submit(pool_tasks.increment, 0).result()
    with timed("seconds"):
        answer = pool.submit(pool_tasks.same, data).result()
    pool.shutdown()
    assert answer == data
    return len(answer)


if __name__ == "__main__":
    main(globals())
