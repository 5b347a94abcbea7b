"""Put what a ``RetryWrapper`` wraps in its place: the operator that it names, tried again when it fails."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from petal.planning.expand import Draft
from petal.planning.findings import Findings
from petal.planning.references import has_reference
from petal.spec.operator import WRAPPER
from petal.spec.pipeline import MISSING
from petal.spec.policy import Retry

_ATTEMPTS = 3


def open_wrappers(drafts: list[Draft], findings: Findings) -> list[Draft]:
    """Turn each node that wraps another operator into a node of that operator, to be looked up anew.

    Returns:
        Those nodes; of the others that wrap something, what is wrong has been reported.
    """
    return [d for d in drafts if d.op is not None and d.op.spec.ref == WRAPPER and _open(d, findings)]


def _open(draft: Draft, findings: Findings) -> bool:
    spec, params = draft.spec, dict(draft.spec.params)
    name, attempts = params.pop("operator", MISSING), params.pop("max_attempts", _ATTEMPTS)
    draft.op, draft.wrapped = None, True
    problem = _problem(draft, name, attempts)
    if problem is not None:
        where, code, message, hint = problem
        findings.add(draft.scope.place, (*draft.path, *where), code, message, hint=hint)
        return False
    policies = replace(spec.policies, retry=Retry(max_attempts=attempts))
    draft.spec = replace(spec, type=name, params=params, policies=policies)
    return True


def _problem(draft: Draft, name: Any, attempts: Any) -> tuple[tuple[str, ...], str, str, str] | None:
    """Return the place, code, message and remedy of what is wrong, None where nothing is."""
    if name is MISSING:
        message = f"`{draft.id}` (RetryWrapper) does not say which operator it wraps"
        return ("params",), "missing-param", message, "write `params: {operator: ...}`"
    at = ("params", "operator")
    if not isinstance(name, str) or has_reference(name):
        message = f"parameter `operator` of `{draft.id}` is {name!r:.80}, which is not a type name"
        return (
            at,
            "bad-value",
            message,
            "write the operator's name; like a node's type it holds no references",
        )
    found = draft.scope.part.names.find(name)
    if found is not None and found.spec.ref == WRAPPER:
        message = f"`{draft.id}` wraps a RetryWrapper"
        return at, "bad-value", message, "name the operator that is to be tried again"
    if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1:
        message = (
            f"parameter `max_attempts` of `{draft.id}` is {attempts!r:.80}, which is no count of attempts"
        )
        return ("params", "max_attempts"), "bad-value", message, "it counts all attempts: write 1 or more"
    if draft.spec.policies.retry is not None:
        message = f"`{draft.id}` is a RetryWrapper and has a `retry` of its own, and only one can hold"
        return ("retry",), "bad-policy", message, f"remove `retry`, or write `type: {name}` and keep it"
    return None
