"""A cache on a disk that is full, or in a folder without rights: no run is harmed, and clearing makes room (F07, F10)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.data.caches import open_cache

ROOT = Path(__file__).resolve().parents[2]


def test_a_folder_that_cannot_be_listed_harms_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing tidies up where it can. (A simulation of a folder without rights, for root has them all.)"""

    def refused(_path: Path, _pattern: str) -> Any:
        raise PermissionError(13, "Permission denied")

    cache = open_cache(tmp_path / "cache")
    monkeypatch.setattr(Path, "glob", refused)
    cache.close()


FULL = """
import os, subprocess, sys
from pathlib import Path
from tests.data.caches import keep, open_cache
place = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(place)], check=True)
home = place / ".petal"
(home / "runs").mkdir(parents=True, mode=0o700)
home.chmod(0o700)
cache = open_cache(home / "cache")
for i in range(3):
    assert keep(cache, f"{i}" * 64, f"{i}" * int(sys.argv[2]))
cache.close()
with open(place / "rest", "wb", 0) as rest:
    try:
        while rest.write(bytes(4096)):
            pass
    except OSError:
        pass
for command in ("ls", "clear"):
    done = subprocess.run([sys.executable, "-m", "petal", "cache", command, "--home", str(home)], capture_output=True, text=True)
    print(command, done.returncode, done.stdout + done.stderr, sep="|", end="@")
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="mounting needs root and unshare"
)
@pytest.mark.parametrize("size", [100, 400_000])
def test_a_full_disk_is_named_and_can_be_cleared(tmp_path: Path, size: int) -> None:
    """`petal cache clear` makes room where SQLite cannot write at all; the other commands say what is wrong."""
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", FULL, str(tmp_path), str(size)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    if "mount:" in done.stderr or "unshare:" in done.stderr:
        pytest.skip("this machine does not let tests mount")
    assert done.returncode == 0, done.stderr
    listed, cleared = (one.split("|") for one in done.stdout.rstrip("@").split("@"))
    assert listed[1] != "0"
    assert "No space left on device" in listed[2]
    assert "petal cache clear" in listed[2]
    assert cleared[1] == "0", cleared[2]
    assert "removed" in cleared[2]
