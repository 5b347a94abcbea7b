"""The scheduler is a pure state machine: any graph, any order of completion, any failures (S4.4, STYLE)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import petal.execution.scheduler as module
from petal.execution.retrying import Failure, Rule
from petal.execution.scheduler import BUDGET, Instructions, Retries, Scheduler, State
from petal.spec.policy import Effects, ErrorKind

USER = Failure(ErrorKind.USER, ("OSError", "Exception"))
LOST = Failure(ErrorKind.INFRASTRUCTURE, ("TaskLost",), unknown=True)
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
    known = {"annotations", "Callable", "Collection", "Mapping", "Sequence", "Enum", "Struct", "Effects"}
    known |= {"heappop", "heappush", "State", "Instructions", "Retries", "Scheduler", "BUDGET"}
    known |= {"FIRST", "Attempt", "Failure", "Rule", "decide"}
    found = {n for n in vars(module) if not n.startswith(("_", "@"))}  # pytest's own names have an @
    assert found <= known


# -- units that are tried again (every order of events is in tests/simulation) ----------------------------------------


def scheduler_of(*rules, waits=None, streams=None, budget=None, **rest):
    retries = Retries({u: r for u, r in enumerate(rules) if r is not None}, lambda: 1.0, budget)
    found = Scheduler(waits or [set() for _ in rules], streams, retries=retries, **rest)
    assert found.begin().start
    return found


def test_a_failed_attempt_waits_without_running_and_is_started_when_it_is_due():
    """DESIGN 5: the unit waits, the scheduler says until when, and the next attempt starts no earlier."""
    scheduler = scheduler_of(Rule(Effects.PURE, 3, delay=2.0))
    scheduler.started(0)
    assert scheduler.failed(0, 1, USER, now=10.0) == Instructions(later=((0, 12.0),))
    assert scheduler.states == [State.LATER]
    assert not scheduler.done
    assert scheduler.next_due == 12.0
    assert scheduler.due(11.9) == Instructions()
    assert scheduler.due(12.0) == Instructions((0,))
    assert scheduler.next_due is None
    scheduler.started(0)
    assert scheduler.attempt_of(0) == 2
    assert scheduler.succeeded(0, 2) == Instructions()
    assert scheduler.done
    assert scheduler.states == [State.SUCCEEDED]


def test_what_an_older_attempt_says_changes_nothing():
    """F27: late and duplicate replies of an attempt that is not current are dropped, and may publish nothing."""
    scheduler = scheduler_of(Rule(Effects.PURE, 3, delay=0.0))
    scheduler.started(0)
    assert scheduler.is_current(0, 1)
    assert scheduler.failed(0, 1, LOST, now=0.0).start == (0,)
    assert not scheduler.is_current(0, 1), "between two attempts none is current"
    scheduler.started(0)
    for late in (lambda: scheduler.succeeded(0, 1), lambda: scheduler.failed(0, 1, USER, now=9.0)):
        assert late() == Instructions()
        assert scheduler.is_current(0, 2)
        assert not scheduler.is_current(0, 1)
    scheduler.succeeded(0, 2)
    for late in (lambda: scheduler.succeeded(0, 2), lambda: scheduler.failed(0, 2, USER, now=9.0)):
        assert late() == Instructions()
        assert scheduler.states == [State.SUCCEEDED]
        assert scheduler.done


def test_an_unknown_outcome_of_a_once_unit_is_its_end():
    """S5.4: such a unit ends as unknown; what needs it is skipped."""
    scheduler = scheduler_of(Rule(Effects.ONCE, 9), None, waits=[set(), {0}])
    scheduler.started(0)
    assert scheduler.failed(0, 1, LOST, now=0.0) == Instructions(skip=(1,))
    assert scheduler.states == [State.UNKNOWN, State.SKIPPED]
    assert scheduler.done


def test_a_known_failure_of_a_once_unit_is_a_failure():
    """S5.4: only an outcome that nobody knows is unknown."""
    scheduler = scheduler_of(Rule(Effects.ONCE, 1))
    scheduler.started(0)
    scheduler.failed(0, 1, USER, now=0.0)
    assert scheduler.states == [State.FAILED]


def test_an_unknown_outcome_of_a_pure_unit_is_a_failure_at_the_end_of_its_attempts():
    """S5.4: where a second execution is harmless an unknown outcome is a failed one."""
    scheduler = scheduler_of(Rule(Effects.PURE, 1))
    scheduler.started(0)
    scheduler.failed(0, 1, LOST, now=0.0)
    assert scheduler.states == [State.FAILED]


def test_a_unit_without_a_rule_has_one_attempt():
    """Units that nobody asked to try again fail as ever."""
    scheduler = scheduler_of(None, Rule(Effects.PURE, 2))
    scheduler.started(0)
    assert scheduler.failed(0, 1, LOST, now=0.0) == Instructions()
    assert scheduler.states[0] is State.FAILED


def test_failover_changes_the_place_at_once():
    """DESIGN 5: the next backend takes over without a wait."""
    scheduler = scheduler_of(Rule(Effects.PURE, 1, places=2))
    scheduler.started(0)
    assert scheduler.place_of(0) == 0
    assert scheduler.failed(0, 1, LOST, now=0.0) == Instructions((0,))
    assert (scheduler.attempt_of(0), scheduler.place_of(0)) == (2, 1)
    scheduler.started(0)
    assert scheduler.failed(0, 2, LOST, now=0.0) == Instructions()
    assert scheduler.states == [State.FAILED]


def test_readers_of_a_stream_are_released_once():
    """A second attempt of what a unit streams from does not count as the other thing that the unit waits for."""
    scheduler = scheduler_of(
        Rule(Effects.PURE, 3, delay=0.0), None, None, waits=[set(), set(), {1}], streams=[set(), set(), {0}]
    )
    scheduler.started(0)
    scheduler.failed(0, 1, USER, now=0.0)
    assert scheduler.started(0) == Instructions()
    assert scheduler.states[2] is State.WAITING
    scheduler.started(1)
    assert scheduler.finished(1, ok=True).start == (2,)


@pytest.mark.parametrize("how", ["stop", "fail-fast"])
def test_a_stop_ends_the_waits(how):
    """DESIGN 5: what waits for another attempt is cancelled with the rest, and nothing is due any more."""
    scheduler = scheduler_of(Rule(Effects.PURE, 3), None, fail_fast=True)
    scheduler.started(0)
    scheduler.failed(0, 1, USER, now=0.0)
    scheduler.started(1)
    todo = scheduler.stop() if how == "stop" else scheduler.finished(1, ok=False)
    assert todo.cancel == (0,)
    assert scheduler.next_due is None
    assert scheduler.due(1e9) == Instructions()
    if how == "stop":
        scheduler.finished(1, ok=True)
    assert scheduler.done


def test_nothing_is_tried_again_after_a_stop():
    """DESIGN 5: an attempt that fails while the run is being stopped is the last one."""
    scheduler = scheduler_of(Rule(Effects.PURE, 3))
    scheduler.started(0)
    scheduler.stop()
    assert scheduler.failed(0, 1, USER, now=0.0) == Instructions()
    assert scheduler.states == [State.FAILED]


def test_a_unit_whose_source_failed_waits_no_longer():
    """S4.4: the stream that the next attempt would read is broken, so there is no next attempt."""
    scheduler = scheduler_of(None, Rule(Effects.PURE, 3), streams=[set(), {0}])
    scheduler.started(0)
    scheduler.started(1)
    scheduler.failed(1, 1, USER, now=0.0)
    assert scheduler.finished(0, ok=False).skip == (1,)
    assert scheduler.next_due is None
    assert scheduler.done


def test_a_run_has_a_budget_of_retries():
    """F31: where everything fails, a run of many units makes few more attempts than units."""
    count = 1000
    scheduler = scheduler_of(*[Rule(Effects.PURE, 3, delay=0.0)] * count)
    attempts = 0
    for unit in range(count):
        again = True
        while again:
            scheduler.started(unit)
            attempts += 1
            again = bool(scheduler.failed(unit, scheduler.attempt_of(unit), USER, now=0.0).start)
    assert attempts == count + BUDGET
    assert scheduler.budget == 0
    assert sum(map(scheduler.is_cut_short, range(count))) == count - BUDGET / 2
    assert scheduler.done


def test_only_what_would_have_been_tried_again_is_cut_short():
    """The error may name the budget only where it was the budget's doing."""
    scheduler = scheduler_of(Rule(Effects.PURE, 1), Rule(Effects.PURE, 2), None, budget=0)
    for unit in range(3):
        scheduler.started(unit)
        scheduler.failed(unit, 1, USER, now=0.0)
    assert [scheduler.is_cut_short(unit) for unit in range(3)] == [False, True, False]


def test_success_pays_for_retries():
    """A service that answers most of the time is asked as often as each unit's rule allows."""
    count = 1000
    scheduler = scheduler_of(*[Rule(Effects.PURE, 2, delay=0.0)] * count)
    for unit in range(count):
        scheduler.started(unit)
        assert scheduler.failed(unit, 1, USER, now=0.0).start == (unit,)
        scheduler.started(unit)
        scheduler.succeeded(unit, 2)
    assert scheduler.budget == BUDGET


def test_one_unit_alone_may_use_all_attempts_that_it_was_given():
    """The budget never cuts what somebody wrote for one node."""
    scheduler = scheduler_of(Rule(Effects.PURE, 500, delay=0.0))
    for attempt in range(1, 501):
        scheduler.started(0)
        assert bool(scheduler.failed(0, attempt, USER, now=0.0).start) == (attempt < 500)


def test_free_attempts_use_up_no_budget():
    """Moves to another place are part of where a node runs, not of how often."""
    scheduler = scheduler_of(Rule(Effects.PURE, 1, places=2), budget=0)
    scheduler.started(0)
    assert scheduler.failed(0, 1, LOST, now=0.0).start == (0,)
