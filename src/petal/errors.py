"""Name every error that Petal raises on purpose.

```text
PetalError                     handled: the command line prints it without a traceback
├── DefinitionError            an operator, decorator or node() that cannot work       exit 2
├── UsageError                 a wrong argument to the command line or to the API      exit 2
├── InvalidPipeline            the pipeline has mistakes; carries all diagnostics      exit 3
├── EnvironmentNotReady        something Petal needs here is missing or unusable       exit 4
├── DataError                  a value or row does not fit what a node takes           exit 1
│   ├── StreamConsumed         a stream was iterated twice
│   └── RowError               one row is wrong; carries its number
├── OutputError                a file could not be written or published                exit 1
├── JournalError               the record of a run cannot be written or read           exit 1
├── ResumeError                a run cannot go on where it was stopped                 exit 1
├── WireError                  a message between processes is damaged or too large     exit 1
│   └── SignatureError         its signature is missing, forged, stale or another's    exit 1
├── RemoteError                what a node raised in another process                   exit 1
├── TaskLost                   a task ended without a reply                            exit 1
│   ├── WorkerDied             its worker ended                                        exit 1
│   ├── TimedOut               its time was over, and it was stopped                   exit 1
│   └── ClaimLost              a message cannot be had from the store it lies in       exit 1
│       ├── PayloadCorrupt     it is not what was put there                            exit 1
│       └── ClaimExpired       it is gone                                              exit 1
├── NodeFailed                 a node of a run did not succeed (``result.check()``)    exit 1
└── RunInterrupted             a signal or a time limit stopped the run          exit 130/143
```

Anything else that reaches the command line is a bug of Petal and is shown with its traceback.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple


class Location(NamedTuple):
    """Where something was written: a file with 1-based line and column."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        text = self.file
        if self.line:
            text += f":{self.line}"
            if self.column:
                text += f":{self.column}"
        return text


class PetalError(Exception):
    """Say what went wrong, where, why and what to do about it.

    Args:
        message: What went wrong, in one sentence.
        hint: The remedy.
        node: The id of the node concerned.
        attempt: The attempt of that node, from 1.
        location: The place in a pipeline file or a Python file.
        code: The stable code; each class has a default.
    """

    code: str = "error"
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        node: str | None = None,
        attempt: int | None = None,
        location: Location | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.node = node
        self.attempt = attempt
        self.location = location
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        text = self.message
        if self.location is not None:
            text = f"{self.location}: {text}"
        if self.hint:
            text += f"\n  hint: {self.hint}"
        return text


class DefinitionError(PetalError, TypeError):
    """An operator, decorator or ``node()`` call that cannot work."""

    code = "bad-definition"
    exit_code = 2


class UsageError(PetalError, ValueError):
    """A wrong argument to the command line or to the API."""

    code = "usage"
    exit_code = 2


class InvalidPipeline(PetalError):
    """A pipeline with mistakes; ``diagnostics`` holds every finding."""

    code = "invalid-pipeline"
    exit_code = 3

    def __init__(self, message: str, diagnostics: list[Any], *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.diagnostics = diagnostics


class EnvironmentNotReady(PetalError):
    """Something that Petal needs on this machine is missing or unusable."""

    code = "environment"
    exit_code = 4


class DataError(PetalError, ValueError):
    """A value or row that does not fit what a node takes."""

    code = "data"


class StreamConsumed(DataError):
    """A stream was iterated a second time."""

    code = "stream-consumed"


class RowError(DataError):
    """One row of a stream is wrong.

    Args:
        row: The row's number in its stream or file, from 1.
        field: The field concerned, where there is one.
    """

    code = "bad-row"

    def __init__(
        self, message: str, *, row: int | None = None, field: str | None = None, **rest: Any
    ) -> None:
        super().__init__(message, **rest)
        self.row = row
        self.field = field


class OutputError(PetalError, OSError):
    """A file could not be written or published; its target is as it was."""

    code = "output"


class JournalError(PetalError):
    """The record of a run cannot be written or read: no new node starts, and the run fails (S9.5)."""

    code = "journal"


class ResumeError(PetalError):
    """A run cannot go on where it was stopped, or not without being told more; nothing has run."""

    code = "resume"


class WireError(PetalError):
    """A message between processes cannot be read: damaged, too large, too deep, or of another kind."""

    code = "wire"


class SignatureError(WireError):
    """A message is not signed as it must be; the message says no more than that."""

    code = "signature"


class RemoteError(PetalError):
    """What a node raised in another process, as data: no class of it is ever looked up or made.

    Args:
        message: The exception's text.
        type: The exception's type name.
        bases: The names of its base classes.
        kind: The error kind.
        traceback: Its traceback there, cut to the user's frames.
    """

    code = "remote"

    def __init__(
        self,
        message: str,
        *,
        type: str = "",
        bases: tuple[str, ...] = (),
        kind: str = "user",
        traceback: str = "",
        **rest: Any,
    ) -> None:
        super().__init__(message, **rest)
        self.type = type
        self.bases = bases
        self.kind = kind
        self.traceback = traceback


class TaskLost(PetalError):
    """A task that was sent away ended without a reply: what it did is not known.

    Args:
        kind: The error kind.
        output: What it had written to stdout and stderr.
    """

    code = "task-lost"

    def __init__(self, message: str, *, kind: str = "infrastructure", output: str = "", **rest: Any) -> None:
        super().__init__(message, **rest)
        self.kind = kind
        self.output = output


class WorkerDied(TaskLost):
    """The process that ran a task ended: killed by a signal, out of memory, or by its own doing."""

    code = "worker-died"


class TimedOut(TaskLost):
    """A task's time was over, and it was stopped."""

    code = "timeout"

    def __init__(self, message: str, *, kind: str = "timeout", **rest: Any) -> None:
        super().__init__(message, kind=kind, **rest)


class ClaimLost(TaskLost):
    """A message was too large for its transport, and cannot be had from the store that it lies in."""

    code = "claim-store"


class PayloadCorrupt(ClaimLost):
    """What lies in the store is not what was put there: its size or its digest is another."""

    code = "payload-corrupt"


class ClaimExpired(ClaimLost):
    """The message is gone from the store."""

    code = "claim-expired"


class NodeFailed(PetalError):
    """A node of a run did not succeed.

    Args:
        kind: The error kind: ``user``, ``infrastructure``, ``timeout``, ``throttle``, ``out_of_memory`` or ``unknown``.
        traceback: The traceback cut to the user's frames, as text.
        params: The node's parameters as short redacted text.
    """

    code = "node-failed"

    def __init__(
        self, message: str, *, kind: str = "user", traceback: str = "", params: str = "", **rest: Any
    ) -> None:
        super().__init__(message, **rest)
        self.kind = kind
        self.params = params
        self.traceback = traceback


class RunInterrupted(PetalError):
    """A signal or a time limit stopped the run before its end."""

    code = "interrupted"
    exit_code = 130

    def __init__(self, message: str, *, signal: int = 2, **rest: Any) -> None:
        super().__init__(message, **rest)
        self.signal = signal
