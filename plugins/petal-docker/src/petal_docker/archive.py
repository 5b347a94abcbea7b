"""Give a folder to the engine as what an image is built of."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def archived(folder: Path, dockerfile: str) -> Iterator[IO[bytes]]:
    """Give a folder and a Dockerfile as a tar file that says of each file its name and content alone.

    So the engine finds the steps of an earlier build again, and whoever runs in the image can read everything.
    """

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        entry.mode = 0o755 if entry.isdir() else 0o644
        return entry

    with tempfile.TemporaryFile(dir=folder.parent) as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            text = dockerfile.encode()
            entry = plain(tarfile.TarInfo("Dockerfile"))
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
            for path in sorted(folder.iterdir()):
                archive.add(path, arcname=path.name, filter=plain)
        file.seek(0)
        yield file
