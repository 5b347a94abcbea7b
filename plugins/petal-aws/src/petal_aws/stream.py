"""Read an object from its beginning to its end, as a stream: one version of it, all of it, checked, or an error."""

from __future__ import annotations

import io
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from petal_aws.checksum import Checksum
from petal_aws.failures import Damaged, explained, is_missing, is_occupied
from petal_aws.location import Location
from petal_aws.objects import etag
from petal_aws.patience import Patience, patiently
from petal_aws.session import client

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: Bytes after which the connection has proved itself: tries and time are counted anew.
_BLOCK: Final = 1 << 20
#: Bytes of an object that is held in memory as a whole.
SMALL: Final = 4 << 20


class ObjectStream(io.RawIOBase):
    """The bytes of an object. Where the connection breaks or what comes ends early, it goes on behind what it has.

    Args:
        location: The object.
        patience: How often in a row it goes on, and how many seconds a mebibyte may take.
        checked: Whether the checksum that S3 keeps is compared, before the last bytes are given.
        what: What it is about, for messages.

    Attributes:
        size: Its bytes.
        version: Its ETag.
        metadata: What whoever wrote it said of it.

    Raises:
        OSError: It cannot be opened: ``FileNotFoundError`` where it is not there.
    """

    def __init__(
        self, location: Location, patience: Patience, *, checked: bool = True, what: str = ""
    ) -> None:
        super().__init__()
        self._where = {"Bucket": location.bucket, "Key": location.key}
        self._patience, self._what = patience, what
        self._raw: Any = None
        self._at = 0
        self._tries, self._waited, self._since = 0, 0.0, 0
        answer = patiently(patience, self._asked, what)
        self.version = etag(answer)
        self.metadata: dict[str, str] = answer.get("Metadata", {})
        self._sum = Checksum(answer if checked and _compares() else {})
        try:
            self.size = int(answer["ContentLength"]) if "ContentLength" in answer else self._size()
        except BaseException:
            self.close()
            raise

    def readable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read what comes next, as much as there is at once.

        Raises:
            OSError: The object was replaced or removed, the connection fails again and again, or the checksum is another.
        """
        view = memoryview(buffer).cast("B")
        piece = b""
        if self._at < self.size and view.nbytes:
            piece = self._piece(min(view.nbytes, self.size - self._at))
            view[: len(piece)] = piece
        if self._at == self.size and self._raw is not None:
            self._finish()
        return len(piece)

    def readall(self) -> bytes:
        """Read all that is still to come."""
        data = bytearray(self.size - self._at)
        view, at = memoryview(data), 0
        while (read := self.readinto(view[at:])) or at < len(data):
            at += read
        view.release()
        return bytes(data)

    def close(self) -> None:
        """Let go of the connection; one whose bytes were not read to the end is of no further use."""
        raw, self._raw = self._raw, None
        if raw is not None:
            raw.close()
        super().close()

    # -- inside -----------------------------------------------------------------------------------------------

    def _asked(self, **more: str) -> Any:
        """Open a connection for what is still to come."""
        answer = client("s3").get_object(**self._where, **more)
        if self._raw is not None:
            self._raw.close()
        # What is behind botocore's wrapper, which would wait until all is there that is asked for.
        self._raw = answer["Body"].__enter__()
        return answer

    def _size(self) -> int:
        """Ask how large the object is, where the answer that brings it does not say so."""
        same = {"IfMatch": f'"{self.version}"'}
        answer = patiently(
            self._patience, lambda: client("s3").head_object(**self._where, **same), self._what
        )
        return int(answer["ContentLength"])

    def _piece(self, most: int) -> bytes:
        """Return one byte or more."""
        while True:
            began = time.monotonic()
            piece, error = self._received(most)
            self._waited += time.monotonic() - began
            if piece:
                break
            self._go_on(error)
        self._at += len(piece)
        self._since += len(piece)
        self._sum.add(piece)
        if self._since >= _BLOCK:
            self._tries, self._waited, self._since = 0, 0.0, 0
        elif self._waited > self._patience.seconds:
            raise TimeoutError(self._said(f"only {self._since:,} bytes came in {self._waited:.0f} s"))
        return piece

    def _received(self, most: int) -> tuple[bytes, BaseException | None]:
        """Return what has come; or nothing, and what is in the way."""
        from urllib3.exceptions import HTTPError

        try:
            return getattr(self._raw, "read1", self._raw.read)(most), None
        except (HTTPError, OSError) as error:
            return b"", error

    def _go_on(self, error: BaseException | None) -> None:
        """Open another connection for the rest, of the same version.

        Raises:
            OSError: There is no other, or it was tried often enough.
        """
        self._tries += 1
        if self._tries >= self._patience.attempts or self._waited > self._patience.seconds:
            if error is None:
                missing = f"{self.size - self._at:,} of {self.size:,} bytes did not come"
                raise ConnectionError(self._said(f"{missing} (tried {self._tries} times)"))
            raise explained(error, self._what, self._tries) from error
        began = time.monotonic()
        time.sleep(self._patience.pause(self._tries))
        answer = patiently(self._patience, self._rest, self._what)
        self._waited += time.monotonic() - began
        if self._at and not str(answer.get("ContentRange", "")).startswith(f"bytes {self._at}-"):
            raise OSError(
                self._said("the server gives no part of an object (`Range`), and the connection broke")
            )

    def _rest(self) -> Any:
        from botocore.exceptions import ClientError

        part = {"Range": f"bytes={self._at}-"} if self._at else {}
        try:
            return self._asked(**part, IfMatch=f'"{self.version}"')
        except ClientError as error:
            if is_occupied(error) or is_missing(error):
                done = "removed" if is_missing(error) else "replaced"
                raise OSError(self._said(f"the object was {done} while it was read")) from error
            raise

    def _finish(self) -> None:
        """Give the connection back, and compare the checksum."""
        from urllib3.exceptions import HTTPError

        raw, self._raw = self._raw, None
        with suppress(
            HTTPError, OSError
        ):  # behind the last byte the connection is free for others, or broken
            getattr(raw, "read1", raw.read)(1)
        raw.close()
        if not self._sum.fits():
            raise Damaged(self._said(f"what came is not what is stored: its {self._sum.name} is another"))

    def _said(self, text: str) -> str:
        return f"{self._what}: {text}" if self._what else text


def open_object(location: Location, patience: Patience, what: str = "") -> BinaryIO:
    """Open an object for reading. A small one is read and checked at once, and fetched anew where it is damaged.

    Raises:
        OSError: It cannot be opened: ``FileNotFoundError`` where it is not there.
    """

    def ask() -> BinaryIO:
        stream = ObjectStream(location, patience, what=what)
        if stream.size > SMALL:
            return io.BufferedReader(stream, _BLOCK)
        with stream:
            return io.BytesIO(stream.readall())

    return patiently(patience, ask, what)


def _compares() -> bool:
    """Whether what comes is compared, which ``$AWS_RESPONSE_CHECKSUM_VALIDATION`` may forbid; S3 then sends no checksum."""
    return str(client("s3").meta.config.response_checksum_validation).lower() == "when_supported"
