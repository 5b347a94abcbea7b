"""Check where a node may run: each backend of its block and of ``failover``, with its settings (DESIGN.md §5)."""

from __future__ import annotations

from typing import Any

import msgspec

from petal.errors import PetalError
from petal.interfaces.backend import Backend
from petal.planning.expand import Draft
from petal.planning.findings import Findings, PathTo, did_you_mean, listing
from petal.planning.parameters import Parameters
from petal.planning.references import Unresolvable, has_reference
from petal.planning.request import Request
from petal.spec.policy import Execution

#: The packages that bring Petal's own backends, and those of them that are still to come.
PACKAGES = {
    "docker": "petal-docker",
    "aws_lambda": "petal-lambda",
    "ray": "petal-ray",
    "dask": "petal-dask",
    "celery": "petal-celery",
}
TO_COME = frozenset({"ray", "dask", "celery"})

_MISSING = "Object missing required field `"


def remedy_of(backend: str) -> str:
    """Say where a backend comes from that is one of Petal's own and is not here."""
    if backend in TO_COME:
        return f"a later version of Petal brings it, as the package {PACKAGES[backend]}"
    return f"`pip install {PACKAGES[backend]}` brings it"


class Places:
    """Checks the places of nodes.

    Args:
        request: What is asked for, which finds backends.
        parameters: Puts values for the references in settings.
        findings: Takes what is wrong.
    """

    def __init__(self, request: Request, parameters: Parameters, findings: Findings) -> None:
        self._request = request
        self._parameters = parameters
        self._findings = findings
        self._whose = ""

    def check(self, draft: Draft, execution: Execution, path: PathTo, origin: str) -> Execution:
        """Check where a node runs and where it fails over to; return that with what its references stand for.

        Args:
            draft: The node.
            execution: Its block.
            path: Where that is written.
            origin: Who wrote it: ``node``, ``decorator``, ``defaults`` or ``command line``.
        """
        lenient = origin == "command line"
        # What ``defaults`` say is said once, not for every node.
        self._whose = "" if origin == "defaults" else f" (for `{draft.id}`)"
        first = self._place(draft, execution, path, ("backend",), lenient=lenient)
        others = tuple(
            [
                self._place(draft, place, (*path, "failover", i), (), lenient=lenient)
                for i, place in enumerate(execution.failover)
            ]
        )
        if others:
            self._compare(draft, execution, path)
        same = first is execution and all(a is b for a, b in zip(others, execution.failover, strict=True))
        return execution if same else msgspec.structs.replace(first, failover=others)

    # -- one place --------------------------------------------------------------------------------------------

    def _place(
        self, draft: Draft, place: Execution, path: PathTo, name: PathTo, *, lenient: bool
    ) -> Execution:
        """Check one place; ``name`` leads from its block to what names its backend."""
        if place.unsigned and not place.speaks_json:
            self._needless(draft, path)
        if place.backend == "local":
            self._local(draft, place, path)
            return place
        try:
            backend = self._request.backend(place.backend) if self._request.backend is not None else None
        except PetalError as error:  # two plugins bring it, or the one that does is broken or off
            at = (*path, *name)
            self._findings.add(draft.scope.place, at, error.code, error.message, hint=error.hint)
            return place
        if backend is None:
            self._unknown(draft, place.backend, (*path, *name))
            return place
        settings = self._settings(draft, backend, place, path, lenient=lenient)
        if settings is None:
            return place
        self._protocol(draft, backend, place, path)
        return place if settings is place.settings else msgspec.structs.replace(place, settings=settings)

    def _local(self, draft: Draft, place: Execution, path: PathTo) -> None:
        for name in place.settings:
            self._findings.add(
                draft.scope.place,
                (*path, name),
                "unknown-key",
                f"backend `local` (of `{draft.id}`) has no setting `{name}`",
                hint="settings belong to a backend: name it, as in `backend: docker`, or remove them",
                key=True,
            )
        if place.protocol == "json":
            self._findings.add(
                draft.scope.place,
                (*path, "protocol"),
                "wrong-protocol",
                f"backend `local` (of `{draft.id}`) does not speak `protocol: json`",
                hint="plain JSON is for programs that a backend starts or calls: name one, such as `docker`",
            )

    def _unknown(self, draft: Draft, backend: str, path: PathTo) -> None:
        """Say that a backend is not here, and which package brings it."""
        if backend in TO_COME:
            self._findings.add(
                draft.scope.place,
                path,
                "not-yet",
                f"backend `{backend}`{self._whose} is not available in this version",
                hint=remedy_of(backend),
            )
        elif backend in PACKAGES:
            self._findings.add(
                draft.scope.place,
                path,
                "unknown-backend",
                f"backend `{backend}`{self._whose} is not installed",
                hint=remedy_of(backend),
            )
        else:
            known = ["local", "process", *PACKAGES]
            self._findings.add(
                draft.scope.place,
                path,
                "unknown-backend",
                f"there is no backend `{backend}`{self._whose}",
                hint=did_you_mean(backend, known)
                or f"Petal knows {listing(known)}; a plugin `petal-{backend}` may bring it",
            )

    def _settings(
        self, draft: Draft, backend: Backend, place: Execution, path: PathTo, *, lenient: bool
    ) -> dict[str, Any] | None:
        """Check settings against what a backend takes, and return them; None where they are wrong."""
        kinds = backend.settings
        known = [f.encode_name for f in msgspec.structs.fields(kinds)]
        for name in place.settings:
            if name not in known:
                self._findings.add(
                    draft.scope.place,
                    (*path, name),
                    "unknown-key",
                    f"backend `{backend.name}` (of `{draft.id}`) has no setting `{name}`",
                    hint=did_you_mean(name, known) or f"its settings are {listing(known)}",
                    key=True,
                )
                return None
        settings = place.settings
        if has_reference(settings):
            try:
                settings = self._parameters.settings(draft, settings, path)
            except Unresolvable:
                return None
            lenient = True
        try:
            made = msgspec.convert(settings, kinds, strict=not lenient)
        except msgspec.ValidationError as error:
            self._wrong(draft, backend, known, str(error), path)
            return None
        if lenient:  # text that stands for a number is one from here on
            fields = {f.encode_name: f.name for f in msgspec.structs.fields(kinds)}
            settings = {name: msgspec.to_builtins(getattr(made, fields[name])) for name in settings}
        return settings

    def _wrong(self, draft: Draft, backend: Backend, known: list[str], error: str, path: PathTo) -> None:
        text, _, where = error.partition(" - at `$")
        if text.startswith(_MISSING) and not where:
            name = text.removeprefix(_MISSING).rstrip("`")
            self._findings.add(
                draft.scope.place,
                path,
                "missing-key",
                f"backend `{backend.name}` (of `{draft.id}`) needs the setting `{name}`",
                hint=f"write a block: {{backend: {backend.name}, {name}: ...}}",
            )
            return
        name = where.rstrip("`").lstrip(".")
        top = name.partition(".")[0].partition("[")[0]
        self._findings.add(
            draft.scope.place,
            (*path, top) if top in known else path,
            "bad-value",
            f"setting `{name}` of backend `{backend.name}` (of `{draft.id}`): {text}"
            if name
            else f"the settings of backend `{backend.name}` (of `{draft.id}`): {text}",
            hint="see `petal describe backends`",
        )

    def _protocol(self, draft: Draft, backend: Backend, place: Execution, path: PathTo) -> None:
        """Check that a backend speaks what a block asks for, and that what cannot be sealed may go unsealed (S6.3)."""
        protocol = "json" if place.speaks_json else "petal"
        at = (*path, "protocol") if place.protocol is not None else path
        spoken = backend.capabilities.protocols
        if protocol not in spoken:
            self._findings.add(
                draft.scope.place,
                at,
                "wrong-protocol",
                f"backend `{backend.name}` (of `{draft.id}`) does not speak `protocol: {protocol}`",
                hint=f"it speaks `protocol: {spoken[0]}`: write that, or name another backend"
                if spoken
                else "name another backend",
            )
        elif protocol == "json" and self._request.is_sealed and not place.unsigned:
            self._findings.add(
                draft.scope.place,
                at,
                "needs-unsigned",
                f"`{draft.id}` speaks plain JSON, which cannot be signed, and $PETAL_KEYRING names a keyring",
                hint="write `unsigned: true` on its `execution` block if its data may pass unsigned, or `protocol: petal`",
            )

    def _needless(self, draft: Draft, path: PathTo) -> None:
        self._findings.add(
            draft.scope.place,
            (*path, "unsigned"),
            "bad-policy",
            f"`unsigned` (of `{draft.id}`) is for plain JSON alone: what a worker of Petal gets is always signed "
            "where there is a keyring",
            hint="remove it, or write `protocol: json`",
            key=True,
        )

    # -- several places ---------------------------------------------------------------------------------------

    def _compare(self, draft: Draft, execution: Execution, path: PathTo) -> None:
        """Refuse places that cannot stand in for each other, and warn of one that is the same as another."""
        before = [msgspec.structs.replace(execution, failover=())]
        for i, place in enumerate(execution.failover):
            at = (*path, "failover", i)
            if not place.speaks_json and execution.speaks_json and draft.op is None:
                self._findings.add(
                    draft.scope.place,
                    at,
                    "wrong-protocol",
                    f"`{draft.id}` speaks plain JSON, and fails over to `{place.backend}`, which would need an operator "
                    f"`{draft.spec.type}`",
                    hint="define the operator in the pipeline's Python, or name a place that runs a program",
                )
            if place in before:
                self._findings.add(
                    draft.scope.place,
                    at,
                    "bad-policy",
                    f"`{draft.id}` fails over to `{place.backend}` with the settings that it had there before",
                    hint="remove it; to try again in the same place write `retry`",
                )
            before.append(place)
