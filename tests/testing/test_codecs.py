"""`CodecContract`: a codec that keeps it passes, and each way to break it is found."""

from __future__ import annotations

import json
import pickle
import struct
import zlib
from fractions import Fraction
from typing import Any

import pytest

from petal.testing import CodecContract


class Fractions:
    """Writes fractions: a checksum, then two numbers."""

    name = "fraction-1"

    def takes(self, value: Any) -> bool:
        return type(value) is Fraction

    def encode(self, value: Fraction) -> bytes:
        data = json.dumps([value.numerator, value.denominator]).encode()
        return struct.pack(">I", zlib.crc32(data)) + data

    def decode(self, data: memoryview) -> Fraction:
        if len(data) < 4 or struct.unpack(">I", data[:4])[0] != zlib.crc32(data[4:]):
            raise ValueError("no fraction")
        numerator, denominator = json.loads(bytes(data[4:]))
        return Fraction(numerator, denominator)


class TestFractions(CodecContract):
    codec = Fractions()
    samples = [Fraction(0), Fraction(-1, 3), Fraction(10**40, 7)]
    others = [1, 0.5, "1/3", None]


class Pickles(Fractions):
    def encode(self, value: Fraction) -> bytes:
        return pickle.dumps(value)

    def decode(self, data: memoryview) -> Any:
        try:
            return pickle.loads(data)
        except Exception as error:
            raise ValueError from error


class TakesAll(Fractions):
    def takes(self, value: Any) -> bool:
        return True


class Nameless(Fractions):
    name = ""


class Floats(Fractions):
    def encode(self, value: Fraction) -> bytes:
        return struct.pack(">d", value)

    def decode(self, data: memoryview) -> Fraction:
        return Fraction(struct.unpack(">d", data)[0])


class CutOff(Fractions):
    def encode(self, value: Fraction) -> bytes:
        return f"{value.numerator} {value.denominator}".encode()

    def decode(self, data: memoryview) -> Fraction:
        first, _, second = bytes(data).partition(b" ")
        return Fraction(int(first or b"0"), int(second or b"1"))


class Raises(Fractions):
    def decode(self, data: memoryview) -> Fraction:
        struct.unpack(">I", data[:4])
        return super().decode(data)


class Changing(Fractions):
    calls = 0

    def encode(self, value: Fraction) -> bytes:
        self.calls += 1
        return super().encode(value) + b" " * self.calls

    def decode(self, data: memoryview) -> Fraction:
        return Fraction(*json.loads(bytes(data[4:])))


THIRD = Fraction(-1, 3)


@pytest.mark.parametrize(
    ("codec", "test", "arguments", "error"),
    [
        (Nameless(), "test_it_has_a_name", {}, AssertionError),
        (Floats(), "test_it_reads_back_what_it_wrote", {"sample": THIRD}, AssertionError),
        (Changing(), "test_equal_values_give_equal_bytes", {"sample": THIRD}, AssertionError),
        (TakesAll(), "test_it_says_what_it_does_not_take", {"other": 1}, AssertionError),
        (CutOff(), "test_what_is_cut_off_is_an_error", {"sample": THIRD}, AssertionError),
        (Pickles(), "test_what_is_damaged_runs_nothing", {"sample": THIRD}, AssertionError),
        (Raises(), "test_what_is_damaged_runs_nothing", {"sample": THIRD}, struct.error),
    ],
    ids=lambda found: type(found).__name__ if isinstance(found, Fractions) else None,
)
def test_a_codec_that_breaks_the_contract_fails(
    codec: Any, test: str, arguments: dict[str, Any], error: type[BaseException]
) -> None:
    """A positive control for each test; the good codec passes the same one."""
    getattr(CodecContract(), test)(Fractions(), **arguments)
    with pytest.raises(error):
        getattr(CodecContract(), test)(codec, **arguments)
