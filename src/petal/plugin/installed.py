"""Find the plugins that are installed: the entry points of group ``petal``, read once and loaded by name."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from petal.plugin.registry import Scope

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "petal"


class PluginInfo(Struct, frozen=True):
    """What ``petal plugins`` shows of one plugin.

    Attributes:
        name: The entry point's name, or the one it was registered under.
        distribution: The package that brings it, or "".
        version: That package's version, or "".
        state: ``on``, ``off`` or ``broken``.
        reason: Why it is off or broken, or what of it was switched off.
        brings: Its operators' names, then the hooks that it implements.
    """

    name: str
    distribution: str
    version: str
    state: str
    reason: str
    brings: list[str]


class Plugin:
    """One plugin as the manager keeps it.

    Attributes:
        state: ``waiting`` until an entry point is loaded, then as in :class:`PluginInfo`.
        named: Whether something names it, so that it may observe, validate and adapt.
        is_local: Whether it is a pipeline's own file, whose operators other pipelines do not see.
        offers: What its hooks returned, by hook and name.
    """

    def __init__(self, name: str, *, entry_point: EntryPoint | None = None, origin: str = "") -> None:
        self.name = name
        self.entry_point = entry_point
        self.distribution, self.version = _distribution(entry_point)
        self.origin = origin or f"{self.distribution} {self.version}".strip() or name
        self.state = "waiting" if entry_point is not None else "on"
        self.reason = ""
        self.named = entry_point is None
        self.is_local = False
        self.objects: list[object] = []
        self.scope = Scope()
        self.offers: dict[str, dict[str, Any]] = {}

    @property
    def title(self) -> str:
        """The plugin and its package, for messages."""
        if self.distribution:
            return f"plugin `{self.name}` of {self.origin}"
        return f"plugin `{self.name}`"

    def is_like(self, name: str) -> bool:
        """Say whether this plugin's name is that of what is looked for, however it is spelled."""
        return _plain(self.name) == _plain(name)

    def fetch(self) -> Any:
        """Import what the entry point names; what that prints goes to stderr."""
        assert self.entry_point is not None
        with redirect_stdout(sys.stderr):
            return self.entry_point.load()


def discover() -> list[Plugin]:
    """Return the installed plugins, sorted by name and distribution, none of them loaded."""
    from importlib.metadata import entry_points

    found = [Plugin(point.name, entry_point=point) for point in entry_points(group=GROUP)]
    return sorted(found, key=lambda plugin: (plugin.name, plugin.distribution))


def _distribution(entry_point: EntryPoint | None) -> tuple[str, str]:
    dist = None if entry_point is None else entry_point.dist
    if dist is None:
        return "", ""
    try:
        return str(dist.metadata["Name"] or ""), str(dist.metadata["Version"] or "")
    except Exception:
        return "", ""


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()
