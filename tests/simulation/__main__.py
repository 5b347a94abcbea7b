"""Replay one seed: ``python -m tests.simulation SEED [--without DEFENCE]`` prints what happened, step by step."""

from __future__ import annotations

import argparse
import sys

from petal.execution.scheduler import Scheduler
from tests.simulation.checks import Broken
from tests.simulation.mutants import WITHOUT
from tests.simulation.run import Run


def main() -> int:
    """Run one seed and print its trace."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--without", choices=[*WITHOUT, "keys"], help="the defence that is switched off")
    options = parser.parse_args()
    run = Run(options.seed, WITHOUT.get(options.without, Scheduler), has_keys=options.without != "keys")
    for i, unit in enumerate(run.world.units):
        print(f"unit {i}: waits {sorted(unit.waits)} streams {sorted(unit.streams)} {unit.rule}")
    try:
        run.go()
    except Broken as error:
        print(*run.trace, f"BROKEN: {error}", sep="\n")
        return 1
    print(*run.trace, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
