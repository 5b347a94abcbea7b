"""Checks of the pipeline as a whole: files that are written twice, requests that name nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from petal.errors import PetalError, UsageError
from petal.interfaces.source import Part
from petal.planning.expand import Draft
from petal.planning.findings import Findings, did_you_mean, listing
from petal.planning.request import Request
from petal.planning.values import file_use
from petal.plugin.schemes import remedy_of
from petal.spec.operator import Kind
from petal.spec.url import URL
from petal.spec.views import READS, WRITES


def check_stdin(drafts: list[Draft], findings: Findings) -> None:
    """Two nodes that read stdin would share its lines by chance: an error."""
    reader: Draft | None = None
    for draft in drafts:
        for param in draft.op.spec.params if draft.op is not None else ():
            value = draft.params.get(param.name, param.default)
            if str(value) != "-" or file_use(param.annotation) is not READS:
                continue
            if reader is not None:
                findings.add(
                    draft.scope.place,
                    (*draft.path, "params", param.name),
                    "stdin-twice",
                    f"`{draft.id}` reads stdin, which `{reader.id}` reads too",
                    hint=f"read it once and let both take it from `{reader.id}`",
                )
            reader = reader or draft


def check_written_files(drafts: list[Draft], findings: Findings) -> None:
    """Two nodes of one run that publish the same file are an error (S5.10)."""
    writers: dict[str, Draft] = {}
    for draft in drafts:
        if draft.op is None or draft.op.spec.kind is not Kind.SINK:
            continue
        for param in draft.op.spec.params:
            value = draft.params.get(param.name, param.default)
            if (
                file_use(param.annotation) is not WRITES
                or not isinstance(value, os.PathLike | URL)
                or str(value) == "-"
            ):
                continue
            real = str(value) if isinstance(value, URL) else os.path.realpath(value)
            if real in writers:
                findings.add(
                    draft.scope.place,
                    (*draft.path, "params", param.name),
                    "duplicate-target",
                    f"`{draft.id}` writes the file that `{writers[real].id}` writes too",
                    hint="give each its own file, or merge the streams with a ListMerger node",
                )
            else:
                writers[real] = draft


def check_urls(drafts: list[Draft], request: Request, findings: Findings) -> None:
    """URLs whose scheme nobody brings are errors; no file system is opened for that, and nobody contacted."""
    if request.filesystem is None:
        return
    known: dict[str, tuple[str, str, str | None] | None] = {}
    for draft in drafts:
        for name, value in draft.params.items():
            for url in _urls(value) if draft.id not in request.overrides else ():
                if url.scheme not in known:
                    known[url.scheme] = _problem_of_scheme(url.scheme, request.filesystem)
                problem = known[url.scheme]
                if problem is not None:
                    code, message, hint = problem
                    text = f"`{name}` of `{draft.id}` is {str(url)!r}, but {message}"
                    findings.add(draft.scope.place, (*draft.path, "params", name), code, text, hint=hint)


def _urls(value: object) -> Iterator[URL]:
    if isinstance(value, URL):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _urls(one)


def _problem_of_scheme(scheme: str, find: Callable[[str], object]) -> tuple[str, str, str | None] | None:
    """Return code, message and hint for a scheme that cannot be opened."""
    try:
        if find(scheme) is not None:
            return None
    except PetalError as error:  # two plugins bring it, or the one that does is broken or off
        return error.code, error.message, error.hint
    return "unknown-scheme", f"no plugin opens `{scheme}://`", remedy_of(scheme)


def check_request(root: Part, drafts: list[Draft], request: Request) -> None:
    """Refuse targets, overrides, inputs and backends that name nothing."""
    ids = [d.id for d in drafts]
    known = set(ids)
    asked = [("target", t) for t in request.targets] + [("override", o) for o in request.overrides]
    asked += [("backend", b) for b in request.backends if b]
    for what, name in asked:
        if name not in known:
            raise UsageError(
                f"{what} `{name}`: there is no node of that id",
                hint=did_you_mean(name, ids) or f"the nodes are {listing(ids)}",
                code="unknown-node",
            )
    for name in request.inputs:
        if name not in root.spec.inputs:
            declared = list(root.spec.inputs)
            raise UsageError(
                f"the pipeline has no input `{name}`",
                hint=did_you_mean(name, declared)
                or (f"it has {listing(declared)}" if declared else "it declares none (`inputs:`)"),
                code="unknown-input",
            )
