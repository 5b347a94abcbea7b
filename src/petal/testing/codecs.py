"""The contract of codecs: what a plugin's `petal_codecs` brings writes values as bytes and reads back the same."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from petal.errors import UsageError
from petal.interfaces.codec import Codec
from petal.testing.subject import check, check_same

#: Damaged messages that are tried of each sample.
_DAMAGED = 200


class CodecContract:
    """Tests of one codec; subclass it in a class whose name begins with ``Test``.

    ```python
    class TestGeoJson(CodecContract):
        codec = GeoJson()
        samples = [Point(1.5, 2.5), Polygon([])]
        others = ["a text", None]
    ```

    Attributes:
        codec: The codec.
        samples: Values that it takes, the awkward ones among them.
        others: Values that it does not take.
    """

    codec: ClassVar[Any] = None
    samples: ClassVar[Sequence[Any]] = ()
    others: ClassVar[Sequence[Any]] = (object(),)

    @pytest.fixture
    def tested(self) -> Codec:
        """The codec under test."""
        if self.codec is None or not self.samples:
            raise UsageError(
                f"{type(self).__name__} names no codec or no samples",
                hint="write `codec = ...`, `samples = [...]`",
            )
        found: Codec = self.codec
        return found

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make a test of each sample."""
        for name, found in (("sample", self.samples), ("other", self.others)):
            if name in metafunc.fixturenames:
                ids = [f"{type(value).__name__}{i}" for i, value in enumerate(found, 1)]
                metafunc.parametrize(name, found, ids=ids)

    def test_it_has_a_name(self, tested: Codec) -> None:
        """What is written beside the bytes."""
        check(isinstance(tested.name, str) and tested.name.strip(), f"its name is {tested.name!r}")
        check(tested.name.isprintable() and " " not in tested.name, f"its name is {tested.name!r}")

    def test_it_reads_back_what_it_wrote(self, tested: Codec, sample: Any) -> None:
        """The same value, of the same type, from memory that it does not keep."""
        check(tested.takes(sample) is True, f"it does not take {sample!r:.200}")
        data = tested.encode(sample)
        check(type(data) is bytes, f"it wrote {type(data).__name__}, not bytes")
        memory = bytearray(data)
        got = tested.decode(memoryview(memory).toreadonly())
        check_same(got, sample, "what it read back")
        memory[:] = bytes(len(memory))
        check_same(got, sample, "what it read back, after the memory was used for something else")

    def test_it_changes_no_value(self, tested: Codec, sample: Any) -> None:
        """Others may hold it."""
        before = copy.deepcopy(sample)
        tested.encode(sample)
        check_same(sample, before, "the value, after it was written")

    def test_equal_values_give_equal_bytes(self, tested: Codec, sample: Any) -> None:
        """A cache compares them."""
        check(
            tested.encode(copy.deepcopy(sample)) == tested.encode(sample), "two writings of one value differ"
        )

    def test_it_says_what_it_does_not_take(self, tested: Codec, other: Any) -> None:
        """An answer, and no exception."""
        check(tested.takes(other) is False, f"it says that it takes {other!r:.200}")

    def test_what_is_cut_off_is_an_error(self, tested: Codec, sample: Any) -> None:
        """A file that was not written to its end is never another value."""
        data = tested.encode(sample)
        for length in sorted({0, 1, len(data) // 2, len(data) - 1} - {len(data), -1}):
            got = _decoded(tested, data[:length])
            check(got is _REFUSED, f"{length} of {len(data)} bytes are read as {got!r:.200}")

    def test_what_is_damaged_runs_nothing(self, tested: Codec, sample: Any) -> None:
        """A ``ValueError``, or a value; no other exception and no command from the data."""
        data = tested.encode(sample)
        check(not _is_pickle(data), "it writes pickles, and to read one is to run what it says")

        @settings(max_examples=_DAMAGED, deadline=None, database=None, phases=[Phase.generate])
        @given(at=st.integers(0, max(len(data) - 1, 0)), byte=st.integers(0, 255), tail=st.binary(max_size=4))
        def holds(at: int, byte: int, tail: bytes) -> None:
            _decoded(tested, data[:at] + bytes([byte]) + data[at + 1 :] + tail)

        holds()
        for foreign in (b"", b"\0", b"petal", b"{}", os.urandom(64)):
            _decoded(tested, foreign)


class _Refused:
    def __repr__(self) -> str:
        return "<refused>"


_REFUSED = _Refused()


def _decoded(codec: Codec, data: bytes) -> Any:
    """Return what a codec reads of bytes; every other exception than ValueError is the test's to report."""
    try:
        return codec.decode(memoryview(data))
    except ValueError:
        return _REFUSED


def _is_pickle(data: bytes) -> bool:
    """Whether bytes begin and end as a pickle of protocol 2 or later does."""
    return len(data) > 2 and data[0] == 0x80 and data[1] in range(2, 6) and data.endswith(b".")
