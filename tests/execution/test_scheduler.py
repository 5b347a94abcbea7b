"""The scheduler is a pure state machine: any graph, any order of completion, any failures (S4.4, STYLE)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

import petal.execution.scheduler as module
from petal.execution.scheduler import Instructions, Scheduler, State

ENDS = (State.SUCCEEDED, State.FAILED, State.SKIPPED)


@st.composite
def graphs(draw):
    """For each unit, what it waits for and what it streams from, all earlier units."""
    count = draw(st.integers(1, 12))
    waits, streams = [], []
    for i in range(count):
        before = st.sets(st.integers(0, i - 1), max_size=3) if i else st.just(set())
        waits.append(draw(before))
        streams.append(draw(before) - waits[-1])
    return waits, streams


def behind(unit, waits, streams):
    """Every unit that needs this one, directly or not."""
    found = set()
    for i in range(unit + 1, len(waits)):
        if (waits[i] | streams[i]) & (found | {unit}):
            found.add(i)
    return found


@given(graph=graphs(), data=st.data(), fail_fast=st.booleans())
@settings(max_examples=200, deadline=None)
def test_every_unit_ends_and_none_starts_too_early(graph, data, fail_fast):
    """S4.4: every unit ends once, none starts before what it waits for, skipped is exactly what is behind a failure."""
    waits, streams = graph
    scheduler = Scheduler(waits, streams, fail_fast=fail_fast)
    ready, running, started, done, failed, skipped, cancelled = [], [], set(), set(), set(), set(), set()

    def follow(todo):
        for unit in todo.start:
            assert waits[unit] <= done, "starts before a value it needs"
            assert streams[unit] <= started, "starts before a stream it reads"
            assert unit not in started | skipped | cancelled
            ready.append(unit)
        for unit in todo.skip:
            assert unit not in started
            skipped.add(unit)
        for unit in todo.cancel:
            cancelled.add(unit)
        for unit in (*todo.skip, *todo.cancel):
            if unit in ready:
                ready.remove(unit)

    def may_end(unit):
        # a unit that reads a stream ends only after the unit whose stream it reads, unless it failed
        return all(s in done | failed for s in streams[unit])

    follow(scheduler.begin())
    while ready or running:
        choices = [("start", u) for u in ready] + [("end", u) for u in running]
        action, unit = data.draw(st.sampled_from(choices))
        if action == "start":
            ready.remove(unit)
            running.append(unit)
            started.add(unit)
            follow(scheduler.started(unit))
            continue
        broken = any(s in failed for s in streams[unit])
        ok = not broken and may_end(unit) and data.draw(st.integers(0, 3)) > 0
        if not ok and not broken and not may_end(unit) and data.draw(st.booleans()):
            continue
        running.remove(unit)
        (done if ok else failed).add(unit)
        follow(scheduler.finished(unit, ok=ok))
    assert scheduler.done
    assert all(s in ENDS for s in scheduler.states)
    everything = set(range(len(waits)))
    assert started | skipped | cancelled == everything
    assert not started & (skipped | cancelled)
    reached = set().union(*(behind(f, waits, streams) for f in failed)) if failed else set()
    if not fail_fast:
        assert not cancelled
        assert skipped == reached - started
    assert skipped <= reached
    if not failed:
        assert done == everything


@given(graph=graphs(), steps=st.integers(0, 8))
@settings(max_examples=100, deadline=None)
def test_stop_starts_nothing_any_more(graph, steps):
    """S5, DESIGN 5: after a stop only what runs still ends, and then the run is done."""
    waits, streams = graph
    scheduler = Scheduler(waits, streams)
    running, ready = [], list(scheduler.begin().start)
    for _ in range(steps):
        if ready:
            unit = ready.pop()
            running.append(unit)
            ready += scheduler.started(unit).start
        elif running:
            ready += scheduler.finished(running.pop(0), ok=True).start
    todo = scheduler.stop()
    assert not todo.start
    assert set(todo.cancel).isdisjoint(running)
    for unit in running:
        assert scheduler.finished(unit, ok=True).start == ()
    assert scheduler.done
    assert scheduler.stop() == Instructions()


def test_a_chain_of_ten_thousand_needs_no_recursion():
    """DESIGN 11: linear, no recursion, also for what is skipped behind a failure."""
    count = 10_000
    scheduler = Scheduler([set() if i == 0 else {i - 1} for i in range(count)])
    assert scheduler.begin().start == (0,)
    scheduler.started(0)
    assert len(scheduler.finished(0, ok=False).skip) == count - 1
    assert scheduler.done


def test_it_knows_no_clock_thread_or_file():
    """STYLE: the scheduler is pure: it imports nothing that could do anything."""
    known = {"annotations", "Sequence", "Collection", "Enum", "Struct", "State", "Instructions", "Scheduler"}
    found = {n for n in vars(module) if not n.startswith(("_", "@"))}  # pytest's own names have an @
    assert found <= known
