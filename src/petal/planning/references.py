"""References in parameters: ``${params.x}``, ``${env:NAME}``, ``${secret:…}`` (S8.3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from petal.planning.findings import PathTo, did_you_mean

_REFERENCE = re.compile(r"\$(\$\{)|\$\{([^{}]*)\}")
_SECRET = "secret:"

#: Called with path, code, message and hint of a reference that means nothing.
Report = Callable[[PathTo, str, str, str | None], None]


class Unresolvable(Exception):
    """A reference in this text means nothing; it has been reported."""


def has_reference(value: object) -> bool:
    """Whether a value holds a reference or an escape anywhere."""
    if isinstance(value, str):
        return "${" in value
    if isinstance(value, dict):
        return any(has_reference(v) for v in value.values())
    if isinstance(value, list | tuple):
        return any(has_reference(v) for v in value)
    return False


def resolve(
    value: Any, params: Mapping[str, Any], environment: Mapping[str, str], path: PathTo, report: Report
) -> Any:
    """Put values for the references in ``value``, in one pass: what they give is not looked at again (F75).

    A text that is one single reference becomes the value itself; secrets stay references.

    Raises:
        Unresolvable: A reference means nothing; ``report`` has been called for each.
    """
    if isinstance(value, str):
        return _resolve_text(value, params, environment, path, report) if "${" in value else value
    if isinstance(value, dict):
        return {k: resolve(v, params, environment, (*path, k), report) for k, v in value.items()}
    if isinstance(value, list):
        return [resolve(v, params, environment, (*path, i), report) for i, v in enumerate(value)]
    return value


def _resolve_text(
    text: str, params: Mapping[str, Any], environment: Mapping[str, str], path: PathTo, report: Report
) -> Any:
    whole = _REFERENCE.fullmatch(text)
    if whole and whole.group(2) is not None:
        return _one(whole.group(2), text, params, environment, path, report)
    failed = False

    def put(match: re.Match[str]) -> str:
        nonlocal failed
        if match.group(1):
            return "${"
        try:
            return str(_one(match.group(2), match.group(0), params, environment, path, report))
        except Unresolvable:
            failed = True
            return ""

    result = _REFERENCE.sub(put, text)
    if failed:
        raise Unresolvable
    return result


def _one(
    inner: str,
    text: str,
    params: Mapping[str, Any],
    environment: Mapping[str, str],
    path: PathTo,
    report: Report,
) -> Any:
    inner = inner.strip()
    if inner.startswith("params."):
        name = inner.removeprefix("params.")
        if name in params:
            return params[name]
        hint = did_you_mean(name, params) or f"add it: `params: {{{name}: ...}}` at the top of the file"
        if path[:1] == ("params",):
            hint += "; a parameter may use those that stand above it"
        report(path, "unknown-reference", f"there is no pipeline parameter `{name}`", hint)
        raise Unresolvable
    if inner.startswith("env:"):
        name = inner.removeprefix("env:")
        if name in environment:
            return environment[name]
        report(
            path,
            "unset-variable",
            f"the environment variable `{name}` is not set",
            f"export {name}=... first",
        )
        raise Unresolvable
    if inner.startswith(_SECRET):
        return text
    report(
        path,
        "unknown-reference",
        f"`${{{inner}}}` is not a reference",
        "write ${params.NAME}, ${env:NAME} or ${secret:env/NAME}; a literal `${` is written `$${`",
    )
    raise Unresolvable
