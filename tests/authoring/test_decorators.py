"""Decorators attach frozen metadata and return the function itself (S1.1)."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import msgspec
import pytest

from petal import DefinitionError, Pipeline, batch, cache, operator, remote, retry, timeout
from petal.spec.policy import Batch, Cache, Effects, Execution, Retry
from petal.spec.signature import ATTRIBUTE, declared, describe

ALL: dict[str, Callable[[], Any]] = {
    "operator": lambda: operator(name="Renamed"),
    "remote": lambda: remote("docker", image="x:1", failover=["local"]),
    "retry": lambda: retry(max_attempts=5, delay="500ms", retry_on=(TimeoutError, "throttle")),
    "timeout": lambda: timeout("5m"),
    "cache": lambda: cache(ttl="12h", version="2", depends_on=["a.txt"]),
    "batch": lambda: batch(size=10, in_flight=2),
}
TWICE: dict[str, Callable[[], Any]] = {
    **ALL,
    "operator": lambda: operator,
    "retry": lambda: retry,
    "cache": lambda: cache,
    "batch": lambda: batch,
}


def fresh() -> Callable[..., Iterator[str]]:
    def rows(lines: Iterator[str], *, pattern: str = "x") -> Iterator[str]:
        """Keep rows."""
        yield from (r for r in lines if pattern in r)

    return rows


@operator
@retry
@cache
def plain(a: int, b: int = 2) -> int:
    return a + b


def functions_in(value: object) -> list[object]:
    """Every function reachable through a frozen struct."""
    if isinstance(value, msgspec.Struct):
        return [f for name in value.__struct_fields__ for f in functions_in(getattr(value, name))]
    if isinstance(value, dict):
        return [f for v in value.values() for f in functions_in(v)]
    if isinstance(value, list | tuple | set | frozenset):
        return [f for v in value for f in functions_in(v)]
    return [value] if isinstance(value, FunctionType | type) else []


def test_every_decorator_in_any_order_returns_the_function_itself():
    """S1.1: all 720 orders of six decorators give the same object with the same metadata."""
    seen = set()
    for order in itertools.permutations(ALL):
        fn = fresh()
        before = (fn.__name__, fn.__doc__, fn.__code__)
        decorated: Any = fn
        for name in order:
            decorated = ALL[name]()(decorated)
        assert decorated is fn
        assert (fn.__name__, fn.__doc__, fn.__code__) == before
        seen.add(repr(declared(fn)))
    assert len(seen) == 1
    said = declared(fn)
    assert said.is_operator
    assert said.name == "Renamed"
    assert said.policies.execution == Execution("docker", (Execution("local"),), {"image": "x:1"})
    assert said.policies.retry == Retry(5, 0.5, 2.0, 60.0, True, ("TimeoutError", "throttle"))
    assert said.policies.timeout == 300.0
    assert said.policies.cache == Cache(43_200.0, "2", ("a.txt",))
    assert said.policies.batch == Batch(10, 2)


def test_metadata_is_frozen_and_holds_no_function():
    """S1.1: what is attached lies in the function's own __dict__, is frozen, and holds no function."""
    fn = fresh()
    for make in ALL.values():
        fn = make()(fn)
    attached = fn.__dict__[ATTRIBUTE]
    assert set(fn.__dict__) == {ATTRIBUTE}
    assert functions_in(attached) == []
    with pytest.raises(AttributeError):
        attached.name = "other"


def test_a_decorated_function_is_called_and_pickled_as_before():
    """S1.1: the object found is the object called; it stays callable and picklable."""
    assert plain(1) == 3
    assert pickle.loads(pickle.dumps(plain)) is plain


def test_metadata_is_not_inherited():
    """S1.1: a subclass of a decorated class says nothing until it is decorated itself."""

    @operator(name="Base")
    class Base:
        def process(self, x: int) -> int:
            return x

    class Child(Base):
        pass

    assert declared(Base).is_operator
    assert not declared(Child).is_operator
    assert describe(Child).name == "Child"


@pytest.mark.parametrize("name", TWICE)
def test_the_same_decorator_twice_is_refused(name):
    """S1.1: decorating twice with one policy is refused, whatever stands between."""
    fn = fresh()
    fn = TWICE[name]()(fn)
    other = "timeout" if name != "timeout" else "retry"
    fn = ALL[other]()(fn)
    with pytest.raises(DefinitionError, match=rf"decorated with @{name} twice") as error:
        TWICE[name]()(fn)
    assert error.value.hint == "remove one of them"


