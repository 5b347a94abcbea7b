"""An operator under test: its cases, and ways to call it here and in pipelines."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from petal.app.pipeline import Pipeline
from petal.authoring.pipeline import Node, node
from petal.data.adapters import adapt, batch_rows
from petal.errors import UsageError
from petal.execution.result import RunResult
from petal.running.call import Call
from petal.running.loop import LoopThread
from petal.spec.context import Context
from petal.spec.operator import Input, OperatorSpec
from petal.spec.pipeline import MISSING
from petal.spec.signature import describe
from petal.spec.views import Seen, View
from petal.testing.compare import difference

_VALUE = Seen(View.VALUE)
#: The node under test, in the pipelines that are made for it.
NODE = "subject"


class Case(Struct, frozen=True, kw_only=True):
    """One example of what an operator does.

    Attributes:
        inputs: A value for each input by name; a list for a stream, a list of such values for a variadic input.
        params: Parameters by name.
        output: What it gives; a list of rows where that is a stream. Left out: anything.
        files: Files that it writes, relative to the current folder: their text or bytes.
        raises: The exception that it raises instead.
        label: What the case is called in test reports.
    """

    inputs: Mapping[str, Any] = {}
    params: Mapping[str, Any] = {}
    output: Any = MISSING
    files: Mapping[str, str | bytes] = {}
    raises: type[BaseException] | None = None
    label: str = ""


class Subject:
    """An operator under test.

    Args:
        operator: The function or class.
    """

    def __init__(self, operator: Any) -> None:
        self.target = operator
        self.spec: OperatorSpec = describe(operator)

    @property
    def streams(self) -> bool:
        """Whether its output is a stream."""
        return bool(self.spec.outputs) and self.spec.outputs[0].seen.view.streams

    def stream_inputs(self, case: Case) -> list[Input]:
        """Return the inputs that take many rows, of those that a case gives."""
        return [
            i
            for i in self.spec.inputs
            if i.name in case.inputs and not i.variadic and i.seen.view is not View.VALUE
        ]

    def call(self, inputs: Mapping[str, Any], params: Mapping[str, Any]) -> Any:
        """Call it here with values that may be changed, and return its output, rows of a stream as a list."""
        with self.opened(inputs, params) as result:
            if not self.streams:
                return result
            return rows_of(result, self.spec.outputs[0].seen)

    @contextmanager
    def opened(self, inputs: Mapping[str, Any], params: Mapping[str, Any]) -> Iterator[Any]:
        """Call it here; a stream is not yet read."""
        loop = LoopThread()
        call = Call(self.spec, self.target, params, loop)
        try:
            given = {
                port.name: [_viewed(v, port) for v in inputs[port.name]]
                if port.variadic
                else _viewed(inputs[port.name], port)
                for port in self.spec.inputs
                if port.name in inputs
            }
            yield call(given, Context())
        finally:
            call.close()
            loop.close()

    def run(self, case: Case, backend: str) -> RunResult:
        """Run it as a node of a pipeline, on a backend, fed by local nodes."""
        return self.pipeline(case, backend).run(targets=[NODE])

    def pipeline(self, case: Case, backend: str) -> Pipeline:
        """Make a pipeline in which a local node gives each input."""
        givers: list[Node] = []
        bindings: dict[str, Any] = {}
        inputs = fresh(case.inputs)
        for port in self.spec.inputs:
            if port.name not in inputs:
                continue
            values = inputs[port.name] if port.variadic else [inputs[port.name]]
            names = []
            for value in values:
                names.append(f"given{len(givers)}")
                givers.append(node(giver(value), id=names[-1]))
            bindings[port.name] = names if port.variadic else names[0]
        place: dict[str, Any] = {} if backend == "local" else {"execution": {"backend": backend}}
        under_test = node(self.target, id=NODE, inputs=bindings, params=case.params, policies=place)
        return Pipeline.of(*givers, under_test, name="contract")


def giver(value: Any, annotation: object = MISSING) -> Callable[[], Any]:
    """Return an operator that gives a value; without an annotation it is taken as it is."""

    def give():  # type: ignore[no-untyped-def]
        return value

    if annotation is not MISSING:
        give.__annotations__["return"] = annotation
    return give


def fresh(values: Mapping[str, Any]) -> dict[str, Any]:
    """Copy what a case holds, so that each call gets values of its own.

    Raises:
        UsageError: A value cannot be copied, such as a generator.
    """
    try:
        return {name: copy.deepcopy(value) for name, value in values.items()}
    except TypeError as error:
        raise UsageError(
            f"a case holds what cannot be copied, but is needed for several calls: {error}",
            hint="give a list in place of an iterator or a generator",
        ) from error


def rows_of(result: Any, seen: Seen) -> list[Any]:
    """Read a stream to its end, as rows."""
    if seen.view is View.BATCHES:
        return [row for batch in result for row in batch_rows(batch)]
    return list(result)


def expected_rows(expected: Any) -> Any:
    """Return what a case expects of a stream as a list of rows; it may be written as a frame or a column."""
    if isinstance(expected, list) or not isinstance(expected, Iterable):
        return expected
    return list(expected) if isinstance(expected, tuple) else list(batch_rows(expected))


def check(condition: object, message: str) -> None:
    """Fail a test with a message, whether or not pytest rewrites assertions here.

    Raises:
        AssertionError: The condition does not hold.
    """
    if not condition:
        raise AssertionError(message)


def check_same(got: Any, expected: Any, what: str) -> None:
    """Fail where two values differ, and say where.

    Raises:
        AssertionError: They differ.
    """
    found = difference(got, expected)
    check(found is None, f"{what}: {found}")


def check_files(case: Case) -> None:
    """Fail where a file that a case expects in the current folder is missing or has another content."""
    for name, wanted in case.files.items():
        path = Path(name)
        check(path.is_file(), f"the file {name} was not written")
        data = path.read_bytes()
        found = data.decode() if isinstance(wanted, str) else data
        check_same(found, wanted, f"the file {name}")
        path.unlink()


def _viewed(value: Any, port: Input) -> Any:
    return adapt(value, _VALUE, port.seen, port.name)
