"""Dask: delayed functions on its threads or processes, and bags of lines."""

import re
from pathlib import Path

import hello_functions
import shapes
from common import load, main, needs, timed
from dask import delayed


def hello() -> int:
    """Run three functions."""
    a = delayed(hello_functions.a)()
    return delayed(hello_functions.c)(a, delayed(hello_functions.b)(a)).compute()


def hello_distributed() -> int:
    """Run three functions on a local cluster of two processes."""
    from distributed import Client

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None):
        return hello()


def nodes(shape: str) -> int:
    """Delay functions and compute the last."""
    _, functions = load(shape)
    with timed("seconds"):
        values = {}
        for f in functions:
            values[f.__name__] = delayed(f, pure=False)(*[values[name] for name in needs(f)])
        return values[functions[-1].__name__].compute()


def filter_bag(source: str, target: str) -> None:
    """Filter a bag of lines in processes; its parts are put together to one file, like everybody's."""
    import dask.bag

    kept = dask.bag.read_text(source, blocksize="64MiB").filter(re.compile("^ERROR").match).map(_without_end)
    parts = kept.to_textfiles(f"{target}.*.part", compute=False, last_endline=True)
    dask.compute(*parts, scheduler="processes", num_workers=2)
    with open(target, "wb") as whole:
        for part in sorted(Path(target).parent.glob(f"{Path(target).name}.*.part")):
            whole.write(part.read_bytes())
            part.unlink()


def _without_end(line: str) -> str:
    return line.rstrip("\n")


def _total(function, count: int, **options) -> int:
    total = delayed(sum)([delayed(function)(i) for i in range(count)])
    with timed("seconds"):
        return total.compute(**options)


def waits() -> int:
    """Wait 64 times in 64 threads."""
    return _total(shapes.wait, shapes.WAITS, scheduler="threads", num_workers=64)


def burns() -> int:
    """Compute 8 times in two processes."""
    return _total(shapes.burn, shapes.CPU_TASKS, scheduler="processes", num_workers=2)


def burns_distributed() -> int:
    """Compute 8 times on a local cluster of two processes, which is there already."""
    from distributed import Client

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None):
        return _total(shapes.burn, shapes.CPU_TASKS)


if __name__ == "__main__":
    main(globals())
