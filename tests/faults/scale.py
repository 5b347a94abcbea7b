"""How much of the long tests is run, and with which seeds.

``PETAL_TEST_SCALE=1`` is all of it, as recorded in ``README.md``; ``PETAL_TEST_SEED`` gives other seeds.
"""

from __future__ import annotations

import os
import random

SCALE = float(os.environ.get("PETAL_TEST_SCALE", "0.05"))
SEED = int(os.environ.get("PETAL_TEST_SEED", "0"))


def share(whole: int, least: int = 1) -> int:
    """Return how many of so many are run."""
    return max(least, round(whole * SCALE))


def seeded(*what: object) -> random.Random:
    """Return random numbers that are the same for the same seed and names, in every process."""
    return random.Random(":".join(map(str, (SEED, *what))))