@pytest.mark.parametrize("decorator", [operator, retry, cache, batch])
def test_bare_decorators_stand_without_parentheses(decorator):
    """DESIGN 2.2: @operator, @retry, @cache and @batch stand bare and with empty parentheses alike."""
    one, other = fresh(), fresh()
    assert decorator(one) is one
    assert decorator()(other) is other
    assert declared(one) == declared(other)


def test_bare_retry_is_three_attempts():
    """DESIGN 2.2, S5.5: bare @retry means three attempts in all."""
    fn = retry(fresh())
    assert declared(fn).policies.retry.max_attempts == 3


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (3, 3.0),
        (0.5, 0.5),
        ("30s", 30.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("250ms", 0.25),
        ("2d", 172_800.0),
        (" 1.5m ", 90.0),
    ],
)
def test_durations_are_seconds_or_text(text, value):
    """DESIGN 2.2: a duration is a number of seconds or text like 5m."""
    assert declared(timeout(text)(fresh())).policies.timeout == value
    assert declared(cache(ttl=text)(fresh())).policies.cache.ttl == value
    assert declared(retry(delay=text)(fresh())).policies.retry.delay == value


@pytest.mark.parametrize(
    "bad",
    ["", "5", "5 minutes", "m5", -1, 0, True, None, float("nan"), float("inf"), "5m30", [5], "１s "[:1]],
)
def test_what_is_no_duration_is_refused(bad):
    """DESIGN 2.2: a bad duration is refused when it is written, with the remedy."""
    with pytest.raises(DefinitionError, match="is not a duration") as error:
        timeout(bad)
    assert "'5m'" in error.value.hint


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: retry(max_attempts=0), "max_attempts is 0"),
        (lambda: retry(max_attempts=True), "max_attempts is True"),
        (lambda: retry(max_attempts=2.5), "max_attempts is 2.5"),
        (lambda: retry(backoff=0.5), "backoff is 0.5"),
        (lambda: retry(retry_on=[3]), "retry_on holds 3"),
        (lambda: retry(abort_on="TimeoutError"), "abort_on is a list"),
        (lambda: retry(5), "5 is not a function"),
        (lambda: batch(size=0), "size is 0"),
        (lambda: batch(in_flight=-1), "in_flight is -1"),
        (lambda: cache(depends_on="file.txt"), "depends_on is a list"),
        (lambda: timeout(fresh()), "@timeout needs a duration"),
        (lambda: remote(fresh()), "@remote needs the name of a backend"),
        (lambda: remote(""), "@remote needs the name of a backend"),
        (lambda: remote("docker", failover="local"), "failover is a list"),
        (lambda: operator(effects="sometimes")(fresh()), "effects is 'sometimes'"),
        (lambda: operator(name="not a name")(fresh()), "is not a name"),
    ],
)
def test_bad_arguments_are_refused_with_a_remedy(make, says):
    """DESIGN 2.2: a decorator checks its arguments; the message says what, the hint what to do."""
    with pytest.raises(DefinitionError) as error:
        make()
    assert says in error.value.message
    assert error.value.hint


def test_one_exception_class_is_as_good_as_a_list_of_one():
    """S5.5: retry_on takes one class, classes, names and kinds."""
    assert declared(retry(retry_on=TimeoutError)(fresh())).policies.retry.retry_on == ("TimeoutError",)


def test_effects_are_part_of_the_operator():
    """DESIGN 5: @operator(effects=...) is the operator's word on a second execution."""
    fn = operator(effects="idempotent", rowwise=False)(fresh())
    assert declared(fn).policies.effects is Effects.IDEMPOTENT
    assert describe(fn).rowwise is False


def test_decorators_do_not_change_what_runs():
    """S1.1: a pipeline of decorated functions gives what the plain functions give."""

    @retry(max_attempts=1)
    @operator
    def numbers() -> list[int]:
        return [1, 2]

    @operator(name="Sum")
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    result = Pipeline.of(numbers, total).run().check()
    assert result.outputs["total"] == 3
