"""Say by sizes and times alone what files are like, so that a run that goes on sees which have changed (S9.3)."""

# ruff: noqa: PTH116
# (Text is quicker than a Path, and this runs before every run that reads files.)

from __future__ import annotations

import os
import stat
from zlib import crc32

from petal.spec.url import is_url

#: The stamp of a file that is not there, or cannot be looked at.
ABSENT = ""


def stamp_of(path: str) -> str:
    """Return the stamp of a file or folder, which no content is read for.

    Args:
        path: The file, or its URL; of a folder, all files beneath it count. A pattern has none: the run itself may add
            to what matches.
    """
    if is_url(path):
        from petal.data.file_state import is_pattern, state_of_url

        try:
            return ABSENT if is_pattern(path) else state_of_url(path)
        except OSError:
            return ABSENT
    try:
        found = os.stat(path)
        if not stat.S_ISDIR(found.st_mode):
            return _said(found)
        total = 0
        for here, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                place = os.path.join(here, name)
                total = crc32(f"{place} {_said(os.stat(place))}".encode(errors="surrogateescape"), total)
        return f"folder {total:08x}"
    except (OSError, ValueError):
        return ABSENT


def _said(found: os.stat_result) -> str:
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ino}"
