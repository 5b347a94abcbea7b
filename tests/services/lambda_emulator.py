"""Functions on AWS's own emulator of Lambda, run by AWS's runtime for Python, from the files that would be deployed.

Each function has a process of its own (:mod:`tests.services.lambda_pool`) that ends, with all that it has started, when
the test that made it does, however that ends.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.services.aws_server import REGION
from tests.services.downloads import emulator, python_with

#: What AWS's image of Python has beside Python: its runtime, and boto3.
RUNTIME = ("awslambdaric==4.2.2", "boto3==1.44.5")
#: How long a function's process may take to stop, in seconds.
STOP = 20.0

ROOT = Path(__file__).resolve().parents[2]


def prepare() -> None:
    """Fetch the emulator and install the runtime.

    Raises:
        Unavailable: They cannot be had here; the text says why.
    """
    emulator()
    python_with("lambda-runtime", *RUNTIME)


class Emulator:
    """A function that is deployed on this machine.

    Args:
        task_root: The folder or the zip that holds the function's code; ``/var/task`` on Lambda.
        handler: The module and the function in it.
        environment: The function's own variables, beside those that Lambda sets and the ``AWS_...`` of this process
            where it uses the tests' AWS.
        timeout: Of the function, whole seconds.
        concurrency: How many calls run at once; a further one is throttled.
        memory: What the function is told that it has, in MB.
    """

    def __init__(
        self,
        task_root: Path,
        handler: str,
        *,
        environment: Mapping[str, str] | None = None,
        timeout: int = 60,
        concurrency: int = 1,
        memory: int = 1024,
    ) -> None:
        settings = {
            "emulator": str(emulator()),
            "python": str(python_with("lambda-runtime", *RUNTIME)),
            "code": str(task_root.resolve()),
            "handler": handler,
            "environment": {**_lambdas_own(timeout, memory), **_aws(os.environ), **(environment or {})},
            "concurrency": concurrency,
        }
        self._folder = Path(tempfile.mkdtemp(prefix="petal-lambda-"))
        self._log = self._folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.services.lambda_pool"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                start_new_session=True,  # a Ctrl-C is the tests' to handle
            )
        try:
            said = self._ask({**settings, "folder": str(self._folder), "log": str(self._log)})
        except BaseException:  # a test's time-out too
            self.stop()
            raise
        #: Where it is called, by any name.
        self.endpoint_url: str = said["url"]
        #: Where AWS's emulators themselves listen, without the dispatcher: for one call at a time of ``function``.
        self.direct = [f"http://{address}" for address in said["direct"]]

    def __str__(self) -> str:
        return self.endpoint_url

    @property
    def calls(self) -> int:
        """How many calls of the function reached it."""
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            self.endpoint_url + "/calls"
        ) as got:
            return int(got.read())

    @property
    def process(self) -> int:
        """The process that has started all others of the function."""
        return self._process.pid

    def log(self) -> str:
        """Return what the emulator and the function have printed."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait(self) -> None:
        """Wait until it ends by itself, which it does only when it fails."""
        self._process.wait()

    def stop(self) -> None:
        """End it; nothing of it is left."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _ask(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Tell the process what to do, by its input for its arguments are public, and return what it answers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(settings).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise RuntimeError(f"AWS's emulator did not start:\n{self.log()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _lambdas_own(timeout: int, memory: int) -> dict[str, str]:
    """Return the variables that Lambda sets, as far as they mean something here."""
    version = "{}.{}".format(*sys.version_info)
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{version}",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_LAMBDA_FUNCTION_NAME": "function",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory),
        "PYTHONDONTWRITEBYTECODE": "1",  # a function's files are read-only there
    }


def _aws(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what leads to the tests' AWS, where an environment has it; a developer's own account is none of it."""
    if not environment.get("AWS_ENDPOINT_URL", "").startswith("http://127.0.0.1:"):
        return {}
    return {k: v for k, v in environment.items() if k.startswith("AWS_") or k.lower() == "no_proxy"}
