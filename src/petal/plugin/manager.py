"""What the plugins of a session bring: operators, backends, commands and the like; the only caller of hooks there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from petal.errors import EnvironmentNotReady
from petal.plugin.catalog import Catalog
from petal.plugin.hooks import Caller
from petal.plugin.installed import Plugin, PluginInfo
from petal.plugin.observers import Observer
from petal.plugin.registry import Lookup, Operator, Scope, Scopes, one_line
from petal.plugin.schemes import plugin_of
from petal.spec.views import COLUMN_KINDS, FRAME_KINDS, READER

if TYPE_CHECKING:
    from petal.interfaces.adapter import Adapter
    from petal.spec.diagnostic import Diagnostic
    from petal.spec.event import Event
    from petal.spec.pipeline import PipelineSpec

T = TypeVar("T")
#: What is looked for by the scheme of a URL.
_BY_SCHEME = frozenset({"store", "filesystem"})
_PARTS = ("takes", "read", "make")

_KINDS = {
    "adapter": "petal_adapters",
    "backend": "petal_backends",
    "codec": "petal_codecs",
    "store": "petal_stores",
    "filesystem": "petal_filesystems",
    "resolver": "petal_resolvers",
    "command": "petal_commands",
}


class PluginManager(Catalog):
    """Finds what a pipeline names among the plugins of one session, and calls their hooks."""

    def everything(self) -> list[PluginInfo]:
        """Load every installed plugin that may be loaded, ask it what it brings, and return that."""
        self.plugins()
        for plugin in list(self._loaded()):
            for hook in _KINDS.values():
                self._offers(plugin, hook)
        return self.plugins()

    # Operators

    def scopes_for(self, own: Lookup, named: Scope) -> Scopes:
        """Return the chain in which one pipeline's operator names are looked up (S2.5).

        Args:
            own: The pipeline's own operators.
            named: Those of its ``plugins:``; what was given to :meth:`register` follows them.
        """
        registered = _OfPlugins(self._session_wide, self._registered_operator)
        installed = _OfPlugins(lambda: self._installed or [], self.operator)
        return Scopes([own, named, registered, self._builtins(), installed])

    def operators_of(self, name: str) -> Scope:
        """Return the operators of a plugin that :meth:`load` loaded or :meth:`register` took; maybe none."""
        merged = Scope()
        for plugin in [*self._registered.values(), *(self._installed or [])]:
            if plugin.name == name and plugin.state == "on":
                merged.extend(plugin.scope)
        return merged

    def operator(self, name: str) -> Operator | None:
        """Look for an operator among installed plugins: in the one of that name, then in the others (S10.1).

        Raises:
            EnvironmentNotReady: Two of them bring different operators of that name (``operator-clash``), or the plugin of
                that name is broken or off (``broken-plugin``).
        """
        return self._from_installed("operator", name, lambda plugin: plugin.scope.find(name), _target)

    def _session_wide(self) -> list[Plugin]:
        return [
            plugin for plugin in self._registered.values() if plugin.state == "on" and not plugin.is_local
        ]

    def _registered_operator(self, name: str) -> Operator | None:
        hits = [(p, found) for p in self._session_wide() if (found := p.scope.find(name)) is not None]
        return _single("operator", name, hits, _target) if hits else None

    def _from_installed(
        self, kind: str, name: str, ask: Callable[[Plugin], T | None], identity: Callable[[T], Any]
    ) -> T | None:
        """Ask the plugins that something names, then those that are like the name, then all others, loaded on their turn.

        All of a kind are asked even after a hit: which of two plugins wins must not depend on who came first.

        Raises:
            EnvironmentNotReady: Two bring different ones, or nobody does and a plugin of that name is broken or off.
        """
        plugins = self._entry_points()
        likely = (
            plugin_of(name) if kind in _BY_SCHEME else None
        )  # Petal's own are not called like their schemes
        named = [plugin for plugin in plugins if plugin.named]
        like = [plugin for plugin in plugins if not plugin.named and plugin.is_like(likely or name)]
        rest = [plugin for plugin in plugins if not plugin.named and not plugin.is_like(likely or name)]
        for tier in (named, like, rest):
            asked = [(plugin, ask(plugin)) for plugin in tier if self._load(plugin)]
            hits = [(plugin, found) for plugin, found in asked if found is not None]
            if hits:
                return _single(kind, name, hits, identity)
        for plugin in plugins:
            if plugin.reason and plugin.is_like(likely or name):
                raise _missing(kind, name, plugin)
        return None

    # Other hooks

    def find(self, kind: str, name: str) -> Any | None:
        """Return a backend, codec, store, file system, resolver or command by its name, loading plugins to find it.

        Args:
            kind: ``backend``, ``codec``, ``store``, ``filesystem``, ``resolver`` or ``command``.
            name: What the pipeline, value, URL, reference or command line calls it.

        Raises:
            EnvironmentNotReady: Two plugins bring different ones of that name (``plugin-clash``), or the plugin of that name
                is broken or off (``broken-plugin``).
        """
        hook = _KINDS[kind]
        for tier in ([self._builtin], self._registered.values()):
            asked = [(p, self._offers(p, hook)) for p in tier if p is not None and p.state == "on"]
            hits = [(p, offers[name]) for p, offers in asked if name in offers]
            if hits:
                return _single(kind, name, hits, _itself)
        return self._from_installed(kind, name, lambda plugin: self._offers(plugin, hook).get(name), _itself)

    def backends(self) -> dict[str, Any]:
        """Return the backends of the plugins that are loaded, by name."""
        return self._merged("backend")

    def codecs(self) -> dict[str, Any]:
        """Return the codecs of the plugins that are loaded, by name."""
        return self._merged("codec")

    def named(self, kind: str) -> dict[str, Any]:
        """Return what the plugins that something names bring of one kind, by name; each plugin is asked once."""
        return self._merged(kind, named=True) if self.named_callers(_KINDS[kind]) else {}

    def stores(self) -> dict[str, Any]:
        """Return the stores of the plugins that are loaded, by scheme or name."""
        return self._merged("store")

    def resolvers(self) -> dict[str, Callable[[str], Any]]:
        """Return the resolvers of the plugins that are loaded, by scheme."""
        return self._merged("resolver")

    def commands(self) -> list[Any]:
        """Return the Click commands of the plugins that are loaded."""
        return list(self._merged("command").values())

    def adapters(self) -> tuple[Adapter, ...]:
        """Return the adapters of the plugins that something names; each plugin is asked once."""
        if not self.named_callers("petal_adapters"):
            return ()
        return tuple(self._merged("adapter", named=True).values())

    def validate(self, spec: PipelineSpec) -> list[Diagnostic]:
        """Return what the plugins that something names find wrong with a pipeline."""
        return [finding for found in self._call("petal_validate", _findings, spec=spec) for finding in found]

    def observers(self) -> list[Observer]:
        """Return what tells the plugins that something names of one run's events; end it with ``observers.finish``."""
        return [
            self._observer(plugin, obj, caller) for plugin, obj, caller in self.named_callers("petal_event")
        ]

    def _observer(self, plugin: Plugin, obj: object, caller: Caller) -> Observer:
        def call(event: Event) -> object:
            return caller(event=event)

        def failed(error: BaseException) -> None:
            self.mute(obj, "petal_event", one_line(error))

        def missed(text: str) -> None:
            self.warn(f"{plugin.title}: petal_event {text}")

        return Observer(plugin.name, call, failed, missed)

    def _merged(self, kind: str, *, named: bool = False) -> dict[str, Any]:
        """Merge what loaded plugins offer, Petal's own first; a later claim to a name is warned of.

        Args:
            kind: What they offer.
            named: Whether only plugins count that something names.
        """
        merged: dict[str, Any] = {}
        owners: dict[str, Plugin] = {}
        for plugin in [one for one in self._loaded() if one.named or not named]:
            for name, offer in self._offers(plugin, _KINDS[kind]).items():
                if name not in merged:
                    merged[name], owners[name] = offer, plugin
                elif merged[name] is not offer:
                    first = owners[name].title
                    self.warn(f"{plugin.title} brings {kind} `{name}`, which {first} has already")
        return merged

    def _offers(self, plugin: Plugin, hook: str) -> dict[str, Any]:
        return self.offers(plugin, hook, _adapters if hook == "petal_adapters" else _by_name)

    def _call(self, hook: str, shape: Callable[[Any], list[T]], **arguments: Any) -> list[list[T]]:
        results: list[list[T]] = []
        for plugin, obj, caller in self.named_callers(hook):
            results += self._guarded(plugin, obj, hook, caller, shape, **arguments)
        return results


