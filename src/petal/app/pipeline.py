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
from typing import TYPE_CHECKING, Any, Literal, overload

from petal.app.drawing import Drawn
from petal.app.parts import LoadedPart, Parts
from petal.app.session import Session
from petal.authoring.pipeline import author
from petal.code.loader import load_file, load_module, operators_in
from petal.code.reference import refuse_run_while_importing
from petal.code.source import project_path
from petal.data.filesystems import bringing
from petal.data.home import Home, home_beside, home_for
from petal.errors import InvalidPipeline, UsageError
from petal.execution.engine import execute
from petal.execution.options import Options
from petal.execution.result import RunResult
from petal.execution.signals import Interrupt
from petal.metadata.bus import Bus
from petal.planning.build import Planned, make_plan
from petal.planning.holding import caches
from petal.planning.request import Request
from petal.planning.stages import plan_edges
from petal.plugin.observers import finish
from petal.running.secrets import resolving
from petal.spec.diagnostic import Diagnostic, Severity, summary
from petal.spec.event import Event
from petal.spec.pipeline import PipelineSpec
from petal.spec.plan import Plan
from petal.spec.url import is_url

if TYPE_CHECKING:
    from petal.app.resume import Resumption
    from petal.code.needs import Needs


class Pipeline(Drawn):
    """A pipeline: what its author said, ready to be validated, planned, drawn and run.

    Make one with :meth:`of`, :meth:`from_module` or :meth:`from_file`.
    """

    def __init__(self, part: LoadedPart, parts: Parts, session: Session) -> None:
        self.part = part
        self._parts = parts
        self._session = session
        self._opened: str | None = None
        self._script: str | None = None

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
        made = cls(parts.authored(author(operators, named), os.getcwd()), parts, session)
        made._script = caller if os.path.isfile(caller) else None
        return made

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

        Mistakes inside the file are findings of :meth:`validate`. A URL (``s3://bucket/etl.yaml``) is fetched, if it is not
        Python; what it names beside it is fetched too, and its state is kept in the current folder.

        Raises:
            UsageError: The file does not exist or has no known format.
        """
        session = session or Session()
        parts = Parts(session)
        shown, attribute = os.fspath(path), ""
        if ".py:" in shown and not is_url(shown):
            shown, _, attribute = shown.partition(":")
        if attribute:
            found = getattr(load_file(Path(shown)), attribute, None)
            if not isinstance(found, Pipeline):
                raise UsageError(
                    f"`{shown}` has no pipeline `{attribute}`", hint="name a module-level Pipeline"
                )
            return found._joined_by(session, str(Path(shown).parent), os.fspath(path))
        part = parts.file(shown)
        if isinstance(parts.made, Pipeline):
            return parts.made._joined_by(session, part.folder, shown)
        return cls(part, parts, session)

    def _joined_by(self, session: Session, folder: str, opened: str) -> Pipeline:
        """Keep the session that the pipeline's file made it with, and let the caller's plugins take part as well."""
        self._opened = opened
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
    def file(self) -> str | None:
        """The file that it was loaded from, as :meth:`from_file` takes it; None for one that was made here."""
        return self._opened or self.part.source.file

    @property
    def folder(self) -> str:
        """The folder of its file, or of the script that made it: a worker with a copy of its files finds them by it."""
        file = self.file or self._script
        if is_url(file):  # then all its Python is installed
            return os.path.realpath(os.getcwd())
        return os.path.dirname(os.path.realpath(file)) if file else os.path.realpath(self.part.folder)

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders whose Python must be importable while it runs."""
        return tuple(dict.fromkeys(map(os.path.realpath, self._parts.folders)))

    @property
    def session(self) -> Session:
        """The session that it was made with."""
        return self._session

    def planned(self, request: Request | None = None) -> Planned:
        """Resolve and validate; all findings and, without errors, the plan."""
        import msgspec

        asked = msgspec.structs.replace(
            request or self._request(),
            backend=self._session.backend,
            codecs=self._session.has_codecs,
            is_sealed=self._session.is_sealed,
            adapters=self._session.plugins.adapters,
            filesystem=self._session.filesystem,
        )
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
        backends: Mapping[str, str] | None = None,
    ) -> Plan:
        """Return what would run.

        Args:
            params: Parameters, as :meth:`run` takes them; so are the three that follow.
            inputs: Inputs of the pipeline.
            targets: What is wanted.
            overrides: Outputs that are given.
            backends: Where nodes are to run, by id, as ``--backend`` says it: ``docker,image=nlp:1``.

        Raises:
            InvalidPipeline: The pipeline has mistakes; ``diagnostics`` holds all of them.
        """
        from msgspec.structs import replace

        request = self._request(params, inputs, targets, overrides)
        return self.checked(replace(request, backends=backends) if backends else request)[0]

    def needs(
        self,
        backend: str,
        *,
        backends: Mapping[str, str] | None = None,
        also: Iterable[str] = (),
        there: Iterable[str] = (),
    ) -> Needs:
        """Say what must be there where the nodes of one backend run: Python files and packages.

        Args:
            backend: Its name. Nodes that only fail over to it count, those that speak plain JSON do not.
            backends: Where nodes are to run, by id, as ``--backend`` says it: ``docker,image=nlp:1``.
            also: Packages that are needed besides, such as one that is imported by a name made up as it runs.
            there: Packages that are there already, with all that they require.

        Raises:
            InvalidPipeline: The pipeline has mistakes.
            EnvironmentNotReady: A package that is needed besides is not installed here.
        """
        from msgspec.structs import replace

        from petal.app.needs import needs_of

        plan, planned = self.checked(replace(self._request(), backends=backends or {}))
        what = (plan, planned.operators, self._session, backend, self.folder, self.folders)
        return needs_of(*what, also=also, there=there)

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
        home: str | os.PathLike[str] | None = ...,
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
        home: str | os.PathLike[str] | None = ...,
        resume: str | None = ...,
        rerun: Iterable[str] = ...,
        assume_done: Iterable[str] = ...,
        force: bool = ...,
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
        home: str | os.PathLike[str] | None = None,
        resume: str | None = None,
        rerun: Iterable[str] = (),
        assume_done: Iterable[str] = (),
        force: bool = False,
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
            home: The folder that keeps the run's journal, and the cache. By default ``.petal`` beside the pipeline's
                file, or ``$PETAL_HOME``; a pipeline made in Python keeps nothing unless it caches.
            resume: The id of a run that was stopped, or its beginning, or ``"last"``: it goes on, asked for the same.
            rerun: With ``resume``: nodes that run again in any case, and with them all that is behind them.
            assume_done: With ``resume``: nodes that are taken as done.
            force: With ``resume``: whether what has changed runs, and all behind it, instead of stopping the resume.

        Returns:
            The result; a failed node gives status "failed", and ``result.check()`` raises its error.

        Raises:
            InvalidPipeline: The pipeline has mistakes.
            UsageError: A target, override, parameter or input names nothing.
            ResumeError: The run to be resumed cannot go on, or not without being told more.
            EnvironmentNotReady: A node has nowhere to run: a backend cannot be reached; nothing has run.
            KeyboardInterrupt: SIGINT stopped the run, which has cleaned up; SIGTERM raises SystemExit.
        """
        refuse_run_while_importing()
        request = self._request(params, inputs, targets, overrides, to_run=not dry)
        options = Options(workers=workers, fail_fast=fail_fast)
        listeners = [on_event] if on_event is not None else []
        if resume is not None and not dry:
            from petal.app.resume import Wishes, resuming

            place = Home(home) if home is not None else self.home_of(None)
            assert place is not None
            wishes = Wishes(frozenset(rerun), frozenset(assume_done), force)
            with resuming(self, place, resume, request, wishes, keep=True) as found:
                return self._run_here(found.planned, options, listeners, found.request, place, found)
        if [*rerun, *assume_done] or force or resume is not None:
            raise UsageError("`rerun`, `assume_done` and `force` need `resume`; a dry run is not resumed")
        plan, planned = self.checked(request)
        if dry:
            import shutil

            from petal.planning import picture

            encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
            nodes, edges = plan_edges(plan)
            print(picture.draw(plan.name, nodes, edges, ascii=not encoding.startswith("utf"), width=width))
            return plan
        place = Home(home) if home is not None else self.home_of(plan)
        return self._run_here(planned, options, listeners, request, place)

    def _run_here(
        self,
        planned: Planned,
        options: Options,
        listeners: list[Callable[[Event], None]],
        request: Request,
        home: Home | None,
        resumed: Resumption | None = None,
    ) -> RunResult:
        try:
            return self.execute(planned, options, listeners, request=request, home=home, resumed=resumed)
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
        request: Request | None = None,
        home: Home | None = None,
        resumed: Resumption | None = None,
    ) -> RunResult:
        """Run what was planned, with the pipeline's Python importable and its observers listening.

        Args:
            planned: The plan and its operators.
            options: How to run it.
            subscribers: Called with every event.
            details: Whether events carry the first rows of inputs and outputs.
            request: What was asked for, as the journal records it.
            home: Where the journal and the cache are; None where nothing is kept.
            resumed: The run that goes on, None for a new one.

        Raises:
            EnvironmentNotReady: A node has nowhere to run.
        """
        import msgspec

        assert planned.plan is not None
        observers = self._session.plugins.observers()
        opener = self._session.opener()
        bus = Bus([*subscribers, *(observer.emit for observer in observers)])
        log = bus.standard_log()
        listening = bool(bus)
        folders = self.folders
        options = msgspec.structs.replace(
            options,
            emit=bus.emit if listening else None,
            previews=options.previews or details or log,
            opener=opener,
            ring=self._session.keyring(),
            folders=folders,
            base=self.folder,
        )
        with ExitStack() as stack:
            if observers:
                stack.callback(finish, observers)
            stack.enter_context(resolving(self._session.resolve))
            stack.enter_context(bringing(self._session.filesystem))
            for folder in folders:
                stack.enter_context(project_path(folder))
            stack.enter_context(opener.prepared(planned.plan, home))
            if resumed is not None and home is not None:
                options = resumed.options(options, home)
            elif home is not None:
                from petal.app.recording import kept, warn

                asked, environment = request or Request(), self._session.environment
                plan = planned.plan
                shared = self._session.shared_cache(plan.cache_store, warn) if caches(plan) else None
                options = kept(options, planned, asked, self.file, home, environment, stack, shared)
            return execute(planned.plan, planned.operators, options)

    def home_of(self, plan: Plan | None) -> Home | None:
        """Return the folder of state of a run where none was named (S8.2); of one that is resumed without a plan."""
        if self.file is not None:
            return home_beside(self.file, self._session.environment)
        if plan is None or caches(plan):
            return home_for(self.part.folder, self._session.environment)
        return None

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
