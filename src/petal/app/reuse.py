"""Say of a run that was stopped what is used again, and what must run: from what is wanted back to what is there (S9.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from petal.data.artifact import Artifact
from petal.data.cache import Cache
from petal.data.published import is_same
from petal.errors import ResumeError
from petal.execution.stored import Reused
from petal.metadata.standing import Standing
from petal.planning.stages import feeds
from petal.spec.plan import Plan, output_view
from petal.spec.policy import Effects

#: What is known of a node that nothing is known of.
NEW = Standing()
#: What somebody wants of a node: that it has run, its output as a result, its output to work with.
_DONE, _WANTED, _NEEDED = 0, 1, 2


def unknown(texts: list[str], names: Iterable[str], assumable: Iterable[str]) -> ResumeError:
    """Return the error that asks what is to become of nodes that must not run twice.

    Args:
        texts: What is wrong, a sentence each.
        names: The nodes.
        assumable: Those of them that may be taken as done.
    """
    rerun = " ".join(f"--rerun {name}" for name in names)
    assume = " ".join(f"--assume-done {name}" for name in assumable)
    hint = f"see what was done; then `{rerun}` runs it again" + (
        f", and `{assume}` goes on without" if assume else ""
    )
    message = texts[0] if len(texts) == 1 else "\n".join([f"{len(texts)} nodes must not run twice:", *texts])
    return ResumeError(message, hint=hint, code="resume-unknown")


def once_nodes(plan: Plan) -> set[str]:
    """Return the ids of the nodes that must not run twice."""
    return {n.id for n in plan.nodes if n.policies is not None and n.policies.effects is Effects.ONCE}


class Walk:
    """Goes from what is wanted back to what is there.

    Args:
        plan: All that the run was to do.
        nodes: What is known of each node.
        cache: Where outputs are stored.
        targets: The targets that were asked for.
        keep: Whether the outputs of the targets are wanted.

    Attributes:
        reused: What was given by nodes that need not run, as far as the walk has come to them.
    """

    def __init__(
        self,
        plan: Plan,
        nodes: Mapping[str, Standing],
        cache: Cache | None,
        targets: tuple[str, ...],
        *,
        keep: bool,
    ) -> None:
        self.reused: dict[str, Reused] = {}
        self._plan = plan
        self._nodes = nodes
        self._cache = cache
        self._targets = targets
        self._keep = keep
        self._once = once_nodes(plan)
        self._visited: dict[int, int] = {}
        self._problems: list[tuple[str, str, bool]] = []

    def go(self) -> None:
        """Find out what is used again.

        Raises:
            ResumeError: A node that must not run twice would have to, or may have to.
        """
        waiting = [(i, _WANTED if self._keep and self._has_output(i) else _DONE, "") for i in self._roots()]
        while waiting:
            index, need, by = waiting.pop()
            if self._visited.get(index, -1) >= need:
                continue
            self._visited[index] = need
            if index in self._plan.overrides or self._is_reused(index, need, by):
                continue
            node = self._plan.nodes[index]
            self.reused.pop(node.id, None)  # that it is done was enough, until its output was needed
            waiting += [(feed.node, _NEEDED, node.id) for _, _, feed in feeds(node)]
            waiting += [(i, _DONE, node.id) for i in node.after]
        if self._problems:
            found = list({name: (text, may) for name, text, may in self._problems}.items())
            raise unknown(
                [text for _, (text, _) in found],
                [name for name, _ in found],
                [name for name, (_, may) in found if may],
            )

    def _roots(self) -> list[int]:
        if self._targets:
            return [i for i, node in enumerate(self._plan.nodes) if node.id in self._targets]
        used: set[int] = set()
        for node in self._plan.nodes:
            used.update(node.after, [feed.node for _, _, feed in feeds(node)])
        return [i for i in range(len(self._plan.nodes)) if i not in used]

    def _has_output(self, index: int) -> bool:
        return bool(self._plan.operators[self._plan.nodes[index].operator].outputs)

    def _is_reused(self, index: int, need: int, by: str) -> bool:
        """Say whether a node need not run; if so, what it gave is noted."""
        name = self._plan.nodes[index].id
        known, once = self._nodes.get(name, NEW), name in self._once
        if once and known.since is not None:
            self._problem(
                index, f"`{name}` was started {_when(known.since)}; whether it did its work is not known"
            )
            return True
        if not (known.returned or known.assumed):
            return False
        if not all(map(is_same, known.targets)):
            if once:
                self._problem(index, f"`{name}` has run, but what it wrote is no longer as it was")
            return once
        found = Reused(None, known.rows)
        if need > _DONE:
            artifact = stored_output(self._plan, index, known, self._cache)
            if artifact is not None:
                found = Reused(artifact, artifact.rows)
            elif need == _NEEDED and (once or known.assumed):
                how = "is assumed to be done" if known.assumed else "has run"
                self._problem(index, f"`{name}` {how}, but its output, which `{by}` needs, is not stored")
            elif not (once or known.assumed):  # otherwise only who reads the result misses it, and is told so
                return False
        self.reused[name] = found
        return True

    def _problem(self, index: int, text: str) -> None:
        needed = any(
            feed.node == index for node in self._plan.nodes for _, _, feed in feeds(node)
        )  # then nothing could go on without it
        self._problems.append((self._plan.nodes[index].id, text, not needed))


def stored_output(plan: Plan, index: int, known: Standing, cache: Cache | None) -> Artifact | None:
    """Return the output of a node that is stored, its bytes verified; None where there is none."""
    if cache is None or not known.key:
        return None
    node = plan.nodes[index]
    spec = plan.operators[node.operator]
    return cache.get(known.key, spec.outputs[0].annotation, output_view(node, spec))


def _when(at: float) -> str:
    return f"at {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
