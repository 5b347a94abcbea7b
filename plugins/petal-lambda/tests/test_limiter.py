"""How many calls a function gets at a time: all, until it is throttled; then half as many, and slowly more."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from petal_lambda.limiter import Limiter, Limiters


class _Clock:
    """A clock that stands still until it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class _Full(Exception):
    """A call had to wait."""


def _enter(limiter: Limiter) -> float:
    """Enter without waiting."""

    def waits() -> None:
        raise _Full

    return limiter.enter(waits)


def _fill(limiter: Limiter) -> int:
    """Enter as often as that is possible, leave again, and return how often it was."""
    entered: list[float] = []
    try:
        while len(entered) < 1000:
            entered.append(_enter(limiter))
    except _Full:
        pass
    for at in entered:
        limiter.leave(at)
    return len(entered)


def test_nothing_waits_that_was_never_throttled() -> None:
    """There is no limit but that of the settings."""
    limiter = Limiter()
    assert [_enter(limiter) for _ in range(500)]


def test_a_throttle_halves_the_calls_at_a_time_once_for_all_that_were_under_way() -> None:
    """Sixteen calls, of which ten are turned away together: eight go on."""
    clock = _Clock()
    limiter = Limiter(clock)
    entered = [_enter(limiter) for _ in range(16)]
    clock.now += 1
    for at in entered[:10]:
        limiter.leave(at, throttled=0.0)
    assert limiter.most == 8


def test_the_door_is_closed_for_as_long_as_aws_asks() -> None:
    """Nobody asks before that, whose call it ever was."""
    clock = _Clock()
    limiter = Limiter(clock)
    limiter.leave(_enter(limiter), throttled=5.0)
    clock.now += 4.9
    with pytest.raises(_Full):
        _enter(limiter)
    clock.now += 0.2
    _enter(limiter)


def test_it_takes_a_round_of_successes_to_let_one_more_through() -> None:
    """After n calls at a time have succeeded, there may be n + 1."""
    clock = _Clock()
    limiter = Limiter(clock)
    entered = [_enter(limiter) for _ in range(8)]
    limiter.leave(entered.pop(), throttled=0.0)
    assert limiter.most == 4
    for at in entered:
        limiter.leave(at)
    assert 5 <= limiter.most < 6


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40)), max_size=30))
def test_at_least_one_call_is_always_let_through(rounds: list[tuple[int, int]]) -> None:
    """However often it is throttled: nothing waits for ever, and nothing is counted twice."""
    clock = _Clock()
    limiter = Limiter(clock)
    for calls, turned_away in rounds:
        entered = []
        for _ in range(calls):
            try:
                entered.append(_enter(limiter))
            except _Full:
                break
        assert entered
        clock.now += 1
        for k, at in enumerate(entered):
            limiter.leave(at, throttled=0.0 if k < turned_away else None)
    assert _fill(limiter) >= 1


def test_a_call_that_waits_goes_on_when_another_ends() -> None:
    """It need not be woken by a clock."""
    limiter = Limiter()
    first = _enter(limiter)
    limiter.leave(first, throttled=0.0)
    held = _enter(limiter)
    found: list[float] = []
    thread = threading.Thread(target=lambda: found.append(limiter.enter(lambda: None)))
    thread.start()
    limiter.leave(held)
    thread.join(10)
    assert found


def test_nodes_that_call_the_same_function_share_its_limiter() -> None:
    """As long as one of them has it."""
    limiters = Limiters()
    one = limiters.of("", "eu-central-1", "f")
    assert limiters.of("", "eu-central-1", "f") is one
    others: list[Any] = [limiters.of("", "us-east-1", "f"), limiters.of("", "eu-central-1", "f:live")]
    assert one not in others
