"""What the caller asks of a pipeline beyond what its author wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field

from petal.interfaces.adapter import Adapter
from petal.interfaces.backend import Backend
from petal.spec.policy import Execution


class Request(Struct, frozen=True):
    """One validation, plan or run.

    Attributes:
        params: Values by address (S2.4): ``pattern``, ``node.param``, ``module.param``, ``module/node.param``.
        inputs: Values of pipeline inputs.
        text: Addresses in ``params`` and names in ``inputs`` whose values are text to be read by the annotation.
        targets: Ids of the nodes that are wanted; empty for all.
        overrides: Values to use instead of running a node.
        backends: Backend by node id, ``""`` for every node; settings may follow: ``docker,image=nlp:1,cpus=2``.
        environment: The environment that ``${env:…}`` is looked up in.
        folder: What relative paths among the values given here are relative to.
        to_run: Whether every required pipeline input must have a value.
        backend: Finds a backend by its name, None where there is no other than ``local``.
        codecs: Says whether codecs of plugins take part, which write values that no annotation describes.
        is_sealed: Whether there is a keyring, so that what leaves the machine is sealed.
        adapters: Gives the adapters of the plugins that take part, once all modules are open.
        filesystem: Finds what opens URLs of a scheme, None where nobody is asked.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    text: frozenset[str] = frozenset()
    targets: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    backends: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""
    to_run: bool = False
    backend: Callable[[str], Backend | None] | None = None
    codecs: Callable[[], bool] = bool
    is_sealed: bool = False
    adapters: Callable[[], tuple[Adapter, ...]] = tuple
    filesystem: Callable[[str], object | None] | None = None


def placed(before: Execution, text: str) -> Execution:
    """Return where a node runs that the caller places: what its author wrote of that place, and of those behind it, holds.

    Args:
        before: Where its author places it.
        text: A backend's name; settings may follow, as text: ``docker,image=nlp:1``.
    """
    name, *said = text.split(",")
    settings: dict[str, Any] = dict(tuple(one.split("=", 1)) for one in said)  # type: ignore[misc]
    for i, place in enumerate(before.places):
        if place.backend == name:
            left = before.failover[i:]
            return Execution(name, left, place.settings | settings, place.protocol, place.unsigned)
    return Execution(name, (), settings)
