"""What goes into operators and comes out of them, to parts of a message and back, by annotation (S6)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from math import isfinite
from typing import Any

from petal.data.adapters import AsyncRows, batch_rows
from petal.data.batches import BATCH_ROWS
from petal.data.codecs import Codecs
from petal.data.frames import batches_of
from petal.data.frames_wire import (
    decode_adapted,
    decode_batch,
    decode_frame,
    encode_adapted,
    encode_batch,
    encode_frame,
    is_frame,
    part_of,
)
from petal.data.limits import Limits
from petal.data.packing import Packer, packer_of
from petal.data.wire import Spool
from petal.errors import DataError, WireError
from petal.spec.pipeline import MISSING
from petal.spec.views import Seen, View, container_of

#: The one key of what stands in a header for something in the attachments. A value's own dict with such a key never
#: stands in a header: it becomes an attachment, where nothing has a meaning (FAULTS F78).
MARK = "$petal"
_SCALARS = frozenset({bool, int, float, str})
_PLAIN = _SCALARS | {type(None), list, dict}
#: Values, and characters of text, up to which plain data stands in the header.
_FEW, _SHORT = 64, 1024
_BUILDERS: dict[str, Any] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "deque": deque,
}
#: Where no plugin brings any.
NO_CODECS = Codecs(())
_COLLECTIONS = (list, tuple, set, frozenset, deque)


def encode_port(
    value: Any, annotation: Any, seen: Seen, spool: Spool, where: str, codecs: Codecs | None = None
) -> Any:
    """Turn what flows through a port into plain data for a header, and attachments.

    Args:
        value: What flows, in the port's own view; a stream is read to its end.
        annotation: The port's annotation, or MISSING.
        seen: The annotation taken apart.
        spool: Takes the attachments.
        where: What it is, for messages: ``input `x```.
        codecs: Those of plugins, which write what is their kind; None where none take part.

    Raises:
        DataError: Something in it is not what the annotation says, or cannot be written; the message says where.
    """
    if value is None:
        return None
    if type(value) is annotation and _stands_in_header(value):
        return value
    view = seen.view
    if view is View.VALUE:
        return _encode_value(value, annotation, spool, where, codecs)
    if view is View.WHOLE:
        return _encode_whole(value, seen, spool, where, codecs)
    if view is View.ITEMS:
        rows = value.plain() if isinstance(value, AsyncRows) else _opened(value, where)
        return {MARK: {"rows": _row_pieces(rows, seen.element, spool, where, codecs)}}
    return {MARK: {"rows": list(_batch_pieces(value, seen.element, spool, where))}}


def decode_port(
    found: Any,
    annotation: Any,
    seen: Seen,
    parts: Sequence[memoryview],
    where: str,
    limits: Limits | None = None,
    codecs: Codecs | None = None,
) -> Any:
    """Return what flows through a port, of what a header and attachments say.

    A stream comes as a plain iterator, of items or of batches, which is decoded as it is read;
    :func:`petal.data.adapters.adapt` makes what an operator takes of it.

    Args:
        found: What the header says.
        annotation: The port's annotation, or MISSING.
        seen: The annotation taken apart.
        parts: The attachments.
        where: What it is, for messages.
        limits: What an attachment may be; None for those of a process of this machine.
        codecs: Those of plugins, which read what they wrote; None where none take part.

    Raises:
        DataError: It is not what the annotation says.
        EnvironmentNotReady: A codec wrote it that is not here.
        WireError: It is damaged, or beyond the limits.
    """
    if found is None or (type(found) is annotation and annotation in _SCALARS):
        return found
    view = seen.view
    if type(found) is not dict or MARK not in found:
        if view is View.VALUE:
            return packer_of(annotation).convert(found, where)
        rows = _rows_packer(seen.element).convert(found, where)
        return iter(rows) if view.streams else rows
    mark = found[MARK]
    if type(mark) is not dict:
        raise WireError(f"{where} is marked by what is no mark")
    if "rows" in mark:
        pieces = _decoded_pieces(mark["rows"], seen.element, parts, where, limits, codecs or NO_CODECS)
        if view is View.BATCHES:
            return pieces
        return chain.from_iterable(map(batch_rows, pieces)) if view.streams else _collected(pieces, mark)
    if "frame" in mark:
        part = part_of(parts, mark.get("part"), where)
        adapter = seen.adapter
        if adapter is not None and adapter.name == mark["frame"]:
            return decode_adapted(part, adapter, where, limits)
        return decode_frame(mark, part, where, limits)
    if "codec" in mark:
        return (codecs or NO_CODECS).read(mark, part_of(parts, mark.get("part"), where), where)
    for form in ("m", "t"):
        if form in mark:
            part = part_of(parts, mark[form], where)
            return packer_of(annotation).unpack(form, part, parts, where, limits)
    raise WireError(f"{where} is marked by an unknown mark")


# -- values ---------------------------------------------------------------------------------------------------


def _encode_value(value: Any, annotation: Any, spool: Spool, where: str, codecs: Codecs | None) -> Any:
    is_plain = _stands_in_header(value)
    if codecs is not None and not is_plain:
        mark = codecs.write(value, spool, where)
        if mark is not None:
            return {MARK: mark}
    packer = packer_of(annotation)
    if is_plain:
        packer.check(value, where)
        return value
    return _packed(packer, value, spool, where)


def _packed(packer: Packer, value: Any, spool: Spool, where: str) -> dict[str, Any]:
    form, data = packer.pack(value, spool, where)
    return {MARK: {form: spool.add(data)}}


def _stands_in_header(value: Any) -> bool:
    """Whether a value is plain data, and little of it."""
    kind = type(value)
    if kind is int:
        return bool(-(1 << 63) <= value < 1 << 63)
    if kind is str:
        return len(value) <= _SHORT and _is_unicode(value)
    if kind is float:
        return isfinite(value)
    if kind is list or kind is dict:
        return _is_little(value)
    return kind is bool


def _is_little(value: Any) -> bool:
    """Look at every value inside of a list or dict, and stop when there are too many."""
    waiting, letters = [value], 0
    if type(value) is dict and MARK in value:
        return False
    for count, one in enumerate(waiting):
        kind = type(one)
        if count > _FEW or kind not in _PLAIN:
            return False
        if kind is str:
            letters += len(one)
            if letters > _SHORT or not _is_unicode(one):
                return False
        elif kind is list:
            waiting += one[: _FEW + 1]
        elif kind is dict:
            if len(one) > _FEW or not all(type(k) is str for k in one):
                return False
            waiting += one
            waiting += one.values()
        elif kind in _SCALARS and not _stands_in_header(one):
            return False
    return _depth_is_little(value)


def _depth_is_little(value: Any, left: int = 16) -> bool:
    if type(value) not in (list, dict):
        return True
    inner: Iterable[Any] = value.values() if type(value) is dict else value
    return left > 0 and all(_depth_is_little(v, left - 1) for v in inner)


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# -- everything at once ---------------------------------------------------------------------------------------


def _encode_whole(value: Any, seen: Seen, spool: Spool, where: str, codecs: Codecs | None) -> Any:
    adapter = seen.adapter
    if adapter is not None and adapter.takes(type(value)):
        return {MARK: encode_adapted(value, adapter, spool, where)}
    if is_frame(value):
        return {MARK: encode_frame(value, spool, where)}
    if type(value) is list and len(value) <= _FEW and _stands_in_header(value):
        _rows_packer(seen.element).check(value, where)
        return value
    container = next((k.__name__ for k in _COLLECTIONS if isinstance(value, k)), "list")
    rows = value if type(value) is list else _opened(value, where)
    pieces = _row_pieces(rows, seen.element, spool, where, codecs)
    return {MARK: {"rows": pieces, "as": container}}


def _collected(pieces: Iterator[Any], mark: Mapping[str, Any]) -> Any:
    build = _BUILDERS.get(str(mark.get("as")), list)
    found: list[Any] = []
    for piece in pieces:  # whole pieces: a list that grows by one row after another takes twice as long
        found.extend(batch_rows(piece))
    return found if build is list else build(found)


# -- rows, in pieces ------------------------------------------------------------------------------------------


def _opened(value: Any, where: str) -> Iterator[Any]:
    if isinstance(value, str | bytes | bytearray | Mapping) or not hasattr(value, "__iter__"):
        raise DataError(
            f"{where} should be rows, but is one {type(value).__name__}",
            hint="return a list of it: it is never taken apart into rows",
        )
    batches = batches_of(value) if is_frame(value) else None
    return iter(value) if batches is None else chain.from_iterable(map(batch_rows, batches))


def _rows_packer(element: Any) -> Packer:
    return packer_of(list[Any] if element is MISSING else list[element])


def _row_pieces(
    rows: Iterator[Any] | list[Any], element: Any, spool: Spool, where: str, codecs: Codecs | None
) -> list[Any]:
    packer, done = _rows_packer(element), 0
    pieces: list[Any] = []
    whole = rows if type(rows) is list else None
    while piece := list(islice(rows, BATCH_ROWS)) if whole is None else whole[done : done + BATCH_ROWS]:
        written = codecs.write_rows(piece, spool, where) if codecs is not None else None
        if written is None:
            form, data = packer.pack(piece, spool, where, done)
            written = form, spool.add(data)
        pieces.append(written)
        done += len(piece)
    return pieces


def _batch_pieces(value: Any, element: Any, spool: Spool, where: str) -> Iterator[Any]:
    batches = batches_of(value) if container_of(type(value)) else None
    for number, batch in enumerate(_opened(value, where) if batches is None else batches):
        if type(batch) is list:
            form, data = _rows_packer(element).pack(batch, spool, f"{where}, batch {number + 1}")
            yield form, spool.add(data)
            continue
        piece = encode_batch(batch, spool, where)
        if piece is None:
            raise DataError(
                f"{where}: batch {number + 1} is one {type(batch).__name__}, which is no batch",
                hint="yield a polars Series or DataFrame for each batch, or annotate the stream as `Iterator[...]`",
            )
        yield piece


def _decoded_pieces(
    pieces: Any, element: Any, parts: Sequence[memoryview], where: str, limits: Limits | None, codecs: Codecs
) -> Iterator[Any]:
    if type(pieces) is not list or not all(type(p) in (list, tuple) and len(p) == 2 for p in pieces):
        raise WireError(f"{where} does not say where its rows are")
    packer = _rows_packer(element)

    def decoded() -> Iterator[Any]:
        for form, number in pieces:
            part = part_of(parts, number, where)
            if form in ("s", "f"):
                yield decode_batch(form, part, where, limits)
            elif form in ("m", "t"):
                yield packer.unpack(form, part, parts, where, limits)
            elif type(form) is str and form.startswith("c:"):
                yield codecs.read_rows(form, part, where, limits)
            else:
                raise WireError(f"{where} has rows in an unknown form")

    return decoded()
