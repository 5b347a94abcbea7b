"""The façade: a pipeline, and the verbs a user applies to it.

What draws and what writes is imported when it is asked for: a run needs neither.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, overload

from petal.app.parts import LoadedPart, PartHolder, Parts
from petal.app.session import Session
from petal.authoring.pipeline import author
from petal.code.loader import load_file, load_module, operators_in
from petal.code.reference import refuse_run_while_importing
from petal.code.source import project_path
from petal.errors import InvalidPipeline, UsageError
from petal.execution.engine import Options, execute
from petal.execution.result import RunResult
from petal.execution.signals import Interrupt
from petal.metadata.bus import Bus
from petal.planning.build import Planned, make_plan
from petal.planning.request import Request
from petal.planning.stages import feeds
from petal.plugin.observers import finish
from petal.spec.diagnostic import Diagnostic, Severity
from petal.spec.event import Event
from petal.spec.pipeline import ModuleSpec, NodeSpec, PipelineSpec
from petal.spec.plan import Plan


class Pipeline(PartHolder):
    """A pipeline: what its author said, ready to be validated, planned, drawn and run.

    Make one with :meth:`of`, :meth:`from_module` or :meth:`from_file`.
    """

    def __init__(self, part: LoadedPart, parts: Parts, session: Session) -> None:
        self.part = part
        self._parts = parts
        self._session = session

    # -- making one -------------------------------------------------------------------------------------------

    @classmethod
    def of(cls, *operators: Any, name: str | None = None, session: Session | None = None) -> Pipeline:
        """Make a pipeline of functions, classes with ``process`` and ``node(...)`` entries.

        Args:
            operators: The nodes; inputs bind by name to the node so named.
            name: Shown in pictures and logs; by default the calling file's stem.
            session: The session to use; by default a new one.

        Raises:
            DefinitionError: An entry is no operator, or two have one id.
        """
        caller = sys._getframe(1).f_code.co_filename
        named = (
            name if name is not None else (Path(caller).stem if not caller.startswith("<") else "pipeline")
        )
        session = session or Session()
        parts = Parts(session)
        return cls(parts.authored(author(operators, named), os.getcwd()), parts, session)

    @classmethod
    def from_module(
        cls, module: ModuleType | str | os.PathLike[str], *, session: Session | None = None
    ) -> Pipeline:
        """Make a pipeline of all operators that a module defines, in order.

        Args:
            module: A module, the path of a Python file, or a dotted name.
            session: The session to use; by default a new one.
        """
        session = session or Session()
        parts = Parts(session)
        if isinstance(module, ModuleType):
            found, file = module, getattr(module, "__file__", None)
        elif str(module).endswith(".py"):
            found, file = load_file(Path(module)), str(module)
        else:
            found, file = load_module(str(module)), None
        folder = str(Path(file).parent) if file else os.getcwd()
        stem = Path(file).stem if file else found.__name__.rpartition(".")[2]
        return cls(parts.authored(author(operators_in(found), stem), folder, file=file), parts, session)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, session: Session | None = None) -> Pipeline:
        """Load a pipeline from a YAML, JSON, TOML or Python file.

        Mistakes inside the file are findings of :meth:`validate`.

        Raises:
            UsageError: The file does not exist or has no known format.
        """
        session = session or Session()
        parts = Parts(session)
        shown, _, attribute = (
            os.fspath(path).partition(":") if ".py:" in os.fspath(path) else (os.fspath(path), "", "")
        )
        if attribute:
            found = getattr(load_file(Path(shown)), attribute, None)
            if not isinstance(found, Pipeline):
                raise UsageError(
                    f"`{shown}` has no pipeline `{attribute}`", hint="name a module-level Pipeline"
                )
            return found._joined_by(session, str(Path(shown).parent))
        part = parts.file(shown)
        if isinstance(parts.made, Pipeline):
            return parts.made._joined_by(session, part.folder)
        return cls(part, parts, session)

    def _joined_by(self, session: Session, folder: str) -> Pipeline:
        """Keep the session that the pipeline's file made it with, and let the caller's plugins take part as well."""
        self._session.join(session)
        self._parts.folders.append(folder)
        return self

    # -- looking at it ----------------------------------------------------------------------------------------

    @property
    def spec(self) -> PipelineSpec:
        """What the author said, as data."""
        return self.part.spec

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return self.part.spec.name

    @property
    def session(self) -> Session:
        """The session that it was made with."""
        return self._session

    def planned(self, request: Request | None = None) -> Planned:
        """Resolve and validate; all findings and, without errors, the plan."""
        import msgspec

        asked = msgspec.structs.replace(request or self._request(), backend=self._session.backend)
        return make_plan(self.part, self._parts.module, asked)

    def validate(self) -> list[Diagnostic]:
        """Find every mistake, in one pass, without running anything."""
        return self._validators(self.planned().findings)

    def plan(
        self,
        *,
        params: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        targets: Iterable[str] = (),
        overrides: Mapping[str, Any] | None = None,
    ) -> Plan:
        """Return what would run.

        Raises:
            InvalidPipeline: The pipeline has mistakes; ``diagnostics`` holds all of them.
        """
        return self.checked(self._request(params, inputs, targets, overrides))[0]

    def edges(self) -> tuple[list[str], list[tuple[str, str]]]:
        """Return node ids and edges as far as they can be told, also of a pipeline with mistakes."""
        planned = self.planned()
        if planned.plan is not None:
            return plan_edges(planned.plan)
        ids = [n.id for n in self.spec.nodes] + [m.id for m in self.spec.modules]
        pairs = [(e.source.partition(".")[0], e.target.partition(".")[0]) for e in self.spec.edges]
        entries: list[NodeSpec | ModuleSpec] = [*self.spec.nodes, *self.spec.modules]
        for spec in entries:
            for source in spec.inputs.values():
                pairs += [
                    (s.partition(".")[0], spec.id)
                    for s in (source if isinstance(source, tuple) else (source,))
                ]
        return ids, [p for p in pairs if p[0] in ids and p[1] in ids and p[0] != p[1]]

    def ascii(self, *, ascii: bool = False, width: int | None = None) -> str:
        """Draw the pipeline as text; with ``ascii=True`` without box-drawing characters."""
        from petal.planning import picture

        nodes, edges = self._acyclic()
        return picture.draw(self.name, nodes, edges, ascii=ascii, width=width)

    def mermaid(self) -> str:
        """Draw the pipeline as a Mermaid diagram."""
        from petal.planning import picture

        return picture.mermaid(self.name, *self.edges())

    def dot(self) -> str:
        """Draw the pipeline in Graphviz's language."""
        from petal.planning import picture

        return picture.dot(self.name, *self.edges())

    def _acyclic(self) -> tuple[list[str], list[tuple[str, str]]]:
        planned = self.planned()
        if planned.plan is None:
            cyclic = [d for d in planned.findings if d.code == "cycle"]
            if cyclic:
                raise InvalidPipeline("a pipeline with a cycle cannot be drawn", cyclic)
        return self.edges()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:  # noqa: ARG002
        """What a notebook shows: Mermaid where it can, text elsewhere."""
        source = self.mermaid()
        return {
            "text/plain": self.ascii(),
            "text/vnd.mermaid": source,
            "text/markdown": f"```mermaid\n{source}\n```",
        }

    def __repr__(self) -> str:
        return f"<Pipeline {self.name!r}: {len(self.spec.nodes)} nodes>"

    def to_yaml(self) -> str:
        """Write the pipeline as YAML; reading it back gives an equal specification."""
        from petal.config.encode import to_text

        return to_text(self.spec, "yaml")

    def to_json(self) -> str:
        """Write the pipeline as JSON."""
        from petal.config.encode import to_text

        return to_text(self.spec, "json")

    def to_toml(self) -> str:
        """Write the pipeline as TOML."""
        from petal.config.encode import to_text

        return to_text(self.spec, "toml")

    # -- running it -------------------------------------------------------------------------------------------

    @overload
    def run(
        self,
        *,
        inputs: Mapping[str, Any] | None = ...,
        params: Mapping[str, Any] | None = ...,
        targets: Iterable[str] = ...,
        overrides: Mapping[str, Any] | None = ...,
        dry: Literal[True],
        workers: int = ...,
        fail_fast: bool = ...,
        on_event: Callable[[Event], None] | None = ...,
    ) -> Plan: ...
    @overload
    def run(
        self,
        *,
        inputs: Mapping[str, Any] | None = ...,
        params: Mapping[str, Any] | None = ...,
        targets: Iterable[str] = ...,
        overrides: Mapping[str, Any] | None = ...,
        dry: Literal[False] = ...,
        workers: int = ...,
        fail_fast: bool = ...,
        on_event: Callable[[Event], None] | None = ...,
    ) -> RunResult: ...
    def run(
        self,
        *,
        inputs: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        targets: Iterable[str] = (),
        overrides: Mapping[str, Any] | None = None,
        dry: bool = False,
        workers: int = 64,
        fail_fast: bool = False,
        on_event: Callable[[Event], None] | None = None,
    ) -> RunResult | Plan:
        """Run the pipeline.

        Args:
            inputs: Values of pipeline inputs.
            params: Parameters by address: ``pattern``, ``node.param``, ``module/node.param``.
            targets: Ids of the nodes whose outputs are wanted; by default those that nobody consumes.
            overrides: Values to use instead of running a node; for a sink, anything means "skip it".
            dry: Print the picture, run nothing, write nothing, return the plan.
            workers: Nodes that may wait at the same time.
            fail_fast: Stop everything at the first failure.
            on_event: Called with every event of the run, in order, from one thread at a time.

        Returns:
            The result; a failed node gives status "failed", and ``result.check()`` raises its error.

        Raises:
            InvalidPipeline: The pipeline has mistakes.
            UsageError: A target, override, parameter or input names nothing.
            KeyboardInterrupt: SIGINT stopped the run, which has cleaned up; SIGTERM raises SystemExit.
        """
        refuse_run_while_importing()
        request = self._request(params, inputs, targets, overrides, to_run=not dry)
        plan, planned = self.checked(request)
        if dry:
            import shutil

            from petal.planning import picture

            encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
            nodes, edges = plan_edges(plan)
            print(picture.draw(plan.name, nodes, edges, ascii=not encoding.startswith("utf"), width=width))
            return plan
        options = Options(workers=workers, fail_fast=fail_fast)
        try:
            return self.execute(planned, options, [on_event] if on_event is not None else [])
        except Interrupt as stopped:  # as Python does: everything is cleaned up, and the caller may catch it
            if stopped.signal == signal.SIGINT:
                raise KeyboardInterrupt(str(stopped)) from stopped
            raise SystemExit(128 + stopped.signal) from stopped
        finally:
            self._session.log_warnings()

    def execute(
        self,
        planned: Planned,
        options: Options,
        subscribers: list[Callable[[Event], None]],
        *,
        details: bool = False,
    ) -> RunResult:
        """Run what was planned, with the pipeline's Python importable and its observers listening."""
        import msgspec

        assert planned.plan is not None
        observers = self._session.plugins.observers()
        bus = Bus([*subscribers, *(observer.emit for observer in observers)])
        log = bus.standard_log()
        listening = bool(bus)
        folders = tuple(dict.fromkeys(self._parts.folders))
        options = msgspec.structs.replace(
            options,
            emit=bus.emit if listening else None,
            previews=options.previews or details or log,
            opener=self._session.open_backend,
            ring=self._session.keyring(),
            folders=folders,
        )
        with ExitStack() as stack:
            if observers:
                stack.callback(finish, observers)
            for folder in folders:
                stack.enter_context(project_path(folder))
            return execute(planned.plan, planned.operators, options)

    # -- inside -----------------------------------------------------------------------------------------------

    def _request(
        self,
        params: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        targets: Iterable[str] = (),
        overrides: Mapping[str, Any] | None = None,
        *,
        to_run: bool = False,
    ) -> Request:
        return Request(
            params=params or {},
            inputs=inputs or {},
            targets=(targets,) if isinstance(targets, str) else tuple(targets),
            overrides=overrides or {},
            environment=self._session.environment,
            folder=os.getcwd(),
            to_run=to_run,
        )

    def checked(self, request: Request) -> tuple[Plan, Planned]:
        """Plan what a request asks for.

        Raises:
            InvalidPipeline: The pipeline has mistakes; ``diagnostics`` holds all of them.
        """
        planned = self.planned(request)
        findings = self._validators(planned.findings)
        errors = [f for f in findings if f.severity is Severity.ERROR]
        if planned.plan is None or errors:
            raise InvalidPipeline(summary(self.name, errors), findings)
        return planned.plan, planned

    def _validators(self, findings: list[Diagnostic]) -> list[Diagnostic]:
        return [*findings, *self._session.plugins.validate(self.spec)]


def summary(name: str, errors: list[Diagnostic]) -> str:
    """Say in a few lines what keeps a pipeline from running."""
    lines = [f"pipeline `{name}` has {len(errors)} mistake{'s' if len(errors) != 1 else ''}"]
    for finding in errors[:10]:
        lines.append(f"  {finding.place}: {finding.message}" + (f" ({finding.hint})" if finding.hint else ""))
    if len(errors) > 10:
        lines.append(f"  and {len(errors) - 10} more: see `diagnostics`")
    return "\n".join(lines)


def plan_edges(plan: Plan) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the ids of a plan's nodes and its edges, order edges included, for a picture."""
    ids = [n.id for n in plan.nodes]
    pairs = []
    for node in plan.nodes:
        pairs += [(ids[f.node], node.id) for _, _, f in feeds(node)]
        pairs += [(ids[i], node.id) for i in node.after]
    return ids, list(dict.fromkeys(pairs))
