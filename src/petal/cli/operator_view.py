"""Describe operators: as plain data, as text, as Markdown; all from their signatures and docstrings."""

from __future__ import annotations

import json
import typing
from typing import TYPE_CHECKING, Any, Final

from petal.cli.output import aside, plain, table
from petal.cli.plan_view import policies_record, policy_text
from petal.config.value_schema import plain_default
from petal.errors import PetalError
from petal.planning.annotations import type_text
from petal.planning.policies import default_effects
from petal.plugin.registry import Operator, Scope
from petal.spec.docstring import parse_doc
from petal.spec.pipeline import MISSING
from petal.spec.policy import POLICY_NAMES
from petal.spec.views import Check, FileUse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from petal.app.pipeline import Pipeline
    from petal.app.session import Session
    from petal.plugin.registry import Scopes
    from petal.spec.operator import Input, Param

#: What each constraint of ``msgspec.Meta`` says.
_LIMITS: Final = {
    "gt": "> {}",
    "ge": ">= {}",
    "lt": "< {}",
    "le": "<= {}",
    "multiple_of": "a multiple of {}",
    "pattern": "matches {}",
    "min_length": "at least {} long",
    "max_length": "at most {} long",
}


def names_of(session: Session, pipeline: Pipeline | None = None) -> Scopes:
    """Return the operators that a pipeline can name, or any pipeline, with those of every installed plugin."""
    with aside():
        session.plugins.plugins()
    return pipeline.part.names if pipeline is not None else session.scopes(Scope(), Scope())


def all_operators(names: Scopes) -> tuple[list[Operator], list[str]]:
    """Return all operators, and why some cannot be loaded."""
    found: list[Operator] = []
    problems: list[str] = []
    for name in names.names():
        try:
            with aside():
                operator = names.find(name)
        except PetalError as error:
            problems.append(error.message)
            continue
        if operator is not None:
            found.append(operator)
    return found, problems


def summary_record(operator: Operator) -> dict[str, Any]:
    """Return what a list of operators shows of one."""
    spec = operator.spec
    summary = parse_doc(spec.doc).summary
    return {"name": spec.name, "kind": spec.kind.value, "summary": summary, "origin": operator.origin}


def operator_record(operator: Operator) -> dict[str, Any]:
    """Return everything that is known of an operator, as plain data."""
    spec = operator.spec
    doc = parse_doc(spec.doc)
    return {
        **summary_record(operator),
        "ref": spec.ref,
        "description": doc.description,
        "inputs": [_input(port, doc.args.get(port.name, "")) for port in spec.inputs],
        "params": [_param(param, doc.args.get(param.name, "")) for param in spec.params],
        "outputs": [
            {"name": o.name, "type": type_text(o.annotation), "view": o.seen.view.value} for o in spec.outputs
        ],
        "dynamic_outputs": spec.dynamic_outputs,
        "rowwise": spec.rowwise,
        "policies": {"effects": default_effects(spec).value, **policies_record(spec.policies)},
        "policies_text": {
            n: policy_text(n, v) for n in POLICY_NAMES if (v := getattr(spec.policies, n)) is not None
        },
        "example": doc.example,
    }


def operator_text(record: dict[str, Any]) -> str:
    """Return an operator's record for people."""
    lines = [
        f"{record['name']}: {record['summary']}".rstrip(": "),
        f"a {record['kind']}, {record['origin']} ({record['ref']})",
    ]
    if record["description"]:
        lines += ["", record["description"]]
    for title, rows in (
        ("Inputs", [_row(one) for one in record["inputs"]]),
        ("Parameters", [_row(one) for one in record["params"]]),
        ("Outputs", _output_rows(record)),
        ("Policies", _policy_rows(record)),
    ):
        if rows:
            lines += ["", title, table(rows, indent="  ")]
    if record["example"]:
        lines += ["", "Example", *(f"  {line}".rstrip() for line in record["example"].splitlines())]
    return "\n".join(lines)


