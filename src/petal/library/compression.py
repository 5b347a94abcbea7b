"""Bytes in, bytes out: compressed, or decompressed, as they pass."""

import zlib
from collections.abc import Iterable, Iterator
from typing import Annotated

from msgspec import Meta

from petal import DataError, operator

#: Makes zlib write and expect the gzip format.
_GZIP = 16 + zlib.MAX_WBITS
#: Bytes of a decompressed chunk, at most.
CHUNK = 1 << 20


@operator(rowwise=False)
def gzip_compressor(
    chunks: Iterable[bytes], *, level: Annotated[int, Meta(ge=1, le=9)] = 6
) -> Iterator[bytes]:
    """Compress a stream of bytes with gzip.

    The chunks together are one gzip file; the same bytes give the same result. To read or write
    compressed files, no node is needed: readers and writers do it for names in `.gz`.

    Args:
        chunks: Pieces of the bytes, cut anywhere.
        level: From 1, fast, to 9, small.

    Example:
        nodes:
          - { id: source, type: EmptySource }
          - { id: packed, type: GzipCompressor }
          - { id: plain, type: GzipDecompressor }
          - { id: sink, type: NoOpSink }
        edges:
          - [source, packed]
          - [packed, plain]
          - [plain, sink]
    """
    packer = zlib.compressobj(level, wbits=_GZIP)
    for chunk in chunks:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()


@operator(rowwise=False)
def gzip_decompressor(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress a stream of bytes that gzip has compressed.

    Several gzip files one after the other are one stream, as for the program `gzip`.

    Args:
        chunks: Pieces of the bytes, cut anywhere.

    Raises:
        DataError: The bytes are not of gzip, are damaged or end too early.

    Example:
        nodes:
          - { id: source, type: EmptySource }
          - { id: packed, type: GzipCompressor, params: { level: 9 } }
          - { id: plain, type: GzipDecompressor }
          - { id: sink, type: NoOpSink }
        edges:
          - [source, packed]
          - [packed, plain]
          - [plain, sink]
    """
    member, ended = None, False
    for chunk in chunks:
        data = bytes(chunk)
        while data:
            if member is None:
                if ended and not (data := data.lstrip(b"\0")):  # what pads the end of a tape
                    break
                member = zlib.decompressobj(wbits=_GZIP)
            try:
                plain = member.decompress(data, CHUNK)
            except zlib.error as error:
                raise DataError(f"the bytes are not of gzip, or damaged: {error}") from None
            if plain:
                yield plain
            data = member.unused_data if member.eof else member.unconsumed_tail
            if member.eof:
                member, ended = None, True
    if member is not None:
        raise DataError("the gzip data ends too early", hint="check that nothing was cut off")
