"""The checksum that S3 keeps of an object, compared with what came."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

_MD5: Final = re.compile(r'"?([0-9a-f]{32})"?')


class Checksum:
    """The checksum of a whole object, where S3 keeps one that Python computes quickly; else nothing is compared.

    Args:
        answer: What S3 said of the object.

    Attributes:
        name: What it is called; empty where there is none.
    """

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.name, self._expected, made = _kept(answer)
        self._sum = made()

    def add(self, piece: bytes) -> None:
        """Take the next bytes."""
        self._sum.update(piece)

    def fits(self) -> bool:
        """Whether all that came is what S3 keeps."""
        return not self.name or self._sum.digest() == self._expected


class Crc32:
    """The checksum CRC-32, with the methods of :mod:`hashlib`."""

    def __init__(self) -> None:
        self.value = 0

    def update(self, piece: bytes | bytearray) -> None:
        """Take the next bytes."""
        self.value = zlib.crc32(piece, self.value)

    def digest(self) -> bytes:
        """Return its four bytes."""
        return self.value.to_bytes(4, "big")

    def text(self) -> str:
        """Return it as S3 writes it."""
        return base64.b64encode(self.digest()).decode()


class _Nothing:
    def update(self, piece: bytes) -> None:
        """Compute nothing."""


def _kept(answer: Mapping[str, Any]) -> tuple[str, bytes, Callable[[], Any]]:
    """Return the name of what S3 keeps, its value, and what computes it."""
    for name, made in _KINDS.items():
        text = str(answer.get(f"Checksum{name}", ""))
        if text and "-" not in text:  # with one it is a checksum of the checksums of parts
            return name, base64.b64decode(text), made
    # The ETag is the MD5 of what was put by one call, unless a key of the customer's encrypts it.
    found = _MD5.fullmatch(str(answer.get("ETag", "")))
    is_plain = answer.get("ServerSideEncryption") in (None, "AES256") and "SSECustomerAlgorithm" not in answer
    if found is not None and is_plain and answer.get("StorageClass") != "EXPRESS_ONEZONE":
        return "MD5", bytes.fromhex(found[1]), lambda: hashlib.md5(usedforsecurity=False)
    return "", b"", _Nothing


_KINDS: dict[str, Callable[[], Any]] = {
    "CRC32": Crc32,
    "SHA256": hashlib.sha256,
    "SHA1": lambda: hashlib.sha1(usedforsecurity=False),
}
