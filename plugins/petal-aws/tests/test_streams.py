"""A hundred megabytes and more go through in both directions, and little of it is ever in memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: Writes 160 MiB and reads them again, and says how many MiB of memory that took at the most (not by `ru_maxrss`, which knows the parent's).
PROGRAM = """\
import hashlib, os, re, sys
from pathlib import Path
from petal_aws.filesystem import open_filesystem
from petal_aws.store import open_store

bucket, what = sys.argv[1:]
files = open_filesystem()
files.describe(f"s3://{bucket}/nothing")  # boto3 and all that it needs is there now
block = os.urandom(1 << 20)
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) >> 10


def written(file):
    digest = hashlib.sha256()
    for number in range(160):
        piece = number.to_bytes(4, "big") + block[4:]
        digest.update(piece)
        file.write(piece)
    return digest.hexdigest()


def taken(file):
    digest, size = hashlib.sha256(), 0
    while piece := file.read(1 << 20):
        digest.update(piece)
        size += len(piece)
    return digest.hexdigest(), size


before = peak()
if what == "file":
    url = f"s3://{bucket}/large.bin"
    upload = files.write(url, owner="run-1-1")
    digest = written(upload.file)
    upload.commit()
    with files.read(url) as file:
        assert taken(file) == (digest, 160 << 20)
elif what == "store":
    store, path = open_store(f"s3://{bucket}/store"), Path(sys.argv[0] + "large.bin")
    with path.open("wb") as file:
        digest = written(file)
    assert store.put(f"run-{digest}", path)
    with store.get(f"run-{digest}") as file:
        assert taken(file) == (digest, 160 << 20)
else:  # the control: what all of it takes in memory
    data = block * 160
print(peak() - before)
"""


def used(bucket: str, what: str, folder: str) -> int:
    """Return the MiB that the program took."""
    command = [sys.executable, "-c", PROGRAM, bucket, what]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
def test_160_mib_are_written_and_read_with_little_memory(aws_bucket: str, tmp_path: Path) -> None:
    """A file, and a value of a store; the control holds it all."""
    assert used(aws_bucket, "all", str(tmp_path)) >= 150
    for what in ("file", "store"):
        assert used(aws_bucket, what, str(tmp_path)) <= 50
