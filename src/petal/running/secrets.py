"""Resolve secret references at the last moment, in the process that uses them, and teach the redactor what they are."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from petal.errors import EnvironmentNotReady
from petal.spec.redaction import hide

_SECRET = re.compile(r"\$\{secret:([^{}]*)\}")

#: Returns what plugins resolve a reference ``scheme/name`` to, None where nobody has the scheme.
Resolver = Callable[[str, str], str | None]
#: The resolvers of the runs of this process, the last one first asked.
_resolvers: list[Resolver] = []


@contextmanager
def resolving(resolve: Resolver) -> Iterator[None]:
    """Let plugins resolve secrets for as long as a run lasts, or a worker's task."""
    _resolvers.append(resolve)
    try:
        yield
    finally:
        _resolvers.remove(resolve)


def reveal(value: Any) -> Any:
    """Put secrets where their references stand; what holds none comes back as it is.

    Raises:
        EnvironmentNotReady: A secret does not exist.
    """
    if isinstance(value, str):
        return _SECRET.sub(_lookup, value) if "${secret:" in value else value
    if isinstance(value, dict):
        return {k: reveal(v) for k, v in value.items()} if value else value
    if isinstance(value, list):
        return [reveal(v) for v in value] if any(isinstance(v, str | dict | list) for v in value) else value
    return value


def schemes_in(value: Any) -> set[str]:
    """Return where the secrets in a value are looked up, ``env`` left out."""
    if isinstance(value, str):
        return {found.strip().partition("/")[0] for found in _SECRET.findall(value)} - {"env"}
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {scheme for one in inner for scheme in schemes_in(one)}


def _lookup(match: re.Match[str]) -> str:
    where, _, name = match.group(1).strip().partition("/")
    if where == "env":
        secret = os.environ.get(name)
        if secret is None:
            raise EnvironmentNotReady(
                f"the secret `env/{name}` is not set", hint=f"export {name}=... first", code="missing-secret"
            )
        hide(secret)
        return secret
    for resolve in reversed(_resolvers):
        secret = resolve(where, name)
        if secret is not None:
            hide(secret)
            return secret
    raise EnvironmentNotReady(
        f"no plugin resolves the secret `{match.group(1)}`",
        hint="secrets from the environment are written ${secret:env/NAME}",
        code="missing-secret",
    )
