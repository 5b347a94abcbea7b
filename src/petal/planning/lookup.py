"""Look up the operator that each node's type names (S2.5), and say what is known of a name that nobody has."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from petal.errors import PetalError
from petal.interfaces.adapter import Adapter
from petal.interfaces.source import Operator
from petal.planning.expand import Draft, Scope
from petal.planning.findings import Findings, listing
from petal.planning.plain import program, speaks_json
from petal.planning.request import Request
from petal.planning.wrapping import open_wrappers
from petal.spec.diagnostic import Severity
from petal.spec.operator import WRAPPER, adapted
from petal.spec.policy import NO_POLICIES

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


def find_operators(
    drafts: list[Draft], request: Request, findings: Findings, adapters: tuple[Adapter, ...] = ()
) -> dict[str, Operator]:
    """Look every type name up, once per scope; equal operators share one key.

    The type of a node that speaks plain JSON is a label, which is not looked up (S6.3): nothing of it runs here, and what
    happens to be installed must not change what it is. In Python a function may be given, which says what the ports are.

    Args:
        drafts: The nodes.
        request: What the caller asks, who may choose a backend.
        findings: Takes what is wrong with their types.
        adapters: What brings further views of data: operators are described with those.
    """
    finder = _Finder(request, findings, adapters)
    finder.find(drafts)
    wrappers = [key for key, op in finder.operators.items() if op.spec.ref == WRAPPER]
    if wrappers:
        finder.find(open_wrappers(drafts, findings))
        for key in wrappers:
            del finder.operators[key]
    return finder.operators


class _Finder:
    """Looks operators up.

    Attributes:
        operators: What was found, by its key in the plan.
    """

    def __init__(self, request: Request, findings: Findings, adapters: tuple[Adapter, ...]) -> None:
        self.operators: dict[str, Operator] = {}
        self._keys: dict[int, str] = {}
        self._found: dict[int, dict[str, tuple[Operator, str] | None]] = {}
        self._request = request
        self._findings = findings
        self._adapters = adapters

    def find(self, drafts: list[Draft]) -> None:
        """Look up what each node's type names."""
        scope: Scope | None = None
        known: dict[str, tuple[Operator, str] | None] = {}
        may_be_program = False
        for draft in drafts:
            name = draft.spec.type
            if not name:  # reported by the reader of the file
                continue
            if draft.scope is not scope:
                scope = draft.scope
                known = self._found.setdefault(id(scope.part.names), {})
                may_be_program = scope.part.spec.defaults is not NO_POLICIES
            if (
                (may_be_program or draft.spec.policies is not NO_POLICIES)
                and speaks_json(draft, self._request)
                and scope.part.names.own(name) is None
            ):
                draft.op = program(draft)
                draft.key = _free_key(draft.op, self.operators)
                self.operators[draft.key] = draft.op
                continue
            if name in known:
                hit = known[name]
            else:
                hit = known[name] = _find_operator(
                    draft, self.operators, self._keys, self._findings, self._adapters
                )
            if hit is not None:
                draft.op, draft.key = hit
            elif not draft.scope.part.blind:
                _report_unknown(draft, self._findings)


def _place_of_name(draft: Draft) -> tuple[str | int, ...]:
    """Return where the operator's name stands in the file."""
    return (*draft.path, "params", "operator") if draft.wrapped else (*draft.path, "type")


def _is_named(draft: Draft) -> bool:
    """Whether a node's type is a name; in Python objects are given."""
    file = draft.scope.part.source.file
    return file is not None and not file.endswith(".py")


def _free_key(op: Operator, operators: dict[str, Operator]) -> str:
    key, count = op.spec.name, 2
    while key in operators:
        key, count = f"{op.spec.name}#{count}", count + 1
    return key


def _find_operator(
    draft: Draft,
    operators: dict[str, Operator],
    keys: dict[int, str],
    findings: Findings,
    adapters: tuple[Adapter, ...],
) -> tuple[Operator, str] | None:
    try:
        op = draft.scope.part.names.find(draft.spec.type)
    except PetalError as error:
        findings.add(draft.scope.place, _place_of_name(draft), error.code, error.message, hint=error.hint)
        return None
    if op is None:
        return None
    if adapters:
        made: Any = op
        try:
            op = replace(made, spec=adapted(op.spec, adapters))
        except Exception as error:  # what a plugin raises is not known
            findings.add(
                draft.scope.place,
                (*draft.path, "type"),
                "broken-plugin",
                f"an adapter cannot say whether it takes what `{draft.spec.type}` is annotated with: "
                f"{type(error).__name__}: {error}",
                hint=f"adapters of plugins take part: {listing([adapter.name for adapter in adapters])}",
            )
    key = keys.get(id(op.target))
    if key is None:
        key = keys[id(op.target)] = _free_key(op, operators)
        operators[key] = op
        hidden = draft.scope.part.names.shadowed(draft.spec.type) if _is_named(draft) else []
        if hidden and hidden[0] != op.origin:
            findings.add(
                draft.scope.place,
                _place_of_name(draft),
                "shadowed-operator",
                f"`{draft.spec.type}` is the one from {op.origin}; it hides the one of {hidden[0]}",
                hint="rename it (`@operator(name=...)`) if you meant the other",
                severity=Severity.NOTE,
            )
        for remark in op.spec.remarks:
            findings.add(
                draft.scope.place,
                _place_of_name(draft),
                remark.code,
                remark.message,
                hint=remark.hint,
                severity=Severity.WARNING,
            )
    return op, key


def _report_unknown(draft: Draft, findings: Findings) -> None:
    name, names = draft.spec.type, draft.scope.part.names
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
        _place_of_name(draft),
        "unknown-operator",
        f"there is no operator `{name}`",
        hint=hint,
    )
