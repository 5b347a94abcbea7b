"""Find what feeds each input, by the order of S2.1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from petal.planning.expand import Draft, Given, Scope
from petal.planning.findings import Findings, PathTo, did_you_mean, listing
from petal.planning.parameters import Parameters
from petal.planning.request import Request
from petal.spec.diagnostic import Severity
from petal.spec.operator import Input, Output
from petal.spec.pipeline import MISSING, split_port
from petal.spec.plan import Binding, Constant, FromNode

#: What feeds each input, as in the plan, but with the indices of drafts.
Bound = dict[str, Binding | tuple[Binding, ...]]

_HOW = "write it under the node's `inputs:`, add an edge, or give a node that name"


class Binder:
    """Binds the inputs of every draft and remembers where each binding was written."""

    def __init__(self, request: Request, parameters: Parameters, findings: Findings) -> None:
        self._request = request
        self._parameters = parameters
        self._findings = findings
        self._via: tuple[Scope, PathTo]  # where the last feed was written
        self._meant: set[tuple[int, str]] = set()  # inputs that a misspelt name was probably meant for
        self._asked: dict[str, tuple[Scope, Draft]] = {}
        #: An output and an annotation that it fits: most edges are of the same few types.
        self.output: object = None
        self.annotation: object = None
        #: Where a binding was written, for type findings: (draft index, input, position) -> (scope, path)
        self.written: dict[tuple[int, str, int], tuple[Scope, PathTo]] = {}

    def bind(self, draft: Draft) -> Bound:
        """Bind every input of a draft; what cannot be bound is reported."""
        assert draft.op is not None
        spec, scope = draft.spec, draft.scope
        bound: Bound = {}
        inputs = draft.op.spec.inputs
        if spec.inputs:
            self._explicit(draft, inputs, bound)
        if spec.params:
            self._constants(draft, inputs, bound)
        edges = scope.edges.get(spec.id)
        if edges:
            self._by_edges(draft, inputs, edges, bound)
        nodes = scope.nodes
        given = self._parameters.constants.get(draft.id, ())  # by the caller, who has the last word
        if not given and not bound:  # the usual case, made cheap: all are fed by nodes of their names
            fed, first, wanted = [], self.output, self.annotation
            for port in inputs:
                source = nodes.get(port.name)
                if source is None or source is draft or port.variadic:
                    break
                op = source.op
                if op is None:
                    break
                outputs = op.spec.outputs
                if not outputs:
                    break
                bound[port.name] = source.whole or source.feed()
                fed.append(source.index)
                if outputs[0] is not first or port.annotation is not wanted:
                    first = wanted = None
            else:
                if first is not None or not inputs:
                    draft.fed = fed
                return bound
        for port in inputs:
            name = port.name
            if name in given:
                value = self._parameters.constant(draft, port)
                many = port.variadic and isinstance(value, list | tuple)
                bound[name] = (
                    tuple(Constant(v, "params") for v in value) if many else Constant(value, "params")
                )
            if name in bound:
                continue
            if not port.variadic:
                source = nodes.get(name)
                if source and source is not draft and (source.op is None or source.op.spec.outputs):
                    bound[name] = source.whole or source.feed()
                    continue
                self._last_resorts(draft, port, bound)
            else:
                bound[name] = ()
        return bound

    def after(self, draft: Draft) -> list[Draft]:
        """Resolve a draft's ``after``."""
        found: list[Draft] = []
        for i, name in enumerate(draft.spec.after):
            scope = draft.scope
            if name == draft.spec.id:
                self._findings.add(
                    scope.place,
                    (*draft.path, "after", i),
                    "cycle",
                    f"node `{name}` waits for itself",
                    hint="remove it",
                )
            elif name in scope.nodes:
                found.append(scope.nodes[name])
            elif name in scope.modules:
                found += drafts_of(scope.modules[name])
            elif name not in scope.unopened:
                self._unknown_node(scope, (*draft.path, "after", i), name, "`after` names")
        return found

    def check_interface(self, scope: Scope) -> None:
        """Check what a pipeline shows as a module and what its module entry gives, used or not."""
        self._parameters.of_pipeline(scope)
        for name in scope.part.spec.inputs:
            self._parameters.input_default(scope, name)
        for name, ref in scope.part.spec.outputs.items():
            self._resolve(ref, scope, ("outputs", name))
        for given in scope.given.values():
            if given.refs or given.value is not MISSING:
                self._given(given, None)

    # -- the steps of S2.1 ------------------------------------------------------------------------------------

    def _explicit(self, draft: Draft, inputs: tuple[Input, ...], bound: Bound) -> None:
        for name, source in draft.spec.inputs.items():
            path = (*draft.path, "inputs", name)
            port = next((p for p in inputs if p.name == name), None)
            if port is None:
                self._no_such_input(draft, name, path, key=True)
                continue
            many = isinstance(source, tuple)
            refs = source if isinstance(source, tuple) else (source,)
            if many and not port.variadic:
                self._findings.add(
                    draft.scope.place,
                    path,
                    "surplus-edge",
                    f"input `{name}` of `{draft.id}` takes one source, not a list of {len(refs)}",
                    hint="merge them with a ListMerger node, or make the input variadic (`*name`)",
                )
                bound[name] = Constant(MISSING, "unresolved")
                continue
            feeds = [
                self._feed(draft, name, i, r, draft.scope, (*path, i) if many else path)
                for i, r in enumerate(refs)
            ]
            bound[name] = tuple(_flat(feeds)) if port.variadic else _single(feeds)

    def _constants(self, draft: Draft, inputs: tuple[Input, ...], bound: Bound) -> None:
        for port in inputs:
            value = self._parameters.constant(draft, port)
            if port.name not in draft.spec.params:
                continue
            if port.name in bound:
                self._findings.add(
                    draft.scope.place,
                    (*draft.path, "params", port.name),
                    "bound-twice",
                    f"input `{port.name}` of `{draft.id}` is bound twice: under `inputs` and under `params`",
                    hint="remove one of them",
                    key=True,
                )
            elif port.variadic and value is not MISSING:
                values = value if isinstance(value, list | tuple) else [value]
                bound[port.name] = tuple(Constant(v, "params") for v in values)
            else:
                bound[port.name] = Constant(value, "params")

    def _by_edges(
        self, draft: Draft, inputs: tuple[Input, ...], edges: list[tuple[int, Any, str | None]], bound: Bound
    ) -> None:
        by_port: dict[str, list[Binding]] = {}
        scope = draft.scope
        for i, edge, name in edges:
            if name is None:
                continue
            port = next((p for p in inputs if p.name == name), None)
            if port is None:
                self._no_such_input(draft, name, ("edges", i, 1))
            elif name in bound or (by_port.get(name) and not port.variadic):
                if self._resolve(edge.source, scope, ("edges", i, 0)) is not None:
                    self._bound_twice(draft, name, i)
            else:
                feeds = by_port.setdefault(name, [])
                feeds += _flat([self._feed(draft, name, len(feeds), edge.source, scope, ("edges", i, 0))])
        for i, edge, name in edges:
            if name is not None:
                continue
            free = next(
                (p for p in inputs if p.name not in bound and (p.variadic or not by_port.get(p.name))), None
            )
            if free is None:
                if self._resolve(edge.source, scope, ("edges", i, 0)) is not None:
                    self._surplus_edge(draft, inputs, i, edge.source)
            else:
                feeds = by_port.setdefault(free.name, [])
                feeds += _flat(
                    [self._feed(draft, free.name, len(feeds), edge.source, scope, ("edges", i, 0))]
                )
        for port in inputs:
            if port.name in by_port:
                bound[port.name] = tuple(by_port[port.name]) if port.variadic else _single(by_port[port.name])

    def _last_resorts(self, draft: Draft, port: Input, bound: Bound) -> None:
        """A module of that name, a pipeline input of that name, the default."""
        scope, name = draft.scope, port.name
        if name in scope.modules:
            bound[name] = self._feed(draft, name, 0, name, scope, draft.path)
            return
        if name in scope.part.spec.inputs:
            self._via = (scope, draft.path)
            feed = self._pipeline_input(scope, name, draft)
            if feed is not None:
                self.written[(draft.index, name, 0)] = self._via
                bound[name] = _single([feed])
                return
        if port.default is not MISSING:
            return
        if name in bound:
            return
        if name in scope.part.spec.inputs:
            bound[name] = Constant(MISSING, "required input")
            return
        path = (*draft.path, "inputs", name)
        if (
            draft.spec.id in scope.missed
            or name in scope.unopened
            or (draft.index, name) in self._meant
            or self._findings.reported(scope.place, path, draft.path)
        ):  # reported where that was written
            bound[name] = Constant(MISSING, "unbound")
            return
        candidates = [n for n in (*scope.names, *scope.part.spec.inputs) if n != draft.spec.id]
        hint = (
            did_you_mean(name, candidates) or f"{_HOW}; a value from outside is declared: `inputs: [{name}]`"
        )
        self._findings.add(
            scope.place,
            path,
            "unbound-input",
            f"input `{name}` of `{draft.id}` is not bound to anything",
            hint=hint,
        )
        bound[name] = Constant(MISSING, "unbound")

    # -- references -------------------------------------------------------------------------------------------

    def _feed(self, draft: Draft, name: str, position: int, ref: str, scope: Scope, path: PathTo) -> Any:
        self._via = (scope, path)
        found = self._resolve(ref, scope, path, draft)
        self.written[(draft.index, name, position)] = self._via
        return Constant(MISSING, "unresolved") if found is None else found

    def _resolve(self, ref: str, scope: Scope, path: PathTo, draft: Draft | None = None) -> Any:
        """Find the port that ``node``, ``node.port``, ``module`` or ``module.output`` stands for."""
        head, port = split_port(ref)
        node = scope.nodes.get(head)
        if node is not None:
            return self._node_port(node, port, scope, path)
        if head in scope.modules:
            return self._module_output(scope.modules[head], head, port, scope, path)
        if port is None and head in scope.part.spec.inputs:
            return self._pipeline_input(scope, head, draft)
        if head not in scope.unopened and ref not in scope.nodes and ref not in scope.modules:
            self._unknown_node(scope, path, head, "there is")
        return None

    def _node_port(self, node: Draft, port: str | None, scope: Scope, path: PathTo) -> FromNode | None:
        if node.op is None:  # an unknown operator: reported where it stands
            return FromNode(node.index, port or "output")
        outputs = self._ports(node)
        if not outputs:
            self._findings.add(
                scope.place,
                path,
                "no-output",
                f"`{node.id}` is a sink: it has no output",
                hint=f"to run after it, write `after: [{node.spec.id}]` at the other node"
                if path[:1] != ("outputs",)
                else "name a node that returns something",
            )
            return None
        if port is not None and all(o.name != port for o in outputs):
            names = [o.name for o in outputs]
            self._findings.add(
                scope.place,
                path,
                "unknown-port",
                f"`{node.id}` has no output port `{port}`",
                hint=did_you_mean(port, names) or f"it has {listing(names)}",
            )
            return None
        return FromNode(node.index, port or "output")

    def _ports(self, node: Draft) -> tuple[Output, ...]:
        assert node.op is not None
        return self._parameters.dynamic_ports(node) if node.op.spec.dynamic_outputs else node.op.spec.outputs

    def _module_output(self, module: Scope, name: str, port: str | None, scope: Scope, path: PathTo) -> Any:
        shown = module.part.spec.outputs
        wanted = (
            port
            if port is not None
            else ("output" if "output" in shown or len(shown) != 1 else next(iter(shown)))
        )
        if wanted not in shown:
            if module.unread:
                return None
            hint = did_you_mean(wanted, shown) or (
                f"it shows {listing(shown)}"
                if shown
                else f"declare it in the module's file: `outputs: {{{wanted}: NODE}}`"
            )
            self._findings.add(
                scope.place, path, "unknown-port", f"module `{name}` has no output `{wanted}`", hint=hint
            )
            return None
        return self._resolve(shown[wanted], module, ("outputs", wanted))

    def _pipeline_input(self, scope: Scope, name: str, draft: Draft | None) -> Any:
        """What a pipeline input brings; None where nothing does and an operator's own default may."""
        if scope.parent is None:
            if name in self._request.inputs:
                return Constant(self._request.inputs[name], f"input {name}")
            default = scope.part.spec.inputs[name]
            if default is not MISSING:
                self._via = (scope, ("inputs", name))
                return Constant(self._parameters.input_default(scope, name), f"default of input {name}")
            if draft is not None and name not in self._asked:
                self._asked[name] = (scope, draft)
                self._report_missing(scope, name, draft)
            return Constant(MISSING, "required input")
        given = scope.given.get(name)
        if given is None:
            default = scope.part.spec.inputs[name]
            if default is MISSING:
                return None
            self._via = (scope, ("inputs", name))
            return Constant(self._parameters.input_default(scope, name), f"default of input {name}")
        if given.origin == "parent":
            return self._pipeline_input(scope.parent, name, draft)
        return self._given(given, draft)

    def _given(self, given: Given, draft: Draft | None) -> Any:
        assert given.scope is not None
        self._via = (given.scope, given.path)
        if given.value is not MISSING:
            return Constant(self._parameters.given(given), "params of the module")
        feeds = [self._resolve(ref, given.scope, given.path, draft) for ref in given.refs]
        found = [f for f in _flat(feeds) if f is not None]
        if not found:
            return Constant(MISSING, "unresolved")
        return found[0] if len(found) == 1 else tuple(found)

    # -- findings ---------------------------------------------------------------------------------------------

    def _report_missing(self, scope: Scope, name: str, draft: Draft) -> None:
        implied = name in scope.part.implied
        others = [n for n in scope.names if n != draft.spec.id]
        hint = did_you_mean(name, others) if implied else None
        hint = hint or f"give it: `--input {name}=...`, or `run(inputs={{{name!r}: ...}})`"
        if self._request.to_run:
            self._findings.add(
                scope.place,
                draft.path,
                "missing-input",
                f"pipeline input `{name}` (for `{draft.id}`) has no value",
                hint=hint,
            )
        elif implied:
            self._findings.add(
                scope.place,
                draft.path,
                "implied-input",
                f"no node is called `{name}`, so it becomes a pipeline input (for `{draft.id}`)",
                hint=hint,
                severity=Severity.WARNING,
            )

    def _unknown_node(self, scope: Scope, path: PathTo, name: str, lead: str) -> None:
        names = scope.names
        self._findings.add(
            scope.place,
            path,
            "unknown-node",
            f"{lead} no node `{name}`"
            if lead == "there is"
            else f"{lead} `{name}`, but there is no node of that id",
            hint=did_you_mean(name, names)
            or (f"the nodes are {listing(names)}" if names else "add it under `nodes`"),
        )

    def _no_such_input(self, draft: Draft, name: str, path: PathTo, *, key: bool = False) -> None:
        assert draft.op is not None
        spec = draft.op.spec
        inputs = [p.name for p in spec.inputs]
        if spec.param(name):
            hint: str | None = f"`{name}` is a parameter: write it under `params:`"
        else:
            close = did_you_mean(name, inputs)
            if close:
                self._meant.add((draft.index, close.split("`")[1]))
            hint = close or (
                f"its inputs are {listing(inputs)}"
                if inputs
                else f"{spec.name} is a source: it takes no inputs"
            )
        self._findings.add(
            draft.scope.place,
            path,
            "unknown-input",
            f"`{draft.id}` ({spec.name}) has no input `{name}`",
            hint=hint,
            key=key,
        )

    def _bound_twice(self, draft: Draft, name: str, edge: int) -> None:
        self._findings.add(
            draft.scope.place,
            ("edges", edge, 1),
            "bound-twice",
            f"input `{name}` of `{draft.id}` is bound twice",
            hint="only a variadic input (`*name`) takes several edges; a ListMerger node joins streams",
        )

    def _surplus_edge(self, draft: Draft, inputs: tuple[Input, ...], edge: int, source: str) -> None:
        assert draft.op is not None
        if not inputs:
            hint = f"{draft.op.spec.name} is a source: it takes no inputs; for order alone use `after`"
        else:
            hint = f"it has {len(inputs)}: {listing(p.name for p in inputs)}; a ListMerger node joins streams"
        self._findings.add(
            draft.scope.place,
            ("edges", edge, 1),
            "surplus-edge",
            f"`{draft.id}` has no input left for the edge from `{source}`",
            hint=hint,
        )


def drafts_of(scope: Scope) -> list[Draft]:
    """Every draft inside a pipeline, modules included."""
    found = list(scope.nodes.values())
    for child in scope.modules.values():
        found += drafts_of(child)
    return found


def _flat(feeds: Iterable[Any]) -> list[Any]:
    """Flatten what several references bring: a module input bound to several nodes brings a tuple of feeds."""
    flat: list[Any] = []
    for feed in feeds:
        if isinstance(feed, tuple):
            flat.extend(feed)
        else:
            flat.append(feed)
    return flat


def _single(feeds: list[Any]) -> Any:
    flat = _flat(feeds)
    return flat[0] if flat else Constant(MISSING, "unresolved")
