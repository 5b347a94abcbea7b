"""Decide whether a node is tried again, when and where: a pure function of rule and failure (DESIGN.md §5, S5.4, S5.5)."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from petal.errors import (
    DataError,
    DefinitionError,
    EnvironmentNotReady,
    InvalidPipeline,
    OutputError,
    PetalError,
    RemoteError,
    TaskLost,
    UsageError,
    WireError,
)
from petal.spec.plan import Resolved
from petal.spec.policy import Effects, ErrorKind, Retry

#: Errors of Petal's own that another attempt would only meet again.
PERMANENT: tuple[type[PetalError], ...] = (
    DataError,
    DefinitionError,
    EnvironmentNotReady,
    InvalidPipeline,
    OutputError,
    UsageError,
    WireError,
)
#: How often one node is asked to come back later before that counts as its failure.
MOST_THROTTLES = 20
#: Seconds that a throttle may ask a node to stay away; a longer wait is a failure.
LONGEST_THROTTLE = 3600.0

_PERMANENT_NAMES = frozenset(kind.__name__ for kind in PERMANENT)
_KINDS = frozenset(ErrorKind) - {ErrorKind.UNKNOWN}
_ONCE = Retry(max_attempts=1)


class Rule(Struct, frozen=True):
    """How often, when and where one node is tried again.

    Attributes:
        effects: What a second execution would do.
        max_attempts: All attempts, the first included; moves to another place and throttles come on top.
        delay: Seconds before the second attempt.
        backoff: Factor by which the wait grows with each attempt.
        max_delay: Seconds that a wait is never longer than.
        jitter: Whether each wait is drawn at random between zero and its length ("full jitter").
        retry_on: Exception names and error kinds; empty for the default (S5.5).
        abort_on: Likewise: never tried again, nor anywhere else.
        places: In how many places the node may run: its backend and those that it fails over to.
    """

    effects: Effects
    max_attempts: int = 1
    delay: float = 1.0
    backoff: float = 2.0
    max_delay: float = 60.0
    jitter: bool = True
    retry_on: tuple[str, ...] = ()
    abort_on: tuple[str, ...] = ()
    places: int = 1

    @property
    def most(self) -> int:
        """The number of attempts that no run of the node exceeds, whatever happens."""
        return self.max_attempts + self.places - 1 + MOST_THROTTLES


class Failure(Struct, frozen=True):
    """How one attempt failed, as far as the next one cares.

    Attributes:
        kind: Whose fault it is.
        names: The names of the exception's class and of its bases, the class first.
        unknown: Whether the call may have happened: nothing is known of its effects.
        permanent: Whether another attempt in the same place would only meet it again.
        after: Seconds that a throttle asks to stay away, or None.
    """

    kind: ErrorKind
    names: tuple[str, ...] = ()
    unknown: bool = False
    permanent: bool = False
    after: float | None = None


class Attempt(Struct, frozen=True):
    """One attempt of a node: its number from 1, its place from 0, and how many before it were throttled."""

    number: int = 1
    place: int = 0
    throttled: int = 0


class Again(Struct, frozen=True):
    """Try again: ``wait`` seconds from now, as this attempt; ``free`` where it uses up none of those allowed."""

    wait: float
    attempt: Attempt
    free: bool = False


FIRST = Attempt()


def decide(rule: Rule, attempt: Attempt, failure: Failure, random: Callable[[], float]) -> Again | None:
    """Say whether, when and where a node is tried again.

    A node whose effects must not happen twice is never tried again, here or elsewhere, where its outcome is unknown.
    The fault of a place moves the node on to its next one at once; that uses up no attempt, and what the user's code
    raises never moves it. A throttled call was not made: it is asked again after its wait, and uses up no attempt
    either. Everything else is tried again in the same place, as long as attempts are left and ``retry_on`` has it.

    Args:
        rule: The node's rule.
        attempt: The attempt that failed.
        failure: How it failed.
        random: Gives numbers from 0 to 1.
    """
    if failure.unknown and rule.effects is Effects.ONCE:
        return None
    if not labels(failure).isdisjoint(rule.abort_on):
        return None
    if failure.kind is ErrorKind.THROTTLE and not failure.permanent:
        return _throttled(rule, attempt, failure, random)
    if failure.kind is ErrorKind.INFRASTRUCTURE and attempt.place + 1 < rule.places:
        return Again(0.0, Attempt(attempt.number + 1, attempt.place + 1, attempt.throttled), free=True)
    used = attempt.number - attempt.place - attempt.throttled
    if used >= rule.max_attempts or not is_retried(rule, failure):
        return None
    return Again(_wait(rule, used, random), Attempt(attempt.number + 1, attempt.place, attempt.throttled))


def is_retried(rule: Rule, failure: Failure) -> bool:
    """Say whether a rule has a failure tried again in the same place, attempts and effects left aside.

    What is permanent, and what has exhausted memory, is tried again only where ``retry_on`` names it: its very class,
    or the kind ``out_of_memory``; a base class such as ``Exception`` does not name it.
    """
    if failure.kind is ErrorKind.OUT_OF_MEMORY:
        return not {failure.kind.value, *failure.names[:1]}.isdisjoint(rule.retry_on)
    if failure.permanent:
        return failure.names[:1] != () and failure.names[0] in rule.retry_on
    return not rule.retry_on or not labels(failure).isdisjoint(rule.retry_on)


def labels(failure: Failure) -> set[str]:
    """Return what ``retry_on`` and ``abort_on`` may call a failure: its kind, its class, its bases, ``unknown``."""
    found = {failure.kind.value, *failure.names}
    if failure.unknown:
        found.add(ErrorKind.UNKNOWN.value)
    return found


def _throttled(rule: Rule, attempt: Attempt, failure: Failure, random: Callable[[], float]) -> Again | None:
    asked = failure.after or 0.0
    throttled = attempt.throttled + 1
    if throttled > MOST_THROTTLES or asked > LONGEST_THROTTLE:
        return None
    wait = asked + _wait(
        rule, throttled, random
    )  # on top, so that those who were sent away together come apart
    return Again(wait, Attempt(attempt.number + 1, attempt.place, throttled), free=True)


def _wait(rule: Rule, failed: int, random: Callable[[], float]) -> float:
    """Return the seconds to wait after so many failures: exponential, at most ``max_delay``, with full jitter."""
    try:
        longest = min(rule.max_delay, rule.delay * rule.backoff ** (failed - 1))
    except OverflowError:
        longest = rule.max_delay if rule.delay else 0.0
    return longest * random() if rule.jitter else longest


def rule_of(policies: Resolved) -> Rule | None:
    """Return a node's rule, or None for one that has a single attempt whose outcome is always known."""
    execution, retry = policies.execution, policies.retry or _ONCE
    places = len(execution.places)
    leaves = policies.timeout is not None or any(place.backend != "local" for place in execution.places)
    open_end = leaves and policies.effects is Effects.ONCE
    if retry.max_attempts == 1 and places == 1 and not open_end:
        return None
    return Rule(
        policies.effects,
        retry.max_attempts,
        retry.delay,
        retry.backoff,
        retry.max_delay,
        retry.jitter,
        retry.retry_on,
        retry.abort_on,
        places,
    )


