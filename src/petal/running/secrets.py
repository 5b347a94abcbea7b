"""Resolve secret references at the last moment, in the process that uses them, and teach the redactor what they are."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from petal.errors import EnvironmentNotReady
from petal.spec.redaction import forms_of, hide, with_halves
from petal.spec.veil import guard

_SECRET = re.compile(r"\$\{secret:([^{}]*)\}")

#: Returns what plugins resolve a reference ``scheme/name`` to, None where nobody has the scheme.
Resolver = Callable[[str, str], str | None]
#: The resolvers of the runs of this process, the last one first asked.
_resolvers: list[Resolver] = []
#: What was resolved in this process, by reference.
_revealed: dict[str, str] = {}


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
    return {reference.partition("/")[0] for reference in _references_in(value)} - {"env"}


def hide_own(value: Any) -> None:
    """Hide the secrets of this process's environment that a value refers to, where another process is to resolve them.

    What that one prints and gives comes here, and it may have been given the same environment.
    """
    for reference in _references_in(value):
        scheme, _, name = reference.partition("/")
        if scheme == "env" and name in os.environ:
            _hide(os.environ[name])


def secrets_in(pieces: Iterable[Any]) -> list[str]:
    """Return the references of the secrets, resolved in this process, that stand in some bytes, in whatever form.

    Args:
        pieces: Objects with a buffer.
    """
    wanted = {
        reference: [form.encode("utf-8", "surrogateescape") for form in with_halves(forms_of(secret))]
        for reference, secret in _revealed.items()
    }
    found = set[str]()
    for piece in pieces if wanted else ():
        data = bytes(piece)
        found |= {name for name, forms in wanted.items() if any(form in data for form in forms)}
    return sorted(found)


def is_hidden(reference: str) -> bool:
    """Hide a secret that another process has resolved, and say whether that could be: whether it is resolved here too."""
    try:
        reveal(f"${{secret:{reference}}}")
    except Exception:  # whatever a resolver raises: it may not be for this process
        return False
    return True


def _references_in(value: Any) -> set[str]:
    if isinstance(value, str):
        return {found.strip() for found in _SECRET.findall(value)} if "${secret:" in value else set()
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {reference for one in inner for reference in _references_in(one)}


def _lookup(match: re.Match[str]) -> str:
    reference = match.group(1).strip()
    secret = _found(reference)
    _revealed[reference] = secret
    _hide(secret)
    return secret


def _hide(secret: str) -> None:
    """Hide a secret, and see to it that everything that shows something in this process does so without secrets."""
    hide(secret)
    guard()


def _found(reference: str) -> str:
    where, _, name = reference.partition("/")
    if where == "env":
        secret = os.environ.get(name)
        if secret is None:
            raise EnvironmentNotReady(
                f"the secret `env/{name}` is not set", hint=f"export {name}=... first", code="missing-secret"
            )
        return secret
    for resolve in reversed(_resolvers):
        secret = resolve(where, name)
        if secret is not None:
            return secret
    raise EnvironmentNotReady(
        f"no plugin resolves the secret `{reference}`",
        hint="secrets from the environment are written ${secret:env/NAME}",
        code="missing-secret",
    )
