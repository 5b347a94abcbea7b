"""Show a plan: as a picture, as text that says where every policy came from, as plain data."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any, Final

from petal.cli.cache import came_from, verdict_record
from petal.cli.output import is_unicode, plain, table, visible
from petal.planning import picture
from petal.planning.moving import places_of, shown_backend
from petal.planning.policies import default_effects
from petal.planning.stages import plan_edges
from petal.spec.pipeline import MISSING
from petal.spec.plan import Constant, FromNode, Plan
from petal.spec.policy import POLICY_NAMES, Cache, Execution, Policies, Retry, duration_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from petal.app.caching import Verdict
    from petal.spec.plan import Binding, Link

BUILT_IN: Final = "built-in"


def picture_of(plan: Plan, *, ascii: bool = False, width: int | None = None) -> str:
    """Draw a plan for the terminal on stdout."""
    if width is None and sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
    nodes, edges = plan_edges(plan)
    return picture.draw(plan.name, nodes, edges, ascii=ascii or not is_unicode(sys.stdout), width=width)


def plan_record(plan: Plan, verdicts: Mapping[str, Verdict] | None = None) -> dict[str, Any]:
    """Return a plan as plain data; secrets are the references that the author wrote.

    Args:
        plan: The plan.
        verdicts: Whether cached nodes would find their outputs, by id.
    """
    stages = _stage_numbers(plan)
    ids = [node.id for node in plan.nodes]
    return {
        "name": plan.name,
        "file": plan.file,
        "run_timeout": plan.run_timeout,
        "targets": [ids[i] for i in plan.targets],
        "nodes": [_node(plan, i, stages.get(i), (verdicts or {}).get(ids[i])) for i in range(len(ids))],
        "stages": [
            {
                "stage": number,
                "nodes": [ids[i] for i in stage.nodes],
                "links": [_link(link, ids) for link in stage.links],
            }
            for number, stage in enumerate(plan.stages, 1)
        ],
        "workers": [[ids[i] for i in group.nodes] for group in plan.moved],
        "overrides": [ids[i] for i in plan.overrides],
    }


def plan_text(plan: Plan, verdicts: Mapping[str, Verdict] | None = None, *, ascii: bool = False) -> str:
    """Return a plan for people: the picture, then each node with its stage and its policies."""
    record = plan_record(plan, verdicts)
    parts = [picture_of(plan, ascii=ascii), ""]
    for node in record["nodes"]:
        parts += [_node_text(node), ""]
    for stage in record["stages"]:
        parts.append(f"stage {stage['stage']}: {', '.join(stage['nodes'])} run as one, row by row")
        for link in stage["links"]:
            if link["spill"]:
                target = f"{link['to']}.{link['input']}"
                parts.append(
                    f"  rows from {link['from']} to {target} may spill to disk: {link['to']} waits for others"
                )
    for group in record["workers"]:
        together = "runs" if len(group) == 1 else "run together"
        parts.append(f"worker process: {', '.join(group)} {together} in one, so that a timeout can stop it")
    if plan.run_timeout is not None:
        parts.append(f"run_timeout: {duration_text(plan.run_timeout)}")
    return "\n".join(parts).rstrip()


def policies_record(policies: Policies) -> dict[str, Any]:
    """Return the policies that an operator's decorators say."""
    return {n: plain(v) for n in POLICY_NAMES if (v := getattr(policies, n)) is not None}


def policy_text(name: str, value: Any) -> str:
    """Return a policy's value in a few words."""
    if value is None or value is False:
        return "1 attempt" if name == "retry" else "off"
    if isinstance(value, Execution):
        return ", then ".join(map(_place_text, value.places))
    if isinstance(value, Retry):
        return f"{value.max_attempts} attempts, {duration_text(value.delay) if value.delay else 'no delay'}"
    if isinstance(value, Cache):
        return "on" if value.ttl is None else f"on, for {duration_text(value.ttl)}"
    if isinstance(value, float | int) and name == "timeout":
        return duration_text(float(value))
    if name == "batch":
        limit = f" or {value.max_bytes:,} bytes" if value.max_bytes else ""
        return (
            f"{value.size} rows{limit}, {value.in_flight} in flight{'' if value.ordered else ', any order'}"
        )
    return str(getattr(value, "value", value))


