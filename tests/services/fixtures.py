"""The pytest plugin of the tests' services: what needs one gets it, and is never left out silently.

A test says that it needs a service by its fixture (:func:`docker_engine`, :func:`aws_endpoint`,
:func:`lambda_emulator`, ...) or by the marker ``docker`` or ``aws``; the other follows. A service starts before the
first such test of a process, outside the time-out of any test since the first start on a machine takes a minute or two,
and stops when the last process of any run lets go of it. Where one cannot start, its tests fail in CI (``CI`` or
``PETAL_CI`` is set) and are counted at the end elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.services import lambda_emulator as emulators
from tests.services.aws_server import AwsServer, aws_environment
from tests.services.aws_server import shared as shared_aws_server
from tests.services.aws_stub import AwsStub
from tests.services.docker_engine import DockerEngine
from tests.services.docker_engine import shared as shared_docker_engine
from tests.services.lambda_emulator import Emulator
from tests.services.locks import Hold, alone
from tests.services.packages import Unavailable
from tests.services.service import Service, cache

AnyService = TypeVar("AnyService", bound=Service)


class Needed:
    """A service as one process of a test run sees it: asked for once, held until the end.

    Args:
        name: What it is called where tests are counted that were not run without it.
        marker: The marker of tests that need it.
        fixtures: Those that give it; the first is that of a test with the marker alone.
        service: What is started; None for what each test starts itself.
        prepare: Makes what is needed for that.
    """

    def __init__(
        self,
        name: str,
        marker: str,
        fixtures: tuple[str, ...],
        service: Service | None = None,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.marker = marker
        self.fixtures = fixtures
        self.service = service
        self._prepare = prepare
        self._hold: Hold | None = None
        self._asked = False
        self._why: str | None = None

    def hold(self) -> None:
        """Keep others from stopping it while this process may need it."""
        if self._hold is None and self.service is not None:
            self._hold = self.service.hold()

    def ask(self) -> str | None:
        """Start it, the first time, and return why there is none, if so."""
        if not self._asked:
            self._asked = True
            try:
                self.hold()
                if self._prepare is not None:
                    self._prepare()
                if self.service is not None:
                    self.service.start(keep=False)
            except (Unavailable, OSError) as error:
                self._why = str(error)
        return self._why

    def needed(self) -> None:
        """Have it running, or end the test."""
        if (why := self.ask()) is None:
            return
        if in_ci(os.environ):
            pytest.fail(f"needs {self.name}: {why}", pytrace=False)
        pytest.skip(f"needs {self.name}: {why}")

    def let_go(self) -> None:
        """Stop it if nobody else uses it."""
        if self._hold is not None and self.service is not None:
            hold, self._hold = self._hold, None
            self.service.let_go(hold)


class Services:
    """All that tests may need."""

    def __init__(self) -> None:
        self.docker = shared_docker_engine()
        self.aws = shared_aws_server()
        self.all = {
            "docker": Needed(
                "Docker Engine", "docker", ("docker_engine", "private_docker_engine"), self.docker
            ),
            "aws": Needed("AWS server", "aws", ("aws_endpoint",), self.aws),
            "lambda": Needed(
                "AWS's emulator of Lambda",
                "aws",
                ("lambda_emulator", "lambda_emulators"),
                prepare=emulators.prepare,
            ),
        }

    def of(self, names: list[str]) -> list[Needed]:
        """Return those that the fixtures of a test give."""
        return [needed for needed in self.all.values() if set(needed.fixtures) & set(names)]


#: A test run's, under which the plugin keeps them.
SERVICES = pytest.StashKey[Services]()


def in_ci(environment: Any) -> bool:
    """Return whether a missing service is a failure."""
    return any(environment.get(name, "") not in ("", "0", "false") for name in ("CI", "PETAL_CI"))


def pytest_configure(config: pytest.Config) -> None:
    """Prepare to be asked; the process that hands out tests to others holds the services for all of them."""
    config.stash[SERVICES] = Services()
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        for needed in config.stash[SERVICES].all.values():
            with contextlib.suppress(OSError):
                needed.hold()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let go of the services."""
    if (services := config.stash.get(SERVICES, None)) is not None:
        for needed in services.all.values():
            needed.let_go()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let markers and fixtures follow from each other, before tests are chosen by marker."""
    services = config.stash[SERVICES]
    for item in items:
        names: list[str] = getattr(item, "fixturenames", [])
        found = services.of(names)
        for needed in found:
            item.add_marker(needed.marker)
        for needed in services.all.values():
            marked = item.get_closest_marker(needed.marker)
            if marked and not any(other.marker == needed.marker for other in found):
                names.insert(0, needed.fixtures[0])
                found.append(needed)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Start what a test needs before its timer runs."""
    for needed in item.config.stash[SERVICES].of(getattr(item, "fixturenames", [])):
        needed.ask()
    return (yield)


