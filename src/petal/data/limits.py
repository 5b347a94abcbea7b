"""Check on the bytes how deep and long JSON and MessagePack are, before anything is made of them."""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct

from petal.errors import WireError


class Limits(Struct, frozen=True, gc=False):
    """What a message may be at most.

    Attributes:
        bytes: Bytes of the whole message; None for as many as there are, between processes of one machine.
        depth: Containers inside one another.
        items: Values in the header, and in each attachment.
        key: Characters of a key.
        digits: Digits of a number that is written as text.
    """

    bytes: int | None = 32 << 20
    depth: int = 64
    items: int = 1_000_000
    key: int = 4096
    digits: int = 4300


LIMITS = Limits()
#: What a message may be that lies in a store, and is read from there: its size and digest are known beforehand.
CLAIMED = Limits(bytes=1 << 30)

#: A text of JSON, with the colon behind it if it is a key. No pattern here ever goes back, so each is one pass.
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?(\s*+:)?', re.DOTALL)
_NUMBER = re.compile(rb"[-+.0-9eE]++")
_NO_BRACKET = bytes(set(range(256)) - set(b"{}[]"))


def check_json(data: bytes, limits: Limits, what: str = "the header") -> None:
    """Check the JSON of a header, or of a program's reply.

    Raises:
        WireError: It is too deep, has too many values, or a key or number that is too long.
    """
    opened = data.count(b"{") + data.count(b"[")
    if len(data) <= min(limits.key, limits.digits, limits.items) and opened <= limits.depth:
        return  # so short that nothing in it can be too long

    def short(found: re.Match[bytes]) -> bytes:
        if found[1] is not None and len(found[0]) - len(found[1]) - 2 > limits.key:
            raise _too(f"a key of {what}", "characters", limits.key)
        return b'"'

    bare = _TEXT.sub(short, data)
    brackets = bare.translate(None, _NO_BRACKET)
    if bare.count(b",") + len(brackets) // 2 >= limits.items:
        raise _too(what, "values", limits.items)
    if max(map(len, _NUMBER.findall(bare)), default=0) > limits.digits:
        raise _too(f"a number of {what}", "digits", limits.digits)
    if len(brackets) > limits.depth:
        depth = 0
        for byte in brackets:
            depth += 1 if byte in b"{[" else -1
            if depth > limits.depth:
                raise _too(what, "containers inside one another", limits.depth)


# -- MessagePack ----------------------------------------------------------------------------------------------

#: For each first byte: the bytes that follow, those that say a length, and the values in it per counted item.
_FIXED: list[int] = [0] * 256
_LENGTH: list[int] = [0] * 256
_COUNTED: list[int] = [0] * 256
for _byte, _size in {
    0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
    0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17, 0xC7: 1, 0xC8: 1, 0xC9: 1,
}.items():  # fmt: skip
    _FIXED[_byte] = _size
for _byte, _size in {
    0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4,
    0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4,
}.items():  # fmt: skip
    _LENGTH[_byte] = _size
for _byte in (0xDC, 0xDD):
    _COUNTED[_byte] = 1
for _byte in (0xDE, 0xDF):
    _COUNTED[_byte] = 2


def check_msgpack(data: Any, limits: Limits) -> None:
    """Check one value of MessagePack.

    Args:
        data: A memoryview of bytes.
        limits: What it may be.

    Raises:
        WireError: It is too deep, has too many values, ends early, or has something behind its end.
    """
    at, end, seen = 0, len(data), 0
    left = 1  # values that the innermost container still wants
    outer: list[int] = []  # the same for those around it
    while True:
        while not left:
            if not outer:
                if at != end:
                    raise WireError("an attachment has bytes behind its end")
                return
            left = outer.pop()
        left -= 1
        seen += 1
        if at >= end:
            raise WireError("an attachment ends in the middle of a value")
        byte = data[at]
        at += 1
        if byte < 0x80 or byte >= 0xE0 or 0xC0 <= byte <= 0xC3:
            continue
        if byte < 0xA0:
            inside = (byte & 15) << (byte < 0x90)
        elif byte < 0xC0:
            at += byte & 31
            continue
        else:
            at += _FIXED[byte]
            size = _LENGTH[byte]
            if not size:
                continue
            start = at - _FIXED[byte]
            at += size
            count = int.from_bytes(data[start : start + size], "big")
            if not _COUNTED[byte]:
                at += count
                continue
            inside = count * _COUNTED[byte]
        if seen + inside > limits.items:
            raise _too("an attachment", "values", limits.items)
        outer.append(left)
        left = inside
        if len(outer) > limits.depth:
            raise _too("an attachment", "containers inside one another", limits.depth)


def _too(what: str, unit: str, limit: int) -> WireError:
    return WireError(
        f"{what} has more than {limit:,} {unit}",
        hint="send less in one message, or raise the limit where the message is read",
    )
