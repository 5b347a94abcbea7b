"""Resolve each node's policies: command line, node, decorator, defaults, built-in (S5.6)."""

from __future__ import annotations

from typing import Any

from petal.planning.batching import batch_problem
from petal.planning.expand import Draft, Scope
from petal.planning.findings import Findings, did_you_mean, listing
from petal.planning.parameters import Parameters
from petal.planning.places import Places
from petal.planning.request import Request, placed
from petal.spec.diagnostic import Severity
from petal.spec.operator import OperatorSpec
from petal.spec.pipeline import MISSING
from petal.spec.plan import Resolved
from petal.spec.policy import (
    NO_POLICIES,
    POLICY_NAMES,
    Batch,
    Cache,
    Effects,
    ErrorKind,
    Execution,
    Policies,
    Retry,
)

_BARE: dict[str, Any] = {"retry": Retry(), "cache": Cache(), "batch": Batch()}
_LOCAL = Execution()
#: The error kinds, by which a retry may call failures.
_KINDS = tuple(kind.value for kind in ErrorKind)


def _exceptions() -> dict[str, set[str]]:
    """Return the names of all classes of exceptions that are loaded, with the modules that have such.

    What an operator's module imports is among them, once the operator is loaded.
    """
    found: set[type[BaseException]] = set()
    left: list[type[BaseException]] = [BaseException]
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += type.__subclasses__(one)
    names: dict[str, set[str]] = {}
    for one in found:
        names.setdefault(one.__name__, set()).add(one.__module__)
    return names


def _meant(name: str, known: dict[str, set[str]], module: str) -> str | None:
    """Say which failure a name may mean: first of those of Python, of Petal and of an operator's module."""
    near = [one for one, modules in known.items() if modules & {"builtins", "petal.errors", module}]
    short = name.rpartition(".")[2]
    if short != name:
        return f"a class is named without its module: write `{short}`"
    return did_you_mean(short, [*_KINDS, *near]) or did_you_mean(short, known)


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

    def __init__(self, request: Request, parameters: Parameters, findings: Findings) -> None:
        self._request = request
        self._places = Places(request, parameters, findings)
        self._findings = findings
        self._plain: dict[Effects, Resolved] = {}
        self._usual: dict[int, Resolved] = {}
        self._alike: dict[tuple[object, ...], Resolved] = {}
        self._scope: Scope | None = None
        self._says_nothing = False
        #: Whether any node is to be cached.
        self.caches = False

    def resolve(self, draft: Draft) -> Resolved:
        """Resolve the policies of one node; origins are kept for each that someone set."""
        spec = draft.op.spec if draft.op is not None else None
        if draft.scope is not self._scope:
            self._scope, part = draft.scope, draft.scope.part.spec
            self._says_nothing = (
                _is_silent(part.defaults) and not self._request.backends and not part.cache_io
            )
            self._usual.clear()
        if (
            spec is not None
            and self._says_nothing
            and spec.policies is NO_POLICIES
            and draft.spec.policies is NO_POLICIES
        ):  # the usual case, made cheap: nobody says anything, and most operators give the same
            usual = self._usual.get(id(spec.outputs))
            if usual is None:
                usual = self._plainly(default_effects(spec))
                self._usual[id(spec.outputs)] = usual  # they live as long as the operators of this plan
            return usual
        part = draft.scope.part.spec
        said = spec.policies if spec else NO_POLICIES
        effects = default_effects(spec) if spec else Effects.ONCE
        silent = _is_silent(draft.spec.policies) and _is_silent(said) and _is_silent(part.defaults)
        if silent and not self._request.backends and not part.cache_io:
            return self._plainly(effects)
        layers = (("node", draft.spec.policies), ("decorator", said), ("defaults", part.defaults))
        own = any(p.execution is not None or p.batch for _, p in layers)  # what each node is looked at for
        if self._request.backends or spec is None or own:
            return self._layered(draft, layers, effects)
        alike = (draft.spec.policies, said, part.defaults, part.cache_io, effects, not spec.outputs)
        resolved = self._alike.get(alike)
        if resolved is None:
            resolved = self._layered(draft, layers, effects)
            if resolved.retry is None:  # else there may be findings for each node
                self._alike[alike] = resolved
        return resolved

    def _plainly(self, effects: Effects) -> Resolved:
        """Return the policies of all nodes that nobody says anything about."""
        if effects not in self._plain:
            self._plain[effects] = Resolved(_LOCAL, None, None, None, None, effects, {})
        return self._plain[effects]

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
            values["execution"] = placed(values.get("execution", _LOCAL), backend)
            origins["execution"] = "command line"
        if not (draft.op and draft.op.spec.outputs) and origins.get("cache") in ("defaults", "cache_io"):
            values["cache"] = False  # sinks are never cached (S9.1)
        if values.get("batch") and draft.op:
            self._batch(draft, draft.op.spec, values, origins)
        execution = values.get("execution", _LOCAL)
        if execution != _LOCAL:
            origin = origins["execution"]
            path = self._path(draft, "execution", origin)
            execution = self._places.check(draft, execution, path, origin)
        resolved = Resolved(
            execution,
            values.get("retry") or None,
            values.get("timeout") or None,
            values.get("cache") or None,
            values.get("batch") or None,
            values.get("effects", effects),
            origins,
            values.get("effects") is Effects.ONCE and draft.op is not None and bool(draft.op.spec.outputs),
        )
        self._check(draft, resolved)
        self.caches = self.caches or resolved.cache is not None
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
        again = resolved.retry is not None and resolved.retry.max_attempts > 1
        if again and resolved.effects is Effects.ONCE and draft.op is not None:
            self._warn_of_retry(draft, resolved.origins["retry"])
        if resolved.retry is not None and draft.op is not None and not execution.speaks_json:
            self._warn_of_names(draft, resolved.retry, resolved.origins["retry"])

    def _warn_of_names(self, draft: Draft, retry: Retry, origin: str) -> None:
        """S5.5: say which names nothing has that is loaded here; most likely they are misspelt."""
        for key, names in (("retry_on", retry.retry_on), ("abort_on", retry.abort_on)):
            others = [(i, name) for i, name in enumerate(names) if name not in _KINDS]
            known = _exceptions() if others else {}
            for i, name in others:
                if name in known:
                    continue
                whose = "" if origin == "defaults" else f" (of `{draft.id}`)"
                self._findings.add(
                    draft.scope.place,
                    (*self._path(draft, "retry", origin), key, i),
                    "unknown-exception",
                    f"`{key}`{whose} names `{name}`, which is neither an error kind nor an exception that is loaded",
                    hint=_meant(name, known, getattr(draft.op and draft.op.target, "__module__", ""))
                    or f"error kinds are {listing(_KINDS)}; a class of exception must be imported by the operator's module",
                    severity=Severity.WARNING,
                )

    def _warn_of_retry(self, draft: Draft, origin: str) -> None:
        """S5.5: what is known to have failed may be asked for again, also where it may have begun to take effect."""
        self._findings.add(
            draft.scope.place,
            self._path(draft, "retry", origin),
            "retries-once",
            f"`{draft.id}` is tried again when it fails, although a second execution may do harm (`effects: once`)",
            hint="write `effects: idempotent` if what it does twice is done once, or `retry: false`",
            severity=Severity.WARNING,
            key=True,
        )

    def _path(self, draft: Draft, name: str, origin: str) -> tuple[str | int, ...]:
        if origin == "cache_io":
            return ("cache_io",)
        if origin == "defaults":
            return ("defaults", name)
        return (*draft.path, name) if origin == "node" else draft.path
