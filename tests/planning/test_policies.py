"""Policies: command line, node, decorator, ``defaults``, built-in, each with where it came from (S5.6)."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from petal import Pipeline, node, operator
from petal.errors import DefinitionError
from petal.planning.request import Request
from petal.spec.plan import Resolved
from petal.spec.policy import Cache, Effects, Execution, Retry
from tests.planning.wiring import load

MARKED = """\
from petal import operator, remote


@operator(effects="idempotent")
def marked() -> int:
    return 1


@operator
def silent() -> None:
    print("said")


@operator
def pure() -> int:
    return 1


@operator
def unknown():
    return 1
"""
PLUGIN = "plugins: [./marked.py]\n"


def resolved(folder: Path, text: str, request: Request | None = None) -> Resolved:
    (folder / "marked.py").write_text(MARKED, "utf-8")
    planned = load(folder, PLUGIN + text).planned(request)
    assert planned.plan is not None, planned.findings
    found = planned.plan.nodes[0].policies
    assert found is not None
    return found


@pytest.mark.parametrize(
    "asked", [c for n in range(4) for c in combinations(("node", "decorator", "defaults"), n)]
)
def test_the_nearest_place_wins(tmp_path: Path, asked: tuple[str, ...]) -> None:
    """A node's policy wins over its decorator's, that over ``defaults``, that over the built-in; the plan says which."""
    top = "defaults: { effects: once }\n" if "defaults" in asked else ""
    effects = ", effects: pure" if "node" in asked else ""
    type_ = "Marked" if "decorator" in asked else "Silent"
    found = resolved(tmp_path, top + f"nodes:\n  - {{ id: n, type: {type_}{effects} }}\n")
    values = {"node": Effects.PURE, "decorator": Effects.IDEMPOTENT, "defaults": Effects.ONCE}
    winner = next((place for place in ("node", "decorator", "defaults") if place in asked), None)
    assert found.effects is (Effects.ONCE if winner is None else values[winner])
    assert found.origins.get("effects") == winner


@pytest.mark.parametrize(("type_", "effects"), [("Silent", "once"), ("Pure", "pure"), ("Unknown", "once")])
def test_effects_are_pure_where_something_is_returned(tmp_path: Path, type_: str, effects: str) -> None:
    """An operator that says it returns something is pure, any other runs once (S1.5)."""
    found = resolved(tmp_path, f"nodes:\n  - {{ id: n, type: {type_} }}\n")
    assert found.effects == effects
    assert found.origins == {}


def test_the_command_line_wins(tmp_path: Path) -> None:
    """A backend from the command line is said to be from there; one for a node wins over one for all."""
    text = "nodes:\n  - { id: n, type: Pure, execution: { backend: local } }\n"
    found = resolved(tmp_path, text, Request(backends={"": "local"}))
    assert found.execution == Execution()
    assert found.origins["execution"] == "command line"
    planned = load(tmp_path, PLUGIN + text).planned(Request(backends={"": "local", "n": "nowhere"}))
    assert [f.code for f in planned.findings] == ["unknown-backend"]


def test_target_is_another_word_for_backend(tmp_path: Path) -> None:
    """``execution.target`` is accepted as ``backend`` (S2.6)."""
    text = "nodes:\n  - { id: n, type: Pure, execution: { target: local } }\n"
    assert resolved(tmp_path, text).execution.backend == "local"
    (finding,) = load(tmp_path, PLUGIN + text.replace("local", "loacl")).validate()
    assert (finding.code, finding.line, finding.column) == ("unknown-backend", 3, 47)


@pytest.mark.parametrize("place", ["node", "defaults"])
@pytest.mark.parametrize("policy", ["retry: 3", "retry: { max_attempts: 3, delay: 1 }", "retry: true"])
def test_retry_is_resolved_from_each_of_its_forms(tmp_path: Path, policy: str, place: str) -> None:
    """A count, a block or `true`, of a node or of all nodes."""
    if place == "node":
        text = f"nodes:\n  - {{ id: n, type: Pure, {policy} }}\n"
    else:
        text = f"defaults: {{ {policy} }}\nnodes:\n  - {{ id: n, type: Pure }}\n"
    found = resolved(tmp_path, text)
    assert found.retry == Retry(3)
    assert found.origins["retry"] == place


@pytest.mark.parametrize(
    ("defaults", "node", "place"),
    [
        ("", "type: Silent, retry: 2", (4, 28)),
        ("", "type: Pure, retry: 2, effects: once", (4, 26)),
        ("retry: 3", "type: Silent", (2, 13)),
    ],
)
def test_to_try_again_what_may_do_harm_twice_is_warned_of(
    tmp_path: Path, defaults: str, node: str, place: tuple[int, int]
) -> None:
    """S5.5: a known failure of a `once` node is tried again if asked, and the plan warns at the key that asks."""
    (tmp_path / "marked.py").write_text(MARKED, "utf-8")
    text = f"defaults: {{ {defaults} }}\nnodes:\n  - {{ id: n, {node} }}\n"
    (finding,) = load(tmp_path, PLUGIN + text).validate()
    assert (finding.code, finding.line, finding.column) == ("retries-once", *place)
    assert finding.severity == "warning"
    assert "`n` is tried again" in finding.message


@pytest.mark.parametrize(
    "node",
    [
        "type: Silent, retry: 1",
        "type: Silent, retry: 2, effects: idempotent",
        "type: Pure, retry: 2",
        "type: Marked, retry: 2",
    ],
)
def test_to_try_again_what_does_no_harm_twice_is_fine(tmp_path: Path, node: str) -> None:
    """No warning where a second execution is declared harmless, or where there is none."""
    (tmp_path / "marked.py").write_text(MARKED, "utf-8")
    assert load(tmp_path, PLUGIN + f"nodes:\n  - {{ id: n, {node} }}\n").validate() == []


@pytest.mark.parametrize(
    "policy",
    ["retry: 1", "retry: false", "timeout: false", "cache: false", "batch: false", "execution: local"],
)
def test_what_asks_for_nothing_is_fine(tmp_path: Path, policy: str) -> None:
    """A policy that is switched off, or says what happens anyway, is no mistake; a node undoes ``defaults``."""
    resolved(tmp_path, f"nodes:\n  - {{ id: n, type: Pure, {policy} }}\n")
    name = policy.partition(":")[0]
    if policy.endswith("false"):
        text = f"defaults: {{ {name}: 5 }}\nnodes:\n  - {{ id: n, type: Pure, {policy} }}\n"
        if name != "cache":
            assert getattr(resolved(tmp_path, text), name) is None


def test_a_block_replaces_a_block_whole(tmp_path: Path) -> None:
    """Settings of a block in ``defaults`` do not leak into the block of a node (S5.6)."""
    text = "defaults: { execution: { backend: docker, image: x } }\nnodes:\n  - { id: n, type: Pure, execution: { backend: local } }\n"
    assert resolved(tmp_path, text).execution == Execution()


def test_sinks_are_never_cached(tmp_path: Path) -> None:
    """``cache_io`` is for nodes with an output; nothing is asked of a sink (S9.1)."""
    text = "nodes:\n  - { id: r, type: EmptySource, cache: false }\n  - { id: s, type: NoOpSink, inputs: { items: r } }\n"
    for top in ("cache_io: true\n", "defaults: { cache: true }\n"):
        assert load(tmp_path, top + text).validate() == []


def test_policies_in_python_are_those_of_a_file() -> None:
    """``node(policies=...)`` takes the short forms of a file, and decorators say the rest."""

    @operator(effects="idempotent")
    def n() -> int:
        return 1

    def found(**policies: Any) -> Resolved:
        plan = Pipeline.of(node(n, policies=policies)).plan()
        assert plan.nodes[0].policies is not None
        return plan.nodes[0].policies

    assert (found().effects, found().origins) == ("idempotent", {"effects": "decorator"})
    assert found(effects="once").origins == {"effects": "node"}
    assert found(execution="local", retry=1).execution == Execution()
    assert found(retry={"delay": "250ms", "max_delay": 2}).retry == Retry(delay=0.25, max_delay=2.0)
    assert found(retry={"delay": 0}, cache={"ttl": "12h"}).cache == Cache(ttl=43_200.0)
    with pytest.raises(DefinitionError, match="not a duration"):
        found(retry={"delay": "soon"})
    (finding,) = Pipeline.of(node(n, policies={"execution": {"target": "ray", "address": "x"}})).validate()
    assert finding.code == "not-yet"


def test_the_policies_of_a_module_are_its_own(tmp_path: Path) -> None:
    """A parent's ``defaults`` do not reach into its modules, nor a module's out."""
    (tmp_path / "marked.py").write_text(MARKED, "utf-8")
    inner = PLUGIN + "defaults: { effects: once }\nnodes:\n  - { id: n, type: Pure }\n"
    load(tmp_path, inner, "inner.yaml")
    text = inner.replace("once", "idempotent") + "modules:\n  - { id: m, path: inner.yaml }\n"
    plan = load(tmp_path, text).plan()
    found = {n.id: n.policies.effects for n in plan.nodes if n.policies}
    assert found == {"n": "idempotent", "m/n": "once"}


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        ("retry_on: [ConectionError]", "did you mean `ConnectionError`?"),
        ("abort_on: [OSError, Throttel]", "did you mean `throttle`?"),
        ("retry_on: [MarkedEror]", "did you mean `MarkedError`?"),
        ("retry_on: requests.Oddity", "write `Oddity`"),
        ("retry_on: [Nothing]", "error kinds are `user`"),
    ],
)
def test_a_name_that_no_failure_has_is_warned_of(tmp_path: Path, names: str, hint: str) -> None:
    """S5.5: a misspelt exception would be retried by nobody; the warning stands at the name."""
    (tmp_path / "marked.py").write_text(f"{MARKED}\nclass MarkedError(Exception): ...\n", "utf-8")
    text = f"nodes:\n  - {{ id: n, type: Pure, retry: {{ {names} }} }}\n"
    (finding,) = load(tmp_path, PLUGIN + text).validate()
    assert (finding.code, finding.severity, finding.line) == ("unknown-exception", "warning", 3)
    assert hint in (finding.hint or "")


@pytest.mark.parametrize(
    "name", ["user", "timeout", "OSError", "KeyError", "DataError", "TaskLost", "MarkedError"]
)
def test_kinds_and_exceptions_that_are_loaded_are_not_warned_of(tmp_path: Path, name: str) -> None:
    """Error kinds, and the exceptions of Python, of Petal and of the operator's own module."""
    (tmp_path / "marked.py").write_text(f"{MARKED}\nclass MarkedError(Exception): ...\n", "utf-8")
    text = f"nodes:\n  - {{ id: n, type: Pure, retry: {{ retry_on: [{name}], abort_on: [{name}] }} }}\n"
    assert load(tmp_path, PLUGIN + text).validate() == []
