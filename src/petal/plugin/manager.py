"""Register plugins, load installed ones by name, and call hooks: the only caller of hooks there is."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from petal.errors import PetalError, UsageError
from petal.plugin.hooks import Caller, Hooks
from petal.plugin.installed import Plugin, PluginInfo, discover
from petal.plugin.markers import hooks_of, registered_in
from petal.plugin.registry import Lookup, Operator, Scope, Scopes, decorated_in, one_line
from petal.spec.signature import ATTRIBUTE

if TYPE_CHECKING:
    from petal.spec.diagnostic import Diagnostic
    from petal.spec.event import Event
    from petal.spec.pipeline import PipelineSpec

T = TypeVar("T")

#: Keeps installed plugins from being loaded unless something names them.
AUTOLOAD_VARIABLE = "PETAL_DISABLE_PLUGIN_AUTOLOAD"

_KINDS = {
    "backend": "petal_backends",
    "codec": "petal_codecs",
    "store": "petal_stores",
    "resolver": "petal_resolvers",
    "command": "petal_commands",
}


class PluginManager:
    """The plugins of one session.

    Args:
        builtin: Petal's own plugin: an object with hook implementations. Calling it needs no pluggy.

    Attributes:
        warnings: What was left out and why, one sentence each, for whoever prints them.
    """

    def __init__(self, builtin: object | None = None) -> None:
        self.warnings: list[str] = []
        self._hooks = Hooks()
        self._registered: dict[str, Plugin] = {}
        self._installed: list[Plugin] | None = None
        self._disabled: set[str] = set()
        self._muted: set[tuple[int, str]] = set()
        self._observers: list[tuple[object, Caller]] | None = None
        self._builtin: Plugin | None = None
        self._builtin_is_filled = False
        if builtin is not None:
            self._builtin = Plugin("built-in", origin="built-in")
            self._builtin.objects.append(builtin)
            self._hooks.add_direct(builtin)

    # Registering

    def register(self, plugin: object, name: str | None = None) -> None:
        """Register a class, an object or a module of hook implementations; the same one twice is fine.

        Raises:
            DefinitionError: It implements a hook that does not exist, or in a way that cannot be called.
            UsageError: Another plugin has that name.
        """
        name = name or str(getattr(plugin, "__name__", type(plugin).__name__))
        known = self._registered.get(name)
        if known is not None:
            if any(_is_made_from(obj, plugin) for obj in known.objects):
                return
            raise UsageError(f"another plugin is registered as `{name}`", hint="give this one another name")
        self._registered[name] = self._adopted(Plugin(name), [plugin])

    def register_module(self, module: ModuleType, origin: str, operators: Iterable[Any]) -> Scope:
        """Register what a pipeline's own file brings, in place of what that origin brought before.

        Args:
            module: The file's module; its hook implementations and ``@register_plugin`` marks are found.
            origin: What people are told, such as ``./operators.py``.
            operators: The operators that it defines.

        Returns:
            Those operators and the ones that its hooks bring.
        """
        old = self._registered.pop(origin, None)
        if old is not None:
            self._remove(old)
        plugin = Plugin(origin, origin=origin)
        plugin.is_local = True
        for operator in operators:
            plugin.scope.add(operator, origin)
        marked = registered_in(module)
        if hooks_of(module) and not any(obj is module for obj in marked):
            marked.insert(0, module)
        if marked:
            self._registered[origin] = self._adopted(plugin, marked)
        return plugin.scope

    def _adopted(self, plugin: Plugin, found: list[Any]) -> Plugin:
        """Add a plugin's hooks and fill its table of operators; all or nothing."""
        try:
            for obj in found:
                if isinstance(obj, FunctionType | type) and ATTRIBUTE in obj.__dict__:
                    plugin.scope.add(obj, plugin.origin)
                    continue
                made = obj() if isinstance(obj, type) else obj
                plugin.objects.append(made)
                if hooks_of(made):
                    self._hooks.add(made, plugin.name)
                if isinstance(made, ModuleType):
                    plugin.scope.add_all(decorated_in(made), plugin.origin)
            self._fill(plugin)
        except BaseException:
            self._remove(plugin)
            raise
        self._observers = None
        return plugin

    def _fill(self, plugin: Plugin) -> None:
        for obj, caller in self._hooks.callers("petal_operators"):
            if any(obj is own for own in plugin.objects):
                for found in caller():
                    plugin.scope.add_all(found, plugin.origin)

    def _remove(self, plugin: Plugin) -> None:
        for obj in plugin.objects:
            self._hooks.remove(obj)
        plugin.objects = []
        self._observers = None

    # Installed plugins

    def installed(self) -> list[str]:
        """Return the names of the installed plugins, sorted; none is loaded for it."""
        return sorted({plugin.name for plugin in self._entry_points()})

    def _entry_points(self) -> list[Plugin]:
        if self._installed is None:
            try:
                self._installed = discover()
            except Exception as error:
                self._installed = []
                self.warnings.append(f"the installed plugins cannot be listed: {one_line(error)}")
        return self._installed

    def load(self, name: str) -> bool:
        """Load an installed plugin because something names it, and let it observe, validate and adapt.

        Returns:
            Whether it is there and works; if it is broken, ``warnings`` says why.
        """
        works = False
        for plugin in self._entry_points():
            if plugin.name == name and self._load(plugin, named=True):
                works = True
        return works or name in self._registered

    def disable(self, name: str) -> None:
        """Leave a plugin out, even if something names it."""
        self._disabled.add(name)
        for plugin in [*self._registered.values(), *(self._installed or [])]:
            if plugin.name == name:
                self._remove(plugin)
                plugin.state, plugin.reason = "off", "disabled"

    def info(self, name: str) -> PluginInfo | None:
        """Return what is known of an installed plugin, without loading it."""
        return next((_info(plugin) for plugin in self._entry_points() if plugin.name == name), None)

    def plugins(self) -> list[PluginInfo]:
        """Load every installed plugin that may be loaded, and return what each is and brings."""
        for plugin in self._entry_points():
            self._load(plugin)
        self._builtins()
        own = [] if self._builtin is None else [self._builtin]
        return [_info(plugin) for plugin in [*own, *self._registered.values(), *self._entry_points()]]

    def _load(self, plugin: Plugin, *, named: bool = False) -> bool:
        """Load one entry point, in a ``try`` of its own; say whether it works."""
        if plugin.name in self._disabled:
            plugin.state, plugin.reason = "off", "disabled"
            return False
        if named and not plugin.named:
            plugin.named, self._observers = True, None
        may_load = named or plugin.named or not _autoload_is_off()
        if plugin.state == "off":
            plugin.state = "waiting"
        if plugin.state == "waiting" and not may_load:
            plugin.state, plugin.reason = "off", f"{AUTOLOAD_VARIABLE} is set"
        if plugin.state != "waiting":
            return plugin.state == "on"
        plugin.state, plugin.reason = "on", ""
        try:
            found = plugin.fetch()
            with redirect_stdout(sys.stderr):
                self._adopted(plugin, [found])
        except KeyboardInterrupt:
            plugin.state = "waiting"
            raise
        except BaseException as error:
            plugin.state, plugin.reason, plugin.scope = "broken", one_line(error), Scope()
            self.warnings.append(f"{plugin.title} is broken and left out: {plugin.reason}")
        return plugin.state == "on"

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
            PetalError: Two of them bring different operators of that name (``operator-clash``).
        """
        return self._from_installed("operator", name, lambda plugin: plugin.scope.find(name), _target)

    def _session_wide(self) -> list[Plugin]:
        return [
            plugin for plugin in self._registered.values() if plugin.state == "on" and not plugin.is_local
        ]

    def _registered_operator(self, name: str) -> Operator | None:
        hits = [(p, found) for p in self._session_wide() if (found := p.scope.find(name)) is not None]
        return _single("operator", name, hits, _target) if hits else None

    def _builtins(self) -> Scope:
        if self._builtin is None:
            return Scope()
        if not self._builtin_is_filled:
            self._builtin_is_filled = True
            self._fill(self._builtin)
        return self._builtin.scope

    def _from_installed(
        self, kind: str, name: str, ask: Callable[[Plugin], T | None], identity: Callable[[T], Any]
    ) -> T | None:
        """Ask the plugins that are like the name, then all others, each loaded on its turn.

        All others are asked even after a hit: which of two plugins wins must not depend on who came first.
        """
        plugins = self._entry_points()
        for tier in ([p for p in plugins if p.is_like(name)], [p for p in plugins if not p.is_like(name)]):
            hits: list[tuple[Plugin, T]] = []
            for plugin in tier:
                found = ask(plugin) if self._load(plugin) else None
                if found is not None:
                    hits.append((plugin, found))
            if hits:
                return _single(kind, name, hits, identity)
        return None

    # Other hooks

    def find(self, kind: str, name: str) -> Any | None:
        """Return a backend, codec, store, resolver or command by its name, loading plugins to find it.

        Args:
            kind: ``backend``, ``codec``, ``store``, ``resolver`` or ``command``.
            name: What the pipeline, value, URL, reference or command line calls it.

        Raises:
            PetalError: Two plugins bring different ones of that name (``plugin-clash``).
        """
        hook = _KINDS[kind]
        for tier in (
            [self._builtin],
            self._registered.values(),
            [p for p in self._installed or [] if p.named],
        ):
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

    def stores(self) -> dict[str, Any]:
        """Return the stores of the plugins that are loaded, by scheme or name."""
        return self._merged("store")

    def resolvers(self) -> dict[str, Callable[[str], Any]]:
        """Return the resolvers of the plugins that are loaded, by scheme."""
        return self._merged("resolver")

    def commands(self) -> list[Any]:
        """Return the Click commands of the plugins that are loaded."""
        return list(self._merged("command").values())

    def adapters(self) -> list[Any]:
        """Return the adapters of Petal and of the plugins that something names."""
        return [one for found in self._call("petal_adapters") for one in found]

    def validate(self, spec: PipelineSpec) -> list[Diagnostic]:
        """Return what the plugins that something names find wrong with a pipeline."""
        return [finding for found in self._call("petal_validate", spec=spec) for finding in found]

    def observes(self) -> bool:
        """Whether anybody implements ``petal_event``."""
        if self._observers is None:
            self._observers = self._named_callers("petal_event")
        return bool(self._observers)

    def emit(self, event: Event) -> None:
        """Tell observers of an event; one that raises is told no more, with one warning."""
        if self._observers is None:
            self._observers = self._named_callers("petal_event")
        for plugin, caller in self._observers:
            try:
                caller(event=event)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self._mute(plugin, "petal_event", error)

    def _merged(self, kind: str) -> dict[str, Any]:
        """Merge what loaded plugins offer, Petal's own first; a later claim to a name is warned of."""
        merged: dict[str, Any] = {}
        owners: dict[str, Plugin] = {}
        for plugin in self._loaded():
            for name, offer in self._offers(plugin, _KINDS[kind]).items():
                if name not in merged:
                    merged[name], owners[name] = offer, plugin
                elif merged[name] is not offer:
                    first = owners[name].title
                    self._warn_once(f"{plugin.title} brings {kind} `{name}`, which {first} has already")
        return merged

    def _loaded(self) -> Iterator[Plugin]:
        if self._builtin is not None:
            yield self._builtin
        yield from (p for p in [*self._registered.values(), *(self._installed or [])] if p.state == "on")

    def _offers(self, plugin: Plugin, hook: str) -> dict[str, Any]:
        """Return what one plugin returns from a hook, by name; asked once."""
        found = plugin.offers.get(hook)
        if found is None:
            found = plugin.offers[hook] = {}
            for obj, caller in self._hooks.callers(hook):
                if any(obj is own for own in plugin.objects):
                    for result in self._guarded(obj, hook, caller, _by_name):
                        found.update(result)
        return found

    def _call(self, hook: str, **arguments: Any) -> list[list[Any]]:
        results: list[list[Any]] = []
        for plugin, caller in self._named_callers(hook):
            results += self._guarded(plugin, hook, caller, list, **arguments)
        return results

    def _guarded(
        self, plugin: object, hook: str, caller: Caller, shape: Callable[[Any], T], **arguments: Any
    ) -> list[T]:
        """Call one plugin's hook; if it fails, that hook of that plugin is switched off with a warning."""
        try:
            with redirect_stdout(sys.stderr):
                return [shape(result) for result in caller(**arguments) if result is not None]
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._mute(plugin, hook, error)
            return []

    def _named_callers(self, hook: str) -> list[tuple[object, Caller]]:
        active = {id(obj) for plugin in self._loaded() if plugin.named for obj in plugin.objects}
        callers = self._hooks.callers(hook)
        return [(p, call) for p, call in callers if id(p) in active and (id(p), hook) not in self._muted]

    def _mute(self, obj: object, hook: str, error: BaseException) -> None:
        self._muted.add((id(obj), hook))
        self._observers = None
        for plugin in self._loaded():
            if any(obj is own for own in plugin.objects):
                plugin.reason = f"{hook} failed and is switched off: {one_line(error)}"
                self._warn_once(f"{plugin.title}: {plugin.reason}")

    def _warn_once(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


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
        raise PetalError(
            f"{kind} `{name}` is brought by {titles}",
            hint=f"name the one that is meant, as in `plugins: [{first[0].name}]`, or uninstall one",
            code="operator-clash" if kind == "operator" else "plugin-clash",
        )
    return first[1]


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


def _is_made_from(obj: object, plugin: object) -> bool:
    return obj is plugin or (isinstance(plugin, type) and type(obj) is plugin)


def _autoload_is_off() -> bool:
    return os.environ.get(AUTOLOAD_VARIABLE, "") not in ("", "0")


def _info(plugin: Plugin) -> PluginInfo:
    state = "off" if plugin.state == "waiting" else plugin.state
    reason = plugin.reason or ("not loaded yet" if plugin.state == "waiting" else "")
    hooks = {hook for obj in plugin.objects for hook in hooks_of(obj)}
    brings = [*plugin.scope.names(), *sorted(hooks)]
    return PluginInfo(plugin.name, plugin.distribution, plugin.version, state, reason, brings)
