"""Petal through its Python API. Its pipelines on files are in `petal/`, run by the command `petal`."""

from common import load, main, timed


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


if __name__ == "__main__":
    main(globals())
