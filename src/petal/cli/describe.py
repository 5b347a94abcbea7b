"""``petal describe``: say what operators, backends and diagnostic codes there are, and what each is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from petal.cli.options import debug_option, json_option, open_pipeline, open_session, plugin_option
from petal.cli.output import aside, err, out, out_json, table
from petal.errors import PetalError, UsageError

if TYPE_CHECKING:
    from petal.app.session import Session
    from petal.plugin.registry import Scopes

_LISTS = ("operators", "backends", "codes")


@click.command("describe", short_help="Say what operators, backends and diagnostic codes there are.")
@click.argument("names", metavar="[operators|backends|codes|NAME...]", nargs=-1)
@click.option(
    "-f", "--file", metavar="FILE", help="Describe what this pipeline can name, its own operators included."
)
@json_option
@click.option(
    "--markdown",
    metavar="DIR",
    help="Write the reference pages of Petal's own operators, codes and commands into DIR.",
)
@plugin_option
@debug_option
def command(
    names: tuple[str, ...],
    file: str | None,
    as_json: bool,
    markdown: str | None,
    plugins: tuple[str, ...],
) -> int:
    """List the operators, the backends or the codes of diagnostics; or describe operators and codes by their names.

    All of it comes from the operators' signatures and docstrings.
    """
    if markdown is not None:
        return _write_pages(Path(markdown))
    [wanted, *more] = names or ("operators",)
    for name in names if more else ():
        if name in _LISTS:
            raise UsageError(f"`{name}` is a list of its own", hint=f"petal describe {name}")
    if wanted == "codes":
        return _codes(as_json)
    session = open_session(plugins)
    if wanted == "backends":
        return _backends(session, as_json)
    from petal.cli.operator_view import names_of

    scopes = names_of(session, None if file is None else open_pipeline(file, session))
    return _operators(scopes, as_json) if wanted == "operators" else _each([wanted, *more], scopes, as_json)


def _operators(names: Scopes, as_json: bool) -> int:
    from petal.cli.operator_view import all_operators, rows_of, summary_record

    found, problems = all_operators(names)
    for text in problems:
        err(f"warning: {text}")
    if as_json:
        out_json([summary_record(operator) for operator in found])
    else:
        out(table(rows_of(found)))
    return 0


def backend_records(session: Session) -> list[dict[str, Any]]:
    """Return the backends that there are, and those that are known of."""
    from petal.planning.places import PACKAGES, remedy_of

    records = [{"name": "local", "available": True, "summary": "this process: threads made on demand"}]
    brought = session.plugins.backends()
    records += [
        {"name": n, "available": True, "summary": (b.__doc__ or "").partition("\n")[0]}
        for n, b in brought.items()
    ]
    records += [
        {"name": n, "available": False, "summary": remedy_of(n)} for n in PACKAGES if n not in brought
    ]
    return records


def _backends(session: Session, as_json: bool) -> int:
    with aside():
        session.plugins.plugins()
        records = backend_records(session)
    if as_json:
        out_json(records)
    else:
        out(
            table([(r["name"], "available" if r["available"] else "not here", r["summary"]) for r in records])
        )
    return 0


def _codes(as_json: bool) -> int:
    from petal.spec.codes import CODES

    if as_json:
        out_json([_code_record(code) for code in sorted(CODES)])
    else:
        out(table([(code, CODES[code].severity.value, CODES[code].summary) for code in sorted(CODES)]))
    return 0


def _code_record(name: str) -> dict[str, Any]:
    from petal.spec.codes import CODES

    code = CODES[name]
    return {
        "code": name,
        "severity": code.severity.value,
        "summary": code.summary,
        "why": code.why,
        "remedy": code.remedy,
    }


def _each(wanted: list[str], names: Scopes, as_json: bool) -> int:
    """Describe operators and codes; as JSON one is an object, several are an array."""
    found = [_one(name, names) for name in wanted]
    if as_json:
        records = [record for record, _ in found]
        out_json(records if len(records) > 1 else records[0])
    else:
        out("\n\n".join(text for _, text in found))
    return 0


def _one(name: str, names: Scopes) -> tuple[dict[str, Any], str]:
    from petal.cli.operator_view import operator_record, operator_text
    from petal.spec.codes import CODES

    if name in CODES:
        record = _code_record(name)
        rows = [("why", record["why"]), ("remedy", record["remedy"])]
        text = f"{name} ({record['severity']}): {record['summary']}\n{table(rows, indent='  ')}"
    else:
        with aside():
            operator = names.find(name)
        if operator is None:
            raise _unknown(name, names)
        record = operator_record(operator)
        text = operator_text(record)
    return record, text


def _unknown(name: str, names: Scopes) -> PetalError:
    from petal.planning.findings import did_you_mean, listing
    from petal.spec.codes import CODES

    close = names.close_matches(name)
    hint = f"did you mean {listing(close)}?" if close else did_you_mean(name, [*CODES, *_LISTS])
    return UsageError(
        f"there is no operator or code `{name}`",
        hint=hint or "`petal describe operators` and `petal describe codes` list all",
        code="unknown-name",
    )


def _write_pages(folder: Path) -> int:
    from petal.cli.reference import reference_pages
    from petal.data.files import write_text

    folder.mkdir(parents=True, exist_ok=True)
    for name, text in reference_pages().items():
        write_text(folder / name, text)
        err(f"wrote {folder / name}")
    return 0
