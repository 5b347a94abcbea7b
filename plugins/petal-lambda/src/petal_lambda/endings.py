"""Say how a function ended that gave no reply of its own: its code raised, its time or memory was over, it never started."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, TypeGuard

import msgspec
from msgspec import Struct

from petal import EnvironmentNotReady, PetalError, RemoteError, TimedOut, WorkerDied
from petal_lambda.settings import LambdaSettings

#: Characters of a traceback that an error shows.
_SHOWN = 4000
_TIMED_OUT = re.compile(r"Task timed out after ([\d.]+) seconds")
#: All that the emulator says of a function whose time is over: it is no JSON, so no reply either.
_SAID_LATE = re.compile(rb"[^\"{\[]{0,100}Task timed out after [\d.]+ seconds\s*")
_KILLED = re.compile(r"signal: killed")
#: Names of what AWS itself finds wrong with a function; what a function's code raises is never called so.
_AWS_OWN = re.compile(r"(Runtime|Sandbox|Function|Extension)\.\w+")
#: The keys of a reply that says that a function has failed, as Lambda's runtimes for Python and Node.js and AWS itself write it.
_SHAPES = (
    frozenset({"errorMessage", "errorType", "requestId", "stackTrace"}),
    frozenset({"errorMessage", "errorType", "stackTrace"}),
    frozenset({"errorMessage", "errorType", "trace"}),
)
_BRIEF = frozenset({"errorMessage", "errorType"})
#: AWS's names for a function whose own code was never reached.
_UNSTARTED = frozenset(
    {
        "NotForPetal",
        "Runtime.BuiltInModuleConflict",
        "Runtime.HandlerNotFound",
        "Runtime.ImportModuleError",
        "Runtime.InvalidEntrypoint",
        "Runtime.InvalidTaskConfig",
        "Runtime.InvalidWorkingDir",
        "Runtime.MalformedHandlerName",
        "Runtime.UnmarshalError",
        "Runtime.UserCodeSyntaxError",
    }
)
#: Lines of a function's log that are not its own: AWS's, and log records, which Petal's worker sends in its reply.
_NOT_PRINTED = re.compile(
    r"(START|END|REPORT) RequestId: |(INIT_START|EXTENSION|TELEMETRY|XRAY|LOGS)\s|\[[A-Z]+\]\t|\{.*\"type\":\s*\"platform\."
)


class Ending(Struct, frozen=True):
    """What came back from a call.

    Attributes:
        data: The reply.
        failed: Whether AWS says that the function has failed, and not replied.
        from_aws: Whether AWS itself sent it, and not an emulator, which does not say that a function has failed.
        log: The end of what the function has written, as AWS sends it.
    """

    data: bytes
    failed: bool = False
    from_aws: bool = False
    log: str = ""


def failure_of(ending: Ending, settings: LambdaSettings, *, speaks_json: bool) -> PetalError | None:
    """Return why a function gave no reply; None if it gave one.

    What a function returned is never taken for a failure: AWS marks failures. Its emulator does not, so there the reply
    must have exactly the form that Lambda's runtimes give to failures.

    Args:
        ending: What came back.
        settings: The function.
        speaks_json: Whether it is one that knows nothing of Petal.
    """
    found = plain(ending.data) if ending.failed or len(ending.data) < (1 << 20) else None
    if ending.failed:
        return _failed(found if isinstance(found, dict) else {}, ending, settings, speaks_json)
    if ending.from_aws:
        return None
    if found is None and _SAID_LATE.fullmatch(ending.data):
        return _failed(
            {"errorMessage": ending.data.decode(errors="replace").strip()}, ending, settings, speaks_json
        )
    return _failed(found, ending, settings, speaks_json) if is_failure(found) else None


def is_failure(found: Any) -> TypeGuard[dict[str, Any]]:
    """Whether plain data has exactly the form that Lambda's runtimes give to a failure."""
    if not isinstance(found, dict) or not all(isinstance(found.get(key), str) for key in _BRIEF):
        return False
    keys = found.keys()
    if keys in _SHAPES:
        return isinstance(found.get("stackTrace", found.get("trace")), list)
    return keys - {"requestId"} == _BRIEF and _AWS_OWN.fullmatch(found["errorType"]) is not None


