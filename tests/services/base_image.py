"""The image that stands for ``python:3.11-slim`` in the tests: Debian 12 with python, pip and nothing else.

No registry is asked: debootstrap makes its files once from Debian's packages (a minute), and a tar keeps them.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from tests.services.leftovers import remove
from tests.services.locks import alone
from tests.services.packages import Unavailable, ensure, find

NAME = "petal-test/python:3.11"
#: The label that says from which recipe an image was made.
LABEL = "petal-test.recipe"
#: The release of Debian whose python3 is 3.11.
RELEASE = "bookworm"
PACKAGES = ("python3", "python3-pip", "python-is-python3", "ca-certificates")
#: What an image of a program does not need; and the note by which Debian's pip refuses to install, which
#: python:3.11-slim does not have.
LEFT_OUT = (
    "./dev/*",
    "./usr/share/doc/*",
    "./usr/share/info/*",
    "./usr/share/locale/*",
    "./usr/share/man/*",
    "./usr/lib/python3.11/EXTERNALLY-MANAGED",
    "./var/cache/apt/*",
    "./var/lib/apt/lists/*",
    "./var/log/*",
)
RECIPE = hashlib.sha256(repr((RELEASE, PACKAGES, LEFT_OUT)).encode()).hexdigest()[:12]
#: How the image differs from its files, as lines of a Dockerfile.
CHANGES = ("ENV LANG=C.UTF-8", 'CMD ["python3"]', f"LABEL {LABEL}={RECIPE}")


def base_tar(cache: Path) -> Path:
    """Return the tar of the image's files, made when it is not in the cache.

    Raises:
        Unavailable: It cannot be made here.
    """
    tar = cache / f"python-3.11-{RECIPE}.tar"
    if tar.exists():
        return tar
    with alone(cache / "base-image.lock"):
        if not tar.exists():
            _make(tar)
            for old in set(cache.glob("python-3.11-*.tar")) - {tar}:
                old.unlink()
    return tar


def _make(tar: Path) -> None:
    ensure({"debootstrap": "debootstrap"})
    if os.geteuid() != 0:
        raise Unavailable("debootstrap makes an image's files as root only: run the tests as root")
    root = tar.with_suffix(".root")
    temporary = tar.with_suffix(".part")
    remove(root)  # of a run that was killed, in which /proc may still be mounted
    try:
        _run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", RELEASE, str(root))
        _run("tar", "-C", str(root), *(f"--exclude={p}" for p in LEFT_OUT), "-cf", str(temporary), ".")
        temporary.replace(tar)
    finally:
        remove(root)
        temporary.unlink(missing_ok=True)


def _run(command: str, *arguments: str) -> None:
    done = subprocess.run(
        [find(command) or command, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = "\n".join(done.stdout.strip().splitlines()[-5:])
        raise Unavailable(f"{command} could not make the base image (it needs Debian's mirror):\n{said}")
