"""diskcache: functions one after the other, each remembered by its argument."""

import cached
from common import main, timed
from diskcache import Cache


def fill(kind: str, folder: str) -> int:
    """Remember what the functions give."""
    return _run(kind, folder)


def hits(kind: str) -> int:
    """Find what was remembered."""
    with cached.filled(kind) as folder:
        return _run(kind, folder)


def _run(kind: str, folder: str) -> int:
    with Cache(folder, size_limit=1 << 32) as store:
        function = store.memoize()(getattr(cached, kind))
        with timed("seconds"):
            return sum(len(function(i)) for i in range(cached.count(kind)))


if __name__ == "__main__":
    main(globals())
