"""Where nodes run, on the command line: placed by `--backend`, moved on by failover, and told before, meanwhile and after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

OPERATORS = '''
"""Operators, and backends of which some do not work."""

from petal import hookimpl, operator
from petal.errors import EnvironmentNotReady, TaskLost
from petal.testing import FakeBackend


@operator
def numbers() -> list[int]:
    with open("calls", "a") as file:
        file.write("n")
    return [1, 2, 3]


@operator
def double(numbers: list[int]) -> list[int]:
    return [2 * n for n in numbers]


@hookimpl
def petal_backends():
    lost = TaskLost("its reply was lost")
    gone = EnvironmentNotReady("no engine answers", hint="start one")
    return [FakeBackend("works"), FakeBackend("loses", fails={"double": lost}), FakeBackend("gone", refuses=gone)]
'''

PIPELINE = """\
plugins: [./ops.py]
nodes:
  - { id: numbers, type: Numbers }
  - id: double
    type: Double
    %s
    execution: { backend: loses, failover: [gone, { backend: works, label: spare }, local] }
"""


@pytest.fixture
def run(petal: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    (tmp_path / "ops.py").write_text(OPERATORS)
    (tmp_path / "p.yaml").write_text(PIPELINE % "retry: { max_attempts: 2, delay: 0 }")
    return petal


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_a_run_tells_where_it_goes(run: Callable[..., Any]) -> None:
    """What cannot be failed over to is warned of first; each move says from where to where; so does `petal show`."""
    ran = run("run", "p.yaml")
    assert ran.code == 0
    told = lines(ran.err)
    assert "it cannot fail over to `gone`: no engine answers" in told[0]
    assert "attempt 1 on loses failed: its reply was lost; next on gone" in told[2]
    assert "attempt 2 on gone failed: no engine answers; next on works" in told[3]
    assert told[4].endswith("attempt 3 on works")
    shown = lines(run("show", "last").out)
    assert "attempt 1 on loses: unknown (infrastructure): its reply was lost; the next one at once" in shown
    assert "attempt 2 on gone: failed (infrastructure): no engine answers; the next one at once" in shown
    assert "attempt 3 on works: succeeded" in shown
    data = run("run", "p.yaml", "--json").data["nodes"]["double"]
    assert (data["backend"], data["attempts"]) == ("works", 3)
    assert [(a["backend"], a["status"]) for a in data["history"]] == [
        ("loses", "failed"),
        ("gone", "failed"),
        ("works", "succeeded"),
    ]


def test_the_plan_shows_every_place_with_its_settings(run: Callable[..., Any]) -> None:
    """`petal plan` says where a node runs, where it goes from there, and with what."""
    plan = run("plan", "p.yaml").out
    assert "double: Double (transformer) on loses, then gone, then works, then local" in plan
    assert "execution  loses, then gone, then works, label=spare, then local (node)" in plan
    node = run("plan", "p.yaml", "--json").data["nodes"][1]
    assert (node["backend"], node["failover"]) == ("loses", ["gone", "works", "local"])
    assert [place["settings"] for place in node["policies"]["execution"]["value"]["failover"]] == [
        {},
        {"label": "spare"},
        {},
    ]


@pytest.mark.parametrize(
    ("backend", "places"),
    [
        ("double=works", "works, label=spare, then local (command line)"),
        ("double=works,label=mine", "works, label=mine, then local (command line)"),
        ("double=local", "local (command line)"),
        ("double=process,workers=1", "process, workers=1 (command line)"),
    ],
)
def test_a_node_is_placed(run: Callable[..., Any], backend: str, places: str) -> None:
    """`--backend NODE=NAME` begins with that place; `petal show` repeats what was asked for, and a resumed run keeps it."""
    assert f"execution  {places}" in run("plan", "p.yaml", "--backend", backend).out
    ran = run("run", "p.yaml", "--backend", backend, "--json")
    assert ran.code == 0
    node = ran.data["nodes"]["double"]
    assert (node["backend"], node["attempts"]) == (places.split(" ")[0].rstrip(","), 1)
    assert f"backends: {backend}" in run("show", "last").out


def test_what_is_missing_is_said_before_anything_runs(run: Callable[..., Any], tmp_path: Path) -> None:
    """A node that has nowhere to run ends the command with exit code 4; nothing has run, and no run is recorded."""
    ran = run("run", "p.yaml", "--backend", "double=gone,label=x", "--backend", "numbers=local")
    assert ran.code == 0  # the places behind it are left
    (tmp_path / "calls").unlink()
    runs = len(run("runs", "--json").data)
    text = (tmp_path / "p.yaml").read_text()
    (tmp_path / "p.yaml").write_text(
        text.replace("loses, failover: [gone, {", "gone, failover: [{").replace(
            "backend: works, label: spare }, local]", "backend: gone, label: spare }]"
        )
    )
    ran = run("run", "p.yaml")
    assert ran.code == 4
    assert ran.err == ("error: `double` cannot run on `gone`: no engine answers\n  hint: start one\n")
    assert not (tmp_path / "calls").exists()
    assert len(run("runs", "--json").data) == runs
    assert run("plan", "p.yaml").code == run("run", "p.yaml", "--dry-run").code == 0


def test_an_output_is_made_again_wherever_the_node_ends_up(run: Callable[..., Any], tmp_path: Path) -> None:
    """`--refresh` holds for all attempts of a node: one that has moved on does not find the old output."""
    (tmp_path / "p.yaml").write_text(PIPELINE % "cache: { version: 1 }")
    assert not run("run", "p.yaml", "--json").data["nodes"]["double"]["cached"]
    assert run("run", "p.yaml", "--json").data["nodes"]["double"]["cached"]
    assert not run("run", "p.yaml", "--refresh", "--json").data["nodes"]["double"]["cached"]


def test_doctor_probes_every_place(run: Callable[..., Any]) -> None:
    """`petal doctor FILE` tries each place of each node, and exit code 4 says that one does not work."""
    ran = run("doctor", "p.yaml", "--json")
    found = {fact["name"]: fact for fact in ran.data}
    assert ran.code == 4
    assert found["backend gone (as of double)"]["detail"] == "no engine answers (start one)"
    assert found["backend works (as of double)"]["state"] == "ok"


def test_a_command_that_a_package_brings_names_it(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`petal docker build` without `petal-docker` says what to install."""
    monkeypatch.setattr("petal.plugin.catalog.discover", list)
    ran = run("docker", "build", "p.yaml")
    assert ran.code == 2
    assert ran.err == "error: there is no command `docker`\n  hint: `pip install petal-docker` brings it\n"
