"""The rule of retries is a pure function: rule and failure in, the next attempt or None out (DESIGN 5, S5.4, S5.5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petal import DataError, EnvironmentNotReady, OutputError, RowError, TaskLost, TimedOut, WorkerDied
from petal.errors import RemoteError, SignatureError, WireError
from petal.execution.remote import error_of
from petal.execution.retrying import (
    FIRST,
    MOST_THROTTLES,
    Again,
    Attempt,
    Failure,
    Rule,
    decide,
    failure_of,
    rule_of,
)
from petal.spec.plan import Resolved
from petal.spec.policy import Effects, ErrorKind, Execution, Retry
from petal.worker.failures import error_data

USER = Failure(ErrorKind.USER, ("ConnectionError", "OSError", "Exception", "BaseException"))
DOWN = Failure(ErrorKind.INFRASTRUCTURE, ("WorkerDied", "TaskLost", "PetalError", "Exception"))
LOST = Failure(ErrorKind.INFRASTRUCTURE, DOWN.names, unknown=True)
LATE = Failure(ErrorKind.TIMEOUT, ("TimedOut", "TaskLost", "PetalError", "Exception"), unknown=True)
FULL = Failure(ErrorKind.OUT_OF_MEMORY, ("MemoryError", "Exception"))
BUSY = Failure(ErrorKind.THROTTLE, ("TooManyRequests",), after=5.0)
WRONG = Failure(ErrorKind.USER, ("RowError", "DataError", "ValueError", "Exception"), permanent=True)


def one():
    return 1.0


def rule(attempts=3, effects=Effects.PURE, **rest):
    return Rule(effects, attempts, jitter=False, **rest)


def attempts(rule, failure, random=one):
    """Let every attempt fail in this way; return what was decided after each."""
    found, attempt = [], FIRST
    while (again := decide(rule, attempt, failure, random)) is not None:
        found.append(again)
        attempt = again.attempt
    return found


@pytest.mark.parametrize("failure", [USER, DOWN, LOST, LATE])
def test_max_attempts_counts_all_attempts(failure):
    """S5.5: `retry: 3` is three attempts in all, of user code, infrastructure and time-outs; the default is one."""
    assert [a.attempt.number for a in attempts(rule(3), failure)] == [2, 3]
    assert attempts(rule(1), failure) == []


@pytest.mark.parametrize("failure", [FULL, WRONG, Failure(ErrorKind.USER, (), permanent=True)])
def test_what_would_only_happen_again_is_not_tried_again(failure):
    """S5.5, F32: no second attempt after memory ran out, nor after Petal's own permanent kinds."""
    assert attempts(rule(3), failure) == []
    assert attempts(rule(3, retry_on=("Exception", "user", "ValueError")), failure) == []


@pytest.mark.parametrize(
    ("failure", "name"), [(FULL, "out_of_memory"), (FULL, "MemoryError"), (WRONG, "RowError")]
)
def test_a_permanent_failure_is_tried_again_where_its_very_class_is_named(failure, name):
    """Who writes the class or the kind itself into `retry_on` has thought of it."""
    assert len(attempts(rule(3, retry_on=(name,)), failure)) == 2


@pytest.mark.parametrize(
    ("failure", "name"),
    [
        (USER, "ConnectionError"),
        (USER, "OSError"),
        (USER, "user"),
        (LATE, "timeout"),
        (LOST, "unknown"),
        (DOWN, "infrastructure"),
    ],
)
def test_names_match_classes_bases_and_kinds(failure, name):
    """S5.5: a name in `retry_on` or `abort_on` is an exception's class, one of its bases, or an error kind."""
    assert len(attempts(rule(3, retry_on=("Other", name)), failure)) == 2
    assert attempts(rule(3, retry_on=("Other",)), failure) == []
    assert attempts(rule(3, abort_on=("Other", name)), failure) == []
    assert len(attempts(rule(3, abort_on=("Other",)), failure)) == 2
    assert attempts(rule(3, retry_on=(name,), abort_on=(name,)), failure) == []


def test_unknown_does_not_match_a_known_outcome():
    """`abort_on: [unknown]` leaves failures whose outcome is known alone."""
    assert len(attempts(rule(3, abort_on=("unknown",)), DOWN)) == 2


@pytest.mark.parametrize("failure", [LOST, LATE])
def test_an_unknown_outcome_of_a_once_node_is_never_tried_again(failure):
    """DESIGN 5: unknown is not failed: no retry, no failover, whoever asks, unless a second execution is harmless."""
    asked = {"places": 3, "retry_on": ("unknown", *failure.names, "timeout", "infrastructure")}
    assert attempts(rule(9, Effects.ONCE, **asked), failure) == []
    assert attempts(rule(9, Effects.PURE, **asked), failure)
    assert attempts(rule(9, Effects.IDEMPOTENT, **asked), failure)


