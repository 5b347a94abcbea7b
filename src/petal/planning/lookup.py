"""Look up the operator that each node's type names (S2.5), and say what is known of a name that nobody has."""

from __future__ import annotations

from petal.errors import PetalError
from petal.interfaces.source import Operator
from petal.planning.expand import Draft
from petal.planning.findings import Findings, listing
from petal.spec.diagnostic import Severity
from petal.spec.operator import camel_case

#: Operators of the library that a later version brings, so that the finding can say so.
COMING = frozenset(
    [
        "FlakyTransformer",
        "RetryWrapper",
    ]
)

#: Findings that say that a plugin's operators are not known.
_LOST = frozenset(
    {
        "python-missing",
        "python-syntax",
        "python-import",
        "python-unreadable",
        "outside-project",
        "broken-plugin",
        "bad-signature",
        "bad-definition",
        "bad-duration",
        "decorated-twice",
        "not-an-operator",
    }
)


def find_operators(drafts: list[Draft], findings: Findings) -> dict[str, Operator]:
    """Look every type name up, once per scope; equal operators share one key."""
    operators: dict[str, Operator] = {}
    keys: dict[int, str] = {}
    found: dict[int, dict[str, tuple[Operator, str] | None]] = {}
    for draft in drafts:
        name = draft.spec.type
        if not name:  # reported by the reader of the file
            continue
        known = found.setdefault(id(draft.scope.part.names), {})
        if name not in known:
            known[name] = _find_operator(draft, operators, keys, findings)
        hit = known[name]
        if hit is not None:
            draft.op, draft.key = hit
        elif not draft.scope.part.blind:
            _report_unknown(draft, findings)
    return operators


def _find_operator(
    draft: Draft, operators: dict[str, Operator], keys: dict[int, str], findings: Findings
) -> tuple[Operator, str] | None:
    try:
        op = draft.scope.part.names.find(draft.spec.type)
    except PetalError as error:
        findings.add(draft.scope.place, (*draft.path, "type"), error.code, error.message, hint=error.hint)
        return None
    if op is None:
        return None
    key = keys.get(id(op.target))
    if key is None:
        key, count = op.spec.name, 2
        while key in operators:
            key, count = f"{op.spec.name}#{count}", count + 1
        keys[id(op.target)] = key
        operators[key] = op
        named = not (draft.scope.part.source.file or ".py").endswith(
            ".py"
        )  # in Python objects are given, not names
        hidden = draft.scope.part.names.shadowed(draft.spec.type) if named else []
        if hidden and hidden[0] != op.origin:
            findings.add(
                draft.scope.place,
                (*draft.path, "type"),
                "shadowed-operator",
                f"`{draft.spec.type}` is the one from {op.origin}; it hides the one of {hidden[0]}",
                hint="rename it (`@operator(name=...)`) if you meant the other",
                severity=Severity.NOTE,
            )
        for remark in op.spec.remarks:
            findings.add(
                draft.scope.place,
                (*draft.path, "type"),
                remark.code,
                remark.message,
                hint=remark.hint,
                severity=Severity.WARNING,
            )
    return op, key


def _report_unknown(draft: Draft, findings: Findings) -> None:
    name, names = draft.spec.type, draft.scope.part.names
    if name in COMING or camel_case(name) in COMING:
        findings.add(
            draft.scope.place,
            (*draft.path, "type"),
            "not-yet",
            f"operator `{name}` is not available in this version",
            hint="a later version of Petal brings it",
        )
        return
    close = names.close_matches(name)
    lost = any(f.code in _LOST for f in draft.scope.part.findings)
    hint = (
        f"did you mean {listing(close[:3])}?"
        if close
        else "the plugin that could not be loaded may hold it"
        if lost
        else "define it in a Python file and name that file under `plugins:`; `petal describe operators` lists all there are"
    )
    findings.add(
        draft.scope.place,
        (*draft.path, "type"),
        "unknown-operator",
        f"there is no operator `{name}`",
        hint=hint,
    )
