"""What a codec is: something that writes values of its kind as bytes, and reads them back."""

from __future__ import annotations

from typing import Any, Protocol


class Codec(Protocol):
    """Writes values as bytes and reads them back, for the wire and the cache.

    What it writes outlives the process and the version of the plugin that wrote it, and may have been tampered with. So:

    * it never runs what it reads: no pickle, no import by a name found in the data;
    * bytes that it did not write, or only a part of which is there, are a ``ValueError`` and never another value;
    * another layout of the bytes is another codec, with another name.

    A worker process makes codecs of its own: there it is an instance of the same class, made without arguments, and the
    class stands at the top level of its module.
    """

    @property
    def name(self) -> str:
        """What is written beside the bytes, so that whoever reads them finds the codec again, such as ``geojson-1``."""
        ...

    def takes(self, value: Any) -> bool:
        """Say whether it can write a value so that it comes back equal and of the same type; quick, raises nothing."""
        ...

    def encode(self, value: Any) -> bytes:
        """Return a value that it takes as bytes, the same for equal values in every process."""
        ...

    def decode(self, data: memoryview) -> Any:
        """Return the value that was written; the memory is not the codec's to keep.

        Raises:
            ValueError: These are no bytes that it wrote.
        """
        ...
