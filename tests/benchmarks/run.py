"""Run a section: every case once in each round, in an order that is drawn anew, outputs compared."""

from __future__ import annotations

import filecmp
import os
import random
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.cases import Case, Group, Measured, Section
from tests.benchmarks.home import Home
from tests.benchmarks.measure import Sample, measure

SERVER_START = 60.0


class Difference(Exception):
    """A peer's output is not Petal's, or Petal failed: the figures would compare two different things."""


def run(section: Section, home: Home, rounds: int, seed: int) -> Measured:
    """Measure a section.

    Args:
        section: What to measure.
        home: Where everything is.
        rounds: How often each case runs, unless it asks for fewer, or the section for more.
        seed: Of the order.

    Returns:
        The section's part of `results.json`.

    Raises:
        Difference: A case's output differs from the reference's, or a case of Petal failed.
    """
    with _engine(section, home) as engine:
        runner = _Runner(section, home, engine)
        for group in section.groups:
            runner.prepare(group)
        order, rounds = random.Random(seed), rounds * section.more
        for number in range(rounds):
            cases = [(g, c) for g in section.groups for c in g.cases if c.command and number < c.rounds]
            order.shuffle(cases)
            for group, case in cases:
                runner.run(group, case, f"{section.key} {number + 1}/{rounds}")
        runner.clean()
    groups = {group.key: runner.summary(group) for group in section.groups}
    about = {"title": section.title, "text": section.text, "date": date.today().isoformat()}
    return about | {"groups": groups}


class _Runner:
    def __init__(self, section: Section, home: Home, more: dict[str, str]) -> None:
        self._home = home
        self._environment = home.environment() | more
        self._samples: dict[tuple[str, str], list[Sample]] = {
            (g.key, c.key): [] for g in section.groups for c in g.cases
        }
        #: Of each group, the reference's files, set aside, and the value that it said.
        self._expected: dict[str, tuple[list[Path], Any]] = {}

    def prepare(self, group: Group) -> None:
        """Run a group's reference once, unmeasured, and keep what it gave. The input is in the page cache then."""
        case = group.reference
        sample = self._measure(case)
        if sample.failure:
            raise Difference(f"{group.key}: {case.name} failed: {sample.failure}")
        kept = [path.rename(path.with_name(f"{path.name}.expected")) for path in case.outputs]
        self._expected[group.key] = kept, sample.said.get("value")

    def run(self, group: Group, case: Case, where: str) -> None:
        """Run a case and compare what it gave; one that failed before is not run again."""
        samples = self._samples[group.key, case.key]
        if samples and samples[-1].failure:
            return
        sample = self._measure(case)
        samples.append(sample)
        result = sample.failure or f"{_figure(group, sample):.4g} {group.unit}, {sample.memory:.0f} MB"
        print(f"[{where}] {group.title}: {case.name}: {result}", flush=True)
        if not sample.failure:
            self._compare(group, case, sample)
        elif case.key.startswith("petal"):
            raise Difference(f"{group.key}: {case.name} failed: {sample.failure}")

    def _measure(self, case: Case) -> Sample:
        for path in case.outputs:
            path.unlink(missing_ok=True)
        os.sync()  # what the case before has written is not this one's to wait for
        with _prefect(self._home, self._environment) if case.server else nullcontext({}) as server:
            return measure(
                case.command,
                environment=self._environment | dict(case.environment) | server,
                folder=self._home.state / "work",
                stdout=case.stdout,
                timeout=case.timeout,
            )

    def _compare(self, group: Group, case: Case, sample: Sample) -> None:
        files, value = self._expected[group.key]
        if case.checked and sample.said.get("value") != value:
            raise Difference(f"{group.key}: {case.name} gave {sample.said.get('value')}, not {value}")
        for path, expected in zip(case.outputs, files, strict=True):
            if not filecmp.cmp(path, expected, shallow=False):
                raise Difference(f"{group.key}: {case.name} wrote another file than {expected}: {path}")
            path.unlink()

    def clean(self) -> None:
        """Remove the files that outputs were compared with."""
        for files, _ in self._expected.values():
            for path in files:
                path.unlink()

    def summary(self, group: Group) -> Measured:
        """Return a group's part of `results.json`."""
        rows = {case.key: self._row(group, case) for case in group.cases}
        return {"title": group.title, "unit": group.unit, "input": group.input, "rows": rows}

    def _row(self, group: Group, case: Case) -> Measured:
        samples = self._samples[group.key, case.key]
        failure = next((s.failure for s in samples if s.failure), "")
        good = [s for s in samples if not s.failure]
        row: Measured = {"name": case.name, "figures": [float(f"{_figure(group, s):.4g}") for s in good]}
        if good:
            row["memory"] = round(median(s.memory for s in good), 1)
            row["read"] = round(median(s.read for s in good))
        notes = [case.note] if not failure else [case.note, f"failed: {failure}"]
        return row | {"note": "; ".join(n for n in notes if n)}


def _figure(group: Group, sample: Sample) -> float:
    seconds = sample.said["seconds"] if group.inside else sample.seconds
    return seconds / group.nodes * 1e6 if group.unit == "µs" else seconds


@contextmanager
def _engine(section: Section, home: Home) -> Iterator[dict[str, str]]:
    """Start the tests' Docker Engine for a section that runs containers, and say in which environment cases find it."""
    if not section.prepare:
        yield {}
        return
    from tests.services.docker_engine import shared

    engine = shared()
    hold = engine.hold()
    try:
        found = {"DOCKER_HOST": engine.start(keep=False)}
        subprocess.run(section.prepare, env=home.environment() | found, check=True, stdout=subprocess.DEVNULL)
        yield found
    finally:
        engine.let_go(hold)


@contextmanager
def _prefect(home: Home, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """Start a server of Prefect on this machine for one case, and say in which environment the case finds it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [home.python("prefect").with_name("prefect"), "server", "start", "--no-ui"]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=home.state / "work",
    )
    address = f"http://127.0.0.1:{port}/api"
    try:
        _await(f"{address}/health")
        yield {
            "PREFECT_API_URL": address,
            "PREFECT_LOGGING_LEVEL": "ERROR",
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
        }
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(address: str) -> None:
    end = time.monotonic() + SERVER_START
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