class _OfPlugins:
    """The operators of several plugins as one scope; ``find`` may load more of them."""

    def __init__(self, plugins: Callable[[], list[Plugin]], find: Callable[[str], Operator | None]) -> None:
        self._plugins = plugins
        self.find = find

    def origin(self, name: str) -> str | None:
        origins = (plugin.scope.origin(name) for plugin in self._plugins() if plugin.state == "on")
        return next((origin for origin in origins if origin is not None), None)

    def names(self) -> list[str]:
        return [name for plugin in self._plugins() if plugin.state == "on" for name in plugin.scope.names()]


def _single(kind: str, name: str, hits: list[tuple[Plugin, T]], identity: Callable[[T], Any]) -> T:
    first = hits[0]
    others = [plugin for plugin, found in hits[1:] if identity(found) is not identity(first[1])]
    if others:
        titles = " and ".join(plugin.title for plugin in [first[0], *others])
        raise EnvironmentNotReady(
            f"{kind} `{name}` is brought by {titles}",
            hint=f"name the one that is meant, as in `plugins: [{first[0].name}]`, or uninstall one",
            code="operator-clash" if kind == "operator" else "plugin-clash",
        )
    return first[1]


def _missing(kind: str, name: str, plugin: Plugin) -> EnvironmentNotReady:
    """Return the error of something that is needed and that a plugin, which does not work, would bring."""
    state = {"off": "off: ", "broken": "broken: "}.get(plugin.state, "")
    hint = (
        f"`-p {plugin.name}` switches it on"
        if plugin.state == "off"
        else "install what it needs, or reinstall the package; `petal plugins` shows every plugin"
    )
    return EnvironmentNotReady(
        f"there is no {kind} `{name}`; {plugin.title} may bring it, and is {state}{plugin.reason}"
        if state
        else f"there is no {kind} `{name}`; {plugin.title} may bring it: {plugin.reason}",
        hint=hint,
        code="broken-plugin",
    )


