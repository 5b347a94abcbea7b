"""Bring operators in a way that cannot be used."""

import petal


@petal.register_plugin
class Mine:
    """Bring text instead of a mapping."""

    @petal.hookimpl
    def petal_operators(self) -> str:
        """Return the wrong thing."""
        return "operators"