def test_a_known_failure_of_a_once_node_is_tried_again_if_asked():
    """S5.5: what is known to have failed may be asked for again."""
    assert len(attempts(rule(3, Effects.ONCE), USER)) == 2
    assert attempts(rule(1, Effects.ONCE), USER) == []


def test_failover_moves_on_at_once_for_infrastructure_and_uses_up_no_attempt():
    """DESIGN 5: each place is gone to once, without waiting; in the last one all attempts are left."""
    found = attempts(rule(2, places=3, delay=4.0), DOWN)
    assert [(a.attempt.place, a.wait) for a in found] == [(1, 0.0), (2, 0.0), (2, 4.0)]
    assert [a.attempt.number for a in found] == [2, 3, 4]


@pytest.mark.parametrize("failure", [USER, LATE, FULL, WRONG, BUSY])
def test_failover_does_not_move_for_anything_else(failure):
    """DESIGN 5: failover is for infrastructure errors only, never for the user's error."""
    assert all(a.attempt.place == 0 for a in attempts(rule(3, places=3), failure))


def test_a_place_that_cannot_be_opened_is_left_and_not_tried_again():
    """A backend that is not there moves the node on; in the last place it is the end."""
    failure = failure_of(EnvironmentNotReady("no daemon"))
    assert [a.attempt.place for a in attempts(rule(5, places=2), failure)] == [1]


def test_abort_on_forbids_failover_and_retry_on_does_not_limit_it():
    """`abort_on` is the end wherever; `retry_on` speaks of attempts in the same place."""
    assert attempts(rule(3, places=2, abort_on=("infrastructure",)), DOWN) == []
    assert [a.attempt.place for a in attempts(rule(3, places=2, retry_on=("OSError",)), DOWN)] == [1]


def test_a_throttle_is_asked_again_without_using_up_attempts_and_has_a_cap():
    """A throttled call was not made: it comes back after the wait that was asked for and more, at most so often."""
    found = attempts(rule(1, Effects.ONCE, delay=1.0, max_delay=8.0), BUSY)
    assert len(found) == MOST_THROTTLES
    assert [a.wait for a in found[:5]] == [6.0, 7.0, 9.0, 13.0, 13.0]
    assert decide(rule(2), found[-1].attempt, USER, one) is not None, "the attempts are left"


def test_a_throttle_that_asks_for_hours_is_a_failure():
    """A node does not sleep for as long as anybody tells it to."""
    assert attempts(rule(3), Failure(ErrorKind.THROTTLE, after=7200.0)) == []


def test_waits_grow_up_to_the_longest_one():
    """The wait before attempt n + 1 is delay x backoff^(n - 1), at most max_delay."""
    found = attempts(rule(6, delay=1.0, backoff=3.0, max_delay=20.0), USER)
    assert [a.wait for a in found] == [1.0, 3.0, 9.0, 20.0, 20.0]


def test_waits_of_thousands_of_attempts_are_numbers():
    """Powers that no float holds are the longest wait, or none where there is no delay."""
    assert attempts(rule(3000, backoff=10.0), USER)[-1].wait == 60.0
    assert attempts(rule(3000, backoff=10.0, delay=0.0), USER)[-1].wait == 0.0


@given(random=st.floats(0, 1), number=st.integers(1, 9))
def test_full_jitter_draws_from_zero_to_the_whole_wait(random, number):
    """AWS, "Exponential Backoff And Jitter": full jitter is uniform between zero and the wait."""
    again = decide(Rule(Effects.PURE, 10), Attempt(number), USER, lambda: random)
    assert again == Again(random * min(60.0, 2.0 ** (number - 1)), Attempt(number + 1))


failures = st.builds(
    Failure,
    st.sampled_from(ErrorKind),
    st.lists(st.sampled_from(["OSError", "TaskLost", "Exception"]), max_size=2).map(tuple),
    st.booleans(),
    st.booleans(),
    st.none() | st.floats(0, 7200),
)
rules = st.builds(
    Rule,
    st.sampled_from(Effects),
    st.integers(1, 5),
    delay=st.floats(0, 100),
    retry_on=st.lists(st.sampled_from(["OSError", "user", "unknown", "throttle"]), max_size=2).map(tuple),
    abort_on=st.lists(st.sampled_from(["TaskLost", "timeout"]), max_size=1).map(tuple),
    places=st.integers(1, 4),
)