def operator_markdown(record: dict[str, Any]) -> str:
    """Return an operator's record as a section of a Markdown page."""
    lines = [
        f"## {record['name']}",
        "",
        record["summary"],
        "",
        f"*{record['kind'].capitalize()}*, `{record['ref']}`.",
    ]
    if record["description"]:
        lines += ["", record["description"]]
    for title, ports in (("Input", record["inputs"]), ("Parameter", record["params"])):
        if ports:
            lines += ["", f"| {title} | Type | Default | Meaning |", "|---|---|---|---|"]
            lines += [_markdown_row(port) for port in ports]
    outputs = [f"`{name}` ({kind})" if kind else f"`{name}`" for name, kind in _output_rows(record)]
    if outputs:
        lines += ["", f"Outputs: {', '.join(outputs)}."]
    lines += ["", f"Policies: {', '.join(f'{n} {v}' for n, v in _policy_rows(record))}."]
    if record["example"]:
        lines += ["", "```yaml", record["example"], "```"]
    return "\n".join(lines)


def _input(port: Input, text: str) -> dict[str, Any]:
    return {
        "name": port.name,
        "type": type_text(port.annotation),
        "view": port.seen.view.value,
        "variadic": port.variadic,
        "required": port.default is MISSING and not port.variadic,
        **_default(port.default),
        "description": text,
    }


def _param(param: Param, text: str) -> dict[str, Any]:
    return {
        "name": param.name,
        "type": type_text(param.annotation),
        "required": param.default is MISSING,
        **_default(param.default),
        "constraint": _constraint(param.annotation),
        "description": text,
    }


def _default(value: object) -> dict[str, Any]:
    """Return the default in a dict, or an empty dict when there is none."""
    if value is MISSING:
        return {}
    known = plain_default(value)
    return {"default": known[0] if known else plain(value)}


def _constraint(annotation: object) -> str:
    """Say in words what an annotation asks of a value beyond its type."""
    if typing.get_origin(annotation) is not typing.Annotated:
        return ""
    said: list[str] = []
    for extra in typing.get_args(annotation)[1:]:
        if isinstance(extra, FileUse):
            said.append(f"{extra.value} this file")
        elif isinstance(extra, Check):
            said.append("checked before the run")
        else:
            limits = ((text, getattr(extra, name, None)) for name, text in _LIMITS.items())
            said += [text.format(limit) for text, limit in limits if limit is not None]
    return ", ".join(said)


def _row(port: dict[str, Any]) -> tuple[str, str, str, str]:
    name = f"*{port['name']}" if port.get("variadic") else port["name"]
    text = " ".join(
        filter(None, [port["description"], f"({port['constraint']})" if port.get("constraint") else ""])
    )
    return name, port["type"], _default_text(port), text


def _default_text(port: dict[str, Any]) -> str:
    if "default" in port:
        return f"= {json.dumps(port['default'], ensure_ascii=False)}"
    return "required" if port["required"] else "any number"


def _output_rows(record: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [(o["name"], o["type"]) for o in record["outputs"]]
    return [*rows, ("...", "more, depending on the parameters")] if record["dynamic_outputs"] else rows


def _policy_rows(record: dict[str, Any]) -> list[tuple[str, str]]:
    return list({"effects": record["policies"]["effects"], **record["policies_text"]}.items())


def _markdown_row(port: dict[str, Any]) -> str:
    name, kind, default, text = _row(port)
    default = f"`{default.removeprefix('= ')}`" if default.startswith("= ") else default
    return f"| `{name}` | `{_cell(kind)}` | {_cell(default)} | {_cell(text)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def rows_of(operators: Iterable[Operator]) -> list[tuple[str, str, str, str]]:
    """Return the table of operators."""
    records = [summary_record(operator) for operator in operators]
    return [(r["name"], r["kind"], r["origin"], r["summary"]) for r in records]
