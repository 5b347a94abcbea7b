"""A secret is nowhere: not in logs, journals, caches, errors, plans, messages or listings, however a run fails (F82)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.canaries import VARIABLE, VAULT, Canary, Scenario, scenarios, traces, write
from tests.faults.warm import Warm, warm

SCENARIOS = scenarios()
ENCODINGS = {"raw", "base64", "base64url", "hex", "url", "json", "reversed", "piece"}
#: What is asked about a run when it is over.
QUESTIONS = (
    ("show", "last"),
    ("cache", "ls"),
    ("plan", "pipeline.json", "--json"),
)


def _first(name: str) -> str:
    """Return the first scenario whose name begins so; where its secret stands is drawn by turns."""
    return next(scenario.name for scenario in SCENARIOS if scenario.name.startswith(name))


def _named(name: str) -> Scenario:
    return next(scenario for scenario in SCENARIOS if scenario.name == name)


@pytest.fixture(scope="module")
def canaries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Canary, Canary, Warm]]:
    """A secret in the environment, one in a vault, and a process that runs command lines beside them."""
    folder = tmp_path_factory.mktemp("canaries")
    one, other = Canary(), Canary()
    (folder / "vault").write_text(other.text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, one.text)
        patch.setenv(VAULT, str(folder / "vault"))
        with warm(folder / "tmp") as process:
            yield one, other, process


def left(
    scenario: Scenario,
    folder: Path,
    canaries: tuple[Canary, Canary, Warm],
    without: str | None = None,
    *,
    questions: tuple[tuple[str, ...], ...] = QUESTIONS,
) -> dict[str, set[str]]:
    """Run a scenario, ask about it, and return all traces of the secrets."""
    one, other, process = canaries
    write(scenario, folder)
    ran = process.run(["run", "pipeline.json", *scenario.arguments], folder, without=without)
    assert ran.code == scenario.code, ran.said
    if without is None and scenario.shows is not None:
        assert ("***" in ran.said) is scenario.shows, ran.said
    said = {"petal run": ran.said}
    for question in questions:
        said[f"petal {' '.join(question)}"] = process.run(question, folder, without=without).said
    return traces((one, other) if scenario.of_environment else (other,), folder, said)


def test_there_are_enough_scenarios() -> None:
    assert len(SCENARIOS) >= 40
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_secret_leaves_no_trace(
    scenario: Scenario, tmp_path: Path, canaries: tuple[Canary, Canary, Warm]
) -> None:
    """Raw, in base64 at any offset, base64url, hex, URL-encoded, JSON-escaped, reversed, wrapped or in pieces."""
    assert left(scenario, tmp_path / "project", canaries) == {}


@pytest.mark.parametrize("name", [_first("raises-local"), _first("prints-local")])
def test_without_the_redactor_it_is_found(
    name: str, tmp_path: Path, canaries: tuple[Canary, Canary, Warm]
) -> None:
    """The control: with the redactor away, the same search finds the same secret, in every encoding."""
    found = left(_named(name), tmp_path / "project", canaries, "redactor")
    assert set().union(*found.values()) == ENCODINGS


def test_a_leak_that_was_planted_is_found(tmp_path: Path) -> None:
    """The control of the search itself, for a whole secret, one in two lines, and a piece."""
    canary = Canary()
    for place, text in {"a.txt": canary.text, "b": canary.text[:15] + "\n  " + canary.text[15:]}.items():
        (tmp_path / place).write_text(text)
    assert traces([canary], tmp_path, {"said": canary.text[3:17]}) == {
        "a.txt": {"raw", "piece"},
        "b": {"piece"},
        "said": {"piece"},
    }
    assert traces([Canary()], tmp_path, {}) == {}


def test_without_the_redactor_it_is_cached(tmp_path: Path, canaries: tuple[Canary, Canary, Warm]) -> None:
    """The control of the cache: an output that holds a secret is there."""
    found = left(_named("wraps-local-vault"), tmp_path / "project", canaries, "redactor")
    assert ".petal/cache/cache.db" in found
