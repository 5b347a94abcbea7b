"""joblib: no graph, one parallel call for each stage of a pipeline."""

import cached
import hello_functions
import shapes
from common import load, main, timed
from joblib import Memory, Parallel, delayed


def hello() -> int:
    """Run three functions, one stage each."""
    run = Parallel(n_jobs=1)
    [a] = run([delayed(hello_functions.a)()])
    [b] = run([delayed(hello_functions.b)(a)])
    return run([delayed(hello_functions.c)(a, b)])[0]


def nodes(shape: str) -> int:
    """Run a fan-out: one parallel call between the first and the last function."""
    _, [first, *middle, last] = load(shape)
    with timed("seconds"):
        value = first()
        return last(*Parallel(n_jobs=2, backend="threading")(delayed(f)(value) for f in middle))


def waits() -> int:
    """Wait 64 times in 64 threads."""
    with timed("seconds"):
        return sum(
            Parallel(n_jobs=64, backend="threading")(delayed(shapes.wait)(i) for i in range(shapes.WAITS))
        )


def burns() -> int:
    """Compute 8 times in two processes."""
    with timed("seconds"):
        return sum(Parallel(n_jobs=2)(delayed(shapes.burn)(i) for i in range(shapes.CPU_TASKS)))


def fill(kind: str, folder: str) -> int:
    """Remember what the functions give."""
    return _cached(kind, folder)


def hits(kind: str) -> int:
    """Find what was remembered."""
    with cached.filled(kind) as folder:
        return _cached(kind, folder)


def _cached(kind: str, folder: str) -> int:
    function = Memory(folder, verbose=0).cache(getattr(cached, kind))
    with timed("seconds"):
        return sum(len(function(i)) for i in range(cached.count(kind)))


if __name__ == "__main__":
    main(globals())
