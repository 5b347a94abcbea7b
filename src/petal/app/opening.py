"""Open the backends of a run before anything runs, so that what is missing is said first (DESIGN.md §5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from petal.errors import EnvironmentNotReady, PetalError
from petal.interfaces.backend import BackendSession
from petal.planning.findings import listing
from petal.planning.moving import away_nodes, backend_of
from petal.spec.logs import logger
from petal.spec.plan import Plan, PlanNode

if TYPE_CHECKING:
    from petal.data.home import Home
    from petal.interfaces.codec import Codec
    from petal.plugin.manager import PluginManager

#: What a backend is opened with: its name, and its settings as bytes.
Key = tuple[str, bytes]


class Session(Protocol):
    """What is needed of a session."""

    plugins: PluginManager

    def open_backend(self, name: str, settings: Mapping[str, Any], folder: str | None) -> BackendSession:
        """Open a backend for one run."""


class Opener:
    """Opens backends for one run, and says what their tasks need of plugins (S6.4).

    Args:
        session: The session.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._ready: dict[Key, BackendSession] = {}
        self._missing: dict[Key, PetalError] = {}

    def __call__(self, name: str, settings: Mapping[str, Any], folder: str | None) -> BackendSession:
        """Open a backend, or hand out the one that :meth:`prepared` has opened; see :meth:`petal.Session.open_backend`."""
        key = _key(name, settings)
        missing = self._missing.get(key)
        if missing is not None:
            raise EnvironmentNotReady(missing.message, hint=missing.hint, code=missing.code)
        ready = self._ready.pop(key, None)
        return self._session.open_backend(name, settings, folder) if ready is None else ready

    def codecs(self) -> tuple[Codec, ...]:
        """Return the codecs of the plugins that something names."""
        return tuple(self._session.plugins.named("codec").values())

    def resolvers(self, schemes: Iterable[str]) -> dict[str, Any]:
        """Return what resolves these schemes, and those of the plugins that something names."""
        plugins = self._session.plugins
        asked = {scheme: plugins.find("resolver", scheme) for scheme in schemes}
        return plugins.named("resolver") | {s: found for s, found in asked.items() if found is not None}

    def filesystems(self, schemes: Iterable[str]) -> dict[str, Any]:
        """Return what opens URLs of these schemes, and of the plugins that something names."""
        plugins = self._session.plugins
        asked = {scheme: plugins.find("filesystem", scheme) for scheme in schemes}
        return plugins.named("filesystem") | {s: found for s, found in asked.items() if found is not None}

    @contextmanager
    def prepared(self, plan: Plan, home: Home | None) -> Iterator[None]:
        """Open every place where a node of a plan may run, and close at the end what was never asked for.

        A place that cannot be used is no error as long as the node has another one: the node moves on when it comes to
        it, and is warned of where it cannot fail over to.

        Args:
            plan: What will run.
            home: Where large messages may lie, None for the temporary folder.

        Raises:
            EnvironmentNotReady: A node has nowhere to run; all that is missing is named.
        """
        away = sorted(away_nodes(plan))
        if away and home is not None:
            home.create()
        try:
            self._prepare([plan.nodes[index] for index in away], None if home is None else str(home.spill))
            yield
        finally:
            found, self._ready = list(self._ready.values()), {}
            for session in found:
                session.close(0.0)

    # -- inside -----------------------------------------------------------------------------------------------

    def _prepare(self, nodes: Iterable[PlanNode], folder: str | None) -> None:
        lost: dict[Key, list[str]] = {}
        for node in nodes:
            missing = [key for key in _places(node) if not self._open(node, key, folder)]
            if len(missing) == len(list(_places(node))):
                for key in dict.fromkeys(missing):
                    lost.setdefault(key, []).append(node.id)
            else:
                self._warn(node, missing)
        if lost:
            raise self._refusal(lost) from self._missing[next(iter(lost))]

    def _open(self, node: PlanNode, key: Key, folder: str | None) -> bool:
        """Open a place unless that was tried before; say whether it can be used."""
        if key[0] != "local" and key not in self._ready and key not in self._missing:
            settings = next(p.settings for p, k in _with_keys(node) if k == key)
            try:
                self._ready[key] = self._session.open_backend(key[0], settings, folder)
            except PetalError as error:
                self._missing[key] = error
        return key not in self._missing

    def _warn(self, node: PlanNode, missing: list[Key]) -> None:
        first = next(_places(node))
        for key in missing:
            if key != first:  # of the first one its attempt tells
                text = f"it cannot fail over to `{key[0]}`: {self._missing[key].message}"
                logger("petal.node").warning("%s", text, extra={"node": node.id})

    def _refusal(self, lost: Mapping[Key, list[str]]) -> EnvironmentNotReady:
        """Return the error of nodes that have nowhere to run."""
        texts = [
            f"{listing(nodes, 3)} cannot run on `{key[0]}`: {self._missing[key].message}"
            for key, nodes in lost.items()
        ]
        hints = dict.fromkeys(h for key in lost if (h := self._missing[key].hint))
        codes = {self._missing[key].code for key in lost}
        return EnvironmentNotReady(
            "; ".join(dict.fromkeys(texts)),
            hint="; ".join(hints) or None,
            code=codes.pop() if len(codes) == 1 else None,
        )


def _with_keys(node: PlanNode) -> Iterator[tuple[Any, Key]]:
    assert node.policies is not None
    for k, place in enumerate(node.policies.execution.places):
        yield place, _key(backend_of(node, k), place.settings)


def _places(node: PlanNode) -> Iterator[Key]:
    return (key for _, key in _with_keys(node))


def _key(name: str, settings: Mapping[str, Any]) -> Key:
    return name, msgspec.json.encode(settings, enc_hook=repr, order="deterministic")
