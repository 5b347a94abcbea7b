"""Values to MessagePack and back by their annotation: they come back as they were, or are refused (S6.2)."""

from __future__ import annotations

import datetime
import gc
import os
import typing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache, partial
from pathlib import Path, PurePath
from typing import Any

import msgspec
from msgspec.msgpack import Ext

from petal.data.declared import kind_of
from petal.data.frames_wire import decode_frame, encode_frame, is_frame, part_of
from petal.data.kinds import ANYTHING, DEEPEST, KEY, Kind, Notes
from petal.data.limits import Limits, check_msgpack
from petal.data.wire import Spool
from petal.errors import DataError, WireError
from petal.spec.crossing import paths_as_text
from petal.spec.pipeline import MISSING
from petal.spec.url import URL, is_url

#: Extensions of MessagePack, in the wide form only: whole numbers, dates with time, times, dicts by pairs.
_INT, _DATETIME, _TIME, _PAIRS = 1, 2, 3, 4
#: Characters of a place in a value, beyond which it is not shown: it is deep inside, or contains itself.
_LONG = 500
#: What an error shows; everything else is named by its class.
_SHOWN = (str, bytes, int, float, tuple, datetime.date, datetime.time)
_KEPT = (bytes, bytearray, memoryview, datetime.datetime, datetime.time)
_LONGEST = 1 << 20
#: Bytes from which values are likely to be so many that the garbage collector would run.
_MANY = 1 << 14


class Packer:
    """Packs and unpacks values of one annotation.

    There are two forms: ``m``, MessagePack as msgspec writes and reads it by type; and ``t``, where all values are
    spelled out first, for what the first has no word for: numbers beyond 64 bits, zones of time.

    Args:
        annotation: What the values are declared to be, or MISSING.
    """

    def __init__(self, annotation: Any) -> None:
        self.kind = kind_of(annotation)
        self._type = Any if annotation in (MISSING, object) else annotation
        texts = paths_as_text(annotation)
        if texts is not None:
            self._type = texts
        self._is_text_of_paths = texts is not None
        self._takes_urls = texts is not None and _mentions_url(annotation)
        self._encode = msgspec.msgpack.Encoder(enc_hook=partial(_stand_in, None, "")).encode
        self._decoder: Any = None

    def pack(self, value: Any, spool: Spool, where: str, row: int | None = None) -> tuple[str, bytes]:
        """Return the form and the bytes of a value.

        Args:
            value: The value.
            spool: Takes the frames in it.
            where: What it is, for messages.
            row: The number of the first row where the value is a list of rows.

        Raises:
            DataError: It is not what its annotation says; the message says where in it.
        """
        notes = Notes()
        try:
            if not self.kind.fits([value], notes):
                raise self._misfit(value, where, row)
            if notes.wide:
                return "t", self._spelled(value, spool, where)
            if not self.kind.frames:
                return "m", self._encode(value)
            return "m", msgspec.msgpack.encode(value, enc_hook=partial(_stand_in, spool, where))
        except OverflowError:
            return "t", self._spelled(value, spool, where)
        except RecursionError:
            raise DataError(
                f"{where} is nested too deeply, or contains itself", hint="hand over something flatter"
            ) from None
        except UnicodeEncodeError as error:
            raise DataError(
                f"{where} holds text that is no Unicode: {error}",
                hint="read the text with `errors='replace'`, or hand over bytes",
            ) from None
        except TypeError as error:
            raise DataError(f"{where} cannot be written: {error}") from None

    def unpack(
        self,
        form: str,
        data: memoryview,
        parts: Sequence[memoryview],
        where: str,
        limits: Limits | None = None,
    ) -> Any:
        """Return the value of some bytes.

        Raises:
            DataError: It is not what its annotation says.
            WireError: The bytes are damaged, or beyond the limits.
        """
        if limits is not None:
            check_msgpack(data, limits)
        try:
            if form == "t":
                tree = msgspec.msgpack.decode(data, ext_hook=partial(_from_ext, limits))
                return msgspec.convert(tree, self._type, dec_hook=partial(_made, parts, where, limits))
            if self.kind.frames:
                hook = partial(_made, parts, where, limits)
                return msgspec.msgpack.decode(data, type=self._type, dec_hook=hook)
            if self._decoder is None:
                self._decoder = msgspec.msgpack.Decoder(
                    self._type, dec_hook=partial(_made, (), "", None), ext_hook=_no_ext
                )
            with _uncollected(data.nbytes):
                found = self._decoder.decode(data)
            return _paths(found, self._takes_urls) if self._is_text_of_paths else found
        except msgspec.ValidationError as error:
            raise DataError(f"{where} is not what is declared: {_lower(str(error))}") from None
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise WireError(f"{where} cannot be read: {error!s:.200}") from None

    def check(self, value: Any, where: str) -> None:
        """Refuse a value that is not what its annotation says.

        Raises:
            DataError: It is not; the message says where in it.
        """
        if not self.kind.fits([value], Notes()):
            raise self._misfit(value, where, None)

    def convert(self, found: Any, where: str) -> Any:
        """Return the value of plain data that stood in the header.

        Raises:
            DataError: It is not what is declared.
        """
        try:
            made = msgspec.convert(found, self._type, dec_hook=partial(_made, (), where, None))
        except (msgspec.ValidationError, ValueError, TypeError) as error:
            raise DataError(f"{where} is not what is declared: {_lower(str(error))}") from None
        return _paths(made, self._takes_urls) if self._is_text_of_paths else made

    def _spelled(self, value: Any, spool: Spool, where: str) -> bytes:
        tree = msgspec.to_builtins(value, builtin_types=_KEPT, enc_hook=partial(_stand_in, spool, where))
        return msgspec.msgpack.encode(_spelled(tree))

    def _misfit(self, value: Any, where: str, row: int | None) -> DataError:
        found = _first_misfit(value, self.kind)
        if found is None or len(found[0]) > _LONG:
            return DataError(f"{where} is nested too deeply", hint="hand over something flatter")
        path, wrong, kind = found
        if row is not None and path.startswith("["):
            at, _, rest = path[1:].partition("]")
            path = f"[{int(at) + row}]{rest}"
        place = f"{where}, at {path}" if path else where
        name = type(wrong).__name__
        said = f"{name} {wrong!r:.80}" if isinstance(wrong, _SHOWN) else name
        if kind not in (ANYTHING, KEY):
            return DataError(
                f"{place}: {said} instead of {kind.name}",
                hint="hand over what the annotation says, or correct the annotation",
            )
        return DataError(
            f"{place}: {said} cannot go to another process without an annotation",
            hint=_advice(path, wrong),
        )


