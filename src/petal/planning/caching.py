"""Settle which nodes are cached: what cannot be is an error where a node asks for it, and is left out elsewhere (S9)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from petal.code.fingerprint import fingerprint
from petal.planning.expand import Draft
from petal.planning.findings import Findings
from petal.planning.request import Request
from petal.planning.values import file_use
from petal.spec.crossing import undecodable
from petal.spec.diagnostic import Severity
from petal.spec.operator import OperatorSpec, Output, Param
from petal.spec.plan import Constant, FromNode, Resolved, stream_ports
from petal.spec.policy import Cache, Effects
from petal.spec.url import is_url, placed
from petal.spec.views import READS, Seen, View

_VALUE = Seen(View.VALUE)
_USES = re.compile(r"(\S+) uses (\S+) is a ([^,]+), whose content .*")


class _Problem(NamedTuple):
    """Why a node cannot be cached, and what would help; ``in_short`` is for ``petal plan``."""

    text: str
    hint: str
    in_short: str
    code: str = "uncacheable"


def settle_caching(drafts: Sequence[Draft], request: Request, findings: Findings) -> None:
    """Look at every node that is to be cached.

    A node that says so itself and cannot be is an error. One that only ``defaults`` or ``cache_io`` mean is not cached,
    and its policies say why. Files under ``depends_on`` become absolute.

    Args:
        drafts: All nodes, bound.
        request: What is asked.
        findings: Takes the errors.
    """
    code = _Code()
    for draft in drafts:
        policies = draft.policies
        if policies is None or policies.cache is None or draft.op is None or draft.id in request.overrides:
            continue
        problem = _problem(draft, policies, policies.cache, drafts, request, code)
        if problem is None:
            if policies.cache.depends_on:
                draft.policies = replace(policies, cache=_located(draft, policies.cache, policies))
                _warn_of_missing(draft, policies.cache.depends_on, draft.policies, findings)
        elif policies.origins["cache"] in ("defaults", "cache_io"):
            origins = {**policies.origins, "cache": f"{policies.origins['cache']}, but {problem.in_short}"}
            draft.policies = replace(policies, cache=None, origins=origins)
        else:
            at = (*draft.path, "cache") if policies.origins["cache"] == "node" else draft.path
            findings.add(
                draft.scope.place,
                at,
                problem.code,
                f"`{draft.id}` cannot be cached: {problem.text}",
                hint=problem.hint,
                key=policies.origins["cache"] == "node",
            )


class _Code:
    """What keeps operators' code from standing in a key, and which files they read; each is looked at once."""

    def __init__(self) -> None:
        self._known: dict[str, list[str]] = {}
        self._reading: dict[str, tuple[Param, ...]] = {}

    def reading(self, draft: Draft) -> tuple[Param, ...]:
        """Return the parameters of a node that name files which it reads."""
        found = self._reading.get(draft.key)
        if found is None:
            assert draft.op is not None
            found = tuple(p for p in draft.op.spec.params if file_use(p.annotation) is READS)
            self._reading[draft.key] = found
        return found

    def problems(self, draft: Draft) -> list[str]:
        """Return what a fingerprint of a node's code cannot look into."""
        assert draft.op is not None
        target = draft.op.target
        if target is None:  # a program that speaks plain JSON
            return []
        if draft.key not in self._known:
            self._known[draft.key] = fingerprint(target).problems
        return self._known[draft.key]


