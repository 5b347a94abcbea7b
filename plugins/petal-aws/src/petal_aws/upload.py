"""Write an object that nobody sees until it is committed: small ones in one call then, large ones in parts before."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from petal import Description
from petal_aws.checksum import Crc32
from petal_aws.failures import code_of
from petal_aws.location import Location
from petal_aws.objects import etag, head_of, put
from petal_aws.patience import Patience, patiently
from petal_aws.session import client

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: Bytes of a part: S3 takes no smaller ones but the last. They grow, since there may be 10,000 at most.
PART: Final = 8 << 20
_MOST_PARTS: Final = 10_000
_PARTS_OF_A_SIZE: Final = 1_000
#: Says of an object by which upload it was written.
_MARK: Final = "petal-upload"
#: What is handed over: of which object, and which upload, with how many parts and bytes, their CRC-32, and the mark.
_TOKEN: Final = re.compile(
    r"([0-9a-f]{16}) (\S{1,400}) (\d{1,5}) (\d{1,15}) ([0-9a-f]{8}) ([0-9A-Za-z-]{1,200})"
)
#: To take back what was uploaded, nobody waits long.
_ABORT: Final = Patience(attempts=3, seconds=10.0)


class Upload:
    """An object that is being written; see :class:`petal.interfaces.filesystem.Upload`.

    What is smaller than a part is put by one call at :meth:`commit`. The rest is a multipart upload, which S3 shows to
    nobody before it is completed; one whose process was killed stays invisible until a lifecycle rule removes it.

    Args:
        location: Where.
        owner: Who writes it.
        patience: How long a call is tried.
    """

    def __init__(self, location: Location, owner: str, patience: Patience) -> None:
        self.file: BinaryIO = cast(BinaryIO, _Writer(self._add))
        self._parts = _Parts(location, f"{owner}-{os.urandom(6).hex()}", patience)
        self._rest = bytearray()

    def store(self) -> None:
        """Send all but what goes in one call at :meth:`commit`.

        Raises:
            OSError: It cannot be sent.
        """
        self.file.close()
        if self._parts.begun and self._rest:
            self._send()

    def hand_over(self) -> str:
        """Send all, for another process to commit; returns what :meth:`take_over` needs there.

        Raises:
            OSError: It cannot be sent.
        """
        self.store()
        if not self._parts.begun:
            self._send()
        return self._parts.token()

    def commit(self) -> Description:
        """Publish the object, and describe it.

        Raises:
            OSError: It cannot be published.
        """
        self.store()
        if self._parts.begun:
            return self._parts.complete()
        return self._parts.put_whole(bytes(self._rest))

    def abort(self) -> None:
        """Drop what was written; another thread may be writing."""
        self._parts.drop()

    def _add(self, data: memoryview) -> None:
        """Take bytes, and send each part that is full."""
        while data:
            room = self._parts.next_size - len(self._rest)
            self._rest += data[:room]
            data = data[room:]
            if len(self._rest) == self._parts.next_size:
                self._send()

    def _send(self) -> None:
        part, self._rest = self._rest, bytearray()
        self._parts.send(part)


class Taken:
    """An upload that another process has written and handed over.

    Args:
        location: Where.
        token: What that process said of it. S3 knows of each upload which object it is for, so it can name no other.
        patience: How long a call is tried.

    Raises:
        OSError: That is no upload.
    """

    def __init__(self, location: Location, token: str, patience: Patience) -> None:
        found = _TOKEN.fullmatch(token)
        if found is None or found[1] != _digest(location):
            raise OSError("what was handed over names no upload to this file")
        self.file: BinaryIO = io.BytesIO()
        self.file.close()
        self._parts = _Parts(location, found[6], patience)
        self._parts.begun = found[2]
        self._count, self._size, self._sum = int(found[3]), int(found[4]), int(found[5], 16)

    def store(self) -> None:
        """Do nothing: it is stored."""

    def hand_over(self) -> str:
        """Refuse: it was handed over already.

        Raises:
            OSError: Always.
        """
        raise OSError("an upload is handed over once")

    def commit(self) -> Description:
        """Publish the object, if all of it is there, and describe it.

        Raises:
            OSError: It cannot be published.
        """
        self._parts.found(self._count, self._size, self._sum)
        return self._parts.complete()

    def abort(self) -> None:
        """Drop what was written."""
        self._parts.drop()


class _Parts:
    """The parts of one object, in S3's words a multipart upload: begun with the first part.

    Attributes:
        begun: Its id; empty before.
    """

    def __init__(self, location: Location, mark: str, patience: Patience) -> None:
        self.begun = ""
        self._where = {"Bucket": location.bucket, "Key": location.key}
        self._location, self._mark, self._patience = location, mark, patience
        self._sent: list[dict[str, Any]] = []
        self._size = 0
        self._sum = Crc32()
        self._is_dropped = self._is_done = False

    @property
    def next_size(self) -> int:
        """The bytes of the next part, if it is not the last one."""
        return PART * (1 + len(self._sent) // _PARTS_OF_A_SIZE)

    def send(self, part: bytearray) -> None:
        """Send the next part.

        Raises:
            OSError: It cannot be sent, or all is dropped meanwhile.
        """
        if len(self._sent) == _MOST_PARTS:
            raise OSError(f"it is too large: it has more than {_MOST_PARTS:,} parts, {self._size:,} bytes")
        self._check()
        self._begin()
        number = len(self._sent) + 1
        same = {**self._where, "UploadId": self.begun, "PartNumber": number}
        answer = patiently(
            self._patience, lambda: client("s3").upload_part(**same, Body=part), size=len(part)
        )
        self._check()
        self._sent.append({"PartNumber": number, "ETag": answer["ETag"]})
        self._size += len(part)
        self._sum.update(part)

    def token(self) -> str:
        """Return what another process needs to know of what was sent."""
        return f"{_digest(self._location)} {self.begun} {len(self._sent)} {self._size} {self._sum.value:08x} {self._mark}"

    def found(self, count: int, size: int, checksum: int) -> None:
        """Look up what another process has sent.

        Raises:
            OSError: It is not what it says.
        """
        more: dict[str, Any] = {}
        self._sent, self._size = [], 0
        while True:
            page = patiently(self._patience, partial(self._page, more))
            for part in page.get("Parts", ()):
                self._sent.append({"PartNumber": part["PartNumber"], "ETag": part["ETag"]})
                self._size += part["Size"]
            if not page.get("IsTruncated"):
                break
            more = {"PartNumberMarker": page["NextPartNumberMarker"]}
        if (len(self._sent), self._size) != (count, size):
            raise OSError(f"{size:,} bytes in {count} parts were handed over, but {self._size:,} are there")
        self._sum.value = checksum

    def complete(self) -> Description:
        """Make the parts an object, and describe it.

        Raises:
            OSError: It cannot be done; also where a reply was lost and it cannot be found out whether it is done.
        """
        arguments = {**self._where, "UploadId": self.begun, "MultipartUpload": {"Parts": self._sent}}
        self._check()
        answer = patiently(self._patience, lambda: self._completed(arguments))
        self._is_done = True
        return Description(self._size, etag(answer))

    def put_whole(self, data: bytes) -> Description:
        """Write the object by one call, and describe it.

        Raises:
            OSError: It cannot be written.
        """
        self._check()
        version = put(self._location, data, self._patience)
        self._is_done = True
        return Description(len(data), version)

    def drop(self) -> None:
        """Take back what was sent, and let nothing more be sent. What cannot be taken back, nobody sees anyway."""
        self._is_dropped = True
        if self._is_done or not self.begun:
            return
        with contextlib.suppress(Exception):
            patiently(_ABORT, lambda: client("s3").abort_multipart_upload(**self._where, UploadId=self.begun))

    # -- inside -----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self.begun:
            return
        arguments: dict[str, Any] = {**self._where, "Metadata": {_MARK: self._mark}}
        self._check()
        begun = patiently(
            self._patience, lambda: client("s3").create_multipart_upload(**arguments, **_summed("CRC32"))
        )
        self.begun = begun["UploadId"]
        self._check()

    def _page(self, more: dict[str, Any]) -> Any:
        return client("s3").list_parts(**self._where, UploadId=self.begun, **more)

    def _check(self) -> None:
        """See that nobody has dropped all this; what was sent since is taken back then.

        Raises:
            OSError: Somebody has.
        """
        if self._is_dropped:
            self.drop()
            raise OSError("the run has been stopped")

    def _completed(self, arguments: dict[str, Any]) -> Any:
        """Complete the upload; one that is not there any more may be completed, its reply having been lost."""
        from botocore.exceptions import ClientError

        try:
            return client("s3").complete_multipart_upload(**arguments, **_summed(self._sum))
        except ClientError as error:
            if code_of(error) == "NoSuchUpload":
                found = head_of(self._location, self._patience)
                if found is not None and found.metadata.get(_MARK) == self._mark:
                    return {"ETag": found.version}
            raise


class _Writer(io.BufferedIOBase):
    """A file that hands on what is written to it, and cannot seek."""

    def __init__(self, add: Any) -> None:
        super().__init__()
        self._add = add
        self._at = 0

    def writable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._at

    def write(self, data: ReadableBuffer, /) -> int:
        """Take all that is given."""
        if self.closed:
            raise ValueError("write to closed file")
        with memoryview(data).cast("B") as view:
            self._add(view)
            self._at += view.nbytes
            return view.nbytes


def _digest(location: Location) -> str:
    return hashlib.sha256(str(location).encode()).hexdigest()[:16]


def _summed(kind: str | Crc32) -> dict[str, str]:
    """Return what says that there is a checksum, or which; ``$AWS_REQUEST_CHECKSUM_CALCULATION`` may forbid it."""
    if str(client("s3").meta.config.request_checksum_calculation).lower() != "when_supported":
        return {}
    key, value = ("ChecksumAlgorithm", kind) if isinstance(kind, str) else ("ChecksumCRC32", kind.text())
    return {key: value, "ChecksumType": "FULL_OBJECT"}
