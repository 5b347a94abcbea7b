"""Inputs and outputs as plain JSON, for programs that know nothing of Petal: ``protocol: json`` (S6.3)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from itertools import chain
from math import isfinite
from pathlib import PurePath
from typing import Any

import msgspec

from petal.data.adapters import AsyncRows, adapt, batch_rows
from petal.data.frames import batches_of
from petal.data.framing import MAGIC, too_large
from petal.data.limits import LIMITS, Limits
from petal.data.packing import packer_of
from petal.data.wire import Incoming, decode_json
from petal.errors import DataError, WireError
from petal.interfaces.backend import Plain
from petal.spec.pipeline import MISSING
from petal.spec.views import Seen, View, container_of

#: Characters of a reply that an error shows.
_SHOWN = 200
_PROGRAM = (
    "a program of its own writes one value of JSON to standard output, and everything else to standard error"
)


class PlainCall:
    """What a node that speaks plain JSON sends (see :class:`petal.interfaces.backend.Payload`).

    Args:
        node: The node's id.
        type: What its author calls its operator.
        inputs: The inputs in order, plain data as :func:`plain_data` gives it.
        params: The parameters, likewise.
        trace: ``traceparent`` and maybe ``tracestate``, handed on to a program in its environment.

    Raises:
        DataError: A number has more digits than Python writes.
    """

    parts: Sequence[memoryview] = ()
    path: str | None = None

    def __init__(
        self, node: str, type: str, inputs: list[Any], params: dict[str, Any], trace: Mapping[str, str]
    ) -> None:
        self._said = (_written(inputs), _written(node), _written(type), _written(params))
        self._trace = trace

    @property
    def plain(self) -> Plain:
        """What a program gets that is started for this one task."""
        inputs, _, _, params = self._said
        return Plain(
            inputs.encode(), {"PETAL_PARAMS": params, **{name.upper(): v for name, v in self._trace.items()}}
        )

    @property
    def header(self) -> bytes:
        """All of it: there are no attachments."""
        return self.packed()

    def packed(self, limit: int | None = None, claims: object = None) -> bytes:  # noqa: ARG002
        """Return what a function gets that is called with one value: inputs, node, type and parameters.

        Args:
            limit: Bytes that the transport carries, or None.
            claims: Of no use: what is not Petal does not know where to look for a message.

        Raises:
            RemoteError: It is too large.
        """
        inputs, node, kind, params = self._said
        data = f'{{"inputs":{inputs},"operator_id":{node},"type":{kind},"params":{params}}}'.encode()
        if limit is not None and len(data) > limit:
            raise too_large(
                len(data),
                limit,
                "send less at a time (`batch`), or the name of a file or object that holds it; "
                "with `protocol: petal` large messages can lie in a store (`claims`)",
            )
        return data

    def answered(self, data: Any, output: str = "", claims: object = None) -> Incoming:  # noqa: ARG002
        """Return the reply: the bare output, as it came."""
        return Incoming(bytes(data), (), output)


def _written(value: Any) -> str:
    """Write plain data as JSON in ASCII, which every program reads, whatever its locale."""
    try:
        return json.dumps(value, separators=(",", ":"))
    except ValueError as error:
        raise DataError(f"a number cannot be written as JSON: {error}", hint="hand it over as text") from None


# -- what goes ------------------------------------------------------------------------------------------------


def plain_port(value: Any, seen: Seen, where: str) -> Any:
    """Return what flows through a port as plain data: streams and frames as lists, records as dicts.

    Args:
        value: What flows, in the port's own view; a stream is read to its end.
        seen: The port's annotation taken apart.
        where: What it is, for messages: ``input `x```.

    Raises:
        DataError: JSON has no word for something in it; the message says where it is.
    """
    if seen.view.streams and value is not None:
        rows = value.plain() if isinstance(value, AsyncRows) else value
        if container_of(type(rows)) or seen.view is View.BATCHES:
            rows = chain.from_iterable(map(batch_rows, batches_of(rows) or rows))
        value = list(rows)
    return plain_data(value, where)


def plain_data(value: Any, where: str) -> Any:
    """Return a value as None, bool, int, finite float, str, list and str-keyed dict.

    Raises:
        DataError: JSON has no word for something in it; the message says where it is.
    """
    try:
        return _plain(value, where, "")
    except RecursionError:
        raise DataError(
            f"{where} is nested too deeply, or contains itself", hint="hand over something flatter"
        ) from None


def _plain(value: Any, where: str, path: str) -> Any:
    kind = type(value)
    if kind is str:
        return _text(value, where, path)
    if value is None or kind is bool or kind is int:
        return value
    if kind is float:
        if not isfinite(value):
            raise _refused(value, where, path, "hand over None or a text in its place")
        return value
    if kind is dict:
        return _mapping(value.items(), where, path)
    if kind is list or kind is tuple:
        return [_plain(one, where, f"{path}[{i}]") for i, one in enumerate(value)]
    return _other(value, where, path)


def _other(value: Any, where: str, path: str) -> Any:
    """Return what is no plain data yet: records, frames, paths and the subclasses of plain types."""
    if isinstance(value, msgspec.Struct | tuple) or dataclasses.is_dataclass(value):
        fields = _fields(value)
        if fields is not None:
            return _mapping(fields, where, path)
    if isinstance(value, PurePath):
        return _text(str(value), where, path)
    batches = None if isinstance(value, Enum) else batches_of(value)
    if batches is not None:
        rows = chain.from_iterable(map(batch_rows, batches))
        return [_plain(row, where, f"{path}[{i}]") for i, row in enumerate(rows)]
    if isinstance(value, Enum):
        raise _refused(value, where, path, "hand over its `value`")
    if isinstance(value, list | tuple):
        return _plain(list(value), where, path)
    for kind in (str, int, float):  # of a class of its own, whose name JSON cannot keep
        if isinstance(value, kind):
            plain: Any = kind
            return _plain(plain(value), where, path)
    if isinstance(value, Mapping):
        return _mapping(value.items(), where, path)
    raise _refused(value, where, path, _REMEDIES.get(type(value).__name__, _REMEDY))


_REMEDY = "turn it into text, numbers, lists and dicts in the node before, or let a worker of Petal do it (`protocol: petal`)"
_REMEDIES = dict.fromkeys(
    ("datetime", "date", "time"), "hand over its `isoformat()`, and read that back in the program"
) | {
    "bytes": "hand it over as text, such as base64",
    "Decimal": "hand it over as text: `str(...)`",
    "UUID": "hand it over as text: `str(...)`",
    "set": "hand over a sorted list",
    "frozenset": "hand over a sorted list",
}


def _fields(value: Any) -> Iterator[tuple[str, Any]] | None:
    """Return the fields of a record, by the names that data knows them by; None for anything else."""
    if isinstance(value, msgspec.Struct):
        pairs = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        return ((key, getattr(value, name)) for key, name in pairs)
    if isinstance(value, tuple):
        names = getattr(value, "_fields", None)
        return None if names is None else zip(names, value, strict=True)
    return ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))


def _mapping(items: Any, where: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in items:
        if not isinstance(key, str):
            raise _refused(key, where, f"{path}, the key {key!r:.80}", "use text for keys")
        name = _text(str(key), where, path)
        found[name] = _plain(value, where, f"{path}.{name}" if name.isidentifier() else f"{path}[{name!r}]")
    return found


def _text(value: str, where: str, path: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _refused(
                value, where, path, "read it with `errors='replace'`, or hand over base64"
            ) from None
    return value


def _refused(value: Any, where: str, path: str, remedy: str) -> DataError:
    name = type(value).__name__
    said = f"{name} {value!r:.80}" if isinstance(value, float | str | Enum) else name
    place = f"{where}, at {path.removeprefix(', ')}" if path else where
    return DataError(f"{place}: plain JSON has no word for {said}", hint=remedy)


# -- what comes -----------------------------------------------------------------------------------------------


def read_plain(data: bytes, annotation: Any, seen: Seen, limits: Limits | None = LIMITS) -> Any:
    """Return the output that a program replied with.

    Args:
        data: Its reply.
        annotation: What the output is declared to be, MISSING where nothing is known of it.
        seen: The annotation taken apart.
        limits: What the reply may be at most.

    Raises:
        WireError: It is not JSON, or beyond the limits; the message shows what came.
        DataError: It is not what is declared.
    """
    found = _parsed(data, limits)
    if seen.view is View.VALUE:
        return found if annotation is MISSING else packer_of(annotation).convert(found, "output")
    if type(found) is not list:
        raise DataError(
            f"output should be rows, but the program replied with one {_named(found)}",
            hint="write a list of rows, `[...]`",
        )
    if seen.element is not MISSING:
        found = packer_of(list[seen.element]).convert(found, "output")  # type: ignore[name-defined]
    flowing = Seen(seen.view, seen.element) if seen.view.streams else seen
    return adapt(found, Seen(View.VALUE, seen.element), flowing, "output")


def _parsed(data: bytes, limits: Limits | None) -> Any:
    if limits is not None and limits.bytes is not None and len(data) > limits.bytes:
        raise WireError(
            f"the program's reply has {len(data):,} bytes, but at most {limits.bytes:,} are read",
            hint="let it reply with less, or write a file and reply with its name",
        )
    if not data.strip():
        raise WireError(
            "the program replied with nothing, not with JSON",
            hint=f"{_PROGRAM}; one that has nothing to give writes `null`",
        )
    try:
        return decode_json(data, limits, "the program's reply")
    except WireError:
        raise
    except (ValueError, RecursionError) as error:
        hint = _PROGRAM
        if data.startswith(MAGIC):
            hint = "this is a worker of Petal: write `protocol: petal` on the node's `execution` block"
        raise WireError(f"the program's reply is not JSON ({error}): {_cut(data)}", hint=hint) from None


def _cut(data: bytes) -> str:
    text = repr(data[: 4 * _SHOWN].decode("utf-8", "backslashreplace"))[1:-1]
    return (
        text if len(text) <= _SHOWN and len(data) <= 4 * _SHOWN else f"{text[:_SHOWN]}… ({len(data):,} bytes)"
    )


def _named(found: Any) -> str:
    return {dict: "object", str: "text", type(None): "null", bool: "flag"}.get(type(found), "number")
