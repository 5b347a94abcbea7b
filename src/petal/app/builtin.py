"""The built-in plugin: the library's operators, brought through the same hook as anybody else's."""

from __future__ import annotations

from collections.abc import Mapping

from petal.library.table import OPERATORS
from petal.plugin.markers import hookimpl


class BuiltIn:
    """Brings the built-in operators by name; their modules are imported when they are used."""

    @hookimpl
    def petal_operators(self) -> Mapping[str, object]:
        """Return the static table of type name to ``module:qualname``."""
        return OPERATORS
