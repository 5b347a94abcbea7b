"""Resolve each node's policies: command line, node, decorator, defaults, built-in (S5.6)."""

from __future__ import annotations

from typing import Any

import msgspec

from petal.interfaces.backend import Backend
from petal.planning.batching import batch_problem
from petal.planning.expand import Draft
from petal.planning.findings import Findings, did_you_mean, listing
from petal.planning.request import Request
from petal.spec.operator import OperatorSpec
from petal.spec.pipeline import MISSING
from petal.spec.plan import Resolved
from petal.spec.policy import NO_POLICIES, POLICY_NAMES, Batch, Cache, Effects, Execution, Policies, Retry

_BARE: dict[str, Any] = {"retry": Retry(), "cache": Cache(), "batch": Batch()}
_LOCAL = Execution()

#: Where a first-party backend comes from.
KNOWN_BACKENDS = {
    "docker": "a later version of Petal brings it, as the package petal-docker",
    "aws_lambda": "a later version of Petal brings it, as the package petal-lambda",
    "ray": "a later version of Petal brings it, as the package petal-ray",
    "dask": "a later version of Petal brings it, as the package petal-dask",
    "celery": "a later version of Petal brings it, as the package petal-celery",
}
_LATER = "a later version of Petal runs it; until then remove it, so that nothing is promised and not done"


def default_effects(spec: OperatorSpec) -> Effects:
    """``pure`` for an operator that says it returns something, else ``once`` (DESIGN.md §5, S1.5)."""
    if not spec.outputs:
        return Effects.ONCE
    whole = spec.outputs[0]
    declares = whole.annotation is not MISSING or whole.seen.view.streams
    return Effects.PURE if declares else Effects.ONCE


def _is_silent(policies: Policies) -> bool:
    return policies is NO_POLICIES or policies == NO_POLICIES


