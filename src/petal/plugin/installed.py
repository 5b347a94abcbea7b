"""Find the plugins that are installed: the entry points of group ``petal``, read once and loaded by name."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from petal.plugin.markers import hooks_of
from petal.plugin.registry import Scope, one_line

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

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
        seconds: How long it took to load; 0 where it was not loaded.
        offers: The names of what its hooks bring, by hook, where they were asked.
    """

    name: str
    distribution: str
    version: str
    state: str
    reason: str
    brings: list[str]
    seconds: float = 0.0
    offers: dict[str, list[str]] = {}


class Plugin:
    """One plugin as the manager keeps it.

    Attributes:
        state: ``waiting`` until an entry point is loaded, then as in :class:`PluginInfo`.
        named: Whether something names it, so that it may observe, validate and adapt.
        is_local: Whether it is a pipeline's own file, whose operators other pipelines do not see.
        offers: What its hooks returned, by hook and name.
        seconds: How long it took to load.
    """

    def __init__(
        self,
        name: str,
        *,
        entry_point: EntryPoint | None = None,
        origin: str = "",
        distribution: str = "",
        version: str = "",
    ) -> None:
        self.name = name
        self.entry_point = entry_point
        self.distribution = distribution
        self.version = version
        self.origin = origin or f"{self.distribution} {self.version}".strip() or name
        self.state = "waiting" if entry_point is not None else "on"
        self.reason = ""
        self.named = entry_point is None
        self.is_local = False
        self.objects: list[object] = []
        self.scope = Scope()
        self.offers: dict[str, dict[str, Any]] = {}
        self.seconds = 0.0

    @property
    def title(self) -> str:
        """The plugin and its package, for messages."""
        if self.distribution:
            return f"plugin `{self.name}` of {self.origin}"
        return f"plugin `{self.name}`"

    def is_like(self, name: str) -> bool:
        """Say whether this plugin's name is that of what is looked for, however it is spelled."""
        return _plain(self.name) == _plain(name)

    def is_made_of(self, obj: object) -> bool:
        """Say whether an object with hook implementations is one of this plugin's."""
        return any(obj is own for own in self.objects)

    def fetch(self) -> Any:
        """Import what the entry point names; what that prints goes to stderr."""
        assert self.entry_point is not None
        with redirect_stdout(sys.stderr):
            return self.entry_point.load()

    @property
    def info(self) -> PluginInfo:
        """What people are shown of it."""
        state = "off" if self.state == "waiting" else self.state
        reason = self.reason or ("not loaded yet" if self.state == "waiting" else "")
        hooks = {hook for obj in self.objects for hook in hooks_of(obj)}
        brings = [*self.scope.names(), *sorted(hooks)]
        offers = {hook: list(found) for hook, found in self.offers.items() if found}
        seconds = round(self.seconds, 3)
        return PluginInfo(self.name, self.distribution, self.version, state, reason, brings, seconds, offers)


def discover() -> list[Plugin]:
    """Return the installed plugins, sorted by name and distribution, none of them loaded.

    Each distribution is read by itself: one whose metadata is damaged is a broken plugin, and hides no other.
    """
    from importlib.metadata import distributions

    found: list[Plugin] = []
    seen: set[str] = set()
    for dist in distributions():
        key = _key(dist)
        if key and key in seen:  # an older one, further back on the path, which cannot be imported
            continue
        seen.add(key)
        found += _plugins_of(dist, key)
    return sorted(found, key=lambda plugin: (plugin.name, plugin.distribution))


def _plugins_of(dist: Distribution, key: str) -> list[Plugin]:
    try:
        points = list(dist.entry_points.select(group=GROUP))
    except Exception as error:
        if not _names_group(dist, error):
            return []
        name, version = _identity(dist, key)
        plugin = Plugin(name.removeprefix("petal-") or "?", distribution=name, version=version)
        plugin.named, plugin.state = False, "broken"
        plugin.reason = f"its entry points cannot be read: {one_line(error)}"
        return [plugin]
    if not points:
        return []
    name, version = _identity(dist, key)
    return [Plugin(p.name, entry_point=p, distribution=name, version=version) for p in points]


def _names_group(dist: Distribution, error: Exception) -> bool:
    """Say whether entry points that cannot be read are Petal's; another's are none of our business."""
    if isinstance(error, UnicodeDecodeError):
        return f"[{GROUP}]".encode() in error.object
    try:
        return f"[{GROUP}]" in (dist.read_text("entry_points.txt") or "")
    except Exception:
        return False


def _key(dist: Distribution) -> str:
    """Return a distribution's name in one spelling, from its folder's name where that says it: no file is read."""
    try:
        return str(getattr(dist, "_normalized_name", None) or dist.metadata["Name"] or "")
    except Exception:
        return ""


def _identity(dist: Distribution, key: str) -> tuple[str, str]:
    """Return a distribution's name and version as far as its metadata can be read."""
    try:
        metadata = dist.metadata
        return str(metadata["Name"] or key.replace("_", "-")), str(metadata["Version"] or "")
    except Exception:
        return key.replace("_", "-"), ""


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()
