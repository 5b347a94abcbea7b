"""The built-in plugin: the library's operators and Petal's own backend, brought through the hooks that others use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from petal.interfaces.backend import Backend
from petal.library.table import OPERATORS
from petal.plugin.markers import hookimpl


class BuiltIn:
    """Brings the built-in operators by name; their modules are imported when they are used."""

    @hookimpl
    def petal_operators(self) -> Mapping[str, object]:
        """Return the static table of type name to ``module:qualname``."""
        return OPERATORS

    @hookimpl
    def petal_backends(self) -> Iterable[Backend]:
        """Return the backend of worker processes; it starts none before its first task."""
        from petal.execution.process import Process

        return [Process()]
