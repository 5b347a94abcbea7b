"""The pytest plugin `petal`: fixtures that run pipelines, and what the contracts found, at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from petal.app.session import Session
    from petal.execution.result import RunResult

#: The property of a test's report under which contracts put their lines; it also reaches JUnit files.
PROPERTY = "petal"


@pytest.fixture
def petal_session(monkeypatch: pytest.MonkeyPatch) -> Session:
    """A session of its own, which the plugins of the developer's shell do not reach."""
    from petal import Session

    monkeypatch.delenv("PETAL_PLUGINS", raising=False)
    return Session()


@pytest.fixture
def petal_run(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    petal_session: Session,
) -> Iterator[Callable[..., RunResult]]:
    """Run a pipeline while ``tmp_path`` is the current folder, and return the result.

    ``petal_run(pipeline, **arguments)`` takes a :class:`petal.Pipeline` or a file, relative to the test's folder,
    and the arguments of ``Pipeline.run``. It raises the error of the first node that failed; with ``check=False``
    it gives the result of a run that failed, too.
    """
    from petal import Pipeline

    results: list[RunResult] = []

    def run(pipeline: Any, *, check: bool = True, **arguments: Any) -> RunResult:
        found = pipeline
        if not isinstance(found, Pipeline):
            found = Pipeline.from_file(request.path.parent / pipeline, session=petal_session)
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            result: RunResult = found.run(**arguments)
        results.append(result)
        return result.check() if check else result

    yield run
    for result in results:
        result.outputs.close()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show what the contracts recorded, a line for each; only their number with ``-q``."""
    lines = [
        str(value)
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == PROPERTY and getattr(report, "when", "") == "call"
    ]
    if not lines:
        return
    terminalreporter.section("petal contracts")
    if terminalreporter.verbosity < 0:
        terminalreporter.line(f"{len(lines)} lines; they are shown without -q")
        return
    for line in sorted(lines):
        terminalreporter.line(line)
