"""The contract of operators: tests that a plugin's tests inherit, and the same as one function."""

from __future__ import annotations

import contextlib
import inspect
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from petal.errors import UsageError
from petal.spec.pipeline import MISSING
from petal.testing import operator_checks as checks
from petal.testing.subject import Case, Subject

#: Where operators are tried.
BACKENDS = ("local", "process")


class OperatorContract:
    """Tests of one operator; subclass it in a class whose name begins with ``Test``.

    ```python
    class TestTimestampAppender(OperatorContract):
        operator = timestamp_appender
        cases = [Case(inputs={"lines": ["a"]}, params={"now": NOON}, output=["2026-03-01T12:00:00 - a"])]
    ```

    Each test runs in a folder of its own, which is the current folder.

    Attributes:
        operator: The function or class.
        cases: What it does, by example; at least one.
        backends: Where it must run. ``process`` needs it at the top level of a module that other processes import.
        deterministic: Whether it gives the same each time; False for one that reads the clock or the network.
        accepts_empty: Whether a stream without rows is fine; False for one that needs a row.
    """

    operator: ClassVar[Any] = None
    cases: ClassVar[Sequence[Case]] = ()
    backends: ClassVar[Sequence[str]] = BACKENDS
    deterministic: ClassVar[bool] = True
    accepts_empty: ClassVar[bool] = True

    @pytest.fixture(autouse=True)
    def _in_a_folder_of_its_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    @pytest.fixture
    def subject(self) -> Subject:
        """The operator under test."""
        found = inspect.getattr_static(type(self), "operator")
        if found is None:
            raise UsageError(
                f"{type(self).__name__} names no operator", hint="write `operator = my_function` in it"
            )
        return Subject(found.__func__ if isinstance(found, staticmethod) else found)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make a test of each case, and of each backend."""
        if "case" in metafunc.fixturenames:
            if not self.cases:
                raise UsageError(
                    f"{type(self).__name__} has no cases",
                    hint="write `cases = [Case(inputs=..., output=...)]`",
                )
            ids = [case.label or f"case{i}" for i, case in enumerate(self.cases, 1)]
            metafunc.parametrize("case", self.cases, ids=ids)
        if "backend" in metafunc.fixturenames:
            metafunc.parametrize("backend", self.backends)

    def test_it_is_described_without_findings(self, subject: Subject, case: Case) -> None:
        """Its signature says what it takes and gives, and a pipeline that uses it has no findings."""
        checks.is_described(subject, case)

    def test_it_gives_the_expected_output(self, subject: Subject, case: Case) -> None:
        """Called with a plain Context, it gives what the case says, or raises it."""
        checks.gives_its_output(subject, case)

    def test_it_gives_the_same_again(self, subject: Subject, case: Case) -> None:
        """Nothing is kept between calls, and no clock or dice decide."""
        if not self.deterministic:
            pytest.skip("it is not deterministic")
        checks.gives_the_same_again(subject, case)

    def test_it_changes_no_input_in_place(self, subject: Subject, case: Case) -> None:
        """Other nodes get the same objects."""
        checks.changes_no_input(subject, case)

    def test_it_takes_an_empty_stream(self, subject: Subject, case: Case) -> None:
        """No rows are no error."""
        if not self.accepts_empty:
            pytest.skip("it needs rows")
        checks.takes_an_empty_stream(subject, case)

    def test_it_is_rowwise_if_it_says_so(self, subject: Subject, case: Case) -> None:
        """Wherever the rows are cut, the output is the same."""
        checks.is_rowwise_as_declared(subject, case)

    def test_it_may_be_stopped_early(self, subject: Subject, case: Case) -> None:
        """A consumer that has enough closes its stream, and nothing stays open."""
        checks.may_be_stopped_early(subject, case)

    def test_it_runs_in_a_pipeline(self, subject: Subject, case: Case, backend: str) -> None:
        """A pipeline gives the same wherever the node runs, and errors come as errors of the node."""
        checks.runs_in_a_pipeline(subject, case, backend)


def assert_operator_contract(
    operator: Any,
    *,
    inputs: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    output: Any = MISSING,
    files: Mapping[str, str | bytes] | None = None,
    raises: type[BaseException] | None = None,
    backends: Sequence[str] = BACKENDS,
    deterministic: bool = True,
    accepts_empty: bool = True,
) -> None:
    """Check all that :class:`OperatorContract` tests, for one case, in a temporary folder.

    Args:
        operator: The function or class.
        inputs: A value for each input by name; a list for a stream.
        params: Parameters by name.
        output: What it gives; a list of rows where that is a stream. Left out: anything.
        files: Files that it writes, relative to the current folder.
        raises: The exception that it raises instead.
        backends: Where it must run.
        deterministic: Whether it gives the same each time.
        accepts_empty: Whether a stream without rows is fine.

    Raises:
        AssertionError: Something of it does not hold; the message says what.
    """
    subject = Subject(operator)
    case = Case(inputs=inputs or {}, params=params or {}, output=output, files=files or {}, raises=raises)
    left_out = {
        checks.gives_the_same_again: not deterministic,
        checks.takes_an_empty_stream: not accepts_empty,
    }
    with _temporary_folder():
        for check in checks.CHECKS:
            if not left_out.get(check):
                check(subject, case)
        for backend in backends:
            checks.runs_in_a_pipeline(subject, case, backend)


@contextlib.contextmanager
def _temporary_folder() -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="petal-contract-") as folder, contextlib.chdir(folder):
        yield
