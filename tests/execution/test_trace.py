"""The trace context of a run, wherever its nodes run (W3C Trace Context)."""

from __future__ import annotations

import re

import pytest

from petal import Context, Pipeline, node

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


def traced(context: Context) -> list[dict[str, str]]:
    return [context.trace, context.trace]


@pytest.fixture(autouse=True)
def _no_trace(monkeypatch):
    monkeypatch.delenv("TRACEPARENT", raising=False)
    monkeypatch.delenv("TRACESTATE", raising=False)


def traces() -> list[dict[str, str]]:
    """Run a node here, one on a worker process, and one that a time-out has moved; return what each was told."""
    nodes = [
        node(traced, id="here"),
        node(traced, id="there", policies={"execution": "process"}),
        node(traced, id="moved", policies={"timeout": "60s"}),
    ]
    outputs = Pipeline.of(*nodes).run().check().outputs
    assert all(one == other for one, other in outputs.values()), "it is the same at each look"
    return [outputs[name][0] for name in ("here", "there", "moved")]


def test_all_nodes_of_a_run_are_spans_of_one_trace():
    """Here and in workers alike: one trace, a span for each attempt; another run is another trace."""
    found = [re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-01", t["traceparent"]) for t in traces()]
    assert all(found)
    assert len({one[1] for one in found if one}) == 1
    assert len({one[2] for one in found if one}) == 3
    assert found[0] is not None
    assert found[0][1] not in traces()[0]["traceparent"]


def test_a_trace_of_the_environment_goes_on(monkeypatch):
    """Its id, flags and state are handed on, under spans of the run's own."""
    monkeypatch.setenv("TRACEPARENT", PARENT)
    monkeypatch.setenv("TRACESTATE", "vendor=1")
    for trace in traces():
        version, trace_id, span, flags = trace["traceparent"].split("-")
        assert (version, trace_id, flags) == ("00", PARENT.split("-")[1], "00")
        assert span != PARENT.split("-")[2]
        assert trace["tracestate"] == "vendor=1"


@pytest.mark.parametrize(
    "given",
    [
        "",
        "nonsense",
        PARENT.upper(),
        PARENT.replace("00-4", "ff-4"),
        PARENT + "-more",
        f"00-{'0' * 32}-00f067aa0ba902b7-00",
        f"00-{'1' * 32}-{'0' * 16}-00",
    ],
)
def test_a_trace_that_is_none_is_not_followed(monkeypatch, given):
    """The run has a trace of its own then, and no state of another."""
    monkeypatch.setenv("TRACEPARENT", given)
    monkeypatch.setenv("TRACESTATE", "vendor=1")
    trace = Context(run_id="a run").trace
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", trace["traceparent"])
    assert trace["traceparent"].split("-")[1] != "1" * 32
    assert "tracestate" not in trace


def test_a_later_version_of_the_header_is_followed(monkeypatch):
    """What is behind the parts that are known is left out."""
    monkeypatch.setenv("TRACEPARENT", PARENT.replace("00-4", "cc-4") + "-later")
    assert Context(run_id="a run").trace["traceparent"].startswith(PARENT[:36])


def test_a_context_outside_any_run_has_a_trace_too():
    """Each its own, so that operators stay unit-testable."""
    assert Context().trace != Context().trace
