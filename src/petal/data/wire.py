"""Messages between processes: a JSON header and binary attachments, as one piece of bytes and apart (DESIGN.md §5)."""

from __future__ import annotations

import base64
import binascii
import io
import json
import mmap
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from petal.data.framing import CLAIM, MAGIC, TORN, cut, joined, sizes_of, split, too_large
from petal.data.limits import CLAIMED, LIMITS, Limits, check_json
from petal.errors import WireError

if TYPE_CHECKING:
    from petal.data.sealed import Asked
    from petal.interfaces.claims import ClaimCheck

__all__ = [
    "LIMITS",
    "Incoming",
    "Limits",
    "Message",
    "Outgoing",
    "Spool",
    "as_text",
    "from_text",
    "pack",
    "read_header",
    "unpack",
]

_encode = msgspec.json.Encoder().encode
_REMEDY = (
    "send less at a time (`batch`); where a backend has the setting `claims`, name a place for large messages there: "
    "`claims: s3://bucket/prefix`"
)


class Spool:
    """The attachments of a message that is being made: in memory up to a limit, then all in one file.

    Args:
        folder: Where the file will be, None for the temporary folder.
        limit: Bytes that stay in memory.

    Attributes:
        sizes: Bytes of each attachment.
        path: The file that holds all attachments one after the other, mode 0600; None while they are in memory.
    """

    __slots__ = ("_file", "_folder", "_held", "_limit", "_memory", "path", "sizes")

    def __init__(self, folder: str | None = None, limit: int = 1 << 20) -> None:
        self._folder = folder
        self._limit = limit
        self._memory: list[Any] = []
        self._held = 0
        self._file: IO[bytes] | None = None
        self.sizes: list[int] = []
        self.path: str | None = None

    def add(self, data: Any) -> int:
        """Add an attachment, and return its number, from 0.

        Args:
            data: Anything with a buffer. It is not copied while it stays in memory, so it must not change.
        """
        size = len(data) if type(data) is bytes else memoryview(data).nbytes
        if self._file is None and self._held + size <= self._limit:
            self._memory.append(data)
            self._held += size
        else:
            self._opened().write(data)
        self.sizes.append(size)
        return len(self.sizes) - 1

    def add_written(self, write: Callable[[IO[bytes]], object], about: int) -> int:
        """Add what a function writes to a binary file, and return its number.

        Args:
            write: Called with the file; it writes from where that stands, and leaves it open.
            about: Bytes that it will write, more or less: large ones go to the spool's file without a copy.
        """
        if self._file is None and self._held + about <= self._limit:
            buffer = io.BytesIO()
            write(buffer)
            return self.add(buffer.getbuffer())
        file = self._opened()
        file.flush()
        before = sum(self.sizes)
        write(file)
        file.flush()
        self.sizes.append(os.fstat(file.fileno()).st_size - before)
        file.seek(0, os.SEEK_END)  # a library may have written behind the file object's back
        return len(self.sizes) - 1

    @property
    def parts(self) -> Sequence[memoryview]:
        """The attachments; of a file, mapped into memory. They outlive the spool."""
        if self._file is None:
            return [memoryview(data).cast("B") for data in self._memory]
        self._file.flush()
        if not sum(self.sizes):
            return [memoryview(b"")] * len(self.sizes)
        return cut(memoryview(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)), self.sizes)

    def flush(self) -> None:
        """See to it that the file, if there is one, holds everything."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Remove the file, and forget what is in memory."""
        self._memory = []
        file, self._file = self._file, None
        if file is not None:
            assert self.path is not None
            file.close()
            Path(self.path).unlink(missing_ok=True)  # whoever it was handed to may have taken it

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            self.close()

    def _opened(self) -> IO[bytes]:
        """Return the file; the first time, with all that was in memory."""
        if self._file is None:
            import tempfile  # with shutil and random, 3 ms that small messages do not pay

            number, self.path = tempfile.mkstemp(prefix="petal-", suffix=".parts", dir=self._folder)
            self._file = os.fdopen(number, "w+b")
            self._file.writelines(self._memory)
            self._memory = []
        return self._file


