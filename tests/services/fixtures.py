"""The pytest plugin of the tests' services: what needs a Docker Engine gets one, and is never left out silently.

A test says that it needs one by the marker ``docker`` or by asking for the fixture :func:`docker_engine`; the other
follows. The engine starts before the first such test of a process, outside the time-out of any test since the first
start on a machine takes a minute or two, and stops when the last process of any run lets go of it. Where none can
start, these tests fail in CI (``CI`` or ``PETAL_CI`` is set) and are counted at the end elsewhere.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.services.docker_engine import DockerEngine, cache, shared
from tests.services.locks import Hold, alone
from tests.services.packages import Unavailable

#: How the reason of a test begins that was not run, by which it is counted.
NOT_RUN = "needs Docker Engine: "


class Engine:
    """The shared engine as one process of a test run sees it: asked for once, held until the end."""

    def __init__(self) -> None:
        self._engine = shared()
        self._hold: Hold | None = None
        self._asked = False
        self._why: str | None = None

    def hold(self) -> None:
        """Keep others from stopping it while this process may need it."""
        if self._hold is None:
            self._hold = self._engine.hold()

    def ask(self) -> str | None:
        """Start it, the first time, and return why there is none, if so."""
        if not self._asked:
            self._asked = True
            try:
                self.hold()
                self._engine.start(keep=False)
            except (Unavailable, OSError) as error:
                self._why = str(error)
        return self._why

    def needed(self) -> DockerEngine:
        """Return it running, or end the test."""
        if (why := self.ask()) is None:
            return self._engine
        if in_ci(os.environ):
            pytest.fail(NOT_RUN + why, pytrace=False)
        pytest.skip(NOT_RUN + why)

    def let_go(self) -> None:
        """Stop it if nobody else uses it."""
        if self._hold is not None:
            hold, self._hold = self._hold, None
            self._engine.let_go(hold)


#: A test run's, under which the plugin keeps it.
ENGINE = pytest.StashKey[Engine]()


def in_ci(environment: Any) -> bool:
    """Return whether a missing service is a failure."""
    return any(environment.get(name, "") not in ("", "0", "false") for name in ("CI", "PETAL_CI"))


def pytest_configure(config: pytest.Config) -> None:
    """Prepare to be asked; the process that hands out tests to others holds the engine for all of them."""
    config.stash[ENGINE] = Engine()
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        with contextlib.suppress(OSError):
            config.stash[ENGINE].hold()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let go of the engine."""
    if (engine := config.stash.get(ENGINE, None)) is not None:
        engine.let_go()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the marker and the fixture follow from each other, before tests are chosen by marker."""
    for item in items:
        names = getattr(item, "fixturenames", [])
        if item.get_closest_marker("docker") and "docker_engine" not in names:
            names.insert(0, "docker_engine")
        elif {"docker_engine", "private_docker_engine"} & set(names):
            item.add_marker("docker")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Start the engine before the test's timer runs."""
    if item.get_closest_marker("docker"):
        item.config.stash[ENGINE].ask()
    return (yield)


@pytest.fixture(scope="session")
def docker_engine(pytestconfig: pytest.Config) -> Iterator[str]:
    """The ``DOCKER_HOST`` of the tests' engine, which is Docker's for the rest of the session."""
    engine = pytestconfig.stash[ENGINE].needed()
    with pytest.MonkeyPatch.context() as patch:
        for name in set(os.environ) - set(engine.environment()):
            patch.delenv(name)
        patch.setenv("DOCKER_HOST", engine.host)
        yield engine.host


@pytest.fixture(scope="module")
def private_docker_engine(pytestconfig: pytest.Config) -> Iterator[DockerEngine]:
    """An engine that this module's tests alone use, with the base image, to stop, restart and kill."""
    pytestconfig.stash[ENGINE].needed()
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")  # else one worker would wait for another's module
    engine = DockerEngine(cache() / "private" / worker)
    with alone(engine.folder / "module.lock"):
        engine.stop()  # what a killed run has left
        engine.start()
        try:
            yield engine
        finally:
            engine.stop()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Count the tests that were not run, with the reasons."""
    counted: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", ()):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        if reason.removeprefix("Skipped: ").startswith(NOT_RUN):
            reason = reason.removeprefix("Skipped: ").removeprefix(NOT_RUN)
            counted[reason] = counted.get(reason, 0) + 1
    for reason, number in counted.items():
        tests = "1 test needs" if number == 1 else f"{number} tests need"
        terminalreporter.write_line(f"not run: {tests} Docker Engine: {reason}", yellow=True, bold=True)
