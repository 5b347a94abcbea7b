"""Look for a node's output in the cache before it runs, and keep what it gave (DESIGN.md §6, S9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from petal.data.artifact import Artifact, Making, digest_of
from petal.data.cache import Cache
from petal.data.cache_key import Known, NodeParts, digest_of_constant, key_of, parts_of, with_inputs
from petal.data.codecs import Codecs
from petal.data.file_state import FileState, states_of, unchanged
from petal.errors import DataError, PetalError
from petal.execution.chain import Chain
from petal.execution.state import Collected, Ported, RunState
from petal.execution.stored import Reused
from petal.planning.holding import caches
from petal.spec.event import Status
from petal.spec.logs import logger
from petal.spec.pipeline import MISSING
from petal.spec.plan import Binding, Constant, FromNode, Plan
from petal.spec.views import Seen

#: Every node's output is made again.
ALL = frozenset({""})


class Asked(Struct, frozen=True):
    """What an output depends on: its key, the parts that make it, and what the files were like."""

    key: str
    parts: dict[str, str]
    files: Mapping[str, FileState]


class Caching:
    """The cache of one run.

    Args:
        cache: Keeps outputs.
        refresh: Ids of the nodes whose outputs are made again, or :data:`ALL`.
        stored: Told of each output that is kept, or was found: node, key, artifact.
        codecs: Those of plugins, which write what is their kind; None where none take part.
    """

    def __init__(
        self,
        cache: Cache,
        refresh: frozenset[str] = frozenset(),
        stored: Callable[[int, str, Artifact], None] | None = None,
        codecs: Codecs | None = None,
    ) -> None:
        self._cache = cache
        self._refresh = refresh
        self._codecs = codecs
        self.stored = stored
        self._made: dict[int, NodeParts] = {}
        self._code: Known = {}
        #: Digests of outputs, by node and port, as far as they are known.
        self._digests: dict[tuple[int, str], str] = {}

    def begin(self, plan: Plan) -> None:
        """Open the cache, which takes many times as long as a hit, unless nothing of the plan is looked for there."""
        if caches(plan):
            self._cache.begin(plan.name)

    def find(self, state: RunState, index: int, asked: Asked) -> Artifact | None:
        """Return a node's output where it is kept, and may be used."""
        if self._is_fresh(state, index):
            return None
        output = state.specs[index].outputs[0]
        found = self._cache.get(asked.key, output.annotation, state.units.seen[index])
        if found is not None:
            if self.stored is not None:
                self.stored(index, asked.key, found)
            self._note(state, index, asked, found)
        return found

    def run(
        self, chain: Chain, index: int, asked: Asked, begin: Callable[[int], None]
    ) -> tuple[Status, Artifact | None]:
        """Run a node and keep what it gives, or return its output where somebody else has made it meanwhile.

        Args:
            chain: Runs the node.
            index: The node.
            asked: What its output depends on; it is not in the cache.
            begin: Told that an attempt begins.
        """
        state, node = chain.state, chain.state.plan.nodes[index]
        fresh = self._is_fresh(state, index)
        # who makes an output anew has no use for what another one began before, and so waits for nobody
        with self._cache.alone(asked.key, lambda: fresh or bool(state.stop)) as waited:
            found = self.find(state, index, asked) if waited else None
            if found is not None:
                return Status.SUCCEEDED, found
            output = state.specs[index].outputs[0]
            where = f"output of `{node.id}`"
            chain.making = Making(
                self._cache.folder,
                output.annotation,
                state.units.seen[index],
                where=where,
                codecs=self._codecs,
            )
            try:
                status = chain.run(begin)[index]
            finally:
                chain.making.close()
            if status is Status.SUCCEEDED and chain.uncoded is not None:
                _warn(node.id, f"its output is used but not cached: {chain.uncoded}")
            if status is Status.SUCCEEDED and chain.artifact is not None and not _is_secret(chain, node.id):
                self._keep(chain, index, asked, chain.artifact)
            return status, None

    def keep(self, chain: Chain, index: int) -> None:
        """Store what a node gave that must not run twice, for who resumes the run (S9.3); it is of no use to others."""
        state, node = chain.state, chain.state.plan.nodes[index]
        if _is_secret(chain, node.id):
            return
        output, value = state.specs[index].outputs[0], chain.state.values[index]
        making = Making(self._cache.folder, output.annotation, state.units.seen[index], codecs=self._codecs)
        try:
            if isinstance(value, Collected):
                for piece in value.pieces():
                    making.put(piece)
            else:
                making.value(value)
            artifact = making.finish()
        except PetalError as error:  # no codec takes it, or there is no room
            _warn(node.id, f"its output is not stored, so a resumed run has to ask for it: {error.message}")
            return
        finally:
            making.close()
        about = {"pipeline": state.plan.name, "node": node.id, "operator": node.operator}
        key = key_of({"run": state.run_id, "node": node.id})
        kept = self._cache.put(key, artifact, about=about, durable=True, shares=False)
        if kept and self.stored is not None:
            self.stored(index, key, artifact)
        artifact.close()

    # -- inside -------------------------------------------------------------------------------------------------

    def _keep(self, chain: Chain, index: int, asked: Asked, artifact: Artifact) -> None:
        state, node = chain.state, chain.state.plan.nodes[index]
        policy = node.policies.cache if node.policies is not None else None
        if not unchanged(asked.files):
            _warn(node.id, "a file that it reads changed meanwhile, so its output is used but not cached")
            self._digests[index, "output"] = artifact.digest
            return
        about = {"pipeline": state.plan.name, "node": node.id, "operator": node.operator}
        ttl = policy.ttl if policy is not None else None
        durable = node.policies is not None and node.policies.kept
        kept = self._cache.put(asked.key, artifact, ttl=ttl, about=about, durable=durable)
        if kept and self.stored is not None:
            self.stored(index, asked.key, artifact)
        self._note(state, index, asked, artifact)

    def _is_fresh(self, state: RunState, index: int) -> bool:
        """Whether a node's output is to be made again, whatever is kept."""
        return bool(self._refresh & {"", state.plan.nodes[index].id})

    def _note(self, state: RunState, index: int, asked: Asked, artifact: Artifact) -> None:
        plan = state.plan
        self._digests[index, "output"] = artifact.digest
        self._cache.note(plan.name, plan.nodes[index].id, asked.parts, asked.key, artifact.digest)

    def ask(self, state: RunState, index: int) -> Asked | None:
        """Work out an output's key; None where it cannot be told from others, and so is not cached."""
        node = state.plan.nodes[index]
        try:
            made = self._made.get(index)
            if made is None:
                target = state.operators[node.operator].target
                made = self._made[index] = parts_of(node, state.specs[index], target, self._code)
            if made.problems:
                _warn(node.id, f"its output is not cached: {made.problems[0]}")
                return None
            inputs: dict[str, Any] = {}
            for name, binding in node.inputs.items():
                if isinstance(binding, tuple):
                    inputs[name] = [self._digest(state, index, name, one) for one in binding]
                elif not (isinstance(binding, Constant) and binding.value is MISSING):
                    inputs[name] = self._digest(state, index, name, binding)
            files = states_of(made.files)
        except DataError as error:
            _warn(node.id, f"its output is not cached: {error.message}")
            return None
        except OSError as error:
            _warn(node.id, f"its output is not cached, as a file that it reads cannot be read: {error}")
            return None
        parts = with_inputs(made.parts, inputs, files)
        return Asked(key_of(parts), parts, files)

    def _digest(self, state: RunState, index: int, name: str, binding: Binding) -> str:
        if not isinstance(binding, FromNode):
            port = state.specs[index].input(name)
            assert port is not None
            return digest_of_constant(binding.value, port.annotation, port.seen, self._codecs)
        known = self._digests.get((binding.node, binding.port))
        if known is None:
            known = self._digests[binding.node, binding.port] = _digest_of_output(
                state, binding, self._codecs
            )
        return known


