"""Load in a worker what a request names of plugins: adapters, codecs, what resolves secrets and opens URLs (S6.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from petal.code.loader import Reference
from petal.code.reference import made, resolve
from petal.data.codecs import Codecs
from petal.data.filesystems import Opener
from petal.interfaces.adapter import Adapter


class Brought(Struct, frozen=True):
    """What plugins bring for a task.

    Attributes:
        adapters: Further views of data.
        codecs: What writes and reads values of its kind, or None.
        resolvers: What resolves secrets, by scheme.
        filesystems: What opens URLs, by scheme.
    """

    adapters: tuple[Adapter, ...] = ()
    codecs: Codecs | None = None
    resolvers: dict[str, Callable[[str], Any]] = {}
    filesystems: dict[str, Opener] = {}

    def resolve(self, scheme: str, name: str) -> str | None:
        """Return a secret; None where no plugin resolves the scheme (a :data:`petal.running.secrets.Resolver`)."""
        resolver = self.resolvers.get(scheme)
        return None if resolver is None else str(resolver(name))

    def filesystem(self, scheme: str) -> Opener | None:
        """Return what opens URLs of a scheme (a :data:`petal.data.filesystems.Finder`)."""
        return self.filesystems.get(scheme)


NOTHING = Brought()


def brought(named: Mapping[str, Any]) -> Brought:
    """Load what a request names; the modules of plugins are imported, and none of their hooks are called.

    Args:
        named: ``adapters``, ``codecs``, ``resolvers`` and ``filesystems``, as ``execution.remote.Sessions.plugins`` says them.

    Raises:
        EnvironmentNotReady: Something of it is not here.
    """
    if not named:
        return NOTHING
    codecs = made("codec", named.get("codecs") or ())
    return Brought(
        tuple(made("adapter", named.get("adapters") or ())),
        Codecs(codecs) if codecs else None,
        _functions(named.get("resolvers")),
        _functions(named.get("filesystems")),
    )


def _functions(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """Find functions by their references."""
    return {name: resolve(msgspec.convert(one, Reference)) for name, one in (found or {}).items()}