class Message(Struct, frozen=True):
    """A message that was taken apart.

    Attributes:
        header: Its header.
        parts: Its attachments, views into the bytes that came.
    """

    header: dict[str, Any]
    parts: Sequence[memoryview]


def pack(header: Mapping[str, Any], spool: Spool | Sequence[Any]) -> bytes:
    """Make one piece of bytes of a header and attachments.

    Args:
        header: Plain data; the sizes of the attachments are added as ``parts``.
        spool: The attachments.
    """
    parts = spool.parts if isinstance(spool, Spool) else [memoryview(p).cast("B") for p in spool]
    return joined(_encode({**header, "parts": [p.nbytes for p in parts]}), parts)


def unpack(data: Any, limits: Limits | None = LIMITS) -> Message:
    """Take a message apart, without copying its attachments.

    Args:
        data: The message, anything with a buffer.
        limits: What it may be at most, looked at before anything is parsed; None for no limits.

    Raises:
        WireError: It is no message, is damaged, or is beyond a limit.
    """
    header, rest = split(data, limits)
    found = read_header(header, limits)
    return Message(found, cut(rest, sizes_of(found, rest.nbytes)))


def read_header(data: Any, limits: Limits | None = LIMITS) -> dict[str, Any]:
    """Parse a header: strict JSON, an object, no key twice, within the limits.

    Raises:
        WireError: It is not that.
    """
    try:
        found = decode_json(bytes(data), limits, "the header")
    except (ValueError, RecursionError) as error:
        raise WireError(f"a message's header is not JSON: {error}", hint=TORN) from None
    if type(found) is not dict:
        raise WireError("a message's header is no JSON object", hint=TORN)
    return found


def decode_json(data: bytes, limits: Limits | None, what: str) -> Any:
    """Parse strict JSON: no key twice, no ``NaN``, within the limits.

    Args:
        data: The JSON.
        limits: What it may be at most, looked at before anything is parsed; None for no limits.
        what: What it is, for messages.

    Raises:
        ValueError: It is not JSON, or not Unicode.
        RecursionError: It is too deep, and there are no limits.
        WireError: It is beyond a limit.
    """
    if limits is not None:
        check_json(data, limits, what)
    return _decode(data.decode())


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"`{name}` is not JSON")


_decode = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant).decode


# -- text -----------------------------------------------------------------------------------------------------


def as_text(data: Any) -> dict[str, Any]:
    """Return a message as plain data, for a transport that carries JSON only.

    Args:
        data: A message, or one that is sealed: that travels whole, or its seal would break.
    """
    if memoryview(data).cast("B")[: len(MAGIC)] != MAGIC:
        return {"petal": 1, "sealed": base64.b64encode(data).decode()}
    message = unpack(data, None)
    return {**message.header, "parts": [base64.b64encode(p).decode() for p in message.parts]}


def from_text(found: Mapping[str, Any], limits: Limits | None = LIMITS) -> bytes:
    """Return the bytes of a message that came as plain data.

    Raises:
        WireError: It is none, or too large.
    """
    try:
        texts = [found["sealed"]] if "sealed" in found else list(found.get("parts", []))
        if (
            limits is not None
            and limits.bytes is not None
            and sum(map(len, texts)) > limits.bytes * 4 // 3 + 4
        ):
            raise WireError(f"a message's attachments have more than {limits.bytes:,} bytes")
        parts = [base64.b64decode(text, validate=True) for text in texts]
    except (TypeError, ValueError, AttributeError, binascii.Error):
        raise WireError("a message's attachments are not base64", hint=TORN) from None
    return parts[0] if "sealed" in found else pack(found, parts)


