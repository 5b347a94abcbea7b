"""Which package of Petal's own brings stores and files of a scheme of URLs."""

from __future__ import annotations

#: The packages, by scheme; each brings one plugin, named like it without ``petal-``.
PACKAGES = {"s3": "petal-aws"}


def plugin_of(scheme: str) -> str | None:
    """Return the plugin that brings a scheme and is one of Petal's own; None for other schemes."""
    package = PACKAGES.get(scheme)
    return None if package is None else package.removeprefix("petal-")


def remedy_of(scheme: str) -> str:
    """Say where a scheme comes from that nobody brings."""
    package = PACKAGES.get(scheme)
    if package is None and scheme == "file":
        return "a file of this machine is named by its path alone, without `file://`"
    if package is None and scheme in ("http", "https"):
        return "no part of Petal reads the web: download it in a step of its own"
    if package is None:
        return f"install the plugin that brings `{scheme}://`; `petal plugins` lists what is installed"
    return f"`pip install {package}` brings it"