def plain(data: Any) -> Any:
    """Return the value that JSON says, None for what is no JSON."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, TypeError, ValueError):
        return None


def printed(log: str) -> str:
    """Return what a function has printed, of the end of its log as AWS sends it."""
    lines = _lines(log)
    return "\n".join(line for line in lines if not _NOT_PRINTED.match(line))


def _failed(found: dict[str, Any], ending: Ending, settings: LambdaSettings, speaks_json: bool) -> PetalError:
    kind, said = str(found.get("errorType") or ""), str(found.get("errorMessage") or "")
    text, name = said or ending.data[:200].decode(errors="replace"), settings.function_name
    output = printed(ending.log)
    late = _TIMED_OUT.search(said)
    if kind == "Sandbox.Timedout" or (late is not None and (not kind or _AWS_OWN.fullmatch(kind))):
        limit = f" of {float(late[1]):g}s" if late is not None else ""
        return TimedOut(
            f"`{name}` was stopped by AWS: its own time-out{limit} was over, and it is not known what it has done",
            output=output,
            hint="give the function more time (`petal lambda deploy --timeout`), or less to do",
        )
    if kind in _UNSTARTED:
        return EnvironmentNotReady(
            f"`{name}` does not start: {kind}: {text}",
            hint="`petal lambda package FILE` makes what Petal's handler needs; a function of your own takes `protocol: json`",
            code="no-worker",
        )
    if kind == "Function.ResponseSizeTooLarge":
        return RemoteError(
            f"the reply of `{name}` is larger than AWS lets through: {text}",
            bases=("DataError",),
            code="message-too-large",
            hint="let it reply with less at a time (`batch`), or let large replies lie in a store (`claims`)",
        )
    if kind == "Runtime.OutOfMemory" or _ran_out(said, ending.log):
        return WorkerDied(
            f"`{name}` was killed: it needed more than its memory{_memory(ending.log)}",
            kind="out_of_memory",
            output=output,
            hint="give the function more (`petal lambda deploy --memory`), or less to do at a time (`batch`)",
        )
    if kind.startswith(("Runtime.Exit", "Runtime.Unknown", "Sandbox.", "Extension.")) or not kind:
        hint = "where it needs much memory, that may be why" if _KILLED.search(said) else None
        return WorkerDied(f"`{name}` has ended without a reply: {text}", output=output, hint=hint)
    trace = found.get("stackTrace") or found.get("trace") or []
    return RemoteError(
        text,
        type=kind,
        bases=("Exception",),
        traceback=_trace(trace),
        hint=None
        if speaks_json
        else "this is no worker of Petal: a function of your own takes `protocol: json`",
    )


def _trace(found: Any) -> str:
    lines = [str(line) for line in found] if isinstance(found, list) else []
    return "\n".join(line.rstrip("\n") for line in lines)[-_SHOWN:]


def _lines(log: str) -> list[str]:
    try:
        return base64.b64decode(log).decode("utf-8", "replace").splitlines()
    except (binascii.Error, ValueError):
        return []


_REPORT = re.compile(r"REPORT .*Memory Size: (\d+) MB\s+Max Memory Used: (\d+) MB")


def _ran_out(said: str, log: str) -> bool:
    """Whether a function that was killed had used all of its memory, as AWS reports it."""
    if not _KILLED.search(said):
        return False
    found = _report(log)
    return found is not None and int(found[2]) >= int(found[1])


def _memory(log: str) -> str:
    found = _report(log)
    return f" of {found[1]} MB" if found is not None else ""


def _report(log: str) -> re.Match[str] | None:
    return next((found for line in _lines(log) if (found := _REPORT.match(line))), None)