def _target(operator: Operator) -> Any:
    return operator.target


def _itself(found: T) -> T:
    return found


def _by_name(found: object) -> dict[str, Any]:
    """Return offers by name: a mapping as it is, a list by each one's ``name``."""
    if isinstance(found, Mapping):
        return {str(name): offer for name, offer in found.items()}
    if isinstance(found, str) or not isinstance(found, Iterable):
        raise TypeError(f"it returned {found!r}, not a mapping or a list")
    return {str(offer.name): offer for offer in found}


def _adapters(found: object) -> dict[str, Any]:
    """Return adapters by name, each as it must be."""
    by_name = _by_name(found)
    for name, adapter in by_name.items():
        lacking = [part for part in _PARTS if not hasattr(adapter, part)]
        if lacking:
            raise TypeError(f"its adapter `{name}` has no `{lacking[0]}`")
        if name in FRAME_KINDS | COLUMN_KINDS | {READER} or "." not in name or name != adapter.name:
            raise TypeError(
                f"its adapter is named `{name}`: the name is a package's and a class's, as in `our_frames.Frame`, "
                "and none of those that Petal knows"
            )
        if adapter.takes(object) is not False:
            raise TypeError(f"its adapter `{name}` takes every object: `takes` says yes to one class alone")
    return by_name


def _findings(found: object) -> list[Diagnostic]:
    """Return findings, each as it must be: what a plugin wrote was checked by nobody."""
    from petal.spec.diagnostic import Diagnostic

    if isinstance(found, str) or not isinstance(found, Iterable):
        raise TypeError(f"it returned {found!r}, not a list of findings")
    findings = list(found)
    for finding in findings:
        if not isinstance(finding, Diagnostic):
            raise TypeError(f"it returned {finding!r} among its findings, not a petal.Diagnostic")
    return [msgspec.convert(msgspec.to_builtins(finding), Diagnostic) for finding in findings]
