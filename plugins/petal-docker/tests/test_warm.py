"""Warm containers: as many as calls in flight, order kept, memory bounded, prints where they belong."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from petal_docker import session

from petal import node
from petal.testing import tasks
from petal.testing.frame_kinds import HANDS
from petal.testing.place import Place
from petal.testing.subject import giver

pytestmark = [pytest.mark.docker, pytest.mark.slow]

_ROW = "x" * 100
_ROWS = 500_000


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the workers that are started."""
    names: list[str] = []
    lock = threading.Lock()
    start = session.DockerSession._worker

    def noted(self: Any, job: Any) -> Any:
        worker = start(self, job)
        with lock:
            names.append(worker.container.name)
        return worker

    monkeypatch.setattr(session.DockerSession, "_worker", noted)
    return names


def test_a_stream_keeps_its_order_in_bounded_memory(
    worker_image: str, started: list[str], containers: Any
) -> None:
    """50 MB of rows through `batch`: one container for each call in flight at most, none left at the end."""
    place = Place("docker", {"image": worker_image})

    def rows() -> Iterator[str]:
        for number in range(_ROWS):
            yield f"{number} {_ROW}"

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = place.run(
        node(rows, id="rows"),
        place.node(HANDS["str"].items, "it", {"batch": {"size": 5_000, "in_flight": 2}}, rows="rows"),
        node(_in_order, id="check", inputs={"rows": "it"}),
    ).check()
    assert result.outputs["check"] == _ROWS
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 150, f"the driver has grown by {grown:.0f} MB"
    assert 1 <= len(started) <= 2
    assert containers(result.run_id) == []


def test_there_is_a_container_for_each_call_in_flight(worker_image: str, started: list[str]) -> None:
    """Calls that take their time are done at the same time, each in a container of its own, which is used again."""
    place = Place("docker", {"image": worker_image})
    result = place.run(
        node(giver(list(range(80))), id="rows"),
        place.node(tasks.upset_order, "it", {"batch": {"size": 2, "in_flight": 3}}, rows="rows"),
    ).check()
    assert list(result.outputs["it"]) == [10 * n for n in range(80)]
    assert 2 <= len(started) <= 3


def _in_order(rows: Iterator[str]) -> int:
    count = 0
    for row in rows:
        assert row.startswith(f"{count} ")
        count += 1
    return count
