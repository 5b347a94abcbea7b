"""GzipCompressor and GzipDecompressor."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petal import DataError
from petal.library import compression
from petal.library.compression import gzip_compressor, gzip_decompressor


def cut(data, size):
    return [data[i : i + size] for i in range(0, len(data), size)]


@given(
    parts=st.lists(st.binary(max_size=300)), size=st.integers(1, 50), chunk=st.sampled_from([1, 7, 1 << 20])
)
@settings(deadline=None, max_examples=60)
def test_bytes_survive(parts, size, chunk):
    """However they are cut, and as Python's gzip reads and writes them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compression, "CHUNK", chunk)
        packed = b"".join(gzip_compressor(parts, level=9))
        assert gzip.decompress(packed) == b"".join(parts)
        several = packed + b"\0" * 3 + gzip.compress(b"more")
        assert b"".join(gzip_decompressor(cut(several, size))) == b"".join(parts) + b"more"
        assert all(len(piece) <= chunk for piece in gzip_decompressor([packed]))


def test_damaged_bytes():
    """Not gzip, or not all of it; nothing is nothing."""
    assert list(gzip_decompressor([])) == []
    with pytest.raises(DataError, match="not of gzip, or damaged"):
        list(gzip_decompressor([b"hello"]))
    with pytest.raises(DataError, match="ends too early"):
        list(gzip_decompressor([gzip.compress(b"hello")[:-3]]))