# -- Docker -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def docker_engine(pytestconfig: pytest.Config) -> Iterator[str]:
    """The ``DOCKER_HOST`` of the tests' engine, which is Docker's for the rest of the session."""
    services = pytestconfig.stash[SERVICES]
    services.all["docker"].needed()
    with applied(services.docker.environment()):
        yield services.docker.host


@pytest.fixture(scope="module")
def private_docker_engine(pytestconfig: pytest.Config) -> Iterator[DockerEngine]:
    """An engine that this module's tests alone use, with the base image, to stop, restart and kill."""
    pytestconfig.stash[SERVICES].all["docker"].needed()
    with _private(DockerEngine(_own_folder("private"))) as engine:
        yield engine


# -- AWS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def aws_endpoint(pytestconfig: pytest.Config) -> Iterator[str]:
    """The URL of the tests' AWS server, which is AWS for the rest of the session. Others use it too, at this moment."""
    services = pytestconfig.stash[SERVICES]
    services.all["aws"].needed()
    with applied(services.aws.environment()):
        yield services.aws.address


@pytest.fixture
def aws_bucket(aws_endpoint: str) -> Iterator[str]:
    """The name of a bucket of this test's own."""
    import boto3

    bucket = boto3.resource("s3", endpoint_url=aws_endpoint).Bucket(f"test-{uuid.uuid4()}")
    bucket.create()
    yield bucket.name
    for upload in bucket.multipart_uploads.all():
        upload.abort()
    bucket.object_versions.delete()
    bucket.objects.delete()
    bucket.delete()


@pytest.fixture
def aws_stub() -> Iterator[AwsStub]:
    """A Lambda that fails as it is told to, which is AWS for this test."""
    with AwsStub() as stub, applied(aws_environment(stub.url)):
        yield stub


@pytest.fixture
def aws_faults(aws_endpoint: str) -> Iterator[AwsStub]:
    """What stands between this test and the AWS server and fails as it is told to, which is AWS for this test."""
    with AwsStub(aws_endpoint) as stub, applied(aws_environment(stub.url)):
        yield stub


@pytest.fixture(scope="module")
def private_aws_server(aws_endpoint: str) -> Iterator[AwsServer]:
    """A server that this module's tests alone use, to stop and kill."""
    with _private(AwsServer(_own_folder("private-aws"))) as server:
        yield server


@pytest.fixture
def lambda_emulator(pytestconfig: pytest.Config) -> Iterator[Callable[..., Emulator]]:
    """A function that deploys one on AWS's emulator of Lambda, for this test: see :class:`Emulator`."""
    with _deployed(pytestconfig) as deploy:
        yield deploy


@pytest.fixture(scope="session")
def lambda_emulators(pytestconfig: pytest.Config) -> Iterator[Callable[..., Emulator]]:
    """A function that deploys one on AWS's emulator of Lambda, for the rest of the session: see :class:`Emulator`."""
    with _deployed(pytestconfig) as deploy:
        yield deploy


@contextmanager
def _deployed(config: pytest.Config) -> Iterator[Callable[..., Emulator]]:
    config.stash[SERVICES].all["lambda"].needed()
    with contextlib.ExitStack() as stack:

        def deploy(
            task_root: Path, handler: str = "petal_lambda.handler.handler", **settings: Any
        ) -> Emulator:
            emulator = Emulator(Path(task_root), handler, **settings)
            stack.callback(emulator.stop)
            return emulator

        yield deploy


# -- parts ------------------------------------------------------------------------------------------------------------


@contextmanager
def applied(environment: Mapping[str, str]) -> Iterator[None]:
    """Make an environment this process's own for a while."""
    with pytest.MonkeyPatch.context() as patch:
        for name in set(os.environ) - set(environment):
            patch.delenv(name)
        for name, value in environment.items():
            if os.environ.get(name) != value:
                patch.setenv(name, value)
        yield


def _own_folder(name: str) -> Path:
    """Return a folder in the cache for this process's tests, else one would wait for another's."""
    return cache() / name / os.environ.get("PYTEST_XDIST_WORKER", "alone")


@contextmanager
def _private(service: AnyService) -> Iterator[AnyService]:
    with alone(service.folder / "module.lock"):
        service.stop()  # what a killed run has left
        service.start()
        try:
            yield service
        finally:
            service.stop()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Count the tests that were not run, with the reasons."""
    counted: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", ()):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        reason = reason.removeprefix("Skipped: ").removeprefix("needs ")
        if any(reason.startswith(f"{needed.name}: ") for needed in config.stash[SERVICES].all.values()):
            counted[reason] = counted.get(reason, 0) + 1
    for reason, number in counted.items():
        tests = "1 test needs" if number == 1 else f"{number} tests need"
        terminalreporter.write_line(f"not run: {tests} {reason}", yellow=True, bold=True)
