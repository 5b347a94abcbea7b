"""What the tests' AWS comes from, kept in the cache: AWS's emulator of Lambda, and Pythons with a few packages alone.

pip brings it, as it is configured on this machine.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

from tests.services.locks import alone
from tests.services.packages import Unavailable
from tests.services.service import cache

#: The package that ships AWS's Runtime Interface Emulator, and the emulator's digest for each kind of machine.
EMULATOR = "aws-sam-cli==1.170.0"
DIGESTS = {
    "x86_64": "6b1e686e62ab2baf5759c412c4864276ef2a88b094fca53ec070637ccba9b9a5",
    "arm64": "ec2e5d09633d853834c008b1ef264bf834b258a94d551d2b2074966494b39a21",
}


def emulator() -> Path:
    """Return AWS's emulator of Lambda, fetched when it is not in the cache.

    Raises:
        Unavailable: It cannot be had here.
    """
    machine = {"aarch64": "arm64", "amd64": "x86_64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    if sys.platform != "linux" or machine not in DIGESTS:
        raise Unavailable(
            f"AWS's emulator is for Linux on x86_64 and arm64, this is {sys.platform} on {machine}"
        )
    program = cache() / f"aws-lambda-rie-{DIGESTS[machine][:12]}"
    if not program.exists():
        with alone(cache() / "aws-lambda-rie.lock"):
            if not program.exists():
                _fetch_emulator(program, machine)
    return program


def python_with(name: str, *requirements: str) -> Path:
    """Return a Python of this one's version that has these packages and no others, made when it is not in the cache.

    Args:
        name: What it is for, which begins its folder's name.
        requirements: What to install, as for pip.

    Raises:
        Unavailable: It cannot be made here.
    """
    version = "{}.{}".format(*sys.version_info)
    digest = hashlib.sha256(repr(requirements).encode()).hexdigest()[:8]
    folder = cache() / f"{name}-py{version}-{digest}"
    python, complete = folder / "bin/python", folder / "complete"
    if not (
        complete.exists() and python.exists()
    ):  # an update of Python's may have taken away what bin/python is
        with alone(cache() / f"{name}-py{version}.lock"):
            if not (complete.exists() and python.exists()):
                for old in cache().glob(f"{name}-py{version}-*"):
                    shutil.rmtree(old)
                venv.create(folder, symlinks=True)
                _pip("--python", str(python), "install", *requirements)
                complete.touch()
    return python


def _fetch_emulator(program: Path, machine: str) -> None:
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        _pip("download", "--no-deps", "--only-binary=:all:", f"--dest={folder}", EMULATOR)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as files:
            data = files.read(f"samcli/local/rapid/aws-lambda-rie-{machine}")
        if hashlib.sha256(data).hexdigest() != DIGESTS[machine]:
            raise Unavailable(f"the emulator in the wheel of {EMULATOR} is not the one that the tests know")
        temporary = Path(folder) / "aws-lambda-rie"
        temporary.write_bytes(data)
        temporary.chmod(0o755)
        for old in cache().glob("aws-lambda-rie-*"):
            old.unlink()
        temporary.replace(program)


def _pip(*arguments: str) -> None:
    """Run pip; as a module of this Python, since a virtual environment of the tests has none of its own."""
    ours = {
        k: v for k, v in os.environ.items() if k not in ("PIP_TARGET", "PIP_USER", "PIP_PREFIX", "PYTHONPATH")
    }
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check", *arguments],
        env=ours,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = "\n".join(done.stdout.strip().splitlines()[-5:])
        raise Unavailable(f"pip could not fetch {arguments[-1]}:\n{said}")
