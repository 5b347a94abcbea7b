"""What caches answer to an edit: the README shows what was found, and it is found again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.benchmarks import edits
from tests.benchmarks.home import ROOT, Home

HOME = Home(ROOT / ".benchmarks")
FOUND = edits.load()


def test_the_readme_shows_what_was_found() -> None:
    """The table between the markers is that of edits.json."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert edits.with_table(text, FOUND) == text


def test_every_edit_and_every_cache_is_there() -> None:
    """edits.json has an answer for each cell of the table."""
    assert {peer: set(found) for peer, found in FOUND.items()} == {
        peer: {edit.key for edit in edits.EDITS} for peer in edits.PEERS
    }


@pytest.mark.slow
def test_petal_answers_as_the_table_says() -> None:
    """Petal runs again what an edit concerns, and nothing else."""
    found = edits.answers("petal", Path(sys.executable), edits.own_environment())
    assert found == FOUND["petal"]
    assert edits.STALE not in found.values()


@pytest.mark.slow
@pytest.mark.parametrize("peer", [peer for peer in edits.PEERS if peer != "petal"])
def test_a_peer_answers_as_the_table_says(peer: str) -> None:
    """A peer, where `python -m tests.benchmarks` has installed it in its pinned version, answers as it did."""
    python = HOME.python(peer)
    wanted = (ROOT / "tests/benchmarks/requirements" / f"{peer}.txt").read_text(encoding="utf-8")
    installed = python.parents[1] / "requirements.txt"
    if not installed.is_file() or installed.read_text(encoding="utf-8") != wanted:
        pytest.skip(f"{peer} is not installed; `python -m tests.benchmarks` does that")
    assert edits.answers(peer, python, HOME.environment()) == FOUND[peer]