@given(rule=rules, data=st.data())
def test_no_rule_and_no_failures_lead_to_more_attempts_than_allowed(rule, data):
    """F31, G13: attempts, moves and throttles are each capped, in any order of failures."""
    attempt, used = FIRST, 1
    while (again := decide(rule, attempt, data.draw(failures), one)) is not None:
        assert again.attempt.number == attempt.number + 1
        assert attempt.place <= again.attempt.place < rule.places
        assert again.wait >= 0
        used += not again.free
        attempt = again.attempt
        assert used <= rule.max_attempts
        assert attempt.number <= rule.most


class Flaky(ConnectionError):
    """A user's exception."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            Flaky(),
            Failure(ErrorKind.USER, ("Flaky", "ConnectionError", "OSError", "Exception", "BaseException")),
        ),
        (SystemExit(), Failure(ErrorKind.USER, ("SystemExit", "BaseException"))),
        (MemoryError(), Failure(ErrorKind.OUT_OF_MEMORY, ("MemoryError", "Exception", "BaseException"))),
        (RemoteError("x", type="Flaky", bases=("OSError",)), Failure(ErrorKind.USER, ("Flaky", "OSError"))),
        (
            RemoteError("x", bases=("DataError", "PetalError")),
            Failure(ErrorKind.USER, ("DataError", "PetalError"), permanent=True),
        ),
        (RemoteError("x", type="DataError"), Failure(ErrorKind.USER, ("DataError",))),
        (RemoteError("x", type="M", kind="out_of_memory"), Failure(ErrorKind.OUT_OF_MEMORY, ("M",))),
        (RemoteError("x", type="M", kind="of_2030"), Failure(ErrorKind.INFRASTRUCTURE, ("M",))),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_an_exception_becomes_a_failure(error, expected):
    """Names are the class and its bases; a class of the user's that is called as one of Petal's is the user's."""
    assert failure_of(error) == expected


def test_an_error_of_petal_is_known_again_in_another_process():
    """What a worker says of an exception gives the same names, and the same answer, as the exception itself."""
    for error in (RowError("x", row=1), OutputError("x"), Flaky("x"), MemoryError()):
        assert failure_of(error_of(error_data(error, None))) == failure_of(error)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TaskLost("x"), ErrorKind.INFRASTRUCTURE),
        (WorkerDied("x", kind="out_of_memory"), ErrorKind.OUT_OF_MEMORY),
        (TimedOut("x"), ErrorKind.TIMEOUT),
        (TaskLost("x", kind="unknown"), ErrorKind.INFRASTRUCTURE),
    ],
)
def test_a_task_without_a_reply_is_unknown(error, kind):
    """S5.4: what a lost task has done is not known, and it shows as a fault of the infrastructure."""
    failure = failure_of(error)
    assert (failure.kind, failure.unknown, failure.permanent) == (kind, True, False)


@pytest.mark.parametrize("error", [WireError("x"), SignatureError("x")])
def test_a_reply_that_cannot_be_read_leaves_its_outcome_open(error):
    """Before a task is sent it is a mistake; afterwards nobody knows what the call has done."""
    assert failure_of(error).permanent
    assert not failure_of(error).unknown
    assert failure_of(error, sent=True).unknown


@pytest.mark.parametrize("error", [DataError("x"), RowError("x", row=3), OutputError("x")])
def test_petals_own_errors_are_permanent(error):
    """F32: the same rows and the same full disk would be met again."""
    assert failure_of(error).permanent
    assert failure_of(error).kind is ErrorKind.USER


def resolved(execution=Execution(), retry=None, timeout=None, effects=Effects.PURE):  # noqa: B008
    return Resolved(execution, retry, timeout, None, None, effects)


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        (resolved(), None),
        (resolved(effects=Effects.ONCE), None),
        (resolved(retry=Retry(1)), None),
        (resolved(Execution("process")), None),
        (resolved(timeout=3.0), None),
        (resolved(timeout=3.0, effects=Effects.ONCE), Rule(Effects.ONCE)),
        (resolved(Execution("process"), effects=Effects.ONCE), Rule(Effects.ONCE)),
        (resolved(Execution("process", ("local",))), Rule(Effects.PURE, places=2)),
        (
            resolved(retry=Retry(4, 0.5, 1.5, 9.0, False, ("a",), ("b",))),
            Rule(Effects.PURE, 4, 0.5, 1.5, 9.0, False, ("a",), ("b",)),
        ),
    ],
)
def test_a_rule_is_made_of_a_nodes_policies(policies, expected):
    """A node has a rule if it may have a second attempt, or an outcome that is unknown and matters."""
    assert rule_of(policies) == expected
