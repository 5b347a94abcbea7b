"""A private stand-in for AWS: S3, Secrets Manager and the control plane of Lambda, by moto, in memory.

It listens on this machine alone, holds nothing when it has stopped, and is found by ``AWS_ENDPOINT_URL``. All tests
of a user share it, so each uses names of its own.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.services import leftovers
from tests.services.downloads import python_with
from tests.services.packages import Unavailable
from tests.services.service import Service, cache

#: moto, with what its server and these services need (a third of `moto[server]`).
MOTO = (
    "moto[s3,secretsmanager,awslambda]==5.2.5",
    "boto3==1.44.5",
    "flask==3.1.3",
    "flask-cors==6.0.5",
    "werkzeug==3.1.9",
)
REGION = "us-east-1"
#: How long a start may take, in seconds.
START = 60.0

_PROCESS = Path(__file__).with_name("moto_process.py")
#: An argument of the process by which another checkout, too, knows it, beside that of its folder.
_MARK = "petal-test-aws-server"


class AwsServer(Service):
    """A server whose state lies in one folder."""

    name = "AWS server"
    variable = "AWS_ENDPOINT_URL"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.log = self.folder / "server.log"
        self._said = self.folder / "server.json"

    @property
    def address(self) -> str:
        """The URL of all its services."""
        return f"http://127.0.0.1:{self._known()[1]}"

    def prepare(self) -> None:
        """Install moto, away from every other package."""
        python_with("moto", *MOTO)

    def is_running(self) -> bool:
        """Return whether its process is there and takes calls, at once or when it has time."""
        process, port = self._known()
        if process not in self._processes():
            return False
        try:
            socket.create_connection(("127.0.0.1", port), timeout=10).close()
        except OSError:
            return False
        return True

    def process(self) -> int | None:
        """Return its process; None when it does not run."""
        return next(iter(self._processes()), None)

    def left(self) -> list[str]:
        """Return what of it is on the machine beside its folder: nothing, after a stop."""
        return [f"process {pid}" for pid in self._processes()]

    def environment(self, base: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Return an environment with the server as AWS."""
        return aws_environment(self.address, base)

    def _launch_if_needed(self) -> None:
        python = python_with("moto", *MOTO)
        if self.is_running() and self._processes(str(python)):
            return
        self._end()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.log.open("wb") as log:
            starting = subprocess.Popen(
                [python, "-I", _PROCESS, self.folder, _MARK],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
            )
        try:
            starting.wait(START)
        except subprocess.TimeoutExpired:
            starting.kill()
            starting.wait()
        if starting.returncode != 0 or not self.is_running():
            self._end()
            said = "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:])
            raise Unavailable(f"moto did not start; its log, {self.log}, ends with\n{said}")

    def _end(self) -> None:
        if not leftovers.kill(self._processes(), signal.SIGTERM, 5):
            leftovers.kill(self._processes(), signal.SIGKILL, 5)
        self._said.unlink(missing_ok=True)

    def _known(self) -> tuple[int, int]:
        """Return the process and the port that it gave; zeros when it gave none."""
        try:
            said = json.loads(self._said.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return 0, 0
        return said["process"], said["port"]

    def _processes(self, *also: str) -> list[int]:
        """Return its live processes, or those which have these arguments as well."""
        return leftovers.with_arguments(_MARK, str(self.folder), *also)


def aws_environment(url: str, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return an environment with what listens at the URL as AWS; a developer's own account is hidden."""
    local = "127.0.0.1,localhost"
    unproxied = {name: f"{base[name]},{local}" for name in ("no_proxy", "NO_PROXY") if base.get(name)}
    return {
        **{name: value for name, value in base.items() if not name.startswith("AWS_")},
        "NO_PROXY": local,
        **unproxied,
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def shared() -> AwsServer:
    """Return the server that all tests of a user share."""
    return AwsServer(cache() / "aws")
