"""Results as data: read and write them, look up medians, and work out the figures that Petal is to reach."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks.cases import Measured


def load(path: Path) -> Measured:
    """Read `results.json`; where there is none, nothing is measured yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"sections": {}}


def save(path: Path, results: Measured) -> None:
    """Write `results.json`, each list of figures on one line."""
    text = json.dumps(results, indent=1, ensure_ascii=False)
    text = re.sub(
        r"\[[^\[\]{}]*\]",
        lambda found: re.sub(r"\s+", " ", found[0]).replace("[ ", "[").replace(" ]", "]"),
        text,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n", encoding="utf-8")


class Results:
    """Medians by section, group and row.

    Raises:
        KeyError: Nothing was measured under this name.
    """

    def __init__(self, results: Measured) -> None:
        self._sections = results["sections"]

    def row(self, section: str, group: str, key: str) -> Measured:
        """Return what was measured of a case."""
        row = self._sections[section]["groups"][group]["rows"][key]
        if not row["figures"]:
            raise KeyError(f"{section}, {group}, {key}: {row['note']}")
        return row

    def figure(self, section: str, group: str, key: str) -> float:
        """Return the median of a case's figure, in its group's unit."""
        return median(self.row(section, group, key)["figures"])

    def memory(self, section: str, group: str, key: str) -> float:
        """Return the median of a case's peak memory, in MB."""
        return self.row(section, group, key)["memory"]

    def input(self, section: str, group: str) -> int:
        """Return the size of a group's input, in bytes."""
        return self._sections[section]["groups"][group]["input"]

    def best(self, section: str, group: str) -> tuple[str, float]:
        """Return the name and median of the fastest peer: neither Petal nor Python alone."""
        rows = self._sections[section]["groups"][group]["rows"]
        peers = [
            (median(row["figures"]), row["name"])
            for key, row in rows.items()
            if row["figures"] and not key.startswith(("petal", "python"))
        ]
        best, name = min(peers)
        return name, best


@dataclass(frozen=True)
class Figure:
    """One thing that must be seen.

    Attributes:
        what: What it is about.
        wanted: What is asked for.
        found: What was measured.
        met: Whether that is enough; None when it was not measured.
    """

    what: str
    wanted: str
    found: str
    met: bool | None


def figures(results: Measured) -> list[Figure]:
    """Work out all figures from the medians of the results."""
    return [_figure(check, Results(results)) for check in CHECKS]


Check = tuple[str, str, Callable[[Results], tuple[str, bool]]]


def _figure(check: Check, results: Results) -> Figure:
    what, wanted, measure = check
    try:
        found, met = measure(results)
    except KeyError as missing:
        return Figure(what, wanted, f"not measured: {str(missing).strip(chr(39))}", None)
    return Figure(what, wanted, found, met)


def _faster_than_peers(results: Results) -> tuple[str, bool]:
    own = results.figure("hello", "three", "petal")
    name, best = results.best("hello", "three")
    return f"{own:.3f} s; the fastest peer, {name}, {best:.3f} s", own < best and own <= 0.15


def _node(results: Results) -> tuple[str, bool]:
    own = results.figure("nodes", "layered_10000", "petal")
    name, best = results.best("nodes", "layered_10000")
    return f"{own:.1f} µs; {own / best:.2f}x {name} ({best:.1f} µs)", own <= 20 and own <= 0.4 * best


def _linear(results: Results) -> tuple[str, bool]:
    ratio = results.figure("nodes", "layered_100000", "petal") / results.figure(
        "nodes", "layered_10000", "petal"
    )
    return f"{ratio:.2f}x", ratio <= 1.3


def _long_chain(results: Results) -> tuple[str, bool]:
    return f"finishes, {results.figure('nodes', 'chain_100000', 'petal'):.1f} µs a node", True


def _filter(results: Results) -> tuple[str, bool]:
    own, memory = results.figure("filter", "log", "petal"), results.memory("filter", "log", "petal")
    grep = own / results.figure("filter", "log", "grep")
    polars = own / min(results.figure("filter", "log", key) for key in ("polars", "polars-csv"))
    found = f"{own:.2f} s: {grep:.2f}x grep, {polars:.2f}x Polars; {memory:.0f} MB"
    return found, grep <= 2.5 and polars <= 1.3 and memory <= 350


def _function(results: Results) -> tuple[str, bool]:
    own = results.figure("filter", "log", "petal-function")
    ratio = own / results.figure("filter", "log", "python-match")
    return f"{own:.2f} s: {ratio:.2f}x", ratio <= 1.6


def _fanout(results: Results) -> tuple[str, bool]:
    ratio = results.figure("fanout", "log", "petal") / results.figure("fanout", "single", "petal")
    read = results.row("fanout", "log", "petal")["read"] / results.input("fanout", "log")
    return f"{ratio:.2f}x; {read:.2f}x the input's bytes read", ratio <= 2 and 0.99 <= read <= 1.05


def _jsonl(results: Results) -> tuple[str, bool]:
    own = results.figure("jsonl", "events", "petal")
    ratio = own / results.figure("jsonl", "events", "polars")
    others = {key: results.figure("jsonl", "events", key) for key in ("jq", "json", "orjson", "msgspec")}
    name, best = min(others.items(), key=lambda other: other[1])
    found = f"{own:.2f} s: {ratio:.2f}x Polars; the fastest of them, {name}, {best:.2f} s"
    return found, ratio <= 1.3 and own < best


def _growth(results: Results) -> tuple[str, bool]:
    small, large = (results.memory("memory", f"log-{size}", "petal") for size in (512, 4096))
    return f"{small:.0f} MB to {large:.0f} MB: {large / small - 1:+.1%}", large <= 1.1 * small


def _waits(results: Results) -> tuple[str, bool]:
    own = results.figure("tasks", "waits", "petal")
    return f"{own:.3f} s", own <= 0.13


def _diamond(results: Results) -> tuple[str, bool]:
    memory = results.memory("memory", "diamond", "petal")
    return f"finishes in {results.figure('memory', 'diamond', 'petal'):.1f} s, {memory:.0f} MB", memory <= 400


def _items(results: Results) -> tuple[str, bool]:
    memory = results.memory("memory", "log-512", "petal-items")
    return f"{memory:.0f} MB", memory <= 300


def _trips(results: Results) -> tuple[str, bool]:
    own, python, loky = (results.figure("pool", "trips", key) for key in ("petal", "python", "loky"))
    return f"{own:.0f} µs; `ProcessPoolExecutor` {python:.0f}, loky {loky:.0f}", own <= 100


def _burns(results: Results) -> tuple[str, bool]:
    ratio = results.figure("pool", "burns", "petal") / results.figure("pool", "burns", "python")
    return f"{ratio:.2f}x", ratio <= 1.05


def _sent(results: Results) -> tuple[str, bool]:
    own = results.figure("pool", "large", "petal")
    return f"{own:.2f} s", own <= 0.5


def _container(results: Results) -> tuple[str, bool]:
    first, call = (results.figure("containers", key, "petal") for key in ("first", "calls"))
    return f"{first:.2f} s; {call * 1e3:.1f} ms", first <= 0.6 and call <= 0.003


def _lambda_call(results: Results) -> tuple[str, bool]:
    bare, own = (results.figure("lambda", "calls", key) for key in ("boto3", "petal"))
    colds = [results.figure("lambda", "cold", key) * 1e3 for key in ("petal", "boto3")]
    told = f"{(own - bare) * 1e3:.2f} ms more ({own * 1e3:.2f}, boto3 {bare * 1e3:.2f}); first {colds[0]:.0f} ms, boto3 {colds[1]:.0f}"
    return told, own - bare <= 0.001


def _recorded(results: Results) -> tuple[str, bool]:
    own = results.figure("nodes", "recorded", "petal")
    return f"{own:.1f} µs", own <= 5


def _hits(results: Results) -> tuple[str, bool]:
    own = results.figure("cache", "small", "petal")
    others = {key: results.figure("cache", "small", key) for key in ("joblib", "hamilton")}
    return f"{own:.0f} µs; joblib {others['joblib']:.0f}, Hamilton {others['hamilton']:.0f}", own <= 100


def _large_hit(results: Results) -> tuple[str, bool]:
    speed = 0.1048576 / results.figure("cache", "large", "petal")
    return f"{speed:.2f} GB/s", speed >= 0.8


CHECKS: list[Check] = [
    (
        "`petal run` of a pipeline of three nodes, whole process",
        "faster than every peer, ≤ 0.15 s",
        _faster_than_peers,
    ),
    ("build and run, layered, 10,000 nodes, per node", "≤ 20 µs, ≤ 0.4x the best peer", _node),
    ("layered, 100,000 nodes, cost per node", "≤ 1.3x that of 10,000", _linear),
    ("a chain of 100,000 nodes", "finishes, without recursion", _long_chain),
    ("filter 1 GiB, library operators", "≤ 2.5x grep, ≤ 1.3x Polars, ≤ 350 MB", _filter),
    ("filter 1 GiB, the filter a function of `str`", "≤ 1.6x a loop in Python", _function),
    ("three filters, three files", "≤ 2x the single filter, input read once", _fanout),
    ("JSON lines to CSV", "≤ 1.3x Polars; faster than jq and loops with json, orjson, msgspec", _jsonl),
    ("peak memory, from 512 MiB to 4 GiB", "grows by ≤ 10 %", _growth),
    ("64 functions that wait 0.1 s, no pool size given", "≤ 0.13 s", _waits),
    ("diamond over 2 GiB, one branch waits for the other's end", "finishes, ≤ 400 MB", _diamond),
    ("a stream through functions of items", "≤ 300 MB", _items),
    ("round trip to a worker process", "≤ 100 µs (median)", _trips),
    ("8 CPU-bound tasks, with the start of the pool", "≤ 1.05x `ProcessPoolExecutor`", _burns),
    ("100 MB to a worker and back", "≤ 0.5 s", _sent),
    ("a first call in a container; a call in a warm one", "≤ 0.6 s; ≤ 3 ms", _container),
    ("a call of a function on Lambda's emulator", "≤ 1 ms above boto3 alone", _lambda_call),
    ("journal and events, per node", "≤ 5 µs", _recorded),
    ("cached outputs of 100 bytes, per node of a whole run", "≤ 100 µs", _hits),
    ("a cached output of 100 MiB", "≥ 0.8 GB/s", _large_hit),
]
