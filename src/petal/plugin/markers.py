"""Mark hook specifications, hook implementations and plugins, without importing pluggy (28 ms) to do so.

The attributes are those that pluggy's own markers for the project ``petal`` set, so either kind works.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType, MethodType, ModuleType
from typing import Any, TypeVar, overload

from petal.errors import DefinitionError

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

PROJECT = "petal"
IMPL_ATTRIBUTE = f"{PROJECT}_impl"
SPEC_ATTRIBUTE = f"{PROJECT}_spec"
PLUGIN_ATTRIBUTE = "__petal_plugin__"


def hookspec(function: F) -> F:
    """Mark a function as the specification of a hook."""
    options = {"firstresult": False, "historic": False, "warn_on_impl": None, "warn_on_impl_args": None}
    setattr(function, SPEC_ATTRIBUTE, options)
    return function


@overload
def hookimpl(function: F) -> F: ...
@overload
def hookimpl(
    *,
    tryfirst: bool = ...,
    trylast: bool = ...,
    specname: str | None = ...,
    optionalhook: bool = ...,
    wrapper: bool = ...,
    hookwrapper: bool = ...,
) -> Callable[[F], F]: ...
def hookimpl(
    function: F | None = None,
    *,
    tryfirst: bool = False,
    trylast: bool = False,
    specname: str | None = None,
    optionalhook: bool = False,
    wrapper: bool = False,
    hookwrapper: bool = False,
) -> Any:
    """Mark a function or method as the implementation of the hook of its name.

    Args:
        function: The function, when written bare.
        tryfirst: Call it before other plugins' implementations.
        trylast: Call it after them.
        specname: The hook's name where the function has another.
        optionalhook: Accept that this version of Petal may not have the hook.
        wrapper: Run around every other implementation; the function yields once.
        hookwrapper: Likewise, in pluggy's old style.
    """
    options = {
        "wrapper": wrapper,
        "hookwrapper": hookwrapper,
        "optionalhook": optionalhook,
        "tryfirst": tryfirst,
        "trylast": trylast,
        "specname": specname,
    }

    def mark(target: F) -> F:
        setattr(target, IMPL_ATTRIBUTE, options)
        return target

    return mark if function is None else mark(function)


def register_plugin(target: T) -> T:
    """Make a class or object of hook implementations, in a pipeline's own file, a plugin of that pipeline.

    A class is instantiated without arguments. Functions marked with ``@hookimpl`` at the top level of a file
    need no mark beside it, and operators are found by their own decorator.

    Raises:
        DefinitionError: It holds no hook implementation.
    """
    if not isinstance(target, ModuleType) and not hooks_of(target):
        name = getattr(target, "__qualname__", type(target).__qualname__)
        raise DefinitionError(
            f"`{name}` is marked with @register_plugin but implements no hook, so it would do nothing",
            hint="mark its methods with @petal.hookimpl; an operator needs @petal.operator alone",
            code="bad-plugin",
        )
    try:
        setattr(target, PLUGIN_ATTRIBUTE, True)
    except (AttributeError, TypeError):
        raise DefinitionError(
            f"{target!r} cannot be marked as a plugin: it takes no attributes",
            hint="mark its class",
            code="bad-plugin",
        ) from None
    return target


def hooks_of(plugin: object) -> dict[str, dict[str, Any]]:
    """Return the hooks that an object implements, by name, with the options of each implementation."""
    found: dict[str, dict[str, Any]] = {}
    # Looked up in the dictionaries, so that no property or module-level __getattr__ of a plugin runs.
    holders = [plugin, *(plugin if isinstance(plugin, type) else type(plugin)).__mro__]
    for holder in reversed(holders):
        for name, value in _own(holder).items():
            if not isinstance(value, FunctionType | MethodType | staticmethod | classmethod):
                continue
            options = getattr(value, IMPL_ATTRIBUTE, None)
            if options is None:
                options = getattr(getattr(value, "__func__", None), IMPL_ATTRIBUTE, None)
            if isinstance(options, dict):
                found[options.get("specname") or name] = options
    return found


def registered_in(module: ModuleType) -> list[object]:
    """Return what :func:`register_plugin` marked in a module: its own classes, and any objects."""
    found: list[object] = [module] if PLUGIN_ATTRIBUTE in vars(module) else []
    for obj in list(vars(module).values()):
        own = _own(obj)
        if PLUGIN_ATTRIBUTE not in own or isinstance(obj, ModuleType) or any(obj is f for f in found):
            continue
        if not isinstance(obj, type) or obj.__module__ == module.__name__:
            found.append(obj)
    return found


def _own(obj: object) -> dict[str, Any]:
    """Return a copy of an object's own attributes; a lazy proxy may refuse to have any."""
    try:
        return dict(getattr(obj, "__dict__", {}))
    except Exception:
        return {}