def _digest_of_output(state: RunState, binding: FromNode, codecs: Codecs | None) -> str:
    """Return the digest of what another node gave, by that node's own annotation."""
    source = binding.node
    output = state.specs[source].output(binding.port)
    annotation = output.annotation if output is not None else MISSING
    seen: Seen = state.units.seen[source]
    if binding.port != "output" and output is not None:
        seen = output.seen
    value = state.values[source]
    given = state.plan.overrides.get(source, MISSING)
    if type(given) is Reused:
        if binding.port == "output" and given.artifact is not None:
            return given.artifact.digest
    elif given is not MISSING:
        return digest_of_constant(value, annotation, seen, codecs)
    if isinstance(value, Ported):
        value = value[binding.port]
    elif binding.port != "output" and not isinstance(value, Collected):
        value = value[binding.port] if isinstance(value, dict) else getattr(value, binding.port)
    if isinstance(value, Collected):
        return digest_of(value.pieces(), annotation, seen, codecs)
    return digest_of([value] if seen.view.streams else value, annotation, seen, codecs)


def _is_secret(chain: Chain, node: str) -> bool:
    """Whether an output holds secrets that a worker knows, but nobody here; say so, for it is not cached then."""
    for name in chain.unhidden[:1]:
        _warn(node, f"its output holds the secret `{name}`, so it is not cached")
    return bool(chain.unhidden)


def _warn(node: str, text: str) -> None:
    logger("petal.node").warning("%s", text, extra={"node": node})


def close(cache: Cache) -> None:
    """Let go of a cache; what it cannot do any more harms no run."""
    try:
        cache.close()
    except (OSError, PetalError) as error:
        logger("petal.node").warning("%s", f"the cache could not be closed: {error}")
