"""Petal through its Python API. Its pipelines on files are in `petal/`, run by the command `petal`."""

import gc
import statistics
import tempfile
import time

from common import SECONDS, load, main, timed

#: Runs without and with a journal, of which the median difference is the figure.
PAIRS = 9


def hello() -> int:
    """Run three functions."""
    from petal import Pipeline

    def a() -> int:
        return 1

    def b(a: int) -> int:
        return a + 1

    def c(a: int, b: int) -> int:
        return a + b

    return Pipeline.of(a, b, c).run().check().outputs["c"]


def nodes(shape: str) -> int:
    """Make a pipeline of functions and run it."""
    from petal import Pipeline

    _, functions = load(shape)
    with timed("seconds"):
        result = Pipeline.of(*functions).run()
    return result.check().outputs[functions[-1].__name__]


def nodes_kept(shape: str) -> int:
    """Do the same with a journal, and a listener to all events."""
    from petal import Pipeline

    _, functions = load(shape)
    told = []
    with tempfile.TemporaryDirectory() as folder:
        with timed("seconds"):
            result = Pipeline.of(*functions).run(home=f"{folder}/home", on_event=told.append)
        return result.check().outputs[functions[-1].__name__]


def recorded(shape: str) -> int:
    """Run a pipeline without and with a journal and a listener, in turn; measure how much longer the second takes."""
    from petal import Pipeline

    _, functions = load(shape)
    longer, told = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(PAIRS + 1):  # the first pair imports what it needs
            seconds = []
            for given in ({}, {"home": f"{folder}/{number}", "on_event": told.append}):
                told.clear()
                gc.collect()
                start = time.perf_counter()
                result = Pipeline.of(*functions).run(**given)
                seconds.append(time.perf_counter() - start)
            longer.append(seconds[1] - seconds[0])
    SECONDS["seconds"] = statistics.median(longer[1:])
    return result.check().outputs[functions[-1].__name__]


def waits() -> int:
    """Run 64 functions that wait, and one that adds up; no pool size is given."""
    from petal import Pipeline

    _, functions = load("waits")
    pipeline = Pipeline.of(*functions)
    with timed("seconds"):
        result = pipeline.run()
    return result.check().outputs["total"]


def burns() -> int:
    """Run 8 functions that compute in worker processes, and one here that adds up."""
    from petal import Pipeline, node

    _, [*burning, total] = load("burns")
    pipeline = Pipeline.of(*[node(f, policies={"execution": "process"}) for f in burning], total)
    with timed("seconds"):
        result = pipeline.run()
    return result.check().outputs["total"]


def fill(kind: str, folder: str) -> int:
    """Cache what the nodes give."""
    return _cached(kind, folder)


def hits(kind: str) -> int:
    """Find what was cached."""
    import cached

    with cached.filled(kind) as folder:
        return _cached(kind, folder)


def _cached(kind: str, folder: str) -> int:
    import cached

    from petal import Pipeline, node

    names = [f"n{i}" for i in range(cached.count(kind))]
    function = getattr(cached, kind)
    nodes = [node(function, id=n, policies={"cache": True}, params={"i": i}) for i, n in enumerate(names)]
    pipeline = Pipeline.of(*nodes, name=kind)

    def first(i: int) -> int:
        return i

    with tempfile.TemporaryDirectory() as other:  # imports do not count, and a first run has some of its own
        warm = node(first, policies={"cache": True}, params={"i": 1})
        Pipeline.of(warm).run(home=other).check()
    with timed("seconds"):
        result = pipeline.run(home=folder)
        return sum(len(result.outputs[name]) for name in names)


if __name__ == "__main__":
    main(globals())
