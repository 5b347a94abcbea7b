"""Call the hooks of one plugin at a time; pluggy is imported when the first plugin with hooks arrives."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from petal.errors import DefinitionError
from petal.plugin.markers import PROJECT, SPEC_ATTRIBUTE, hooks_of

#: Takes a hook's arguments by name and returns the results of one plugin.
Caller = Callable[..., list[Any]]


class Hooks:
    """The hook implementations of all plugins; each is called by itself, so that it fails by itself."""

    def __init__(self) -> None:
        self._direct: list[object] = []
        self._pluggy: Any = None
        self._specs: dict[str, object] = {}
        self._callers: dict[str, list[tuple[object, Caller]]] = {}

    def add_direct(self, plugin: object) -> None:
        """Add a plugin that is called without pluggy: Petal's own, asked at every start."""
        self._direct.append(plugin)
        self._callers.clear()

    def add(self, plugin: object, name: str) -> None:
        """Add a plugin.

        Raises:
            DefinitionError: It implements a hook that does not exist, or with arguments it has not.
        """
        import pluggy

        if self._pluggy is None:
            specs = importlib.import_module("petal.plugin.hookspecs")
            self._pluggy = pluggy.PluginManager(PROJECT)
            self._pluggy.add_hookspecs(specs)
            self._specs = {n: f for n, f in vars(specs).items() if hasattr(f, SPEC_ATTRIBUTE)}
        self._refuse_unknown(plugin, name)
        try:
            self._pluggy.register(plugin, f"{name}#{id(plugin)}")
        except pluggy.PluginValidationError as error:
            reason = str(error).rpartition("\n")[2]
            raise DefinitionError(
                f"plugin `{name}` implements a hook that cannot be called: {reason}",
                hint="take the arguments that the hook has: see petal/plugin/hookspecs.py",
                code="bad-plugin",
            ) from error
        finally:
            self._callers.clear()

    def remove(self, plugin: object) -> None:
        """Remove a plugin, if it is there."""
        if self._pluggy is not None and self._pluggy.is_registered(plugin):
            self._pluggy.unregister(plugin)
            self._callers.clear()

    def callers(self, hook: str) -> list[tuple[object, Caller]]:
        """Return the plugins that implement a hook and how to call each, in the order of calls."""
        found = self._callers.get(hook)
        if found is None:
            found = [(p, _direct_caller(p, hook)) for p in self._direct if hook in hooks_of(p)]
            if self._pluggy is not None:
                found += self._through_pluggy(hook)
            self._callers[hook] = found
        return found

    def _through_pluggy(self, hook: str) -> list[tuple[object, Caller]]:
        """Give each plugin a caller that leaves out all others, save those that wrap every call."""
        impls = [
            i for i in getattr(self._pluggy.hook, hook).get_hookimpls() if not (i.wrapper or i.hookwrapper)
        ]
        found: list[tuple[object, Caller]] = []
        for impl in reversed(impls):
            others = [i.plugin for i in impls if i.plugin is not impl.plugin]
            found.append((impl.plugin, self._pluggy.subset_hook_caller(hook, others)))
        return found

    def _refuse_unknown(self, plugin: object, name: str) -> None:
        import difflib

        for hook, options in hooks_of(plugin).items():
            if hook not in self._specs and not options.get("optionalhook"):
                near = difflib.get_close_matches(hook, self._specs, n=1)
                raise DefinitionError(
                    f"plugin `{name}` implements `{hook}`, which is no hook of Petal",
                    hint=f"did you mean `{near[0]}`?" if near else f"hooks are {', '.join(self._specs)}",
                    code="bad-plugin",
                )


def _direct_caller(plugin: object, hook: str) -> Caller:
    function = getattr(plugin, hook)

    def call(**arguments: Any) -> list[Any]:
        return [function(**arguments)]

    return call
