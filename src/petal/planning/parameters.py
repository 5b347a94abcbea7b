"""Work out every parameter: what the file says, what the caller says, references put in, converted and checked."""

from __future__ import annotations

from typing import Any

from petal.errors import UsageError
from petal.planning.expand import Draft, Expanded, Given, Scope
from petal.planning.findings import Findings, PathTo, did_you_mean, listing
from petal.planning.references import Unresolvable, has_reference, resolve
from petal.planning.request import Request
from petal.planning.values import BadValue, convert
from petal.spec.operator import Input, Output, Param
from petal.spec.pipeline import MISSING
from petal.spec.signature import OUTPUTS_ATTRIBUTE


class Parameters:
    """The parameters of every node and pipeline, each worked out once."""

    def __init__(self, expanded: Expanded, request: Request, findings: Findings) -> None:
        self._findings = findings
        self._request = request
        self._scopes: dict[int, dict[str, Any]] = {}
        self._given: dict[int, Any] = {}
        self._ports: dict[int, tuple[Output, ...]] = {}
        self._overrides: dict[str, dict[str, Any]] = {}
        self._pipeline_overrides: dict[int, dict[str, Any]] = {}
        if request.params:
            self._address(expanded)
        #: Ids of the nodes whose parameters the caller says something about.
        self.constants = self._overrides

    def of_node(self, draft: Draft) -> dict[str, Any]:
        """Return the parameters of a node, converted; what is wrong is reported."""
        assert draft.op is not None
        spec, said = draft.op.spec, draft.spec.params
        overrides = self._overrides.get(draft.id)
        if not spec.params and not said and not overrides:
            return {}
        meant = self._unknown(draft) if said else ()
        result: dict[str, Any] = {}
        params = spec.params
        if spec.takes_any_params and overrides:
            params += tuple(Param(n) for n in overrides if not (spec.param(n) or spec.input(n)))
        for param in params:
            if overrides and param.name in overrides:
                result[param.name] = self._override(draft, param, overrides[param.name])
            elif param.name in said:
                result[param.name] = self._said(draft, param)
            elif param.default is MISSING and param.name not in meant:
                if self._findings.reported(draft.scope.place, (*draft.path, "params"), draft.path):
                    continue
                self._findings.add(
                    draft.scope.place,
                    (*draft.path, "params"),
                    "missing-param",
                    f"`{draft.id}` ({spec.name}) needs the parameter `{param.name}`",
                    hint=f"write `params: {{{param.name}: ...}}`",
                )
        return result

    def constant(self, draft: Draft, port: Input) -> Any:
        """Return the constant that ``params`` gives for an input, or MISSING."""
        overrides = self._overrides.get(draft.id, {})
        param = Param(port.name, port.annotation)
        if port.name in overrides:
            return self._override(draft, param, overrides[port.name])
        if port.name not in draft.spec.params:
            return MISSING
        if port.variadic:
            param = Param(port.name)
        return self._said(draft, param)

    def given(self, given: Given) -> Any:
        """Return the value that a module entry's ``params`` give."""
        key = id(given)
        if key not in self._given:
            assert given.scope is not None
            try:
                self._given[key] = self._resolve(given.value, given.scope, given.path)
            except Unresolvable:
                self._given[key] = MISSING
        return self._given[key]

    def settings(self, draft: Draft, settings: dict[str, Any], path: PathTo) -> dict[str, Any]:
        """Put values for the references in the settings of an ``execution`` block; secrets stay references.

        Args:
            draft: The node.
            settings: What is written.
            path: Where that is.

        Raises:
            Unresolvable: A reference means nothing, which is reported.
        """
        return {name: self._resolve(value, draft.scope, (*path, name)) for name, value in settings.items()}

    def input_default(self, scope: Scope, name: str) -> Any:
        """Return the default that a pipeline declares for an input."""
        value = scope.part.spec.inputs[name]
        if not has_reference(value):
            return value
        try:
            return self._resolve(value, scope, ("inputs", name))
        except Unresolvable:
            return MISSING

    def of_pipeline(self, scope: Scope) -> dict[str, Any]:
        """Return a pipeline's own parameters, references put in."""
        key = id(scope)
        if key not in self._scopes:
            values: dict[str, Any] = {}
            self._scopes[key] = values
            overrides = self._pipeline_overrides.get(key, {})
            for name, value in scope.params.items():
                if name in overrides:
                    values[name] = overrides[name]
                elif isinstance(value, Given):
                    values[name] = self.given(value)
                elif has_reference(value):
                    try:
                        values[name] = resolve(
                            value, values, self._request.environment, ("params", name), self._report(scope)
                        )
                    except Unresolvable:
                        values[name] = MISSING
                else:
                    values[name] = value
        return self._scopes[key]

    def dynamic_ports(self, draft: Draft) -> tuple[Output, ...]:
        """Ask ``@operator(outputs=fn)`` for the ports that a node has with its parameters."""
        assert draft.op is not None
        if draft.index not in self._ports:
            spec = draft.op.spec
            names: list[str] = []
            values = {p.name: p.default for p in spec.params if p.default is not MISSING} | draft.spec.params
            try:
                names = [str(n) for n in draft.op.target.__dict__[OUTPUTS_ATTRIBUTE](values)]
            except Exception as error:
                self._findings.add(
                    draft.scope.place,
                    (*draft.path, "params"),
                    "bad-value",
                    f"the output ports of `{draft.id}` cannot be told from its parameters: {type(error).__name__}: {error}",
                    hint=f"see `petal describe {spec.name}`",
                )
            self._ports[draft.index] = (*spec.outputs, *(Output(n) for n in names if n != "output"))
        return self._ports[draft.index]

    # -- steps ------------------------------------------------------------------------------------------------

    def _said(self, draft: Draft, param: Param) -> Any:
        value = draft.spec.params[param.name]
        lenient = False
        if has_reference(value):
            try:
                value = self._resolve(value, draft.scope, (*draft.path, "params", param.name))
            except Unresolvable:
                return MISSING
            lenient = True
            if value is MISSING or has_reference(
                value
            ):  # reported where it stands; or a secret, revealed later
                return value
        return self._convert(draft, param, value, draft.scope.part.folder, lenient)

    def _override(self, draft: Draft, param: Param, value: Any) -> Any:
        """Convert what the caller gives instead of what the file says; what is wrong with it stands in no file."""
        try:
            return convert(
                value, param.annotation, self._request.folder, lenient=self._is_text(draft, param.name)
            )
        except BadValue as error:
            self._report_bad(draft, param, error, draft.path, " (given for this run)")
            return MISSING

    def _convert(self, draft: Draft, param: Param, value: Any, folder: str, lenient: bool) -> Any:
        try:
            return convert(value, param.annotation, folder, lenient=lenient)
        except BadValue as error:
            self._report_bad(draft, param, error, (*draft.path, "params", param.name, *error.steps))
            return MISSING

    def _report_bad(self, draft: Draft, param: Param, error: BadValue, path: PathTo, given: str = "") -> None:
        self._findings.add(
            draft.scope.place,
            path,
            "bad-value",
            f"`{param.name}` of `{draft.id}`{given}: {error}" + (f" (at `{error.at}`)" if error.at else ""),
            hint=getattr(error, "hint", None)
            or (f"see `petal describe {draft.op.spec.name}`" if draft.op else None),
        )

    def _resolve(self, value: Any, scope: Scope, path: PathTo) -> Any:
        return resolve(value, self.of_pipeline(scope), self._request.environment, path, self._report(scope))

    def _report(self, scope: Scope) -> Any:
        def report(path: PathTo, code: str, message: str, hint: str | None) -> None:
            self._findings.add(scope.place, path, code, message, hint=hint)

        return report

    def _unknown(self, draft: Draft) -> set[str]:
        """Report parameters that the operator does not have; return the names that were probably meant."""
        assert draft.op is not None
        spec = draft.op.spec
        meant: set[str] = set()
        for name in draft.spec.params:
            if spec.param(name) or spec.input(name):
                continue
            known = [*(p.name for p in spec.params), *(i.name for i in spec.inputs)]
            close = did_you_mean(name, [n for n in known if n not in draft.spec.params])
            if close:
                meant.add(close.split("`")[1])
            hint = close or (
                f"{spec.name} takes {listing(known)}" if known else f"{spec.name} takes no parameters"
            )
            self._findings.add(
                draft.scope.place,
                (*draft.path, "params", name),
                "unknown-param",
                f"`{draft.id}` ({spec.name}) has no parameter `{name}`",
                hint=hint,
                key=True,
            )
        return meant

    def _is_text(self, draft: Draft, name: str) -> bool:
        return f"{draft.id}.{name}" in self._request.text

    # -- addresses (S2.4) -------------------------------------------------------------------------------------

    def _address(self, expanded: Expanded) -> None:
        nodes = {d.id: d for d in expanded.drafts}
        scopes = {s.prefix.rstrip("/"): s for s in expanded.scopes}
        for address, value in self._request.params.items():
            head, dot, name = address.rpartition(".")
            if dot and head in nodes:
                self._address_node(nodes[head], name, value, address)
            elif head in scopes:
                scope = scopes[head]
                if name not in scope.params:
                    hint = did_you_mean(name, scope.params) or (
                        f"it has {listing(scope.params)}" if scope.params else "it declares none (`params:`)"
                    )
                    raise UsageError(
                        f"the pipeline has no parameter `{address}`", hint=hint, code="unknown-param"
                    )
                self._pipeline_overrides.setdefault(id(scope), {})[name] = value
            else:
                raise UsageError(
                    f"parameter `{address}`: there is no node or module `{head}`",
                    hint=did_you_mean(head, [*nodes, *(s for s in scopes if s)]),
                    code="unknown-param",
                )

    def _address_node(self, draft: Draft, name: str, value: Any, address: str) -> None:
        op = draft.op
        if op is not None and not (op.spec.takes_any_params or op.spec.param(name) or op.spec.input(name)):
            known = [*(p.name for p in op.spec.params), *(i.name for i in op.spec.inputs)]
            raise UsageError(
                f"parameter `{address}`: {op.spec.name} has no parameter `{name}`",
                hint=did_you_mean(name, known) or f"it takes {listing(known)}",
                code="unknown-param",
            )
        self._overrides.setdefault(draft.id, {})[name] = value
