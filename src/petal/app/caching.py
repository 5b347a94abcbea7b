"""Open the cache of a home, and judge before a run which nodes would find their output there, and if not, why (S9.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from petal.data.cache import Cache, Entry
from petal.data.cache_key import NodeParts, changes, digest_of_constant, key_of, parts_of, with_inputs
from petal.data.codecs import Codecs
from petal.data.disk_store import LIMIT, DiskStore, on_network
from petal.data.file_state import states_of
from petal.data.home import Home
from petal.data.shared_cache import FROM, SharedCache
from petal.errors import DataError, UsageError
from petal.interfaces.source import Operator
from petal.spec.operator import Input, OperatorSpec
from petal.spec.pipeline import MISSING
from petal.spec.plan import Binding, Constant, FromNode, Plan, PlanNode
from petal.spec.url import is_url

#: Bytes that the cache may hold, as ``10G``.
LIMIT_VARIABLE = "PETAL_CACHE_LIMIT"
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_NOT_RUN = "-"


class Verdict(Struct, frozen=True):
    """Whether a node would find its output in the cache.

    Attributes:
        node: The node's id.
        hit: Whether it would.
        reasons: For a miss: what changed since the last run, or what is missing, in whole sentences.
        assumed: Nodes that have not run, of which it is assumed that they give what they gave last.
        uncached: Those of them that are not cached: whether they, or what is before them, have changed is not looked at.
        key: The key, None where an input is not known at all.
        digest: The digest of the output that would be found, or else of what the node gave last; None where neither is.
        stored: When the output was stored, in seconds since 1970.
        shared: The shared cache that has the output, where it is not here.
        fetched: The shared cache that the output, which is here, was fetched from.
        unasked: The shared cache that was not asked for an output that is not here.
    """

    node: str
    hit: bool
    reasons: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    uncached: tuple[str, ...] = ()
    key: str | None = None
    digest: str | None = None
    stored: float | None = None
    shared: str | None = None
    fetched: str | None = None
    unasked: str | None = None


def open_cache(
    home: Home,
    environment: Mapping[str, str],
    warn: Callable[[str], None],
    codecs: Codecs | None = None,
    shared: SharedCache | None = None,
) -> Cache | None:
    """Open the cache of a home; None, and a warning, where it lies on a file system over the network.

    Nothing is made or read before something is asked of it.

    Args:
        home: The folder of state.
        environment: The environment variables; ``$PETAL_CACHE_LIMIT`` is its largest size (``500M``, ``20G``).
        warn: Told, in one sentence, when the cache cannot be used.
        codecs: Those of plugins, which read what they wrote; None where none take part.
        shared: The cache that other machines use as well, which the cache closes; None where there is none.

    Raises:
        UsageError: ``$PETAL_CACHE_LIMIT`` is no size.
    """
    kind = on_network(home.cache)
    if kind is not None:
        warn(
            f"the cache in {str(home.cache)!r} is not used, for it lies on a network file system ({kind}), where its "
            "locks do not hold; name a local folder with --home or $PETAL_HOME"
        )
        return None
    store = DiskStore(home.cache, limit=limit_of(environment))
    return Cache(store, home.cache / "making", warn, codecs, shared)


def limit_of(environment: Mapping[str, str]) -> int:
    """Return how many bytes the cache may hold.

    Raises:
        UsageError: ``$PETAL_CACHE_LIMIT`` is no size.
    """
    text = environment.get(LIMIT_VARIABLE, "").strip().upper().removesuffix("B")
    if not text:
        return LIMIT
    number, unit = (text[:-1], text[-1]) if text[-1] in _UNITS else (text, "")
    if not number.isdecimal() or int(number) == 0:
        raise UsageError(
            f"${LIMIT_VARIABLE} is {environment[LIMIT_VARIABLE]!r}, which is no size",
            hint="write 500M or 20G",
        )
    return int(number) * _UNITS[unit]


def judge(
    plan: Plan,
    operators: Mapping[str, Operator],
    cache: Cache | None,
    codecs: Codecs | None = None,
    *,
    contact: bool = False,
    shared: SharedCache | None = None,
) -> dict[str, Verdict]:
    """Judge every node of a plan that is to be cached, in order; nothing is run or changed.

    Args:
        plan: The plan.
        operators: Its operators, by their keys in the plan.
        cache: The cache, None where there is none yet.
        codecs: Those of plugins; None where none take part.
        contact: Whether to ask the file systems of URLs what their files are like, and the shared cache for what is not
            here; else nobody is contacted.
        shared: The cache that other machines use as well; None where there is none.
    """
    judged: dict[int, Verdict] = {}
    for index, node in enumerate(plan.nodes):
        if node.policies is None or node.policies.cache is None or index in plan.overrides:
            continue
        judged[index] = _judge(plan, node, operators[node.operator], cache, judged, codecs, contact, shared)
    return {verdict.node: verdict for verdict in judged.values()}


def _judge(
    plan: Plan,
    node: PlanNode,
    operator: Operator,
    cache: Cache | None,
    judged: Mapping[int, Verdict],
    codecs: Codecs | None,
    contact: bool,
    shared: SharedCache | None,
) -> Verdict:
    unasked = None if shared is None or contact else shared.url
    if cache is None and (shared is None or not contact):
        return Verdict(node.id, False, ("nothing is stored yet",), unasked=unasked)
    last = cache.last(plan.name, node.id) if cache is not None else None
    recorded: Mapping[str, str] = last["parts"] if last is not None else {}
    digest = last["digest"] if last is not None else None
    made = parts_of(node, operator.spec, operator.target)
    inputs = _Inputs(plan, recorded, judged, codecs)
    digests = inputs.digests(node, operator.spec)
    about: dict[str, Any] = {
        "assumed": tuple(dict.fromkeys(inputs.assumed)),
        "uncached": tuple(dict.fromkeys(inputs.uncached)),
        "digest": digest,
    }
    if inputs.unknown:
        return Verdict(node.id, False, tuple(dict.fromkeys(inputs.unknown)), **about)
    far = next((file for file in made.files if is_url(file)), None)
    if far is not None and not contact:
        return Verdict(node.id, False, (f"whether `{far}` has changed is seen when it runs",), **about)
    try:
        parts = with_inputs(made.parts, digests, states_of(made.files))
    except OSError as error:
        return Verdict(node.id, False, (f"a file cannot be read: {error}",), **about)
    key = key_of(parts)
    entry = cache.look(key) if cache is not None else Entry(key, None, "nothing is stored")
    if entry.problem is None and entry.label is not None:
        about["digest"] = entry.label.digest
        came = entry.label.about.get(FROM)
        return Verdict(node.id, True, key=key, stored=entry.label.stored, fetched=came, **about)
    label = shared.look(key) if shared is not None and contact else None
    if shared is not None and label is not None:
        about["digest"] = label.digest
        return Verdict(node.id, True, key=key, stored=label.stored, shared=shared.url, **about)
    reasons = _reasons(recorded, parts, entry.problem or "", made)
    return Verdict(node.id, False, reasons, key=key, unasked=unasked, **about)


def _reasons(
    recorded: Mapping[str, str], parts: Mapping[str, str], problem: str, made: NodeParts
) -> tuple[str, ...]:
    if made.problems:
        return made.problems
    if not recorded:
        return ("it has not been run with this cache yet",)
    found = changes(recorded, parts)
    if found:
        return tuple(found)
    if problem == "nothing is stored":
        problem = (
            "nothing changed, but what was stored is gone: it was cleared, or made room for other outputs"
        )
    return (problem,)


class _Inputs:
    """Works out the digests of a node's inputs without running anything.

    Attributes:
        assumed: Nodes that have not run, of which it is assumed that they give what they gave last.
        uncached: Those of them that are not cached, directly or not.
        unknown: Why some inputs are not known, in whole sentences.
    """

    def __init__(
        self,
        plan: Plan,
        recorded: Mapping[str, str],
        judged: Mapping[int, Verdict],
        codecs: Codecs | None = None,
    ) -> None:
        self._codecs = codecs
        self._plan = plan
        self._recorded = recorded
        self._judged = judged
        self.assumed: list[str] = []
        self.uncached: list[str] = []
        self.unknown: list[str] = []

    def digests(self, node: PlanNode, spec: OperatorSpec) -> dict[str, str | Sequence[str]]:
        """Return the digest of each input that is fed, several for a variadic one."""
        found: dict[str, str | Sequence[str]] = {}
        for port in spec.inputs:
            bound = node.inputs.get(port.name)
            if isinstance(bound, tuple):
                found[port.name] = [self._one(f, port, f"{port.name}[{i}]") for i, f in enumerate(bound)]
            elif bound is not None and not (isinstance(bound, Constant) and bound.value is MISSING):
                found[port.name] = self._one(bound, port, port.name)
        return found

    def _one(self, feed: Binding, port: Input, name: str) -> str:
        if not isinstance(feed, FromNode):
            try:
                return digest_of_constant(feed.value, port.annotation, port.seen, self._codecs)
            except DataError as error:
                self.unknown.append(f"input `{name}` cannot be told from others: {error.message}")
                return _NOT_RUN
        source, verdict = self._plan.nodes[feed.node].id, self._judged.get(feed.node)
        before = self._recorded.get(f"input {name}")
        if feed.port == "output" and verdict is not None and verdict.digest is not None:
            before = verdict.digest
            if verdict.hit:
                self.assumed += verdict.assumed
                self.uncached += verdict.uncached
                return before
        if before is None:
            self.unknown.append(f"`{source}` has not run yet, so what it gives is not known")
            return _NOT_RUN
        self.assumed.append(source)
        if verdict is None:
            self.uncached.append(source)
        return before