def _paths(found: Any, urls: bool) -> Any:
    """Make paths, and URLs where they may be, of the texts that they were written as."""
    if isinstance(found, str):
        return URL(found) if urls and is_url(found) else Path(found)
    return [_paths(one, urls) for one in found] if isinstance(found, list) else found


def _mentions_url(annotation: Any) -> bool:
    return annotation is URL or any(map(_mentions_url, typing.get_args(annotation)))


@contextmanager
def _collector_off() -> Iterator[None]:
    """Keep the garbage collector from looking through what is being made, again and again: there is no garbage in it.

    It halves the time of records, and more with a large heap. It is off for milliseconds, and a thread that is in
    here at the same time can at worst turn it on again too early.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _uncollected(size: int) -> AbstractContextManager[None]:
    return _collector_off() if size >= _MANY and gc.isenabled() else nullcontext()


@lru_cache(1024)
def _packer(annotation: Any) -> Packer:
    return Packer(annotation)


def packer_of(annotation: Any) -> Packer:
    """Return the packer of an annotation; they are kept."""
    try:
        return _packer(annotation)
    except TypeError:  # unhashable, as Annotated[str, []] is
        return Packer(annotation)


def _first_misfit(value: Any, kind: Kind) -> tuple[str, Any, Kind] | None:
    """Return where a value is not what is declared (``[3].when``), what is there, and what should be."""
    path = ""
    if kind.fits([value], Notes()):
        return None
    for _ in range(DEEPEST):
        for step, inner, of in kind.steps(value) if kind.takes(type(value)) else ():
            if not of.fits([inner], Notes()):
                path, value, kind = path + step, inner, of
                break
        else:
            break
    return path, value, kind


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _advice(path: str, wrong: Any) -> str:
    name = type(wrong).__name__
    name = f"{name}[...]" if name in ("tuple", "set", "frozenset") else name
    if path.endswith(" (a key)"):
        return f"annotate the dict with the type of its keys, for example `dict[{name}, str]`"
    if isinstance(wrong, list | dict):
        return "hand over something flatter, and nothing that contains itself"
    field = path.rpartition(".")[2] if "." in path else ""
    if field.isidentifier():
        return f"annotate the records with a class or TypedDict that declares `{field}: {name}`"
    rows = "list[" * path.count("[") + name + "]" * path.count("[")
    return f"annotate it, for example `{rows}`"


# -- what MessagePack does not know ---------------------------------------------------------------------------


def _stand_in(spool: Spool | None, where: str, value: Any) -> Any:
    """Return what is written instead of a value of a class that msgspec does not know."""
    if isinstance(value, PurePath):
        text = str(value)
        try:
            text.encode()
        except UnicodeEncodeError:  # a name in no known encoding
            return os.fsencode(text)
        return text
    if isinstance(value, deque):
        return list(value)
    if spool is not None and is_frame(value):
        return encode_frame(value, spool, where)
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        return value.item()
    for base in (str, int, float):
        if isinstance(value, base):
            return base(value)
    raise TypeError(f"a {type(value).__name__} cannot be written")


def _made(parts: Sequence[memoryview], where: str, limits: Limits | None, kind: Any, found: Any) -> Any:
    """Make a value of a class that msgspec does not know of what stands in for it."""
    origin = typing.get_origin(kind) or kind
    if origin is object:
        return found
    if issubclass(origin, PurePath):
        return origin(os.fsdecode(found) if isinstance(found, bytes) else found)
    if issubclass(origin, URL):
        return URL(found)
    if issubclass(origin, deque):
        item = (typing.get_args(kind) or (Any,))[0]
        hook = partial(_made, parts, where, limits)
        return origin(msgspec.convert(found, list[item], dec_hook=hook))  # type: ignore[valid-type]
    if isinstance(found, dict) and "frame" in found:
        return decode_frame(found, part_of(parts, found.get("part"), where), where, limits)
    raise ValueError(f"a {getattr(origin, '__name__', origin)} cannot be read")


def _spelled(tree: Any) -> Any:
    """Replace what MessagePack has no word for by extensions."""
    kind = type(tree)
    if kind is dict:
        if any(type(k) in _WIDE for k in tree):
            return Ext(_PAIRS, msgspec.msgpack.encode([[_spelled(k), _spelled(v)] for k, v in tree.items()]))
        return {k: _spelled(v) for k, v in tree.items()}
    if kind in (list, tuple):
        return [_spelled(v) for v in tree]
    change = _WIDE.get(kind)
    return tree if change is None else change(tree)


def _spelled_int(value: int) -> Any:
    if -(1 << 63) <= value < 1 << 64:
        return value
    return Ext(_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _spelled_time(number: int, value: Any) -> Any:
    """Spell a time as text, the second of two same hours, and its zone: a name, or seconds from UTC."""
    zone: Any = None
    if value.tzinfo is not None:
        zone = getattr(value.tzinfo, "key", None)
        offset = value.utcoffset()
        if zone is None and offset is not None:
            zone = offset / datetime.timedelta(microseconds=1)
    return Ext(number, msgspec.msgpack.encode([value.replace(tzinfo=None).isoformat(), value.fold, zone]))


_WIDE: dict[type, Callable[[Any], Any]] = {
    int: _spelled_int,
    datetime.datetime: partial(_spelled_time, _DATETIME),
    datetime.time: partial(_spelled_time, _TIME),
}


def _no_ext(code: int, _data: memoryview) -> Any:
    raise ValueError(f"an extension {code} is not expected")


def _from_ext(limits: Limits | None, code: int, data: memoryview) -> Any:
    if code == _INT and data.nbytes <= _LONGEST:
        return int.from_bytes(data, "big", signed=True)
    if code == _PAIRS:
        if limits is not None:
            check_msgpack(data, limits)
        hook = partial(_from_ext, limits)
        return dict(msgspec.msgpack.decode(data, type=list[tuple[Any, Any]], ext_hook=hook))
    if code not in (_DATETIME, _TIME):
        return _no_ext(code, data)
    text, fold, zone = msgspec.msgpack.decode(data, type=tuple[str, int, str | float | None])
    kind = datetime.datetime if code == _DATETIME else datetime.time
    return kind.fromisoformat(text).replace(tzinfo=_zone(zone), fold=fold)


def _zone(zone: str | float | None) -> datetime.tzinfo | None:
    if zone is None:
        return None
    if isinstance(zone, str):
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        try:
            return ZoneInfo(zone)
        except ZoneInfoNotFoundError:
            raise ValueError(f"the time zone {zone!r} is not known here: `pip install tzdata`") from None
    return datetime.timezone(datetime.timedelta(microseconds=zone))
