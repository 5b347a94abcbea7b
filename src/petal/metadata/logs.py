"""Write what happens in a run as structured records: Petal's events and what operators log, through stdlib logging.

structlog formats them, with a chain of processors of its own: its global configuration is left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, Final, Literal

from petal.spec.redaction import redact

if TYPE_CHECKING:
    from petal.errors import NodeFailed
    from petal.spec.diagnostic import Diagnostic

Format = Literal["console", "json"]
_PREFIX: Final = "petal_"
#: Longer text is cut: a log is no place for data.
_MOST_CHARACTERS: Final = 500
_log = logging.getLogger("petal.run")


@contextmanager
def logging_to(
    stream: IO[str], format: Format, *, colours: bool = False, debug: bool = False, quiet: bool = False
) -> Iterator[None]:
    """Send every log record of this process to a stream while the block runs.

    Args:
        stream: Where to.
        format: ``console`` for people, ``json`` for one JSON object per line.
        colours: Whether ``console`` may use colours.
        debug: Whether records of level DEBUG are wanted from everyone, not from Petal alone.
        quiet: Whether only errors are wanted.
    """
    handler = logging.StreamHandler(stream)
    handler.setLevel(logging.ERROR if quiet else logging.NOTSET)
    handler.setFormatter(formatter(format, colours=colours))
    root, own = logging.getLogger(), logging.getLogger("petal")
    before = (root.level, own.level)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if debug else min(root.level or logging.INFO, logging.INFO))
    own.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before[0])
        own.setLevel(before[1])


def formatter(format: Format, *, colours: bool = False) -> logging.Formatter:
    """Return a formatter for handlers of the standard library."""
    import structlog

    renderer: Any
    if format == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=colours, exception_formatter=structlog.dev.plain_traceback, sort_keys=False
        )
    chain: list[Any] = [_record_fields, structlog.processors.format_exc_info, _redacted, renderer]
    return structlog.stdlib.ProcessorFormatter(processors=chain)


def log_failure(error: NodeFailed) -> None:
    """Log why a node failed, with its parameters and the user's own traceback."""
    fields = {
        "event": "failure",
        "node": error.node,
        "attempt": error.attempt,
        "error": error.message,
        "kind": error.kind,
        "params": error.params,
        "traceback": error.traceback,
        "hint": error.hint,
    }
    _log.error("failure %s", error.node, extra=_extra(fields))


def log_finding(finding: Diagnostic) -> None:
    """Log a finding that keeps nothing from running."""
    fields = {"event": "finding", "code": finding.code, "message": finding.message, "place": finding.place}
    _log.warning("%s", finding.message, extra=_extra({**fields, "hint": finding.hint}))


def log_warning(message: str) -> None:
    """Log something that the user should know of."""
    _log.warning("%s", message)


def _extra(fields: dict[str, Any]) -> dict[str, Any]:
    return {_PREFIX + name: value for name, value in fields.items() if value}


def _record_fields(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Turn a record of the standard library into fields; an event's own fields come as ``petal_...``."""
    record: logging.LogRecord = event["_record"]
    own = {
        k.removeprefix(_PREFIX): v for k, v in vars(record).items() if k.startswith(_PREFIX) and v is not None
    }
    fields: dict[str, Any] = {
        "event": own.pop("event", event.get("event")),
        "level": record.levelname.lower(),
        "timestamp": datetime.fromtimestamp(own.pop("at", record.created), UTC).isoformat(
            timespec="milliseconds"
        ),
        "logger": record.name,
    }
    if record.name == "petal.run":
        del fields["logger"]
    if record.name == "petal.node":
        own |= {k: v for k in ("run", "node", "attempt") if (v := getattr(record, k, None)) is not None}
    fields |= own
    if event.get("exc_info"):
        fields["exc_info"] = event["exc_info"]
    return fields


def _redacted(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {name: _safe(value, name) for name, value in event.items()}


def _safe(value: Any, name: str = "") -> Any:
    """Hide secrets in a value and cut long text; what is no plain data is shown by its text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {redact(str(k)): _safe(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_safe(v) for v in value]
    text = redact(str(value))
    most = _MOST_CHARACTERS if name not in ("traceback", "exception") else 20_000
    return text if len(text) <= most else text[: most - 1] + "…"