class PolicyResolver:
    """Resolves policies and says so where this version cannot do what one asks."""

    def __init__(self, request: Request, findings: Findings) -> None:
        self._request = request
        self._findings = findings
        self._plain: dict[Effects, Resolved] = {}

    def resolve(self, draft: Draft) -> Resolved:
        """Resolve the policies of one node; origins are kept for each that someone set."""
        spec, part = draft.op.spec if draft.op else None, draft.scope.part.spec
        said = spec.policies if spec else NO_POLICIES
        effects = default_effects(spec) if spec else Effects.ONCE
        silent = _is_silent(draft.spec.policies) and _is_silent(said) and _is_silent(part.defaults)
        if silent and not self._request.backends and not part.cache_io:
            if effects not in self._plain:
                self._plain[effects] = Resolved(_LOCAL, None, None, None, None, effects, {})
            return self._plain[effects]
        layers = (("node", draft.spec.policies), ("decorator", said), ("defaults", part.defaults))
        return self._layered(draft, layers, effects)

    def _layered(self, draft: Draft, layers: tuple[tuple[str, Policies], ...], effects: Effects) -> Resolved:
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for name in POLICY_NAMES:
            for origin, policies in layers:
                value = getattr(policies, name)
                if value is not None:
                    values[name] = _BARE[name] if value is True and name in _BARE else value
                    origins[name] = origin
                    break
        if draft.scope.part.spec.cache_io and "cache" not in values and draft.op and draft.op.spec.outputs:
            values["cache"], origins["cache"] = Cache(), "cache_io"
        backend = self._request.backends.get(draft.id, self._request.backends.get(""))
        if backend is not None:
            before = values.get("execution", _LOCAL)
            same = before.backend == backend
            values["execution"] = Execution(backend, before.failover, before.settings if same else {})
            origins["execution"] = "command line"
        if not (draft.op and draft.op.spec.outputs) and origins.get("cache") in ("defaults", "cache_io"):
            values["cache"] = False  # sinks are never cached (S9.1)
        if values.get("batch") and draft.op:
            self._batch(draft, draft.op.spec, values, origins)
        resolved = Resolved(
            values.get("execution", _LOCAL),
            values.get("retry") or None,
            values.get("timeout") or None,
            values.get("cache") or None,
            values.get("batch") or None,
            values.get("effects", effects),
            origins,
        )
        self._check(draft, resolved)
        return resolved

    def _batch(
        self, draft: Draft, spec: OperatorSpec, values: dict[str, Any], origins: dict[str, str]
    ) -> None:
        """Refuse ``batch`` where it cannot work; one that is meant for every node leaves those out."""
        problem = batch_problem(spec, values["batch"])
        if problem is None:
            return
        if origins["batch"] == "defaults":
            values["batch"] = False
            return
        self._findings.add(
            draft.scope.place,
            self._path(draft, "batch", origins["batch"]),
            "bad-batch",
            f"`{draft.id}` cannot run in batches: {problem[0]}",
            hint=problem[1],
            key=True,
        )

    def _check(self, draft: Draft, resolved: Resolved) -> None:
        execution = resolved.execution
        if execution.backend != "local":
            self._backend(draft, execution.backend, execution, resolved.origins["execution"], "backend")
        elif execution != _LOCAL:
            self._local(draft, execution, resolved.origins["execution"])
        for i, backend in enumerate(execution.failover):
            if backend != "local":
                self._backend(draft, backend, execution, resolved.origins["execution"], "failover", i)
        for name in ("retry", "cache"):
            value = getattr(resolved, name)
            if value is None or (name == "retry" and value.max_attempts == 1):
                continue
            origin = resolved.origins[name]
            path = self._path(draft, name, origin)
            whose = f"`{draft.id}`" if origin in ("node", "decorator") else "every node"
            text = "`cache_io`" if origin == "cache_io" else f"`{name}` (of {whose}, from its {origin})"
            if origin in ("defaults", "cache_io"):
                text = f"`{'cache_io' if origin == 'cache_io' else 'defaults.' + name}`"
            self._findings.add(
                draft.scope.place,
                path,
                "not-yet",
                f"{text} is not available in this version",
                hint=_LATER,
                key=True,
            )

    def _path(self, draft: Draft, name: str, origin: str) -> tuple[str | int, ...]:
        if origin == "cache_io":
            return ("cache_io",)
        if origin == "defaults":
            return ("defaults", name)
        return (*draft.path, name) if origin == "node" else draft.path

    def _local(self, draft: Draft, execution: Execution, origin: str) -> None:
        path = self._path(draft, "execution", origin)
        for name in execution.settings:
            self._findings.add(
                draft.scope.place,
                (*path, name),
                "unknown-key",
                f"backend `local` (of `{draft.id}`) has no setting `{name}`",
                hint="settings belong to a backend: name it, as in `backend: docker`, or remove them",
                key=True,
            )
        if execution.failover:
            self._findings.add(
                draft.scope.place,
                (*path, "failover"),
                "not-yet",
                f"`failover` (of `{draft.id}`) is not available in this version",
                hint=_LATER,
                key=True,
            )

    def _settings(self, draft: Draft, backend: Backend, execution: Execution, origin: str) -> None:
        """Check an ``execution`` block against what its backend takes."""
        path, kinds = self._path(draft, "execution", origin), backend.settings
        known = [f.encode_name for f in msgspec.structs.fields(kinds)]
        for name in execution.settings:
            if name not in known:
                self._findings.add(
                    draft.scope.place,
                    (*path, name),
                    "unknown-key",
                    f"backend `{backend.name}` (of `{draft.id}`) has no setting `{name}`",
                    hint=did_you_mean(name, known) or f"its settings are {listing(known)}",
                    key=True,
                )
                return
        try:
            msgspec.convert(execution.settings, kinds)
        except msgspec.ValidationError as error:
            text, _, where = str(error).partition(" - at `$")
            name = where.rstrip("`").lstrip(".")
            self._findings.add(
                draft.scope.place,
                (*path, name) if name in known else path,
                "bad-value",
                f"setting `{name}` of backend `{backend.name}` (of `{draft.id}`): {text}",
                hint=f"see `petal describe {backend.name}`",
            )

    def _backend(
        self, draft: Draft, backend: str, execution: Execution, origin: str, *within: str | int
    ) -> None:
        path = (*self._path(draft, "execution", origin), *within)
        whose = "" if origin == "defaults" else f" (for `{draft.id}`)"
        found = self._request.backend(backend) if self._request.backend is not None else None
        if found is not None and within == ("backend",):
            self._settings(draft, found, execution, origin)
            return
        if backend in KNOWN_BACKENDS:
            self._findings.add(
                draft.scope.place,
                path,
                "not-yet",
                f"backend `{backend}`{whose} is not available in this version",
                hint=KNOWN_BACKENDS[backend],
            )
            return
        known = ["local", "process", *KNOWN_BACKENDS]
        self._findings.add(
            draft.scope.place,
            path,
            "unknown-backend",
            f"there is no backend `{backend}`{whose}",
            hint=did_you_mean(backend, known)
            or f"Petal knows {listing(known)}; a plugin `petal-{backend}` may bring it",
        )