def _place_text(place: Execution) -> str:
    settings = "".join(f", {k}={plain(v)}" for k, v in place.settings.items())
    protocol = ", plain JSON" if place.speaks_json else ""
    unsigned = ", unsigned" if place.unsigned else ""
    return f"{place.backend}{settings}{protocol}{unsigned}"


def _stage_numbers(plan: Plan) -> dict[int, int]:
    return {i: number for number, stage in enumerate(plan.stages, 1) for i in stage.nodes}


def _node(plan: Plan, index: int, stage: int | None, verdict: Verdict | None) -> dict[str, Any]:
    node = plan.nodes[index]
    spec = plan.operators[node.operator]
    resolved = node.policies
    policies: dict[str, Any] = {}
    for name in POLICY_NAMES:
        value = getattr(resolved, name, None)
        if resolved is None and name in ("execution", "effects"):
            value = Execution() if name == "execution" else default_effects(spec)
        origin = resolved.origins.get(name, BUILT_IN) if resolved else BUILT_IN
        policies[name] = {"value": plain(value), "origin": origin, "text": policy_text(name, value)}
    return {
        "id": node.id,
        "type": spec.name,
        "kind": spec.kind.value,
        "ref": spec.ref,
        "backend": shown_backend(plan, index),
        "failover": list(places_of(node)[1:]),
        "stage": stage,
        "runs": index not in plan.overrides,
        "params": {name: plain(value) for name, value in node.params.items()},
        "columns": None if node.columns is None else list(node.columns),
        "inputs": {name: _input(binding, plan) for name, binding in node.inputs.items()},
        "after": [plan.nodes[i].id for i in node.after],
        "spill": _spilled(plan, index),
        "policies": policies,
        "cached": None if verdict is None else verdict_record(verdict),
    }


def _input(binding: Binding | tuple[Binding, ...], plan: Plan) -> Any:
    if isinstance(binding, tuple):
        return [_input(one, plan) for one in binding]
    if isinstance(binding, FromNode):
        return {"node": plan.nodes[binding.node].id, "port": binding.port}
    assert isinstance(binding, Constant)
    return {"value": None if binding.value is MISSING else plain(binding.value), "origin": binding.origin}


def _spilled(plan: Plan, index: int) -> list[str]:
    """Return the inputs whose rows may wait on disk."""
    return [
        link.input for stage in plan.stages for link in stage.links if link.target == index and link.spill
    ]


def _link(link: Link, ids: list[str]) -> dict[str, Any]:
    return {
        "from": ids[link.source],
        "port": link.port,
        "to": ids[link.target],
        "input": link.input,
        "spill": link.spill,
    }


def _node_text(node: dict[str, Any]) -> str:
    stage = f", stage {node['stage']}" if node["stage"] else ""
    given = "" if node["runs"] else ", not run: its value is given"
    places = ", then ".join([node["backend"], *node["failover"]])
    lines = [f"{node['id']}: {node['type']} ({node['kind']}) on {places}{stage}{given}"]
    rows = [(name, visible(_short(value))) for name, value in node["params"].items()]
    rows += [(name, _input_text(source)) for name, source in node["inputs"].items()]
    rows += [("columns", ", ".join(node["columns"]))] if node["columns"] else []
    rows += [("after", ", ".join(node["after"]))] if node["after"] else []
    rows += [(name, f"{policy['text']} ({policy['origin']})") for name, policy in node["policies"].items()]
    rows += [("cached", _cached_text(node["cached"]))] if node["cached"] else []
    return "\n".join([*lines, table(rows, indent="    ")])


def _cached_text(verdict: dict[str, Any]) -> str:
    """Say in one line whether a node would find its output."""
    text = f"hit{came_from(verdict)}" if verdict["hit"] else f"miss: {'; '.join(verdict['reasons'])}"
    if verdict["unasked"]:
        text += f" ({verdict['unasked']} was not asked: `petal cache explain` does)"
    assumed = f" (if {', '.join(verdict['assumed'])} gives what it gave last)" if verdict["assumed"] else ""
    return visible(text + assumed)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:99] + "…"


def _input_text(source: Any) -> str:
    if isinstance(source, list):
        return "<- " + (", ".join(_input_text(one).removeprefix("<- ") for one in source) or "nothing")
    if "node" in source:
        port = "" if source["port"] == "output" else f".{source['port']}"
        return f"<- {source['node']}{port}"
    return f"<- {visible(_short(source['value']))} ({source['origin']})"
