"""The Debian packages that the tests' services need, installed when they are missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

#: Asked by Debian's maintainer scripts whether a service may start.
POLICY = Path("/usr/sbin/policy-rc.d")


class Unavailable(Exception):
    """A service cannot run on this machine; the text says what is missing and what to do."""


def find(command: str) -> str | None:
    """Return the path of a command; those of the administrator count, whatever ``PATH`` says."""
    return shutil.which(command, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))


def ensure(commands: Mapping[str, str]) -> None:
    """Install the packages of those commands that are missing.

    Args:
        commands: The name of each command, and the Debian package that brings it.

    Raises:
        Unavailable: Something is missing and cannot be installed here.
    """
    missing = sorted({package for command, package in commands.items() if find(command) is None})
    if not missing:
        return
    remedy = f"apt-get install --no-install-recommends {' '.join(missing)}"
    if find("apt-get") is None:
        raise Unavailable(f"{', '.join(missing)} missing, and this is no Debian: install them, or run there")
    if os.geteuid() != 0:
        raise Unavailable(f"{', '.join(missing)} missing; as root: {remedy}")
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    with _services_stay_off():
        for step in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
            done = subprocess.run(
                [*apt, *step],
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                said = "\n".join(done.stdout.strip().splitlines()[-5:])
                raise Unavailable(f"`{remedy}` failed:\n{said}")
    if still := sorted(c for c in commands if find(c) is None):
        raise Unavailable(f"{', '.join(missing)} installed, but {', '.join(still)} is not there")


@contextmanager
def _services_stay_off() -> Iterator[None]:
    """Keep the packages from starting services of the machine's own: the tests need only the programs."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
