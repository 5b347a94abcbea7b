"""What must hold of every operator, one function each; `OperatorContract` makes a test of each."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from petal.errors import NodeFailed
from petal.spec.diagnostic import Severity
from petal.spec.event import Status
from petal.spec.operator import Input
from petal.spec.pipeline import MISSING
from petal.spec.views import View
from petal.testing.subject import (
    NODE,
    Case,
    Subject,
    check,
    check_files,
    check_same,
    expected_rows,
    fresh,
)

#: Rows that the check of ``rowwise`` cuts at every place; of longer inputs it takes the first ones.
_CUTS = 64


def is_described(subject: Subject, case: Case) -> None:
    """Its signature says what it takes and gives, and a pipeline that uses it has no findings."""
    said = [f"{r.message} ({r.hint})" if r.hint else r.message for r in subject.spec.remarks]
    check(not said, f"{subject.spec.name}: {'; '.join(said)}")
    check(
        subject.spec.doc.strip(), f"{subject.spec.name} has no docstring, which `petal describe` would show"
    )
    findings = [
        f
        for f in subject.pipeline(case, "local").validate()
        if f.severity in (Severity.ERROR, Severity.WARNING)
    ]
    check(
        not findings,
        f"a pipeline with {subject.spec.name} is not valid: {'; '.join(f.message for f in findings)}",
    )


def gives_its_output(subject: Subject, case: Case) -> None:
    """Called here, it gives what the case says, or raises what the case says."""
    if case.raises is not None:
        try:
            got = subject.call(fresh(case.inputs), case.params)
        except case.raises:
            return
        check(False, f"it raised no {case.raises.__name__}, but gave {got!r:.200}")
    got = subject.call(fresh(case.inputs), case.params)
    if case.output is not MISSING:
        wanted = expected_rows(case.output) if subject.streams else case.output
        check_same(got, wanted, "its output")
    check_files(case)


def gives_the_same_again(subject: Subject, case: Case) -> None:
    """Called twice, it gives the same: nothing is kept between calls, and no clock or dice decide."""
    if case.raises is not None:
        return
    first = subject.call(fresh(case.inputs), case.params)
    again = subject.call(fresh(case.inputs), case.params)
    check_same(again, first, "the output of a second call")


def changes_no_input(subject: Subject, case: Case) -> None:
    """It does not change what it is given: other nodes get the same objects (S3.4)."""
    given = fresh(case.inputs)
    kept = {name: _held(value) for name, value in given.items()}
    params = fresh(case.params)
    try:
        subject.call(given, params)
    except Exception:
        check(case.raises is not None, "it raised, and the case does not say so")
    for name, value in given.items():
        check_same(value, case.inputs[name], f"input `{name}`, which others share, was changed in place")
        found = zip(_held(value), kept[name], strict=False)
        check(all(a is b for a, b in found), f"an entry of input `{name}` was replaced in place")
    for name, value in params.items():
        check_same(value, case.params[name], f"parameter `{name}` was changed in place")


def runs_in_a_pipeline(subject: Subject, case: Case, backend: str = "local") -> None:
    """A pipeline gives the same as a call does, wherever the node runs; what it raises fails the node."""
    result = subject.run(case, backend)
    error = result.nodes[NODE].error
    if case.raises is not None:
        _fails_as_it_should(error, result.nodes[NODE].status, case.raises, backend)
        return
    check(error is None, f"on `{backend}` it failed: {error}")
    result.check()
    if subject.spec.outputs:
        got = result.outputs[NODE]
        if case.output is not MISSING:
            got = expected_rows(got) if subject.streams else got
            wanted = expected_rows(case.output) if subject.streams else case.output
            check_same(got, wanted, f"its output on `{backend}`")
    check_files(case)


def _fails_as_it_should(
    error: NodeFailed | None, status: Status, raises: type[BaseException], backend: str
) -> None:
    check(status is Status.FAILED, f"on `{backend}` the node {status}, but its operator raises")
    assert error is not None
    check(error.node == NODE, f"on `{backend}` the error names the node `{error.node}`, not its own")
    check(error.message.strip(), f"on `{backend}` the error of the node has no message")
    text = f"{error}\n{error.traceback}"
    known = raises.__name__ in text or error.code == getattr(raises, "code", None)
    check(known, f"on `{backend}` the error does not say {raises.__name__}: {text}")


def takes_an_empty_stream(subject: Subject, case: Case) -> None:
    """No rows are no error."""
    for port in subject.stream_inputs(case):
        inputs = fresh(case.inputs) | {port.name: _nothing(case.inputs[port.name])}
        try:
            subject.call(inputs, case.params)
        except Exception as error:
            check(
                False,
                f"it fails when `{port.name}` has no rows ({type(error).__name__}: {error}); "
                "where that is right, say `accepts_empty = False`",
            )


def is_rowwise_as_declared(subject: Subject, case: Case) -> None:
    """Declared ``rowwise``, it gives the same rows wherever its input is cut."""
    ports = subject.stream_inputs(case)
    if not subject.spec.rowwise or case.raises is not None or len(ports) != 1:
        return
    name = ports[0].name
    rows = expected_rows(case.inputs[name])[:_CUTS]
    whole = _piece(subject, case, name, rows)
    for at in range(1, len(rows)):
        parts = _piece(subject, case, name, rows[:at]) + _piece(subject, case, name, rows[at:])
        check_same(parts, whole, f"declared `rowwise`, but cut after row {at} it gives other rows")
    alone = [out for row in rows for out in _piece(subject, case, name, [row])]
    check_same(alone, whole, "declared `rowwise`, but row by row it gives other rows")


def _piece(subject: Subject, case: Case, name: str, rows: list[Any]) -> list[Any]:
    got = subject.call(fresh(case.inputs) | fresh({name: rows}), case.params)
    found: list[Any] = expected_rows(got)
    return found


def may_be_stopped_early(subject: Subject, case: Case) -> None:
    """A consumer that has enough closes the stream, and the operator lets go of all it holds."""
    if not subject.streams or case.raises is not None:
        return
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        with subject.opened(_watched(subject, case), case.params) as stream:
            taken = list(islice(stream, 1))
            close = getattr(stream, "close", None)
            if close is not None:
                _close(close)
                check(not list(islice(stream, 1)), "its stream goes on after it was closed")
        del stream, taken
        gc.collect()
    left = [str(w.message) for w in told if issubclass(w.category, ResourceWarning)]
    check(not left, f"stopped early, it leaves something open: {'; '.join(left)}")


def _close(close: Callable[[], None]) -> None:
    try:
        close()
    except Exception as error:
        check(False, f"its stream cannot be closed early: {type(error).__name__}: {error}")


def _watched(subject: Subject, case: Case) -> dict[str, Any]:
    """Give streams as generators, as a pipeline does."""
    streams: Mapping[str, Input] = {p.name: p for p in subject.stream_inputs(case)}
    return {
        name: _flow(value) if name in streams and streams[name].seen.view is View.ITEMS else value
        for name, value in fresh(case.inputs).items()
    }


def _flow(rows: Any) -> Iterator[Any]:
    yield from expected_rows(rows)


def _held(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _nothing(value: Any) -> Any:
    """Return what is of the same kind and has no rows."""
    if hasattr(value, "clear") and hasattr(value, "schema"):  # a Polars frame keeps its columns
        return value.clear()
    if hasattr(value, "slice"):
        return value.slice(0, 0)
    if hasattr(value, "iloc"):
        return value.iloc[:0]
    return type(value)() if isinstance(value, list | tuple | set | frozenset) else []


#: What every case of every operator must pass, in the order in which a mistake is best understood.
CHECKS = (
    is_described,
    gives_its_output,
    gives_the_same_again,
    changes_no_input,
    takes_an_empty_stream,
    is_rowwise_as_declared,
    may_be_stopped_early,
)