# -- messages that go, and come -------------------------------------------------------------------------------


class Outgoing:
    """A message that is being made. As a context, it removes its file at the end.

    Args:
        folder: Where large attachments may lie, None for the temporary folder.

    Attributes:
        spool: Takes the attachments.
        header: The header, once it is written.
        asked: Seals it, and opens the reply, where it leaves as one piece; None where there is no keyring.
        run: The run that it is of, by which what lies in a store is known to be its own.
    """

    __slots__ = ("_claim", "asked", "header", "run", "spool")

    def __init__(self, folder: str | None = None) -> None:
        self.spool = Spool(folder)
        self.header = b""
        self.asked: Asked | None = None
        self.run = ""
        self._claim = b""

    def write(self, header: Mapping[str, Any]) -> None:
        """Set the header, when all attachments are there: their sizes are added as ``parts``."""
        self.header = _encode({**header, "parts": self.spool.sizes})
        self.spool.flush()

    @property
    def plain(self) -> None:
        """Nothing: only a worker of Petal understands it."""
        return

    @property
    def parts(self) -> Sequence[memoryview]:
        """Its attachments."""
        return self.spool.parts

    @property
    def path(self) -> str | None:
        """The file that holds the attachments one after the other, where they are in one."""
        return self.spool.path

    def packed(self, limit: int | None = None, claims: ClaimCheck | None = None) -> bytes:
        """Return all of it as one piece; where that is too large and there are claims, what says where it lies.

        Raises:
            RemoteError: It is too large, or it cannot be put where it is to lie.
        """
        if limit is None or len(self.header) + sum(self.spool.sizes) <= limit:
            data = self._sealed(joined(self.header, self.spool.parts))
            if limit is None or len(data) <= limit:
                return data
        if claims is None:
            raise too_large(len(self.header) + sum(self.spool.sizes), limit, _REMEDY)
        self._claim = claims.put(joined(self.header, self.spool.parts), "in", self.run)
        data = self._sealed(joined(self._claim))
        if len(data) > limit:
            raise too_large(len(data), limit, "the limit is too small for any message")
        return data

    def answered(self, data: Any, output: str = "", claims: ClaimCheck | None = None) -> Incoming:
        """Return the reply that came as one piece, after :meth:`packed`: verified first, then taken apart.

        Raises:
            SignatureError: It is not sealed as the reply to this message.
            WireError: It is damaged, or beyond a limit.
            ClaimLost: It lies elsewhere, and cannot be had there.
        """
        found, claim = data if self.asked is None else self.asked.opened(data), b""
        header, _ = split(found, LIMITS)
        if header.startswith(CLAIM):
            if claims is None:
                raise WireError("the reply lies in a store, and none is named here", hint=_REMEDY)
            found, claim = claims.get(header, "out", self.run), header
        reply = Incoming.of(found, CLAIMED if claim else LIMITS, output)
        if claims is not None and (claim or self._claim):
            claims.settle(self._claim, claim)
        return reply

    def _sealed(self, data: bytes) -> bytes:
        return data if self.asked is None else self.asked.sealed(data)

    def close(self) -> None:
        """Remove its file, if it has one."""
        self.spool.close()

    def __enter__(self) -> Outgoing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Incoming(Struct, frozen=True):
    """A message that came, its header not parsed yet: see :func:`read_header`.

    Attributes:
        header: The header, JSON.
        parts: The attachments.
        output: What the task printed, where it came another way than the message.
    """

    header: bytes
    parts: Sequence[memoryview] = ()
    output: str = ""

    @classmethod
    def of(cls, data: Any, limits: Limits | None = LIMITS, output: str = "") -> Incoming:
        """Take a message apart that came as one piece.

        Raises:
            WireError: It is no message, is damaged, or is beyond a limit.
        """
        header, rest = split(data, limits)
        return cls(header, cut(rest, sizes_of(read_header(header, limits), rest.nbytes)), output)
