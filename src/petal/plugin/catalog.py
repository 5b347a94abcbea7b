"""The plugins of one session: register them, load installed ones by name, and call the hooks of one at a time."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from types import FunctionType, ModuleType
from typing import Any, TypeVar

from petal.errors import UsageError
from petal.plugin.hooks import Caller, Hooks
from petal.plugin.installed import Plugin, PluginInfo, discover
from petal.plugin.markers import hooks_of, registered_in
from petal.plugin.patience import VARIABLE, TooSlow, in_time, patience
from petal.plugin.registry import Scope, decorated_in, one_line
from petal.spec.signature import ATTRIBUTE

T = TypeVar("T")

#: Keeps installed plugins from being loaded unless something names them.
AUTOLOAD_VARIABLE = "PETAL_DISABLE_PLUGIN_AUTOLOAD"


class Catalog:
    """Which plugins there are, and which of them are on, off or broken.

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

    def share(self, other: Catalog) -> None:
        """Register what is registered with another one too, save what belongs to a pipeline's own file."""
        for name, plugin in other._registered.items():
            for obj in plugin.objects if not plugin.is_local else ():
                if name not in self._registered:
                    self.register(obj, name)

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
        return plugin

    def _fill(self, plugin: Plugin) -> None:
        for obj, caller in self._hooks.callers("petal_operators"):
            if plugin.is_made_of(obj):
                for found in caller():
                    plugin.scope.add_all(found, plugin.origin)

    def _remove(self, plugin: Plugin) -> None:
        for obj in plugin.objects:
            self._hooks.remove(obj)
        plugin.objects = []

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
                self.warn(f"the installed plugins cannot be listed: {one_line(error)}")
            for plugin in self._installed:
                if plugin.state == "broken":
                    self._say_broken(plugin)
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
        return next((plugin.info for plugin in self._entry_points() if plugin.name == name), None)

    def plugins(self) -> list[PluginInfo]:
        """Load every installed plugin that may be loaded, and return what each is."""
        for plugin in self._entry_points():
            self._load(plugin)
        self._builtins()
        own = [] if self._builtin is None else [self._builtin]
        return [plugin.info for plugin in [*own, *self._registered.values(), *self._entry_points()]]

    def _load(self, plugin: Plugin, *, named: bool = False) -> bool:
        """Load one entry point, in a ``try`` of its own; say whether it works."""
        if plugin.name in self._disabled:
            plugin.state, plugin.reason = "off", "disabled"
            return False
        plugin.named = plugin.named or named
        if plugin.state == "off":
            plugin.state = "waiting"
        if plugin.state == "waiting" and not plugin.named and _autoload_is_off():
            plugin.state, plugin.reason = "off", f"{AUTOLOAD_VARIABLE} is set"
        if plugin.state == "waiting":
            self._fetch(plugin)
        return plugin.state == "on"

    def _fetch(self, plugin: Plugin) -> None:
        plugin.state, plugin.reason = "on", ""
        start = time.monotonic()
        try:
            with patience(plugin.name, needed=plugin.named), redirect_stdout(sys.stderr):
                self._adopted(plugin, [plugin.fetch()])
        except KeyboardInterrupt:
            plugin.state = "waiting"
            raise
        except BaseException as error:
            plugin.state, plugin.reason, plugin.scope = "broken", one_line(error), Scope()
            if isinstance(error, TooSlow):
                plugin.reason = (
                    f"{error} to load; `-p {plugin.name}` waits for it, ${VARIABLE} sets the limit"
                )
            self._say_broken(plugin)
        finally:
            plugin.seconds = time.monotonic() - start

    def _say_broken(self, plugin: Plugin) -> None:
        self.warn(f"{plugin.title} is broken and left out: {plugin.reason}")

    def _builtins(self) -> Scope:
        if self._builtin is None:
            return Scope()
        if not self._builtin_is_filled:
            self._builtin_is_filled = True
            self._fill(self._builtin)
        return self._builtin.scope

    def _loaded(self) -> Iterator[Plugin]:
        if self._builtin is not None:
            yield self._builtin
        yield from (p for p in [*self._registered.values(), *(self._installed or [])] if p.state == "on")

    # Calling hooks

    def offers(self, plugin: Plugin, hook: str, shape: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Return what one plugin returns from a hook, by name; asked once."""
        found = plugin.offers.get(hook)
        if found is None:
            found = plugin.offers[hook] = {}
            for obj, caller in self._hooks.callers(hook):
                if plugin.is_made_of(obj):
                    for result in self._guarded(plugin, obj, hook, caller, shape):
                        found.update(result)
        return found

    def _guarded(
        self,
        plugin: Plugin,
        obj: object,
        hook: str,
        caller: Caller,
        shape: Callable[[Any], T],
        **arguments: Any,
    ) -> list[T]:
        """Call one plugin's hook; if it fails, that hook of that plugin is switched off with a warning."""

        def call() -> list[T]:
            return [shape(result) for result in caller(**arguments) if result is not None]

        try:
            with redirect_stdout(sys.stderr):
                return call() if plugin is self._builtin else in_time(call)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.mute(obj, hook, one_line(error))
            return []

    def named_callers(self, hook: str) -> list[tuple[Plugin, object, Caller]]:
        """Return how to call a hook of each plugin that something names, save where it has failed before."""
        callers = self._hooks.callers(hook)
        if not callers:
            return []
        named = [plugin for plugin in self._loaded() if plugin.named]
        return [
            (plugin, obj, call)
            for obj, call in callers
            for plugin in named
            if plugin.is_made_of(obj) and (id(obj), hook) not in self._muted
        ]

    def mute(self, obj: object, hook: str, why: str) -> None:
        """Call a hook of one plugin no more, and say so."""
        self._muted.add((id(obj), hook))
        for plugin in list(self._loaded()):
            if plugin.is_made_of(obj):
                plugin.reason = f"{hook} failed and is switched off: {why}"
                self.warn(f"{plugin.title}: {plugin.reason}")

    def warn(self, text: str) -> None:
        """Keep a warning, once."""
        if text not in self.warnings:
            self.warnings.append(text)


def _is_made_from(obj: object, plugin: object) -> bool:
    return obj is plugin or (isinstance(plugin, type) and type(obj) is plugin)


def _autoload_is_off() -> bool:
    return os.environ.get(AUTOLOAD_VARIABLE, "") not in ("", "0")