def _problem(
    draft: Draft, policies: Resolved, cache: Cache, drafts: Sequence[Draft], request: Request, code: _Code
) -> _Problem | None:
    assert draft.op is not None
    spec = draft.op.spec
    if not spec.outputs:
        return _Problem("it returns nothing", "remove `cache`: sinks always run", "it is a sink")
    reading = code.reading(draft)
    if any(str(draft.params.get(p.name, p.default)) == "-" for p in reading):
        return _Problem(
            "it reads standard input, which nobody can read twice",
            "read a file, or remove `cache`",
            "it reads standard input",
        )
    if policies.effects is Effects.ONCE and policies.origins["cache"] in ("defaults", "cache_io"):
        return _Problem("", "", "it may do more than return a value (`effects: once`)")
    if (
        cache.ttl is None
        and cache.version is None
        and not cache.depends_on
        and not reading
        and _is_source(draft)
    ):
        return _Problem(
            "no node feeds it, and it does not say what it reads, so nothing would tell when its output is out of date",
            "mark the parameter that names its file as `Annotated[Path, READS]`, list files under `depends_on`, or give "
            "`ttl` or `version`",
            "it does not say what it reads",
        )
    if cache.version is None and (problems := code.problems(draft)):
        return _Problem(
            f"a change of its code could go unnoticed, for {_worded(problems[0])}",
            "make a constant of it, hand it over as a parameter, or give `version` and change that with the code",
            "its code cannot be told apart from other code",
        )
    for what, why in () if request.codecs() else _unwritable(draft, spec, drafts):
        return _Problem(
            f"{what}: {why.removesuffix(' to a message')}",
            "annotate it with a type whose values can be written and read back, or remove `cache`",
            f"{what} cannot be written",
            code="cannot-cache",
        )
    return None


def _worded(problem: str) -> str:
    """Say what a fingerprint cannot look into: ``etl:f uses LOCK is a _thread.lock, whose …`` as a sentence."""
    found = _USES.fullmatch(problem)
    return f"`{found[1]}` uses `{found[2]}`, which is a live `{found[3]}`" if found is not None else problem


def _is_source(draft: Draft) -> bool:
    """Whether a node's output may come from something that no input or parameter of it tells of.

    A function whose inputs are constants counts as a source if one of them is text: that may name a file.
    """
    fed = is_text = False
    for bound in draft.bound.values():
        for feed in bound if isinstance(bound, tuple) else (bound,):
            if not isinstance(feed, Constant) or feed.origin.startswith("input "):
                return False
            fed = True
            is_text = is_text or isinstance(feed.value, str | bytes | os.PathLike)
    return is_text or not fed


def _unwritable(draft: Draft, spec: OperatorSpec, drafts: Sequence[Draft]) -> Iterator[tuple[str, str]]:
    """Look for what has no form as bytes: the output, what feeds the inputs, and parameters."""
    if stream_ports(spec):
        yield "its output", "several streams at once cannot be kept"
    elif (problem := _of_output(spec.outputs[0])) is not None:
        yield "its output", problem
    for port in spec.inputs:
        bound = draft.bound.get(port.name)
        for feed in bound if isinstance(bound, tuple) else (bound,):
            problem = None
            if isinstance(feed, FromNode):
                source = drafts[feed.node].op
                output = source.spec.output(feed.port) if source is not None else None
                problem = _of_output(output) if output is not None else None
            elif isinstance(feed, Constant) and port.seen.adapter is None:
                problem = undecodable(port.annotation, port.seen)
            if problem is not None:
                yield f"its input `{port.name}`", problem
    for param in spec.params:
        if param.name in draft.params and (problem := undecodable(param.annotation, _VALUE)) is not None:
            yield f"its parameter `{param.name}`", problem


def _of_output(output: Output) -> str | None:
    return None if output.seen.adapter is not None else undecodable(output.annotation, output.seen)


def _warn_of_missing(draft: Draft, names: Sequence[str], policies: Resolved, findings: Findings) -> None:
    """Say which files are not there: most likely they are misspelt, and an edit of what is meant would go unnoticed."""
    assert policies.cache is not None
    at = (*draft.path, "cache") if policies.origins["cache"] == "node" else draft.path
    for name, path in zip(names, policies.cache.depends_on, strict=True):
        if not is_url(path) and not os.path.lexists(path):
            findings.add(
                draft.scope.place,
                at,
                "missing-file",
                f"`{draft.id}` depends on the file {name!r}, which is not there ({path})",
                hint="correct the path, which is relative to the file that says it; or make the file",
                severity=Severity.WARNING,
            )


def _located(draft: Draft, cache: Cache, policies: Resolved) -> Cache:
    """Return the policy with absolute paths; they are relative to the file that wrote them (S8.1)."""
    assert draft.op is not None
    folder = draft.scope.part.folder
    if policies.origins["cache"] == "decorator" and draft.op.spec.file:
        folder = os.path.dirname(draft.op.spec.file)
    return replace(cache, depends_on=tuple(placed(path, folder) for path in cache.depends_on))
