"""Keep from task to task what a worker process has loaded, and the operators that are classes."""

from __future__ import annotations

import contextlib
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from petal.code.loader import Reference
from petal.code.reference import resolve
from petal.code.source import project_path
from petal.data.wire import Limits
from petal.running.brought import NOTHING, brought
from petal.running.call import Call
from petal.running.loop import LoopThread
from petal.spec.operator import Flavour, OperatorSpec, adapted
from petal.spec.signature import describe
from petal.worker.request import Plugins, Request


class Found(Struct, frozen=True):
    """An operator that was found."""

    target: Any
    spec: OperatorSpec


class Kept:
    """What a process keeps.

    Args:
        shares_files: Whether the sender sees the same files, so that it can publish what a task has written.
        limits: What an attachment may be at most; None where the sender is this machine's own.
    """

    def __init__(self, *, shares_files: bool, limits: Limits | None) -> None:
        self.limits = limits
        self._shares_files = shares_files
        self._asked: tuple[str | None, tuple[str, ...]] | None = None
        self._folders: frozenset[str] = frozenset()
        self._paths = ExitStack()
        self._found: dict[Reference, Found] = {}
        self._codes: dict[Reference, Any] = {}
        self._run = ""
        self._calls: dict[tuple[str, Reference], Call] = {}
        self._loop = LoopThread()
        self._named = Plugins()
        self.brought = NOTHING

    def close(self) -> None:
        """Let go of all, except of files that nobody has published yet."""
        self._forget()
        self._loop.close()

    def enter(self, request: Request) -> None:
        """Make the pipeline's folders importable, from now on."""
        asked = (request.reference.file, request.folders)
        if asked != self._asked:
            self._open(*asked)
            self._asked = asked
        if request.plugins != self._named:
            self._load(request.plugins)
        if request.run != self._run:
            self._end_run()
            self._run = request.run
        if request.cwd is not None and self.shares_files(request) and request.cwd != os.getcwd():
            os.chdir(request.cwd)

    def shares_files(self, request: Request) -> bool:
        """Whether the sender can publish what the task writes."""
        return self._shares_files or request.outputs is not None

    def find(self, reference: Reference) -> Found:
        """Return an operator, found once."""
        found = self._found.get(reference)
        if found is None:
            target = resolve(reference)
            found = self._found[reference] = Found(target, adapted(describe(target), self.brought.adapters))
        return found

    def code(self, request: Request, target: Any) -> Any:
        """Return the fingerprint of an operator, taken before its first call, None when nobody asks."""
        if request.code is None:
            return None
        if request.reference not in self._codes:
            from petal.code.fingerprint import fingerprint  # what it imports, most tasks do not need

            self._codes[request.reference] = fingerprint(target)
        return self._codes[request.reference]

    def call(self, request: Request, found: Found, params: dict[str, Any]) -> tuple[Call, bool]:
        """Return an operator ready to be called, and whether it is to be kept after the task."""
        keeps = found.spec.flavour is Flavour.CLASS and not hasattr(found.target, "close")
        key = (request.operator_id, request.reference)
        call = self._calls.pop(key, None) if keeps else None
        return call or Call(found.spec, found.target, params, self._loop), keeps

    def keep(self, request: Request, call: Call) -> None:
        """Keep an operator for the next task of its node; one that has failed is not kept."""
        self._calls[request.operator_id, request.reference] = call

    def _load(self, named: Plugins) -> None:
        """Load what a task needs of plugins; operators are described anew, with the views that these bring."""
        self._end_run()
        self._found.clear()
        self.brought, self._named = NOTHING, Plugins()
        self.brought = brought(msgspec.to_builtins(named))
        self._named = named

    def _open(self, file: str | None, folders: tuple[str, ...]) -> None:
        wanted = tuple(dict.fromkeys([*([str(Path(file).parent)] if file else []), *folders]))
        if not self._folders.issuperset(wanted):  # another pipeline's
            self._forget()
            for folder in reversed(wanted):
                self._paths.enter_context(project_path(folder))
            self._folders = frozenset(wanted)

    def _end_run(self) -> None:
        calls, self._calls = list(self._calls.values()), {}
        for call in calls:
            with contextlib.suppress(Exception):
                call.close()

    def _forget(self) -> None:
        self._end_run()
        self._found.clear()
        self._codes.clear()
        self._asked, self._folders = None, frozenset()
        self.brought, self._named = NOTHING, Plugins()
        self._paths.close()
