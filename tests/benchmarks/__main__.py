"""Measure Petal beside its peers: `python -m tests.benchmarks [SECTION...]`.

Everything that this needs is installed and made in a folder of its own (`.benchmarks`, about 10 GB): a virtual
environment for each peer, pinned in `requirements/`; Petal itself, from this checkout, as its users get it; a log and
JSON lines that are the same everywhere. Missing tools (grep, ripgrep, mawk, jq, time) come from Debian, which needs root.

Each section's results go to `results.json`, beside those of the other sections, from which `RESULTS.md` and
`results.svg` are drawn; `--readme` puts the short table into the README, between its markers. An output that differs
from Petal's ends the run with an error. All sections with five rounds take about 25 minutes; nothing else should run.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path

from tests.benchmarks import data, plot, report, results
from tests.benchmarks.cases import Measured
from tests.benchmarks.home import HERE, ROOT, Home
from tests.benchmarks.install import install, versions
from tests.benchmarks.run import Difference, run
from tests.benchmarks.sections import sections


def main() -> None:
    """Carry out the command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = list(sections(Home(Path())))
    parser.add_argument(
        "sections", metavar="SECTION", nargs="*", help=f"{', '.join(names)}; all when left out"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="how often each case runs; slow ones run fewer times"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the order of the cases")
    parser.add_argument(
        "--home", type=Path, default=ROOT / ".benchmarks", help="where everything is installed"
    )
    parser.add_argument(
        "--results", type=Path, default=HERE, help="the folder of results.json, RESULTS.md, results.svg"
    )
    parser.add_argument(
        "--render", action="store_true", help="only draw RESULTS.md and results.svg from results.json"
    )
    parser.add_argument("--readme", action="store_true", help="only put the short table into the README")
    given = parser.parse_args()
    if unknown := sorted(set(given.sections) - set(names)):
        parser.error(f"there is no section {', '.join(unknown)}; there are {', '.join(names)}")
    if given.readme:
        path = ROOT / "README.md"
        text = report.with_table(
            path.read_text(encoding="utf-8"), results.load(given.results / "results.json")
        )
        path.write_text(text, encoding="utf-8")
    elif given.render:
        render(given.results)
    else:
        measure(Home(given.home.resolve()), given.sections or names, given.results, given.rounds, given.seed)


def measure(home: Home, names: list[str], target: Path, rounds: int, seed: int) -> None:
    """Set everything up, run sections, and write what they gave as soon as each is done."""
    start = time.monotonic()
    install(home)
    data.make(home.data)
    print(f"ready after {time.monotonic() - start:.0f} s", flush=True)
    table = sections(home)
    for name in (n for n in table if n in names):
        try:
            measured = run(table[name], home, rounds, seed)
        except Difference as error:
            raise SystemExit(f"error: {error}") from None
        found = results.load(target / "results.json")
        done = found["sections"] | {name: measured}
        found = {
            "machine": machine(),
            "versions": versions(home),
            "sections": {n: done[n] for n in table if n in done},
        }
        results.save(target / "results.json", found)
        render(target)
        print(f"{name} is done after {time.monotonic() - start:.0f} s", flush=True)


def render(target: Path) -> None:
    """Draw what people read from the results."""
    found = results.load(target / "results.json")
    (target / "RESULTS.md").write_text(report.markdown(found), encoding="utf-8")
    (target / "results.svg").write_text(plot.svg(found), encoding="utf-8")


def machine() -> Measured:
    """Say what this machine is."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    system = f"{platform.system()} {platform.release()}"
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "system": system,
    }


if __name__ == "__main__":
    main()
