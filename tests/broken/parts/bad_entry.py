"""Bring something that is no operator."""

import petal


@petal.register_plugin
class Mine:
    """Bring a number."""

    @petal.hookimpl
    def petal_operators(self) -> dict[str, object]:
        """Return the wrong thing."""
        return {"Five": 5}
