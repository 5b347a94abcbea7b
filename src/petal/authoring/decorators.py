"""Attach what the user says about a function to the function, and return it unchanged (S1.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, overload

import msgspec

from petal.errors import DefinitionError
from petal.spec.pipeline import ID_PATTERN
from petal.spec.policy import PROTOCOLS, Batch, Cache, Effects, Execution, Policies, Retry, seconds
from petal.spec.signature import (
    ATTRIBUTE,
    COLUMNS_ATTRIBUTE,
    OUTPUTS_ATTRIBUTE,
    Declared,
    check_shape,
    declared,
)

F = TypeVar("F", bound=Callable[..., Any])


@overload
def operator(fn: F) -> F: ...
@overload
def operator(
    *,
    name: str | None = ...,
    outputs: Callable[[dict[str, Any]], Iterable[str]] | None = ...,
    columns: Callable[[dict[str, Any], list[str] | None], Iterable[str] | None] | None = ...,
    rowwise: bool | None = ...,
    effects: str | None = ...,
) -> Callable[[F], F]: ...
def operator(
    fn: F | None = None,
    *,
    name: str | None = None,
    outputs: Callable[[dict[str, Any]], Iterable[str]] | None = None,
    columns: Callable[[dict[str, Any], list[str] | None], Iterable[str] | None] | None = None,
    rowwise: bool | None = None,
    effects: str | None = None,
) -> Any:
    """Make a function or a class with ``process`` an operator.

    Args:
        fn: The function or class; positional arguments are inputs, keyword-only ones parameters.
        name: The type name used in files, instead of the function's name in CamelCase.
        outputs: Called with the parameters, returns the names of the output ports where they depend on them.
        columns: Called with the parameters and the columns that are wanted of the operator's output (None for
            all), returns those that it needs of its first input, or None for all; `a.b` may stand for a field of
            `a`. A reader whose consumers all say so reads no others (its ``Context.columns``).
        rowwise: Whether each output row depends on its own input row alone (lets ``batch`` cut its input).
        effects: What a second execution would do: ``pure``, ``idempotent`` or ``once``.

    Raises:
        DefinitionError: The shape cannot work.
    """

    def decorate(target: F) -> F:
        if name is not None and not ID_PATTERN.fullmatch(name):
            raise DefinitionError(
                f"operator name {name!r} is not a name",
                hint="use letters, digits, `_` and `-`, beginning with a letter",
            )
        said = declared(target)
        if said.is_operator:
            _refuse_twice("operator", target)
        check_shape(target)
        policies = said.policies
        if effects is not None:
            policies = _with(policies, "operator(effects=...)", target, effects=_effects(effects))
        setattr(target, ATTRIBUTE, Declared(True, name, policies, rowwise))
        if outputs is not None:
            setattr(target, OUTPUTS_ATTRIBUTE, outputs)
        if columns is not None:
            setattr(target, COLUMNS_ATTRIBUTE, columns)
        return target

    return decorate if fn is None else decorate(fn)


def remote(
    backend: str, *, failover: Iterable[str | Mapping[str, Any]] = (), **settings: Any
) -> Callable[[F], F]:
    """Choose where an operator runs, unless the pipeline says otherwise.

    Args:
        backend: ``local``, ``process``, ``docker``, ``aws_lambda`` or another installed backend.
        failover: Where to go, in this order, when the one before has an infrastructure error: names of backends, or
            ``{"backend": "docker", "image": "x:1"}`` where one needs settings.
        settings: The backend's own settings, such as ``image`` or ``function_name``; and ``protocol`` and ``unsigned``,
            as in a file's ``execution`` block.
    """
    if not isinstance(backend, str) or not backend:
        raise DefinitionError(
            f"@remote needs the name of a backend, not {backend!r}",
            hint="write @remote(backend='docker', ...)",
        )
    if isinstance(failover, str):
        raise DefinitionError("failover is a list of backends", hint=f"write failover=[{failover!r}]")
    return _policy("remote", execution=execution(backend, failover, settings))


def execution(
    backend: str, failover: Iterable[str | Mapping[str, Any]], said: Mapping[str, Any]
) -> Execution:
    """Make an ``execution`` block of what was said in Python.

    Raises:
        DefinitionError: ``protocol`` or ``unsigned`` is none, or an entry of ``failover`` is no place.
    """
    settings = dict(said)
    protocol, unsigned = settings.pop("protocol", None), settings.pop("unsigned", False)
    if protocol is not None and protocol not in PROTOCOLS:
        raise DefinitionError(
            f"protocol is {protocol!r:.80}, which is none of {', '.join(PROTOCOLS)}",
            hint="leave it out for what fits the backend's settings",
        )
    if not isinstance(unsigned, bool):
        raise DefinitionError(f"unsigned is {unsigned!r:.80}", hint="write True or False")
    return Execution(backend, tuple(map(_place, failover)), settings, protocol, unsigned)


def _place(said: str | Mapping[str, Any]) -> Execution:
    """Read an entry of ``failover``: the name of a backend, or a mapping with its settings."""
    if isinstance(said, str) and said:
        return Execution(said)
    block = dict(said) if isinstance(said, Mapping) else {}
    target = block.pop("target", None)
    named = block.pop("backend", target)
    if not isinstance(named, str) or not named or "failover" in block:
        raise DefinitionError(
            f"{said!r:.80} is no place to fail over to",
            hint="write the name of a backend, or {'backend': 'docker', 'image': 'x:1'}; places come one after the other",
        )
    return execution(named, (), block)


@overload
def cache(fn: F) -> F: ...
@overload
def cache(
    *, ttl: float | str | None = ..., version: str | None = ..., depends_on: Iterable[str] = ...
) -> Callable[[F], F]: ...
def cache(
    fn: F | None = None,
    *,
    ttl: float | str | None = None,
    version: str | None = None,
    depends_on: Iterable[str] = (),
) -> Any:
    """Keep an operator's output and use it again while nothing it depends on has changed.

    Args:
        fn: The function, when written bare.
        ttl: How long an entry is good: seconds or text like ``12h``.
        version: Stands for the code instead of its fingerprint.
        depends_on: Files whose content counts.
    """
    _refuse_text("depends_on", depends_on)
    policy = Cache(None if ttl is None else seconds(ttl), version, tuple(depends_on))
    return _bare(fn, _policy("cache", cache=policy))


@overload
def retry(fn: F) -> F: ...
@overload
def retry(
    *,
    max_attempts: int = ...,
    delay: float | str = ...,
    backoff: float = ...,
    max_delay: float | str = ...,
    jitter: bool = ...,
    retry_on: Iterable[type[BaseException] | str] = ...,
    abort_on: Iterable[type[BaseException] | str] = ...,
) -> Callable[[F], F]: ...
def retry(
    fn: F | None = None,
    *,
    max_attempts: int = 3,
    delay: float | str = 1.0,
    backoff: float = 2.0,
    max_delay: float | str = 60.0,
    jitter: bool = True,
    retry_on: Iterable[type[BaseException] | str] = (),
    abort_on: Iterable[type[BaseException] | str] = (),
) -> Any:
    """Try an operator again when it fails; bare, three attempts in all.

    Args:
        fn: The function, when written bare.
        max_attempts: All attempts, the first included.
        delay: Seconds before the second attempt, or text like ``500ms``.
        backoff: Factor by which the wait grows with each attempt.
        max_delay: The longest wait.
        jitter: Whether each wait is drawn at random between zero and its length.
        retry_on: Exception classes, their names, or error kinds; empty for the default (S5.5).
        abort_on: Likewise: never tried again.
    """
    if not isinstance(max_attempts, int) or isinstance(max_attempts, bool) or max_attempts < 1:
        raise DefinitionError(f"max_attempts is {max_attempts!r}", hint="it counts all attempts: 1 or more")
    if not isinstance(backoff, int | float) or backoff < 1:
        raise DefinitionError(f"backoff is {backoff!r}", hint="it is the factor between waits: 1 or more")
    policy = Retry(
        max_attempts,
        seconds(delay) if delay != 0 else 0.0,
        float(backoff),
        seconds(max_delay),
        jitter,
        _error_names("retry_on", retry_on),
        _error_names("abort_on", abort_on),
    )
    return _bare(fn, _policy("retry", retry=policy))


def timeout(limit: float | str) -> Callable[[F], F]:
    """Stop an operator that takes longer: seconds or text like ``30s`` or ``5m``."""
    if callable(limit):
        raise DefinitionError("@timeout needs a duration", hint="write @timeout('30s')")
    return _policy("timeout", timeout=seconds(limit))


@overload
def batch(fn: F) -> F: ...
@overload
def batch(
    *,
    size: int = ...,
    in_flight: int = ...,
    ordered: bool = ...,
    over: str | None = ...,
    max_bytes: int | None = ...,
) -> Callable[[F], F]: ...
def batch(
    fn: F | None = None,
    *,
    size: int = 1000,
    in_flight: int = 1,
    ordered: bool = True,
    over: str | None = None,
    max_bytes: int | None = None,
) -> Any:
    """Cut an operator's stream into calls of their own, several at a time.

    Args:
        fn: The function, when written bare.
        size: Rows per call.
        in_flight: Calls at a time.
        ordered: Whether rows keep their order.
        over: The stream input that is cut, where there are several.
        max_bytes: Bytes per call at most, as far as rows can be told apart: one row is never cut.
    """
    for label, number in (("size", size), ("in_flight", in_flight), ("max_bytes", max_bytes)):
        if label == "max_bytes" and number is None:
            continue
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise DefinitionError(f"{label} is {number!r}", hint=f"{label} is a whole number, 1 or more")
    return _bare(fn, _policy("batch", batch=Batch(size, in_flight, ordered, over, max_bytes)))


def _policy(decorator: str, **policy: Any) -> Callable[[F], F]:
    def decorate(target: F) -> F:
        check_shape(target)
        said = declared(target)
        policies = _with(said.policies, decorator, target, **policy)
        setattr(target, ATTRIBUTE, Declared(said.is_operator, said.name, policies, said.rowwise))
        return target

    return decorate


def _bare(fn: Any, decorate: Callable[[F], F]) -> Any:
    if fn is None:
        return decorate
    if not callable(fn):
        raise DefinitionError(
            f"{fn!r} is not a function",
            hint="give the decorator's arguments by name, e.g. @retry(max_attempts=3)",
        )
    return decorate(fn)


def _with(policies: Policies, decorator: str, target: Any, **policy: Any) -> Policies:
    for field in policy:
        if getattr(policies, field) is not None:
            _refuse_twice(decorator, target)
    return msgspec.structs.replace(policies, **policy)


def _refuse_twice(decorator: str, target: Any) -> None:
    raise DefinitionError(
        f"`{target.__qualname__}` is decorated with @{decorator} twice, and only one can hold",
        hint="remove one of them",
        code="decorated-twice",
    )


def _effects(text: str) -> Effects:
    try:
        return Effects(text)
    except ValueError:
        raise DefinitionError(f"effects is {text!r}", hint="it is 'pure', 'idempotent' or 'once'") from None


def _refuse_text(label: str, value: object) -> None:
    if isinstance(value, str | bytes):
        raise DefinitionError(f"{label} is a list", hint=f"write {label}=[{value!r}]")


def _error_names(label: str, errors: Iterable[type[BaseException] | str]) -> tuple[str, ...]:
    _refuse_text(label, errors)
    names = []
    for error in (errors,) if isinstance(errors, type) else errors:
        if isinstance(error, type) and issubclass(error, BaseException):
            names.append(error.__name__)
        elif isinstance(error, str):
            names.append(error)
        else:
            raise DefinitionError(
                f"{label} holds {error!r}", hint="give exception classes, their names, or error kinds"
            )
    return tuple(names)
