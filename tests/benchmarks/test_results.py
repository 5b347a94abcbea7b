"""What people read of the benchmarks is what was measured: RESULTS.md, the plot and the README come from results.json."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.benchmarks import plot, report, results
from tests.benchmarks.home import HERE, ROOT, Home
from tests.benchmarks.install import PACKAGES
from tests.benchmarks.sections import sections

MEASURED: dict[str, Any] = results.load(HERE / "results.json")


def test_the_report_is_that_of_the_results() -> None:
    """After `python -m tests.benchmarks --render`, RESULTS.md and the plot say what results.json says."""
    assert (HERE / "RESULTS.md").read_text(encoding="utf-8") == report.markdown(MEASURED)
    assert (HERE / "results.svg").read_text(encoding="utf-8") == plot.svg(MEASURED)


def test_the_readme_shows_the_results() -> None:
    """Wherever the README has the markers, what is between them is generated."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert (report.BEGIN in text) == (report.END in text)
    if report.BEGIN in text:
        assert report.with_table(text, MEASURED) == text


def test_the_results_are_of_the_cases_that_there_are() -> None:
    """Each section, group and row of results.json is one that `python -m tests.benchmarks` would measure anew."""
    there = {
        (section.key, group.key): {case.key: case.name for case in group.cases}
        for section in sections(Home(Path("nowhere"))).values()
        for group in section.groups
    }
    measured = {
        (section, group): {key: row["name"] for key, row in found["rows"].items()}
        for section, one in MEASURED["sections"].items()
        for group, found in one["groups"].items()
    }
    assert measured == there


def test_saved_results_are_the_results(tmp_path: Path) -> None:
    """Lists are put on one line for those who read changes; what is loaded again is equal."""
    results.save(tmp_path / "results.json", MEASURED)
    assert results.load(tmp_path / "results.json") == MEASURED
    assert (tmp_path / "results.json").read_text() == (HERE / "results.json").read_text()


def test_a_figure_that_is_not_reached_is_said_so() -> None:
    """A positive control: results in which Petal takes a hundred times longer and needs more memory reach nothing."""
    slower = copy.deepcopy(MEASURED)
    for section in slower["sections"].values():
        for group in section["groups"].values():
            for key, row in group["rows"].items():
                if key.startswith("petal") and row["figures"]:
                    row["figures"] = [100 * figure for figure in row["figures"]]
                    row["memory"] *= 20
    met = {figure.what: figure.met for figure in results.figures(slower)}
    # What compares Petal with Petal, and what only has to finish, is as it was.
    alike = {f.what: f.met for f in results.figures(MEASURED) if "100,000" in f.what or "4 GiB" in f.what}
    alike |= {f.what: f.met for f in results.figures(MEASURED) if f.what.startswith("three filters")}
    assert met == dict.fromkeys(met, False) | alike
    assert "**not met**" in report.markdown(slower)


def test_what_is_not_measured_is_said_so() -> None:
    """A section that is missing leaves its figures without a verdict, and no table."""
    none = MEASURED | {"sections": {}}
    assert {figure.met for figure in results.figures(none)} == {None}
    assert "not measured" in report.markdown(none)


def test_the_plot_is_svg_with_a_bar_for_each_row() -> None:
    root = ElementTree.fromstring(plot.svg(MEASURED))
    bars = [found for found in root.iter() if found.tag.endswith("rect")]
    rows = [
        row
        for section, group in plot.PANELS
        for row in MEASURED["sections"][section]["groups"][group]["rows"].values()
    ]
    assert len(bars) == len([row for row in rows if row["figures"]])


@pytest.mark.parametrize("peer", PACKAGES)
def test_requirements_are_names_and_versions(peer: str) -> None:
    """Every package is pinned, by name and version alone: no registry's address, no local path."""
    lines = (HERE / "requirements" / f"{peer}.txt").read_text().splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+(\[[\w,]+\])?==[\w.]+", line)] == []


def test_the_results_name_no_folder_of_the_machine() -> None:
    """A note may quote an error of a peer; it must not bring a path along."""
    assert re.findall(r"(?<![\w<])/\w+/\w+/\w+", json.dumps(MEASURED["sections"])) == []