def failure_of(error: BaseException, *, sent: bool = False) -> Failure:
    """Say how an attempt failed.

    Args:
        error: What it raised.
        sent: Whether its call had been handed to a backend when it was raised: a reply that cannot be read then
            leaves open what the call has done.
    """
    if isinstance(error, RemoteError):
        names = (error.type, *error.bases) if error.type else error.bases
        own = not error.type and not _PERMANENT_NAMES.isdisjoint(names)
        return Failure(_kind(error.kind), names, permanent=own)
    names = tuple(kind.__name__ for kind in type(error).__mro__[:-1])
    if isinstance(error, TaskLost):
        return Failure(_kind(error.kind), names, unknown=True)
    if isinstance(error, MemoryError):
        return Failure(ErrorKind.OUT_OF_MEMORY, names)
    if isinstance(error, WireError) and sent:
        return Failure(ErrorKind.INFRASTRUCTURE, names, unknown=True)
    if isinstance(error, EnvironmentNotReady):
        return Failure(ErrorKind.INFRASTRUCTURE, names, permanent=True)
    return Failure(ErrorKind.USER, names, permanent=isinstance(error, PERMANENT))


def _kind(text: str) -> ErrorKind:
    """Read the error kind of a message; one that is not known here is of a newer Petal, and a fault of the place."""
    return ErrorKind(text) if text in _KINDS else ErrorKind.INFRASTRUCTURE
