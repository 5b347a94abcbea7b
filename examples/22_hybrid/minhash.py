"""MinHash: how alike two texts are, told from a few numbers for each (Broder, 1997)."""

import re
from hashlib import blake2b

WORD = re.compile(r"\w+")


def shingles(text: str, size: int = 5) -> set[str]:
    """Return all pieces of so many characters; case and punctuation do not count."""
    plain = " ".join(WORD.findall(text.lower()))
    return {plain[i : i + size] for i in range(max(1, len(plain) - size + 1))}


def signature(text: str, numbers: int = 128) -> list[int]:
    """Return the least hash of all pieces of a text, for each of so many hash functions."""
    pieces = [piece.encode() for piece in shingles(text)]
    return [min(_hash(piece, i) for piece in pieces) for i in range(numbers)]


def likeness(one: list[int], other: list[int]) -> float:
    """Estimate which share of the pieces of two texts they have in common."""
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)


def _hash(piece: bytes, number: int) -> int:
    return int.from_bytes(blake2b(piece, digest_size=4, salt=number.to_bytes(16, "big")).digest(), "big")
